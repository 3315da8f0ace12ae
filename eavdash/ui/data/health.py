"""The parts of the health page: the scan with its progress, the answer and exports, findings, outlook, faces.

In: a dataset's path and its ``eavdash.health.HealthReport``. What is computed comes from the ``cached_*`` modules;
what is drawn, from ``eavdash.ui.figures.health``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from eavdash.config.choices import MODALITIES
from eavdash.errors import EavdashError
from eavdash.store import checkpoints_root, datasets
from eavdash.ui import cached_data, theme, widgets
from eavdash.ui.data import add_dataset
from eavdash.ui.figures import health as figures
from eavdash.ui.figures import health_tables as tables

if TYPE_CHECKING:
    from eavdash.health.report import Finding, HealthReport

PAGE = "data_health"
PINNED = {"Subject": st.column_config.Column(pinned=True)}  # stays in view on a phone
FINDINGS_SHOWN = 10  # spelled out; all of them are in the table below
BLINK = 0.2  # seconds between two steps of the progress bar: the browser is told often enough, and not too often


class _ManyFilesError(Exception):
    """Ends a scan that nobody has asked for."""

    def __init__(self, done: int, of: int) -> None:
        super().__init__(f"{done} of {of} files are known")
        self.done, self.of = done, of


def datasets_panel(path: str) -> None:
    """The list of datasets and the form for a new one, folded away; open while there is neither a list nor a ``path``.

    What the page opened by itself it folds away again once a dataset is named, unless the form has been begun.
    """
    root = checkpoints_root()
    try:
        listed = bool(datasets.known(root))
    except EavdashError:
        listed = True  # the field for the dataset has said what is wrong
    key, itself = f"{add_dataset.PAGE}_open", f"{add_dataset.PAGE}_opened_itself"
    if key not in st.session_state:
        st.session_state[key] = st.session_state[itself] = not listed and not path
    if path and st.session_state.get(itself):
        st.session_state[key] = add_dataset.has_input()
        st.session_state[itself] = False
    panel = st.expander("Add or remove a dataset", key=key, on_change="rerun")
    if panel.open:
        with panel:
            add_dataset.form(root, f"{PAGE}_path")


def scan_with_progress(path: str) -> HealthReport:
    """The report of a dataset, with a progress bar while its files are looked at.

    Where more than ``widgets.CHECK_AT_ONCE`` files would have to be opened (those known from an earlier scan are not),
    that is asked for first. Such a scan can be stopped; what it has seen is kept, and the next one goes on there.
    """
    if (there := cached_data.cached_health_report(path)) is not None:
        return there
    go, seen = f"{PAGE}_go {path}", f"{PAGE}_seen {path}"
    # Two places with one element each, and one button for start and stop: nothing lingers beside what has replaced it.
    above, below = st.empty(), st.empty()
    bar = above.progress(0.0, "Looking at the recordings")
    if st.session_state.get(go):
        below.button("Stop", key=f"{PAGE}_start", on_click=_set_requested, args=(go, False))
    told = 0.0

    def progress(done: int, of: int) -> None:
        nonlocal told
        if not told and not st.session_state.get(go) and of - done > widgets.CHECK_AT_ONCE:
            raise _ManyFilesError(done, of)
        if told and done < of and time.monotonic() - told < BLINK:
            return
        told = time.monotonic()
        st.session_state[seen] = True
        text = f"Looking at the recordings: {done:,} of {of:,} files" if done < of else "Comparing the recordings"
        bar.progress(done / max(1, of), text)

    try:
        report = cached_data.health_report(path, progress)
    except _ManyFilesError as many:
        if st.session_state.get(seen):
            above.info(f"The check was stopped: {many.done:,} of {many.of:,} files are known. It goes on from there.")
        else:
            above.info(f"{many.of:,} files: opening every one takes some minutes the first time.")
        label = "Go on" if st.session_state.get(seen) else "Check them"
        below.button(label, type="primary", key=f"{PAGE}_start", on_click=_set_requested, args=(go, True))
        st.stop()
    above.empty()
    below.empty()
    st.session_state.pop(seen, None)
    return report


def summary(path: str, report: HealthReport) -> None:
    """Whether the dataset can be used, what that rests on, and the report as files."""
    count = tables.severities(report.findings)
    text = tables.summary_sentence(report) + (f" {count.capitalize()}." if count else "")
    worst = {f.severity for f in report.findings}
    show = st.error if "error" in worst else st.warning if "warning" in worst else st.success
    show(text)
    looked = f"{theme.plural(report.scanned, 'file')} looked at now"
    known = f"{report.reused:,} unchanged since an earlier check"
    st.caption(f"{theme.plural(len(report.recordings), 'recording')}; {looked}, {known}.")
    with st.container(horizontal=True):
        st.button(
            "Check again",
            help="Only files that have changed are opened.",
            on_click=cached_data.forget_health_report,
            args=(path,),
            key=f"{PAGE}_again",
        )
        for name, make, file, mime in (
            ("Findings (CSV)", tables.findings_csv, "findings.csv", "text/csv"),
            ("Recordings (CSV)", tables.recordings_csv, "recordings.csv", "text/csv"),
            ("Whole report (JSON)", tables.report_json, "health.json", "application/json"),
        ):
            # Made when it is clicked: the table of a full-size dataset is some megabytes.
            st.download_button(
                name,
                lambda make=make: make(report),
                file,
                mime,
                key=f"{PAGE}_export_{file.replace('.', '_')}",
                on_click="ignore",
            )


def findings(found: Sequence[Finding]) -> None:
    """The findings of the chosen severities, the first spelled out with their remedies, all of them as a table."""
    st.subheader("Findings", anchor=False)
    if not found:
        st.caption("Nothing was found.")
        return
    there = [s for s in tables.SEVERITIES if any(f.severity == s for f in found)]
    names = {s: theme.plural(sum(f.severity == s for f in found), tables.SEVERITIES[s]).capitalize() for s in there}
    key = f"{PAGE}_severity"
    if st.session_state.get(f"{key}_of") != there:
        # Another report: errors and warnings, or the notes where there is nothing else.
        st.session_state[f"{key}_of"] = there
        st.session_state[key] = [s for s in there if s != "info"] or there
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
        who = ", ".join(filter(None, [f.subject and f"subject {f.subject}", f.modality and theme.label(f.modality)]))
        badge = f":{tables.BADGES[f.severity]}-badge[{tables.SEVERITIES[f.severity]}]"
        head = f"{badge} **{widgets.escape_markdown(who)}:**" if who else badge
        remedy = f"  \n  *{widgets.escape_markdown(f.remedy)}*" if f.remedy else ""
        lines.append(f"- {head} {widgets.escape_markdown(f.message)}{remedy}")
    if lines:
        st.markdown("\n".join(lines))
    if len(rows) > FINDINGS_SHOWN:
        panel = st.expander(f"All {len(rows):,} as a table", key=f"{PAGE}_findings_open", on_change="rerun")
        if panel.open:
            panel.dataframe(tables.findings_table(rows), hide_index=True, key=f"{PAGE}_findings")


def subject_counts(report: HealthReport) -> None:
    """Subjects by modalities: what there is and what is missing."""
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
    gaps = "missing: trials that should have one and do not" if missing else "none that should be there is missing"
    st.caption(f"Trials with a usable recording of each modality; {gaps}. Complete: trials with all of theirs.")


def distributions(report: HealthReport) -> None:
    """Label balance, durations, faces."""
    of = "Speaking trials" if report.kind == "eav" else "Trials"
    shown = [
        (f"{of} per label", f"{PAGE}_labels", f"{of} per label, stacked over subjects.")
        if not report.labels.empty
        else None,
        ("Durations", f"{PAGE}_durations", "Middle duration per subject and modality, from shortest to longest.")
        if report.recordings["duration"].notna().any()
        else None,
        ("Faces found", f"{PAGE}_faces", "Share of the searched frames of each subject in which a face was found.")
        if (report.recordings["faces_looked"] > 0).any()
        else None,
    ]
    made = {
        f"{PAGE}_labels": lambda: figures.label_balance(report.labels),
        f"{PAGE}_durations": lambda: figures.durations(report.recordings),
        f"{PAGE}_faces": lambda: figures.faces(report.recordings),
    }
    drawn = [item for item in shown if item]
    for place, (title, key, alt) in zip(st.columns(max(1, len(drawn))), drawn, strict=False):
        with place:
            st.subheader(title, anchor=False)
            widgets.chart(made[key](), key, alt)


def recordings(report: HealthReport) -> None:
    """Every recording with its measures, a modality at a time."""
    if report.recordings.empty:
        return
    panel = st.expander("Recordings and what was measured of them", key=f"{PAGE}_recordings_open", on_change="rerun")
    if not panel.open:
        return
    with panel:
        there = [m for m in MODALITIES if (report.recordings["modality"] == m).any()]
        left, right = st.columns(2)
        modality = left.segmented_control(
            "Modality",
            there,
            default=there[0],
            format_func=theme.label,
            required=True,
            key=f"{PAGE}_recordings_modality",
        )
        names = list(dict.fromkeys(report.recordings["subject"]))
        subject = right.selectbox(
            "Subject",
            names,
            index=None,
            placeholder="All",
            key=f"{PAGE}_recordings_subject",
            format_func=tables.displayable,
        )
        table = tables.recordings_table(report.recordings, str(modality), subject or "")
        st.dataframe(table, hide_index=True, column_config=PINNED, key=f"{PAGE}_recordings")
        st.caption(f"{theme.plural(len(table), 'recording')}. Measures are of the trial's stretch of the file.")


def protocol_folds(report: HealthReport) -> None:
    """What each protocol would leave for train, validation and test."""
    if report.outlook.empty:
        return
    st.subheader("What a protocol would leave", anchor=False)
    st.dataframe(tables.outlook_table(report.outlook), hide_index=True, key=f"{PAGE}_outlook")
    widgets.bullet_list(tables.outlook_problems(report.outlook))
    names = list(dict.fromkeys(report.outlook["protocol"][report.outlook["fold"] >= 0]))
    if not names:
        return
    panel = st.expander("Fold by fold", key=f"{PAGE}_folds_open", on_change="rerun")
    if panel.open:
        with panel:
            protocol = st.segmented_control(
                "Protocol", names, default=names[0], required=True, key=f"{PAGE}_folds_protocol"
            )
            st.dataframe(tables.folds_table(report.outlook, str(protocol)), hide_index=True, key=f"{PAGE}_folds")


def _set_requested(key: str, wanted: bool) -> None:
    """Callback: whether something is asked for."""
    st.session_state[key] = wanted
