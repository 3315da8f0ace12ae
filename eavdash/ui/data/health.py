"""The sections of the health page: the check as a task, summary and exports, findings, folds.

In: a dataset's path and its ``eavdash.health.HealthReport``, from the ``cached_*`` modules. Figures come from
``eavdash.report.figures.health``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from eavdash.config.choices import COLUMN, MODALITIES
from eavdash.jobs.estimates import duration
from eavdash.report import theme
from eavdash.report.figures import health as figures
from eavdash.report.figures import health_tables as tables
from eavdash.store import checkpoints_root
from eavdash.text import markdown, plural, visible
from eavdash.ui import address, cached_data, choosing, scanning, tasks, widgets
from eavdash.ui.fragment import stop

if TYPE_CHECKING:
    from eavdash.health.report import Finding, HealthReport

PAGE = "data_health"
#: Of the widgets, also in the address; ``MANY``: their values are lists.
NAMES = ("severity", "recordings_modality", "recordings_subject", "folds_protocol", "sheet_subject")
MANY = ("severity",)
PINNED = {"Subject": st.column_config.Column(pinned=True)}  # stays in view on a phone
FINDINGS_SHOWN = 10  # shown as text; the table below has all of them


def checked(path: str) -> HealthReport:
    """Return the report of the newest check of a dataset; without one the check starts, and the page ends meanwhile."""
    root, asked = checkpoints_root(), command(path)
    found = cached_data.health_report(path)
    if found is None:
        scanning.wait_for(PAGE, asked, title(path), count_files(path))
        tasks.panel(root, command=asked, key=f"{PAGE}_check")
        st.button("Check again", on_click=again, args=(path,), key=f"{PAGE}_again")
        stop()
    status = tasks.latest(root, command=asked)
    scanning.show_problem(PAGE, asked)
    newer = status is not None and (status.created or 0.0) > found.made
    if newer:  # it runs, or has failed
        tasks.panel(root, command=asked, key=f"{PAGE}_check")
    elif found.state != cached_data.files_state(path):
        st.warning("The recordings have changed since this check: check them again.")
    return found.report


def again(path: str) -> None:
    """Check a dataset again; only changed files are opened."""
    cached_data.forget(path)
    scanning.start(PAGE, command(path), title(path))


def command(path: str) -> tuple[str, ...]:
    """Return the command that checks a dataset."""
    return ("check", "--", path)


def count_files(path: str) -> int:
    """Return how many recordings a dataset names."""
    from eavdash.data.named_files import file_of

    frame = cached_data.dataset(path).frame
    return sum(len({file_of(entry) for entry in frame[column] if entry}) for column in COLUMN.values())


def title(path: str) -> str:
    return f"Check of {Path(path).name or path}"


def summary(path: str, report: HealthReport) -> None:
    """Show whether the dataset can be used, the number of checked files, and the downloads of the report."""
    verdict(report)
    scanned = f"{plural(report.scanned, 'file')} opened"
    reused = f"{report.reused:,} unchanged since an earlier check"
    made = cached_data.health_report(path)
    when = f", checked {duration(time.time() - made.made)} ago" if made else ""
    st.caption(f"{plural(len(report.recordings), 'recording')}{when}: {scanned}, {reused}.")
    with st.container(horizontal=True):
        st.button(
            "Check again",
            help="Only changed files are opened.",
            disabled=scanning.running(command(path)),
            on_click=again,
            args=(path,),
            key=f"{PAGE}_again",
        )
        for name, make, file, mime in (
            ("Findings (CSV)", tables.findings_csv, "findings.csv", "text/csv"),
            ("Recordings (CSV)", tables.recordings_csv, "recordings.csv", "text/csv"),
            ("Whole report (JSON)", tables.report_json, "health.json", "application/json"),
        ):
            # Made on click: the table of a full-size dataset has several megabytes.
            st.download_button(
                name,
                partial(make, report),
                file,
                mime,
                key=f"{PAGE}_export_{file.replace('.', '_')}",
                on_click="ignore",
            )


def verdict(report: HealthReport) -> None:
    """Show in a sentence whether the dataset can be used, and how many findings there are."""
    count = tables.severities(report.findings)
    text = tables.summary_sentence(report) + (f" {count.capitalize()}." if count else "")
    severities = {f.severity for f in report.findings}
    show = st.error if "error" in severities else st.warning if "warning" in severities else st.success
    show(text)


def findings(found: Sequence[Finding]) -> None:
    """Show the findings of the selected severities: the first ones as text with remedies, all as a table."""
    st.subheader("Findings", anchor=False)
    if not found:
        st.caption("No problems found.")
        return
    there = [s for s in tables.SEVERITIES if any(f.severity == s for f in found)]
    names = {s: plural(sum(f.severity == s for f in found), tables.SEVERITIES[s]).capitalize() for s in there}
    key = f"{PAGE}_severity"
    before = st.session_state.get(f"{key}_of")
    linked = [s for s in st.session_state.get(key) or [] if s in there]
    if before != there and (before is not None or not linked):
        # A new report: select errors and warnings, or notes if there is nothing else.
        linked = [s for s in there if s != "info"] or there
    st.session_state[f"{key}_of"], st.session_state[key] = there, linked
    chosen = st.pills(
        "Severity",
        there,
        selection_mode="multi",
        format_func=lambda s: names.get(s, s),
        key=key,
        label_visibility="collapsed",
    )
    rows = [f for f in found if f.severity in chosen]
    lines = []
    for f in rows[:FINDINGS_SHOWN]:
        source = ", ".join(filter(None, [f.subject and f"subject {f.subject}", f.modality and theme.label(f.modality)]))
        badge = f":{tables.BADGES[f.severity]}-badge[{tables.SEVERITIES[f.severity]}]"
        head = f"{badge} **{markdown(source)}:**" if source else badge
        remedy = f"  \n  *{markdown(f.remedy)}*" if f.remedy else ""
        lines.append(f"- {head} {markdown(f.message)}{remedy}")
    if lines:
        st.markdown("\n".join(lines))
    if len(rows) > FINDINGS_SHOWN:
        panel = st.expander(f"All {len(rows):,} as a table", key=f"{PAGE}_findings_open", on_change="rerun")
        if panel.open:
            panel.dataframe(tables.findings_table(rows), hide_index=True, key=f"{PAGE}_findings")


def subject_counts(report: HealthReport) -> None:
    """Show the usable and the missing recordings per subject and modality."""
    st.subheader("Subjects", anchor=False)
    table = tables.subject_table(report.table)
    st.dataframe(
        tables.highlight_gaps(table),
        hide_index=True,
        column_config=PINNED,
        key=f"{PAGE}_table",
        height="content" if len(table) < 12 else 440,
    )
    missing = any(str(c).endswith(" missing") for c in table)
    gaps = "missing: trials that lack an expected recording" if missing else "no expected recording is missing"
    st.caption(f"Trials with a usable recording of each modality; {gaps}. Complete: trials with all recordings.")


def distributions(report: HealthReport) -> None:
    """Show label balance, durations and detected faces."""
    of = "Speaking trials" if report.kind == "eav" else "Trials"
    labels, files = report.labels, report.recordings
    shown = (
        (not labels.empty, f"{of} per label", "labels", f"{of} per label, stacked over subjects."),
        (
            files["duration"].notna().any(),
            *("Durations", "durations", "Median duration per subject and modality, with minimum and maximum."),
        ),
        (
            (files["faces_looked"] > 0).any(),
            *("Faces detected", "faces", "Share of each subject's checked frames in which a face was detected."),
        ),
    )
    draw: dict[str, Callable[[], Any]] = {
        "labels": lambda: figures.label_balance(labels),
        "durations": lambda: figures.durations(files),
        "faces": lambda: figures.faces(files),
    }
    drawn = [item for there, *item in shown if there]
    for column, (title, name, alt) in zip(st.columns(max(1, len(drawn))), drawn, strict=False):
        with column:
            st.subheader(title, anchor=False)
            widgets.chart(draw[name](), f"{PAGE}_{name}", alt, files=False)


def recordings(report: HealthReport) -> None:
    """Show every recording with its measures, one modality at a time."""
    if report.recordings.empty:
        return
    panel = st.expander("Recordings and their measures", key=f"{PAGE}_recordings_open", on_change="rerun")
    if not panel.open:
        return
    with panel:
        there = [m for m in MODALITIES if (report.recordings["modality"] == m).any()]
        left, right = st.columns(2)
        modality = choosing.segments("Modality", there, f"{PAGE}_recordings_modality", theme.label, container=left)
        names = list(dict.fromkeys(report.recordings["subject"]))
        address.valid(f"{PAGE}_recordings_subject", names)
        subject = right.selectbox(
            "Subject",
            names,
            index=None,
            placeholder="All",
            key=f"{PAGE}_recordings_subject",
            format_func=visible,
        )
        table = tables.recordings_table(report.recordings, str(modality), subject or "")
        st.dataframe(table, hide_index=True, column_config=PINNED, key=f"{PAGE}_recordings")
        st.caption(f"{plural(len(table), 'recording')}. Measures cover the trial's segment of the file.")


def protocol_folds(report: HealthReport) -> None:
    """Show the trials for training, validation and test of each protocol."""
    if report.split_preview.empty:
        return
    st.subheader("Trials per protocol", anchor=False)
    st.dataframe(tables.outlook_table(report.split_preview), hide_index=True, key=f"{PAGE}_outlook")
    widgets.bullet_list(tables.outlook_problems(report.split_preview))
    names = list(dict.fromkeys(report.split_preview["protocol"][report.split_preview["fold"] >= 0]))
    if not names:
        return
    panel = st.expander("Fold by fold", key=f"{PAGE}_folds_open", on_change="rerun")
    if panel.open:
        with panel:
            protocol = choosing.segments("Protocol", names, f"{PAGE}_folds_protocol")
            st.dataframe(tables.folds_table(report.split_preview, str(protocol)), hide_index=True, key=f"{PAGE}_folds")
