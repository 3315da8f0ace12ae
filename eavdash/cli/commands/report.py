"""``report``: one HTML file of a study that opens offline, and its figures as files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.text import plural, size


def add(command: Callable[..., argparse.ArgumentParser], parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    text = "Write a study's report: one HTML file that opens offline, made of what was run; nothing is computed anew."
    parser = command("report", text, *parents)
    parser.add_argument("study")
    parser.add_argument("--output", metavar="FILE", help="default: report.html in the study's folder")
    parser.add_argument("--figures", metavar="FOLDER", help="write every figure as PNG, SVG and CSV to this folder too")
    parser.add_argument(
        "--faces",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw pictures of faces below the maps (default: only of simulated recordings)",
    )


def report(options: argparse.Namespace) -> int:
    """Write the report of a study, and its figures if asked for."""
    from eavdash.report.document.render import write_figures, write_page

    study = study_of(options)
    file = Path(options.output) if options.output else study.report_file
    with console.progress_bar("report") as progress:
        write_page(study, file, progress, options.faces)
        written = write_figures(study, Path(options.figures), progress) if options.figures else []
    about = {"study": study.name, "file": str(file), "bytes": file.stat().st_size, "figures": [*map(str, written)]}
    if options.json:
        console.print_json(about)
        return 0
    if written:
        console.info(f"{plural(len(written), 'file')} of figures in {options.figures}")
    console.output(f"{file} ({size(file.stat().st_size)})")
    return 0
