"""The chosen runs on the page of runs: curves of several over each other; of one also why, where, and its log.

In: rows of the queue's snapshot. Read from the runs' own files each time; what takes long comes from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.errors import EavdashError
from eavdash.store import RunDir, StudyDir
from eavdash.studies.overview import size
from eavdash.ui import actions, cached_runs, widgets
from eavdash.ui.figures import training as figures
from eavdash.ui.training import logs

PAGE = "training_monitor"
OVERLAID = 12  # runs whose curves are drawn over each other


def show_runs(study: StudyDir, table: pd.DataFrame, tested: Mapping[tuple[str, int], int]) -> None:
    """Draw the chosen runs (rows of the snapshot); ``tested``: number of test trials by subject and fold."""
    rows = table.to_dict("records")
    if len(rows) == 1:
        show_run(study, rows[0], tested)
    elif rows:
        show_curves(study, rows)


def show_curves(study: StudyDir, rows: list[dict[Any, Any]]) -> None:
    """The curves of several runs over each other."""
    st.subheader(f"{len(rows)} runs", anchor=False)
    words = {"validation": "Validation", "training": "Training"}
    split = st.segmented_control(
        "Curves of", list(words), default="validation", format_func=words.get, key=f"{PAGE}_split", required=True
    )
    drawn = {figures.short_name(row): (str(row["stage"]), study.run(row["run"]).metrics()) for row in rows[:OVERLAID]}
    prefix = "validation_" if split == "validation" else ""
    for column, quantity in zip(st.columns(2), ("loss", "accuracy"), strict=True):
        with column:
            chart = figures.overlaid_curves(drawn, prefix + quantity)
            widgets.chart(chart, f"{PAGE}_all_{quantity}", f"{quantity} per epoch ({split}) of {', '.join(drawn)}")
    missing = [name for name, (_, metrics) in drawn.items() if not any(f"{prefix}loss" in m for m in metrics)]
    if missing:
        st.caption(widgets.escape_markdown(f"No {split} curve yet: {', '.join(missing)}."))
    if len(rows) > OVERLAID:
        st.caption(f"Curves of the first {OVERLAID} are drawn.")


def show_run(study: StudyDir, row: Mapping[Any, Any], tested: Mapping[tuple[str, int], int]) -> None:
    """One run: its state and why, its curves, what it uses, earlier attempts, its log."""
    run, stage = study.run(row["run"]), str(row["stage"])
    st.subheader(widgets.escape_markdown(figures.short_name(row)), anchor=False)
    st.markdown(figures.run_summary(row, tested.get((row["subject"], row["fold"]), 0)))
    try:
        status = run.status()
    except EavdashError:
        status = {}  # its row says so
    if row["shown"] in ("done", "damaged"):
        show_damage(study, run)
    elif row["shown"] == "failed" and (broken := run.unreadable()):
        st.error(widgets.escape_markdown(broken))
    else:
        show_reason(row, status)
    if used := usage_sentence(row):
        st.caption(widgets.escape_markdown(used))
    metrics = run.metrics()
    for column, quantity in zip(st.columns(2), ("loss", "accuracy"), strict=True) if metrics else ():
        with column:
            chart = figures.curves(metrics, quantity, stage)
            widgets.chart(chart, f"{PAGE}_{quantity}", f"{quantity} per epoch, training and validation")
    if history := status.get("history"):
        with st.expander(f"Attempts that are over ({len(history)})", key=f"{PAGE}_history"):
            st.dataframe(figures.attempt_table(history), hide_index=True, key=f"{PAGE}_attempts")
    show_log(run, expanded=row["shown"] in ("failed", "not responding"))


def show_reason(row: Mapping[Any, Any], status: Mapping[str, Any]) -> None:
    """The reason of a state, and what to do about it."""
    text = " ".join(filter(None, (str(row["reason"]), remedy(row, status))))
    if text:
        (st.error if row["shown"] in ("failed", "not responding") else st.info)(widgets.escape_markdown(text))


def remedy(row: Mapping[Any, Any], status: Mapping[str, Any]) -> str:
    """What a person can do about a run that does not go on by itself; empty if nothing is to be done."""
    epoch = int(row["epoch"])
    goes_on = f"it goes on after epoch {epoch}" if epoch else "it begins again"
    if row["shown"] == "failed" and status.get("unusable"):
        return "Mend these recordings, then press Retry: they are looked at again."
    if row["shown"] == "failed":
        return f"Mend the cause, then press Retry: {goes_on}."
    if row["shown"] == "cancelled":
        return f"Press Retry to queue it again: {goes_on}."
    if row["shown"] == "blocked" and row["ended"]:
        return "Press Retry to queue it again with the runs that it needs."
    return ""


def show_damage(study: StudyDir, run: RunDir) -> None:
    """The files of a finished run that are not what it wrote, and the way out."""
    if found := cached_runs.damaged_files(run):
        for problem in found:
            st.error(widgets.escape_markdown(problem))
        st.button(
            "Train again",
            help="Starts over from the first epoch and writes these files anew.",
            on_click=actions.retry,
            args=(study, [run.name]),
            key=f"{PAGE}_train_again",
        )


def usage_sentence(row: Mapping[Any, Any]) -> str:
    """What a run takes of its machine, in words."""
    said = [f"{row['cpu']:.0f} % of a core"] if pd.notna(row["cpu"]) else []
    if pd.notna(row["memory"]):
        said.append(f"{size(int(row['memory']))} of memory")
    if pd.notna(row["peak"]):
        said.append(f"{size(int(row['peak']))}{'' if said else ' of memory'} at most")
    if pd.notna(row["gpu"]):
        said.append(f"{row['gpu']:.0f} % of a GPU")
    if pd.notna(row["gpu_memory"]):
        said.append(f"{size(int(row['gpu_memory']))} of its memory")
    where = f"Computed on {row['host']} ({row['executor']})" if row["host"] else ""
    return ": ".join(filter(None, (where, ", ".join(said))))


def show_log(run: RunDir, expanded: bool) -> None:
    """The end of a run's log, the lines with a text in them, and the whole of it to keep."""
    with st.expander("Its log", expanded=expanded, key=f"{PAGE}_log"):
        if not run.log_file.exists():
            st.caption("The run has not written anything yet.")
            return
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        text = left.text_input("Search in the log", placeholder="warning", key=f"{PAGE}_log_search").strip()
        right.download_button(
            "Download",
            data=partial(run.log_file.read_bytes),
            file_name=f"{run.study.name}-{run.name}-log.txt",
            mime="text/plain",
            on_click="ignore",
            width="stretch",
            key=f"{PAGE}_log_download",
        )
        if not text:
            st.code(logs.tail(run.log_file) or "The run has not written anything yet.", language=None)
            st.caption(f"Its last {logs.TAIL} lines.")
            return
        found = cached_runs.search_log(run, text)
        if found.lines:
            st.code("\n".join(found.lines), language=None, height=400 if len(found.lines) > 20 else "content")
        where = "" if found.whole else f" in the last {size(logs.BOUND)}"
        more = f"; the last {len(found.lines)} are shown" if found.count > len(found.lines) else ""
        st.caption(widgets.escape_markdown(f"{found.count} line{'s' * (found.count != 1)} with “{text}”{where}{more}."))
