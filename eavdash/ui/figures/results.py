"""Figures of the results: accuracy per subject and stage, its average, confusion, paired comparison.

In: tables of ``eavdash.results``. Accuracies are fractions and are drawn in per cent.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.results.statistics import Comparison, chance_line, wilson
from eavdash.results.tables import attention_columns, natural, summarise
from eavdash.ui import theme

AVERAGE = "average"


def subject_bars(
    scores: pd.DataFrame,
    independent: pd.DataFrame,
    classes: int,
    majority: Mapping[str, float],
    paper: pd.DataFrame | None = None,
    subjects: Sequence[str] = (),
) -> go.Figure:
    """Grouped bars per subject and stage, then the average over subjects, where there are several.

    ``scores``: of ``tables.scores`` at any level. ``independent``: the same at level trial; its n sets the Wilson
    intervals and the chance line, because windows and frames of one trial are no independent items. ``paper``: Table I,
    drawn hollow. ``majority``: by subject, the share of its most frequent label. ``subjects``: those to draw, in that
    order. A bar's customdata: subject, stage, n, lower and upper end of the interval.
    """
    shown = scores[scores["subject"].isin(subjects)] if subjects else scores
    stages = list(dict.fromkeys(scores.sort_values("stage", key=_stage_rank)["stage"]))
    trials = {(r["subject"], r["stage"]): int(r["n"]) for r in independent.to_dict("records")}
    order = [*subjects] or natural(shown["subject"].tolist())
    fig = theme.figure(440, barmode="group", bargap=0.22, bargroupgap=0.04)
    mean = averages(shown)
    for stage in stages:
        fig.add_trace(_bars(stage, shown[shown["stage"] == stage], trials, mean))
    if paper is not None:
        for stage in [s for s in stages if s in set(paper["stage"])]:
            fig.add_trace(_hollow(stage, paper[(paper["stage"] == stage) & paper["subject"].isin(order)]))
    _add_chance(fig, order, trials, classes, majority)
    fig.update_yaxes(title="Accuracy, %", range=[0, 105], tickvals=[0, 20, 40, 60, 80, 100])
    fig.update_xaxes(
        title="Subject", type="category", categoryorder="array", categoryarray=[*order, *[AVERAGE] * (len(mean) > 0)]
    )
    return fig


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Subjects x stages of texts ``63 % (n = 20)``, with a last row of mean ± standard deviation over several."""
    stages = list(dict.fromkeys(scores.sort_values("stage", key=_stage_rank)["stage"]))
    text = [f"{theme.percent(a)} (n = {n})" for a, n in zip(scores["accuracy"], scores["n"], strict=True)]
    wide = scores.assign(text=text).pivot(index="subject", columns="stage", values="text")
    wide = wide.reindex(index=natural(scores["subject"]), columns=stages).fillna("–")
    mean = {row["stage"]: row for row in averages(scores).to_dict("records")}
    if mean:
        wide.loc[AVERAGE] = [_average(mean[s]) if s in mean else "–" for s in stages]
    return wide.reset_index().rename(columns={s: theme.label(s) for s in stages}).rename_axis(columns=None)


def averages(scores: pd.DataFrame) -> pd.DataFrame:
    """``summarise`` for the stages that several subjects were scored in: one subject is no average."""
    mean = summarise(scores)
    return mean[mean["subjects"] > 1]


def kinds_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Kinds of trials x stages of texts ``63 ± 8 % (n = 120)``, of scores that are split by a column."""
    kind = str(scores.columns[3])  # after study, subject and stage
    stages = list(dict.fromkeys(scores.sort_values("stage", key=_stage_rank)["stage"]))
    rows = []
    for value in natural(scores[kind]):
        row = {kind: value}
        for stage in stages:
            of = scores.loc[(scores[kind] == value) & (scores["stage"] == stage), ["accuracy", "n"]]
            spread = f" ± {100 * of['accuracy'].std():.0f}" if len(of) > 1 else ""
            text = f"{100 * of['accuracy'].mean():.0f}{spread} % (n = {int(of['n'].sum())})"
            row[theme.label(stage)] = text if len(of) else "–"
        rows.append(row)
    return pd.DataFrame(rows, columns=[kind, *map(theme.label, stages)])


def order(scores: pd.DataFrame, by: str, subjects: Sequence[str] = ()) -> list[str]:
    """Subjects (all, or those asked for) in natural order, or from the best to the worst in a stage."""
    names = natural(subjects or scores["subject"].tolist())
    if by == "subject":
        return names
    best = {r["subject"]: r["accuracy"] for r in scores[scores["stage"] == by].to_dict("records")}
    return sorted(names, key=lambda s: -best.get(s, -1.0))


def legend_note(level: str, independent: pd.DataFrame) -> str:
    """What the marks of :func:`subject_bars` mean at a level."""
    counts = sorted(set(independent["n"]))
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    note = f"n = {n} test trials per subject and stage. Whiskers: 95 % Wilson interval"
    note += "; of the average, ± 1 standard deviation over subjects" if independent["subject"].nunique() > 1 else ""
    note += ". Grey line: an accuracy must exceed it before guessing is rejected at 5 %."
    if level != "trial":
        note += f" Both are computed from the number of trials, because {level}s of one trial are not independent."
    return note


def clicked_subject(points: Sequence[Mapping[str, Any]]) -> str | None:
    """The subject of a clicked bar; None for the average."""
    return next((str(p["x"]) for p in points if str(p.get("x")) != AVERAGE), None)


def trials_view(trials: pd.DataFrame, subject: str) -> pd.DataFrame:
    """A subject's test trials, one row each (per fold and seed, where there are several): predictions by stage and
    attention shares in per cent."""
    mine = trials[trials["subject"] == subject]
    extra = [c for c in ("fold", "seed") if trials[c].nunique() > 1]
    keys = ["trial", *extra, "label"]
    stages = list(dict.fromkeys(mine.sort_values("stage", key=_stage_rank)["stage"]))
    wide = mine.pivot(index=keys, columns="stage", values="predicted")[stages].rename(columns=theme.label)
    for column in attention_columns(mine):
        share = mine[mine["stage"] == "fusion"].set_index(keys)[column]
        wide[f"attention {theme.label(column.removeprefix('attention_'))}, %"] = (100 * share).round(0)
    wide = wide.rename_axis(columns=None).reset_index()
    rank = {name: place for place, name in enumerate(natural(wide["trial"].tolist()))}
    return wide.sort_values("trial", key=lambda c: c.map(rank), kind="stable").reset_index(drop=True)


METHOD_NOTE = (
    "Differences are fusion minus the other, over the same subjects. p: two-sided Wilcoxon signed-rank test, corrected "
    "by Holm over the rows. Effect: rank-biserial correlation, from -1 to 1. The best modality is chosen by the same "
    "test scores, which favours it: a gain of fusion over it is conservative."
)


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """The comparisons as texts; "too few" where no test was made."""
    few = "too few"
    return pd.DataFrame(
        {
            "fusion against": [theme.label(c.b) for c in comparisons],
            "subjects": [c.subjects for c in comparisons],
            "fusion": [theme.percent(c.mean_a, 1) for c in comparisons],
            "other": [theme.percent(c.mean_b, 1) for c in comparisons],
            "difference": [f"{100 * c.difference:+.1f} points" for c in comparisons],
            "better / worse": [f"{c.better} / {c.worse}" for c in comparisons],
            "p (Holm)": [few if math.isnan(c.p_holm) else theme.p_value(c.p_holm) for c in comparisons],
            "effect": [few if math.isnan(c.effect) else f"{c.effect:+.2f}" for c in comparisons],
        }
    )


def sentence(c: Comparison) -> str:
    """The answer of a comparison that had enough subjects."""
    other = theme.label(c.b)
    how = f"{100 * c.difference:+.1f} points over {c.subjects} subjects, {theme.p_value(c.p_holm)} after Holm"
    if c.p_holm >= 0.05:
        return f"No difference between fusion and {other} can be told ({how})."
    return f"Fusion is {'better' if c.difference > 0 else 'worse'} than {other}, the best single modality ({how})."


def confusion(counts: pd.DataFrame, stage: str) -> go.Figure:
    """Label against prediction: each row's share as colour, share and count as text."""
    values = counts.to_numpy(float)
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    text = [
        [f"{100 * s:.0f} %<br>{int(c)}" for s, c in zip(*row, strict=True)] for row in zip(share, values, strict=True)
    ]
    fig = theme.figure(340)
    fig.add_trace(
        go.Heatmap(
            z=100 * share,
            x=[str(c) for c in counts.columns],
            y=[str(c) for c in counts.index],
            text=text,
            texttemplate="%{text}",
            zmin=0,
            zmax=100,
            # Opaque, in dark pages too: the text's colour is chosen by that of its cell.
            colorscale=[[0, "#f2f2f2"], [1, theme.colour(stage)]],
            showscale=False,
            hovertemplate="%{y} predicted as %{x}: %{text}<extra></extra>",
        )
    )
    fig.update_xaxes(title="Predicted", type="category", showgrid=False)
    fig.update_yaxes(title="Label", type="category", autorange="reversed", showgrid=False)
    return fig


def paired(scores: pd.DataFrame, a: str, b: str) -> go.Figure:
    """One line per subject from stage ``b`` to stage ``a``."""
    wide = scores.pivot(index="subject", columns="stage", values="accuracy")[[b, a]].dropna()
    fig = theme.figure(320, showlegend=False)
    pairs = {str(s): values.tolist() for s, values in zip(wide.index, wide.to_numpy(float), strict=True)}
    for subject in natural(pairs):
        fig.add_trace(
            go.Scatter(
                x=[theme.label(b), theme.label(a)],
                y=[100 * value for value in pairs[subject]],
                mode="lines+markers",
                line={"color": theme.GREY, "width": 1},
                marker={"color": [theme.colour(b), theme.colour(a)], "size": 9},
                hovertemplate=f"subject {subject}, %{{x}}: %{{y:.1f}} %<extra></extra>",
            )
        )
    fig.update_yaxes(title="Accuracy, %", range=[0, 105])
    return fig


def _bars(stage: str, rows: pd.DataFrame, trials: dict[tuple[str, str], int], mean: pd.DataFrame) -> go.Bar:
    names, values, up, down, custom = [], [], [], [], []
    for row in rows.to_dict("records"):
        n = trials.get((row["subject"], stage), 0)
        low, high = wilson(row["accuracy"] * n, n)
        names.append(row["subject"])
        values.append(row["accuracy"])
        up.append(high - row["accuracy"])
        down.append(row["accuracy"] - low)
        custom.append([row["subject"], stage, f"n = {row['n']}", f"95 % interval {100 * low:.0f}–{100 * high:.0f} %"])
    for row in mean[mean["stage"] == stage].to_dict("records"):
        spread = 0.0 if row["sd"] != row["sd"] else float(row["sd"])
        names.append(AVERAGE)
        values.append(float(row["accuracy"]))
        up.append(spread)
        down.append(spread)
        custom.append([AVERAGE, stage, f"{row['subjects']} subjects", f"± {100 * spread:.1f} (sd over subjects)"])
    return go.Bar(
        name=theme.label(stage),
        x=names,
        y=[100 * v for v in values],
        customdata=custom,
        offsetgroup=stage,
        marker={"color": theme.colour(stage)},
        error_y={
            "type": "data",
            "array": [100 * v for v in up],
            "arrayminus": [100 * v for v in down],
            "thickness": 1,
            "width": 2,
            "color": theme.GREY,
        },
        # A click dims the other bars a little instead of hiding them.
        unselected={"marker": {"opacity": 0.55}},
        hovertemplate=(
            f"subject %{{customdata[0]}}, {theme.label(stage)}: %{{y:.1f}} %, %{{customdata[2]}}"
            "<br>%{customdata[3]}<extra></extra>"
        ),
    )


def _hollow(stage: str, rows: pd.DataFrame) -> go.Bar:
    level = rows["level"].iloc[0] if len(rows) else ""
    return go.Bar(
        name=f"{theme.label(stage)}, paper",
        x=rows["subject"].tolist(),
        y=(100 * rows["accuracy"]).tolist(),
        offsetgroup=stage,
        marker={"color": "rgba(0,0,0,0)", "line": {"color": theme.GREY, "width": 1.5}},
        unselected={"marker": {"opacity": 1}},
        hovertemplate=f"paper, Table I: {theme.label(stage)} %{{y:.2f}} % per {level}<extra></extra>",
    )


def _add_chance(
    fig: go.Figure,
    order: Sequence[str],
    trials: Mapping[tuple[str, str], int],
    classes: int,
    majority: Mapping[str, float],
) -> None:
    """The chance line of each subject, for the fewest trials among its stages: n may differ between subjects."""
    lines: dict[str, float] = {}
    for subject in order:
        counts = [n for (who, _), n in trials.items() if who == subject]
        if counts:
            lines[subject] = 100 * chance_line(min(counts), classes, majority=majority.get(subject, 0.0))
    style = {"color": theme.GREY, "width": 2, "dash": "dash"}
    places = [(place, lines[subject]) for place, subject in enumerate(order) if subject in lines]
    # All at once: adding shapes one by one takes a third of a second for 42 subjects.
    fig.update_layout(
        shapes=[
            {"type": "line", "x0": place - 0.5, "x1": place + 0.5, "y0": y, "y1": y, "line": style}
            for place, y in places
        ]
    )
    fig.add_trace(
        go.Scatter(
            name="chance line, to be exceeded",
            x=list(lines),
            y=list(lines.values()),
            mode="markers",
            marker={"symbol": "line-ew", "size": 12, "line": {"color": theme.GREY, "width": 2}},
            hovertemplate="chance line: %{y:.1f} %<extra></extra>",
        )
    )


def _average(row: Mapping[Hashable, Any]) -> str:
    spread = "" if row["sd"] != row["sd"] else f" ± {100 * row['sd']:.0f}"
    return f"{100 * row['accuracy']:.0f}{spread} % ({int(row['subjects'])} subjects)"


def _stage_rank(column: pd.Series) -> pd.Series:
    return column.map({stage: place for place, stage in enumerate(theme.COLOURS)})
