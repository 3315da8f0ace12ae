"""Output of the command line: tables, progress, findings.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from eavdash.cli.formats import cell, latex_table, strict
from eavdash.health.report import counted_parts
from eavdash.results.left_out import sentences
from eavdash.store import StudyDir
from eavdash.store.task import report_progress
from eavdash.text import csv_for_people, json_text, plural, visible

if TYPE_CHECKING:
    from eavdash.health.report import HealthReport
    from eavdash.studies.plan import Plan


class _Terminal(Console):
    """A console that prints every text as it is written: no markup or emoji codes, control characters as escapes."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text of a cell, title or message; see :func:`eavdash.text.visible`."""
        return super().render_str(visible(text, keep="\n"), **options)


_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
# A pipe has no width; 200 columns keep a sentence on one line for grep.
_out = _Terminal(**_PLAIN, width=None if sys.stdout.isatty() else 200)
_err = _Terminal(**_PLAIN, stderr=True)
#: Columns of a run that the table shows; the others are in --json.
RUN_COLUMNS = ("run", "tested", "shown", "epoch", "epochs", "left", "accuracy", "attempt", "reason")


def info(text: str) -> None:
    """Print a line on standard error."""
    _err.print(visible(text))


def output(text: str) -> None:
    """Print a line on standard output."""
    _out.print(visible(text))


def error(text: str) -> None:
    """Print an error or a problem in red on standard error."""
    _err.print(visible(text), style="red")


def note_archived(archived: int) -> None:
    """Print how many archived studies a list leaves out."""
    studies = plural(archived, "archived study is", "archived studies are")
    info(f"{studies} not shown; see them with: eavdash studies --archived")


def print_json(data: Any) -> None:
    """Print ``data`` as strict JSON (NaN becomes null) on standard output; unseen characters as JSON's escapes."""
    print(json_text(json.dumps(strict(data), indent=2, ensure_ascii=False, default=str)))


def print_table(frame: pd.DataFrame, form: str, title: str = "") -> None:
    """Print a frame as a text table, or as csv, json or latex; as text, a frame without rows is a line that says so."""
    if form == "json":
        print_json(frame.to_dict(orient="records"))
    elif form == "csv":
        print(visible(csv_for_people(frame), keep="\n"), end="")
    elif form == "latex":
        print(latex_table(frame))
    elif frame.empty:
        info(f"{title}: none" if title else "nothing to show")
    else:
        if "shown" in frame.columns:
            empty = "tested" if "tested" in frame.columns and not frame["tested"].any() else ""
            frame = frame[[c for c in RUN_COLUMNS if c in frame.columns and c != empty]]
            frame = frame.rename(columns={"shown": "state"})
        table = Table(title=visible(title) or None, title_justify="left")
        for name in frame.columns:
            number = pd.api.types.is_numeric_dtype(frame[name])
            table.add_column(visible(name), justify="right" if number else "left", overflow="fold")
        for row in frame.itertuples(index=False):
            table.add_row(*(visible(cell(value)) for value in row))
        _out.print(table)


def print_plan(made: Plan) -> None:
    """Print the runs of a plan, the trials and runs that it leaves out, and its notes."""
    for note in (*made.notes, *sentences(made.document.left_out)):
        info(f"note: {note}")
    by_reason: dict[str, list[str]] = {}
    for name, reason in made.left_out.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        info(f"left out: {', '.join(names[:3])}{more}: {reason}")
    for name, problem in made.problems.items():
        error(f"{name} cannot start: {problem}")
    info(f"study {made.study.name}: {plural(len(made.runs), 'run')} in {made.study.path}")


def print_health(report: HealthReport) -> None:
    """Print the health report as text."""
    if report.simulated:
        info("simulated recordings: no person was recorded")
    if len(report.table):  # a dataset that cannot be opened has only findings
        _health_tables(report)
    for finding in report.findings:
        who = f"subject {finding.subject}" if finding.subject else ""
        where = " · ".join(part for part in (who, finding.modality) if part and part not in finding.message)
        text = f"{finding.severity}: {where}{': ' if where else ''}{finding.message}"
        output(f"{text}; {finding.remedy}." if finding.remedy else text)
    counts = Counter(finding.severity for finding in report.findings)
    summary = ", ".join(plural(counts[s], s) for s in ("error", "warning") if counts[s])
    _out.print(summary or "no problems found")


def _health_tables(report: HealthReport) -> None:
    def span(low: Any, high: Any) -> str:
        if pd.isna(low):
            return ""
        ends = [f"{end:.1f}".removesuffix(".0") for end in (low, high)]
        return ends[0] if ends[0] == ends[1] else "–".join(ends)

    print_table(report.table, "table", title="Recordings per subject")
    measured = report.modalities
    names = {"duration": "seconds", "rate": "Hz", "channels": "channels", "frames": "frames"}
    for column, title in names.items():
        ends = zip(measured.pop(f"{column}_from"), measured.pop(f"{column}_to"), strict=True)
        measured[title] = [span(*pair) for pair in ends]
    measured["faces"] = ["" if pd.isna(share) else f"{100 * share:.0f} %" for share in measured["faces"]]
    print_table(measured, "table", title="Recordings per subject and modality")
    speaking = ", speaking trials only (used by default)" if report.kind == "eav" else ""
    print_table(report.labels, "table", title=f"Trials per label{speaking}")
    rows = []
    for protocol, folds in report.split_preview.groupby("protocol", sort=False):
        made = folds[folds["fold"] >= 0]
        spans = {c: span(made[c].min(), made[c].max()) for c in ("subjects", *counted_parts(report.split_preview))}
        rows.append(
            {"protocol": protocol, "folds": len(made), **spans, "problem": "; ".join(filter(None, folds["problem"]))}
        )
    print_table(pd.DataFrame(rows), "table", title="Trials that each protocol leaves, per fold")


def print_explanation(summary: dict[str, Any]) -> None:
    """Print the numbers of an explanation."""
    for key, value in summary.items():
        if key == "attention_by_layer" and value:
            _attention(value)
            continue
        if key == "receipts":
            output(f"receipts: {value['verdict']}")
            for each in value["checks"]:
                output(f"  {each['verdict']}: {each['name']}: {each['reason']}")
            continue
        if isinstance(value, dict):
            value = _pairs(value)
        elif isinstance(value, (list, tuple)):
            value = ", ".join(cell(v) for v in value)
        output(f"{key}: {cell(value)}")


def _attention(maps: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print attention shares, one row per head and attending modality.

    ``maps``: ``layer 1 head 1`` → attending modality → attended modality → share.
    """
    rows = [
        {"where": where, "modality": query, **{f"to {key}": float(share) for key, share in shares.items()}}
        for where, queries in maps.items()
        for query, shares in queries.items()
    ]
    print_table(pd.DataFrame(rows), "table", title="attention_by_layer: how much each modality attends to each")


def _pairs(values: dict[str, Any]) -> str:
    """Return ``vision 0.5, audio 0.5``; nested dictionaries are in brackets: ``head 1 (vision 0.5 …)``."""
    return ", ".join(f"{k} ({_pairs(v)})" if isinstance(v, dict) else f"{k} {cell(v)}" for k, v in values.items())


def studies_frame(studies: Sequence[StudyDir], snapshot: Callable[[StudyDir], pd.DataFrame]) -> pd.DataFrame:
    """Return one row per study with the number of its runs in each state, and why it cannot be read, if it cannot."""
    from eavdash.studies.overview import damage

    rows = []
    for study in studies:
        frame = snapshot(study)
        counts = Counter(frame["shown"]) if len(frame) else Counter()
        states = ", ".join(f"{n} {state}" for state, n in counts.most_common())
        if problem := damage(study):
            states = ", ".join(filter(None, ["damaged", states]))
        counted = {"runs": len(frame), "done": counts.get("done", 0), "states": states}
        rows.append({"study": study.name, **counted, "problem": problem})
    return pd.DataFrame(rows, columns=["study", "runs", "done", "states", "problem"])


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar; yields ``report(done, total, what="")``. Nothing is printed before the first report.

    In the process of a background task it is the task's progress too.
    """
    progress = _progress()
    task = progress.add_task(title, total=None, what="")

    def report(done: int, total: int, what: str = "") -> None:
        progress.start()
        progress.update(task, completed=done, total=total, what=visible(what))
        report_progress(done, total, f"{title} {what}".strip())

    try:
        yield report
    finally:
        if progress.live.is_started:  # stop() would print an empty line
            progress.stop()


@contextmanager
def run_progress() -> Iterator[Callable[[pd.DataFrame], None]]:
    """Show the progress of a study's runs; yields ``report(snapshot)``.

    On a terminal: a bar for the study and one per running run. Elsewhere: a line whenever a run's state changes.
    """
    seen: dict[str, str] = {}
    with _progress() as progress:
        total = progress.add_task("epochs", total=None, what="")
        tasks: dict[str, Any] = {}

        def report(frame: pd.DataFrame) -> None:
            for row in frame.to_dict(orient="records"):
                name, state = str(row["run"]), str(row["shown"])
                if seen.get(name) != state:
                    seen[name] = state
                    if state in ("done", "failed", "damaged", "cancelled", "not responding") or not _err.is_terminal:
                        progress.console.print(visible(_run_line(row)))
                if state == "running" and name not in tasks:
                    tasks[name] = progress.add_task(name, total=None, what="")
                if name in tasks:
                    progress.update(tasks[name], completed=row["epoch"], total=row["epochs"] or None, what=state)
                    if state != "running":
                        progress.remove_task(tasks.pop(name))
            done = int((frame["shown"] == "done").sum())
            progress.update(total, description="runs", completed=done, total=len(frame))
            report_progress(done, len(frame), "training, runs done")

        yield report


def _run_line(row: dict[Any, Any]) -> str:
    accuracy = row.get("accuracy")
    known = accuracy is not None and not pd.isna(accuracy)
    detail = f"accuracy {float(str(accuracy)):.2f}" if known else str(row.get("reason") or "")
    tested = f", {row['tested']}" if row.get("tested") else ""
    return f"{row['run']}{tested}: {row['shown']}{', ' if detail else ''}{detail}"


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    return Progress(*columns, console=_err, disable=False, transient=False)
