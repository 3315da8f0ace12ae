"""Tables and figures of the results: accuracy per subject and stage, averages, confusion.

In: tables of ``eavdash.results``. Accuracies are fractions and are shown in per cent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.metrics import METRICS
from eavdash.results.scored import STAGE_RANK
from eavdash.results.tables import attention_columns, summarise
from eavdash.text import natural_order

AVERAGE = "average"
CORRECTED_HELP = (
    "Of many bars that only guess, about 5 % exceed an uncorrected chance line. The corrected line is exceeded by any "
    "of "
    "them in 5 % of studies (Bonferroni)."
)


def score_table(
    scores: pd.DataFrame, metric: str = "accuracy", subjects: Sequence[str] = (), holes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return subjects x stages with texts ``63 % (n = 20)`` and a last row of mean ± standard deviation.

    ``subjects``: the rows in this order, otherwise all. ``holes``: what is missing, shown by its state.
    """
    if subjects:
        scores = scores[scores["subject"].isin(subjects)]
    stages = stages_of(scores)
    text = [f"{theme.percent(a)} (n = {n})" for a, n in zip(scores[metric], scores["n"], strict=True)]
    cells = dict(zip(zip(scores["subject"], scores["stage"], strict=True), text, strict=True))
    for row in holes.to_dict("records") if holes is not None else ():
        key = row["subject"], row["stage"]
        part = f", {row['done']} of {row['planned']} runs" if key in cells else row["state"]
        cells[key] = cells.get(key, "") + part
    names = [*subjects] or natural_order(scores["subject"])
    wide = pd.DataFrame({stage: [cells.get((name, stage), "–") for name in names] for stage in stages}, index=[*names])
    wide.index.name = "subject"
    mean = {row["stage"]: row for row in averages(scores, metric).to_dict("records")}
    if mean:
        wide.loc[AVERAGE] = [_average(mean[s], metric) if s in mean else "–" for s in stages]
    return wide.reset_index().rename(columns={s: theme.label(s) for s in stages}).rename_axis(columns=None)


def averages(scores: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """Return ``summarise`` for the stages with scores of several subjects."""
    mean = summarise(scores, metric)
    return mean[mean["subjects"] > 1]


def column_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return values x stages with texts ``63 ± 8 % (n = 120)``, from scores split by a column."""
    column = str(scores.columns[3])  # after study, subject and stage
    stages = stages_of(scores)
    rows = []
    for value in natural_order(scores[column]):
        row = {column: value}
        for stage in stages:
            cell = scores.loc[(scores[column] == value) & (scores["stage"] == stage), ["accuracy", "n"]]
            spread = f" ± {100 * cell['accuracy'].std():.0f}" if len(cell) > 1 else ""
            text = f"{100 * cell['accuracy'].mean():.0f}{spread} % (n = {int(cell['n'].sum())})"
            row[theme.label(stage)] = text if len(cell) else "–"
        rows.append(row)
    return pd.DataFrame(rows, columns=[column, *map(theme.label, stages)])


def legend_note(level: str, independent: pd.DataFrame, metric: str = "accuracy") -> str:
    """Return the legend of :func:`subject_bars` at a level, in a metric."""
    counts = sorted(set(independent["n"]))
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    note = f"n = {n} test trials per subject and stage. "
    if metric != "accuracy":
        several = " The whisker of the average: ± 1 standard deviation over subjects."
        return (
            f"{note}Intervals of one subject, the chance line and time-only belong to accuracy and are not drawn for "
            f"{METRICS[metric]}.{several if independent['subject'].nunique() > 1 else ''}"
        )
    note += "Whiskers: 95 % Wilson interval"
    note += "; of the average, ± 1 standard deviation over subjects" if independent["subject"].nunique() > 1 else ""
    note += (
        ". Dashed line: accuracies above it are better than guessing at the 5 % level; open mark: guessing from the "
        "trial's "
        "position alone. Trials of one group that are decided alike count as fewer"
    )
    if level != "trial":
        note += f"; {level}s of one trial never count as independent"
    return f"{note}."


def clicked_subject(points: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the subject of a clicked point; None for the average."""
    for point in points:
        name = str((point.get("customdata") or [point.get("x")])[0])
        if name != AVERAGE:
            return name
    return None


def clicked_run(points: Sequence[Mapping[str, Any]]) -> str:
    """Return the run of a clicked hole; empty for anything else."""
    return next((str(p["customdata"][4]) for p in points if len(p.get("customdata") or ()) > 4), "")


def trial_table(trials: pd.DataFrame, subject: str) -> pd.DataFrame:
    """Return a subject's test trials with predictions by stage and attention shares in per cent.

    One row per trial, and per fold and seed if there are several.
    """
    mine = trials[trials["subject"] == subject]
    extra = [c for c in ("fold", "seed") if trials[c].nunique() > 1]
    keys = ["trial", *extra, "label"]
    stages = stages_of(mine)
    wide = mine.pivot(index=keys, columns="stage", values="predicted")[stages].rename(columns=theme.label)
    for column in attention_columns(mine):
        share = mine[mine["stage"] == "fusion"].set_index(keys)[column]
        wide[f"attention {theme.label(column.removeprefix('attention_'))}, %"] = (100 * share).round(0)
    wide = wide.rename_axis(columns=None).reset_index()
    rank = {name: position for position, name in enumerate(natural_order(wide["trial"].tolist()))}
    return wide.sort_values("trial", key=lambda c: c.map(rank), kind="stable").reset_index(drop=True)


def confusion_matrix(counts: pd.DataFrame, stage: str) -> go.Figure:
    """Draw labels against predictions: each row's share as colour, share and count as text."""
    values = counts.to_numpy(float)
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    text = [
        [f"{100 * s:.0f} %\n{int(c)}" for s, c in zip(*row, strict=True)] for row in zip(share, values, strict=True)
    ]
    x = {"title": "Predicted", "type": "category", "showgrid": False}
    y = {"title": "Label", "type": "category", "showgrid": False, "autorange": "reversed"}
    fig = theme.figure(340, x, y)
    fig.add_trace(
        go.Heatmap(
            z=100 * share,
            x=[str(c) for c in counts.columns],
            y=[str(c) for c in counts.index],
            text=text,
            texttemplate="%{text}",
            zmin=0,
            zmax=100,
            # Opaque, also in the dark theme: Plotly chooses the text's colour by that of the cell.
            colorscale=[[0, "#f2f2f2"], [1, theme.colour(stage)]],
            showscale=False,
            hovertemplate="%{y} predicted as %{x}: %{text}<extra></extra>",
        )
    )
    return fig


def stages_of(rows: pd.DataFrame) -> list[str]:
    """Return the stages of a table in the order in which they are shown."""
    return sorted(rows["stage"].unique(), key=lambda stage: STAGE_RANK.get(stage, len(STAGE_RANK)))


def _average(row: Mapping[Hashable, Any], metric: str) -> str:
    spread = "" if row["sd"] != row["sd"] else f" ± {100 * row['sd']:.0f}"
    return f"{100 * row[metric]:.0f}{spread} % ({int(row['subjects'])} subjects)"
