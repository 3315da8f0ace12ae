"""Details of the selected runs: curves of several runs; of a single one also its state, usage and log.

In: rows of the queue's snapshot. The runs' files are read each time; slow results come from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from eavdash.errors import EavdashError
from eavdash.report.figures import training as figures
from eavdash.store import RunDir, StudyDir
from eavdash.store.regular import BOUND, read_end
from eavdash.store.status import RunStatus
from eavdash.text import markdown, plural, size, with_stop
from eavdash.ui import actions, cached_runs, choosing, widgets
from eavdash.ui.training import logs

PAGE = "training_monitor"
OVERLAID = 12  # maximum number of runs in a chart


def show_runs(study: StudyDir, table: pd.DataFrame, tested: Mapping[tuple[str, int], int]) -> None:
    """Show the selected runs (rows of the snapshot); ``tested``: number of test trials by subject and fold."""
    rows = table.to_dict("records")
    if len(rows) == 1:
        show_run(study, rows[0], tested)
    elif rows:
        show_curves(study, rows)


def show_curves(study: StudyDir, rows: list[dict[Any, Any]]) -> None:
    """Show the curves of several runs in one chart."""
    st.subheader(f"{len(rows)} runs", anchor=False)
    labels = {"validation": "Validation", "training": "Training"}
    split = choosing.segments("Curves of", list(labels), f"{PAGE}_split", labels.__getitem__)
    drawn = {figures.short_name(row): (str(row["stage"]), study.run(row["run"]).metrics()) for row in rows[:OVERLAID]}
    prefix = "validation_" if split == "validation" else ""
    for column, quantity in zip(st.columns(2), ("loss", "accuracy"), strict=True):
        with column:
            chart = figures.overlaid_curves(drawn, prefix + quantity)
            widgets.chart(chart, f"{PAGE}_all_{quantity}", f"{quantity} per epoch ({split}) of {', '.join(drawn)}")
    missing = [name for name, (_, metrics) in drawn.items() if not any(f"{prefix}loss" in m for m in metrics)]
    if missing:
        st.caption(markdown(f"No {split} curve yet: {', '.join(missing)}."))
    if len(rows) > OVERLAID:
        st.caption(f"The charts show the first {OVERLAID} runs.")


def show_run(study: StudyDir, row: Mapping[Any, Any], tested: Mapping[tuple[str, int], int]) -> None:
    """Show one run: its state and reason, curves, resource usage, earlier attempts and log."""
    run, stage = study.run(row["run"]), str(row["stage"])
    st.subheader(markdown(figures.short_name(row)), anchor=False)
    st.markdown(figures.run_summary(row, tested.get((row["subject"], row["fold"]), 0)))
    try:
        status = run.status()
    except EavdashError:
        status = RunStatus(state="failed")  # the reason is in its row
    if row["shown"] in ("done", "damaged"):
        show_damage(study, run)
    elif row["shown"] == "failed" and (problem := run.unreadable()):
        st.error(markdown(problem))
    else:
        show_reason(row, status.unusable)
    if usage := usage_sentence(row):
        st.caption(markdown(usage))
    metrics = run.metrics()
    for column, quantity in zip(st.columns(2), ("loss", "accuracy"), strict=True) if metrics else ():
        with column:
            chart = figures.curves(metrics, quantity, stage)
            widgets.chart(chart, f"{PAGE}_{quantity}", f"{quantity} per epoch, training and validation")
    if history := status.history:
        with st.expander(f"Attempts that have ended ({len(history)})", key=f"{PAGE}_history"):
            st.dataframe(figures.attempt_table(history), hide_index=True, key=f"{PAGE}_attempts")
    show_log(run, expanded=row["shown"] in ("failed", "not responding"))


def show_reason(row: Mapping[Any, Any], unusable: bool) -> None:
    """Show the reason of a run's state, and the remedy."""
    text = " ".join(filter(None, (with_stop(str(row["reason"])), remedy(row, unusable))))
    if text:
        (st.error if row["shown"] in ("failed", "not responding") else st.info)(markdown(text))


def remedy(row: Mapping[Any, Any], unusable: bool) -> str:
    """Return what to do about a run that does not continue by itself; empty if nothing needs to be done."""
    epoch = int(row["epoch"])
    continues = f"it resumes after epoch {epoch}" if epoch else "it starts over"
    if row["shown"] == "failed" and unusable:
        return "Fix these recordings, then press Retry: they are checked again."
    if row["shown"] == "failed":
        return f"Fix the cause, then press Retry: {continues}."
    if row["shown"] == "cancelled":
        return f"Press Retry to queue it again: {continues}."
    if row["shown"] == "blocked" and row["ended"]:
        return "Press Retry to queue it again with the runs that it needs."
    return ""


def show_damage(study: StudyDir, run: RunDir) -> None:
    """Show the damaged files of a finished run, and a button to train it again."""
    if problems := cached_runs.damaged_files(run):
        for problem in problems:
            st.error(markdown(problem))
        st.button(
            "Train again",
            help="Starts over from the first epoch and writes these files again.",
            on_click=actions.retry,
            args=(study, [run.name]),
            key=f"{PAGE}_train_again",
        )


def usage_sentence(row: Mapping[Any, Any]) -> str:
    """Return a sentence about a run's resource usage."""
    usage = [f"{row['cpu']:.0f} % of a core"] if pd.notna(row["cpu"]) else []
    if pd.notna(row["memory"]):
        usage.append(f"{size(int(row['memory']))} of memory")
    if pd.notna(row["peak"]):
        usage.append(f"{size(int(row['peak']))}{'' if usage else ' of memory'} at most")
    if pd.notna(row["gpu"]):
        usage.append(f"{row['gpu']:.0f} % of a GPU")
    if pd.notna(row["gpu_memory"]):
        usage.append(f"{size(int(row['gpu_memory']))} of its memory")
    where = f"Computed on {row['host']} ({row['executor']})" if row["host"] else ""
    return with_stop(": ".join(filter(None, (where, ", ".join(usage)))))


def show_log(run: RunDir, expanded: bool) -> None:
    """Show the last lines of a run's log, a search, and a download."""
    with st.expander("Log", expanded=expanded, key=f"{PAGE}_log"):
        if not run.log_file.is_file():
            st.caption("The log is not a file." if run.log_file.exists() else "The log is empty.")
            return
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        text = left.text_input("Search in the log", placeholder="warning", key=f"{PAGE}_log_search").strip()
        right.download_button(
            "Download",
            help=f"At most the last {size(BOUND)}.",
            data=lambda: read_end(run.log_file)[0],
            file_name=f"{run.study.name}-{run.name}-log.txt",
            mime="text/plain",
            on_click="ignore",
            width="stretch",
            key=f"{PAGE}_log_download",
        )
        if not text:
            st.code(logs.tail(run.log_file) or "The log is empty.", language=None)
            st.caption(f"The last {logs.TAIL} lines.")
            return
        found = cached_runs.search_log(run, text)
        if found.lines:
            st.code("\n".join(found.lines), language=None, height=400 if len(found.lines) > 20 else "content")
        where = "" if found.whole else f" in the last {size(BOUND)}"
        more = f"; the last {len(found.lines)} are shown" if found.count > len(found.lines) else ""
        st.caption(markdown(f"{plural(found.count, 'line')} with “{text}”{where}{more}."))
