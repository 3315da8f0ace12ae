"""Figures of attention shares beside Shapley values and attributions.

In: tables of ``eavdash.results.agreement``. Out: Plotly figures. A modality has its colour, a measure its symbol.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.config.choices import MODALITIES
from eavdash.report import theme
from eavdash.report.figures.agreement_words import MEASURE_LABELS, interval_text, question_label, sample_text
from eavdash.results.agreement import CONFIDENCES, MEASURES
from eavdash.text import natural_order, shortened

SYMBOLS = {"attention": "circle", "shapley": "diamond-open", "attribution": "x-thin-open"}
GAP = 0.06  # between panels
MANY = 12  # rows from which on they are closer together
LONGEST = 24  # characters of a group's name beside its row
DRAWN = 600  # decisions in a scatter plot, three points each; more would hide one another


def group_order(means: pd.DataFrame, by: str, sort: str = "") -> list[str]:
    """Return the groups of ``agreement.mean_shares`` in the order in which they are drawn.

    ``sort``: a modality, the largest Shapley (or first measure's) share first; "difference", the largest between
    attention and Shapley first; empty for natural order.
    """
    names = list(natural_order(means["group"].astype(str)))
    if by == "confidence":
        return [c for c in CONFIDENCES if c in names]
    if not sort:
        return names
    wide = means.pivot(index="group", columns=["measure", "modality"], values="share")
    if sort == "difference":
        gaps = pd.DataFrame(wide["attention"]) - pd.DataFrame(wide["shapley"])
        rank = gaps.abs().max(axis=1)
    else:
        rank = wide[("shapley" if "shapley" in wide else wide.columns[0][0], sort)]
    rank = rank.fillna(-1.0)
    return sorted(names, key=lambda name: -float(rank[name]))


def share_dots(means: pd.DataFrame, order: Sequence[str]) -> go.Figure:
    """Draw a panel per modality with a row per group and a dot per measure; a line joins attention and Shapley.

    ``means``: of ``agreement.mean_shares``; ``order``: its groups from top to bottom.
    """
    modalities = [m for m in MODALITIES if m in set(means["modality"])]
    counts = means.groupby("group")["n"].max()
    names = [shortened(g, LONGEST) + ("" if counts.nunique() == 1 else f" (n = {counts[g]})") for g in order]
    rows = list(range(len(order)))
    y = {"tickvals": rows, "ticktext": names, "tickfont": {"size": 11}, "range": [len(order) - 0.5, -0.5]}
    fig = theme.figure(110 + (17 if len(order) > MANY else 30) * len(order), {}, {**y, "zeroline": False})
    width = (1 - GAP * (len(modalities) - 1)) / len(modalities)
    for number, modality in enumerate(modalities):
        left, axis = number * (width + GAP), str(number + 1) if number else ""
        x = {
            "domain": [left, left + width],
            "range": [-4, 104],
            "tickvals": [0, 50, 100],
            "side": "top",
            "tickfont": {"size": 11},
        }
        fig.update_layout({f"xaxis{axis}": {**x, "title": f"{theme.label(modality)}, %", "zeroline": False}})
        mine = 100 * means[means["modality"] == modality].pivot(index="group", columns="measure", values="share")
        mine = mine.reindex(list(order))
        if {"attention", "shapley"} <= set(mine.columns):
            fig.add_trace(_joined(mine, axis))
        for measure in [m for m in MEASURES if m in mine.columns]:
            n = means[(means["modality"] == modality) & (means["measure"] == measure)].set_index("group")["n"]
            fig.add_trace(
                go.Scatter(
                    x=mine[measure].tolist(),
                    y=rows,
                    xaxis=f"x{axis}",
                    mode="markers",
                    showlegend=False,
                    marker=_marker(measure, theme.colour(modality), 8),
                    customdata=[[group, int(n.get(group, 0))] for group in order],
                    hovertemplate=f"%{{customdata[0]}}, n = %{{customdata[1]}}<br>{theme.label(modality)}, "
                    f"{MEASURE_LABELS[measure]}: %{{x:.1f}} %<extra></extra>",
                )
            )
    for measure in [m for m in MEASURES if m in set(means["measure"])]:  # the legend, in grey
        marker = _marker(measure, theme.GREY, 9)
        fig.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=MEASURE_LABELS[measure], marker=marker))
    return fig


def agreement_intervals(found: pd.DataFrame) -> go.Figure:
    """Draw the rank correlations of ``agreement.agreements`` with their intervals."""
    rows = found.to_dict("records")
    names = [question_label(row["question"], row["modality"]) for row in rows]
    y = {"type": "category", "categoryorder": "array", "categoryarray": names[::-1]}
    x = {"title": "Rank correlation", "range": [-1.05, 1.05], "tickvals": [-1, -0.5, 0, 0.5, 1]}
    fig = theme.figure(90 + 30 * len(rows), x, y, showlegend=False)
    for row, name in zip(rows, names, strict=True):
        rho, low, high = (float(row[c]) for c in ("rho", "low", "high"))
        fig.add_trace(
            go.Scatter(
                x=[rho],
                y=[name],
                mode="markers",
                marker={"color": theme.colour(row["modality"] or "fusion"), "size": 9},
                error_x={"type": "data", "array": [high - rho], "arrayminus": [rho - low], "width": 4}
                if low == low
                else {},
                customdata=[[interval_text(row), sample_text(row)]],
                hovertemplate="%{y}: %{x:.2f}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
            )
        )
    return fig


def share_scatter(table: pd.DataFrame, first: str, second: str) -> go.Figure:
    """Draw the shares of two measures, a point per decision and modality; customdata: subject, trial, outcome.

    ``table``: of ``agreement.decisions``. At most :data:`DRAWN` decisions are drawn, chosen by a seed.
    """
    rows = table.iloc[np.flatnonzero(_both(table, first, second).any(axis=1))]
    rows = rows.sample(DRAWN, random_state=0).sort_index() if len(rows) > DRAWN else rows
    axes = [{"title": f"{MEASURE_LABELS[m]}, share in %", "range": [-3, 103]} for m in (first, second)]
    fig = theme.figure(460, axes[0], axes[1])
    diagonal = {"color": theme.GREY, "dash": "dot", "width": 1}
    fig.add_shape(type="line", x0=0, y0=0, x1=100, y1=100, line=diagonal, layer="below")
    both = _both(rows, first, second)
    for number, modality in enumerate(MODALITIES):
        mine = rows[both[:, number]]
        if mine.empty:
            continue
        fig.add_trace(
            go.Scatter(
                x=(100 * mine[f"{first}_{modality}"]).round(2).tolist(),
                y=(100 * mine[f"{second}_{modality}"]).round(2).tolist(),
                mode="markers",
                name=theme.label(modality),
                marker={"color": theme.colour(modality), "size": 6, "opacity": 0.55},
                unselected={"marker": {"opacity": 0.55}},
                customdata=mine[["subject", "trial", "outcome"]].to_numpy().tolist(),
                hovertemplate=(
                    f"subject %{{customdata[0]}}, trial %{{customdata[1]}}, %{{customdata[2]}}<br>"
                    f"{theme.label(modality)}: {MEASURE_LABELS[first]} %{{x:.0f}} %, "
                    f"{MEASURE_LABELS[second]} %{{y:.0f}} %<extra></extra>"
                ),
            )
        )
    return fig


def _both(table: pd.DataFrame, first: str, second: str) -> np.ndarray:
    """Return where both measures have a share: (decision, modality)."""
    x, y = (table[[f"{measure}_{m}" for m in MODALITIES]].to_numpy(float) for measure in (first, second))
    return np.asarray(np.isfinite(x) & np.isfinite(y))


def _joined(mine: pd.DataFrame, axis: str) -> go.Scatter:
    """Return the lines from the attention share to the Shapley share of each group."""
    ends = mine[["attention", "shapley"]].assign(gap=np.nan).to_numpy().ravel().tolist()
    return go.Scatter(
        x=[None if value != value else value for value in ends],
        y=np.repeat(np.arange(len(mine)), 3).tolist(),
        xaxis=f"x{axis}",
        mode="lines",
        line={"color": theme.GREY, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )


def _marker(measure: str, colour: str, size: int) -> dict[str, object]:
    line = {"color": colour, "width": 2}
    return {"symbol": SYMBOLS[measure], "color": colour, "size": size, "line": line if measure != "attention" else {}}
