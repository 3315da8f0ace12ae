"""``report``: one HTML file of a study that opens offline, and its figures as files."""

from __future__ import annotations

import argparse

from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.store.outputs import output_file, output_folder
from eavdash.text import plural, size


def report(options: argparse.Namespace) -> int:
    """Write the report of a study, and its figures if asked for."""
    from eavdash.report.document.render import write_figures, write_page

    study = study_of(options)
    file = output_file(options.output or study.report_file)
    figures = output_folder(options.figures) if options.figures else None
    with console.progress_bar("report") as progress:
        write_page(study, file, progress, options.faces)
        written = write_figures(study, figures, progress) if figures else []
    about = {"study": study.name, "file": str(file), "bytes": file.stat().st_size, "figures": [*map(str, written)]}
    if options.json:
        console.print_json(about)
        return 0
    if written:
        console.info(f"{plural(len(written), 'file')} of figures in {figures}")
    console.output(f"{file} ({size(file.stat().st_size)})")
    return 0
