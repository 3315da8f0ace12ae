"""The report of a study as one HTML file, and its figures as files.

In: a study's folder. Out: the page, which needs no network: script, pictures and tables are in it, and its content
policy allows no request. All texts of users are escaped, by Jinja in the page and by ``report.figures.plain``
in figures.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from eavdash.report import caveats, figure_data, static, theme
from eavdash.report.document import contents, explained, sections
from eavdash.report.document.blocks import Figure, Picture, Section, Table
from eavdash.report.document.figures import NamedFigure, figures_of
from eavdash.store import StudyDir
from eavdash.store.outputs import output_folder, write_output
from eavdash.text import csv_for_people, visible

Report = Callable[[int, int, str], None]


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


def page(study: StudyDir, report: Report = silent, faces: bool | None = None) -> str:
    """Return the report as HTML.

    ``faces``: draw pictures of faces below the maps; None: only where recordings are simulated.

    Raises:
        IntegrityError: study.json or the splits cannot be read.
    """
    from jinja2 import Environment

    found = contents.read(study)
    report(0, 1, "reading")
    every = explained.explained(found)
    drawn = explained.chosen(every)
    named = figures_of(found)
    steps = len(named) + len(drawn) + 1
    made: list[tuple[NamedFigure, Figure]] = []
    for number, each in enumerate(named):
        report(number, steps, each.title)
        made.append((each, _figure(each, found.caveats)))
    by_section = {name: [f for n, f in made if n.section == name] for name in ("accuracy", "statistics", "attention")}
    maps = sections.explanations(found, every)
    show_faces = found.caveats.simulated if faces is None else faces
    for number, each_trial in enumerate(drawn, start=len(named)):
        report(number, steps, each_trial.title)
        maps.blocks += [picture] if (picture := _picture(each_trial, show_faces)) else []
    parts: list[Section] = [
        sections.summary(found),
        sections.data_health(found),
        sections.protocol(found),
        sections.methods_section(found),
        sections.accuracy(found, by_section["accuracy"]),
        sections.statistics(found, by_section["statistics"]),
        sections.attention(by_section["attention"]),
        maps,
        sections.environment(found),
        sections.commands(found, every),
    ]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_seen)
    template = environment.from_string(files("eavdash.report.document").joinpath("page.html").read_text("utf-8"))
    report(steps - 1, steps, "writing")
    return template.render(
        study=visible(study.name),
        sections=parts,
        footnote=visible(found.caveats.footnote),
        made=time.strftime("%Y-%m-%d %H:%M"),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        config=theme.CHART_CONFIG,
        explained=len(every),
        drawn=len(drawn),
    )


def write_page(study: StudyDir, file: Path, report: Report = silent, faces: bool | None = None) -> None:
    """Write the report to a file.

    Raises:
        IntegrityError: study.json or the splits cannot be read. TrainingError: the file cannot be written.
    """
    content = page(study, report, faces).encode("utf-8", "backslashreplace")
    write_output(file, lambda handle: handle.write(content))


def write_figures(study: StudyDir, folder: Path, report: Report = silent) -> list[Path]:
    """Write every figure of the report as PNG, SVG and CSV, each with the study's caveats; return the files.

    Raises:
        IntegrityError: study.json or the splits cannot be read. UsageError, TrainingError: the folder cannot be made,
            or a file not be written.
    """
    found = contents.read(study)
    named, written = figures_of(found), []
    output_folder(folder)
    for number, each in enumerate(named):
        report(number, len(named), each.title)
        for form in ("png", "svg", "csv"):
            content = file_of(each.figure, form, each.title, each.caption, found.caveats)
            file = folder / f"{each.name}.{form}"
            write_output(file, partial(_write, content))
            written.append(file)
    return written


def file_of(figure: go.Figure, form: str, title: str, caption: str, about: caveats.Caveats, column: int = 0) -> bytes:
    """Return an escaped figure as ``png``, ``svg``, ``pdf`` or ``csv``, with title, caption and caveats in it.

    ``column``: for a paper, this many millimetres wide; title and caption are then not in the picture but those of
    :func:`caption_of`. Simulated recordings are marked in every picture.
    """
    if form == "csv":
        more = {"study": about.study, "figure": title, **about.columns}
        return csv_for_people(figure_data.data(figure, more)).encode("utf-8", "backslashreplace")
    below = visible(f"{caption} {about.footnote}".strip())
    return static.picture(figure, form, visible(title), below, "SIMULATED" if about.simulated else "", column)


def caption_of(title: str, caption: str, about: caveats.Caveats) -> str:
    """Return the text that belongs under a figure in a paper: title, what is drawn, and the study's caveats."""
    said = caption if caption.startswith(title) else f"{title}. {caption}"
    return visible(f"{said.rstrip('.')}. {about.footnote}")


def _seen(value: object) -> object:
    """Return a text with what cannot be seen in it as escapes; what is safe already, such as a script, stays."""
    return visible(value, keep="\n") if isinstance(value, str) and not hasattr(value, "__html__") else value


def _figure(each: NamedFigure, about: caveats.Caveats) -> Figure:
    svg = file_of(each.figure, "svg", each.title, each.caption, about)
    table = file_of(each.figure, "csv", each.title, each.caption, about)
    shown = copy.deepcopy(each.figure).update_layout(template="plotly_white", width=None)
    return Figure(each.name, each.title, each.caption, shown, svg, table)


def _picture(each: explained.Explained, faces: bool) -> Picture | None:
    if (opened := explained.opened(each)) is None:
        return None
    checks = explained.check_table(each)
    table = Table("", checks) if len(checks) else None
    return Picture(visible(each.title), explained.maps_picture(opened, each.failed, faces), each.failed, table)


def _write(content: bytes, handle: BinaryIO) -> None:
    handle.write(content)
