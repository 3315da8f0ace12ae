"""Figures and tables of runs at work: the grid subject x stage, and a run's curves.

In: the queue's snapshot (one row per run) or the lines of a run's metrics.jsonl.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eavdash.config import STAGES
from eavdash.results.tables import natural
from eavdash.ui import theme


def grid(snapshot: pd.DataFrame, tested: Mapping[tuple[str, int], int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Subjects (x folds x seeds, where there are several) x stages, as texts and as names of runs.

    ``tested``: number of test trials by subject and fold, shown beside an accuracy. The texts' first column says which
    subject, fold and seed a row is; the names' frame has the same rows and only the stages.
    """
    folds, seeds = snapshot["fold"].nunique() > 1, snapshot["seed"].nunique() > 1
    units = {u: i for i, u in enumerate(natural(snapshot["unit"]))}
    rows = snapshot.assign(order=snapshot["unit"].map(units)).sort_values(["order", "fold", "seed"], kind="stable")
    stages = [s for s in STAGES if s in set(rows["stage"])]
    texts: dict[tuple[Any, ...], dict[str, str]] = {}
    names: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows.to_dict("records"):
        key = (row["unit"], row["fold"], row["seed"])
        if key not in texts:
            who = f"subject {row['subject']}" if row["subject"] else "all subjects"
            who += (f", fold {row['fold']}" if folds else "") + (f", seed {row['seed']}" if seeds else "")
            texts[key] = {"run of": who, **dict.fromkeys(stages, "–")}
            names[key] = dict.fromkeys(stages, "")
        texts[key][row["stage"]] = cell(row, tested.get((row["subject"], row["fold"]), 0))
        names[key][row["stage"]] = row["run"]
    table = pd.DataFrame(list(texts.values()), columns=["run of", *stages])
    return table, pd.DataFrame(list(names.values()), columns=stages)


def cell(row: Mapping[Any, Any], tested: int) -> str:
    """One run (a row of the snapshot) in a few words: its state, how far it is, and its accuracy with n."""
    shown = str(row["shown"])
    if shown == "done" and pd.notna(row["accuracy"]):
        return f"done {theme.percent(row['accuracy'])}" + (f" (n = {tested})" if tested else "")
    if shown in ("running", "not responding") and row["epochs"]:
        return f"{shown} {int(row['epoch'])}/{int(row['epochs'])}"
    return shown


def styled(table: pd.DataFrame) -> Any:
    """The grid's texts, each in its state's colour (the state is written out as well)."""

    def paint(text: Any) -> str:
        state = next((s for s in theme.STATE_COLOURS if str(text).startswith(s)), "")
        return f"color: {theme.STATE_COLOURS[state]}; font-weight: 600" if state else ""

    return table.rename(columns={s: theme.label(s) for s in table.columns}).style.map(paint)


def tally(snapshot: pd.DataFrame) -> str:
    """``12 runs: 9 done, 2 running, 1 queued``."""
    counts = snapshot["shown"].value_counts()
    parts = [f"{counts[state]} {state}" for state in theme.STATE_COLOURS if state in counts]
    return f"{len(snapshot)} run{'s' * (len(snapshot) != 1)}: " + ", ".join(parts)


def described(row: Mapping[str, Any], tested: int) -> str:
    """One run's state in a line; ``tested``: its number of test trials."""
    parts = [f"**{row['shown']}**"]
    if row["epochs"]:
        parts.append(f"epoch {row['epoch']} of {row['epochs']}")
    if pd.notna(row["accuracy"]):
        parts.append(f"accuracy {theme.percent(row['accuracy'], 1)} (n = {tested} test trials)")
    if row["attempt"] > 1:
        parts.append(f"attempt {row['attempt']}")
    if pd.notna(row["started"]) and pd.notna(row["finished"]) and row["finished"] > row["started"]:
        parts.append(f"{row['finished'] - row['started']:.0f} s")
    return ", ".join(parts)


def curves(metrics: Sequence[Mapping[str, Any]], quantity: str, stage: str) -> go.Figure:
    """``loss`` or ``accuracy`` per epoch: training in grey, validation in the stage's colour."""
    fig = theme.figure(280)
    scale = 100 if quantity == "accuracy" else 1
    for key, name, shade, dash in (
        (quantity, "training", theme.GREY, "dot"),
        (f"validation_{quantity}", "validation", theme.colour(stage), "solid"),
    ):
        points = [(m["epoch"], m[key] * scale) for m in metrics if m.get(key) is not None]
        if points:
            x, y = zip(*points, strict=True)
            fig.add_trace(
                go.Scatter(
                    x=x, y=y, name=name, mode="lines+markers", line={"color": shade, "dash": dash}, marker_size=4
                )
            )
    fig.update_xaxes(title="Epoch", rangemode="tozero")
    fig.update_yaxes(title="Accuracy, %" if quantity == "accuracy" else "Loss", rangemode="tozero")
    return fig
