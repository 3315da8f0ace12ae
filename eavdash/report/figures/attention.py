"""Figures of attention shares, of a study's fused decisions and of single trials.

In: tables of ``eavdash.results`` and arrays of shares. Out: Plotly figures, tables and sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.config.choices import MODALITIES
from eavdash.report import theme
from eavdash.results.tables import attention_columns


def attention_windows(rows: pd.DataFrame) -> go.Figure:
    """Draw stacked bars of attention shares, window by window; ``rows``: fusion's rows of ``tables.windows``."""
    shares = {m: rows[f"attention_{m}"] for m in MODALITIES if f"attention_{m}" in rows}
    names = [f"window {int(w) + 1}" for w in rows["window"]]
    return _stacked(280, "Attention share, %", names, {m: s.tolist() for m, s in shares.items() if s.notna().any()})


def decisions_with_attention(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the fused decisions of ``tables.trials`` that have attention, with a column outcome (right, wrong).

    A modality that a run does not use, or that was not recorded, has the share 0.
    """
    columns = attention_columns(trials)
    rows = trials[(trials["stage"] == "fusion") & trials[columns].notna().any(axis=1)] if columns else trials.head(0)
    shares = {column: rows[column].fillna(0) for column in columns}
    return rows.assign(outcome=["right" if ok else "wrong" for ok in rows["correct"]], **shares)


def missing_modalities_note(rows: pd.DataFrame) -> str:
    """Return a note on modalities without a share; ``rows`` of :func:`decisions_with_attention`."""
    counts = {c.removeprefix("attention_"): int((rows[c] == 0).sum()) for c in attention_columns(rows)}
    missing = ", ".join(f"{theme.label(m)} in {count}" for m, count in counts.items() if count)
    return f"Not recorded, and therefore without a share: {missing} of {len(rows)} decisions." if missing else ""


def no_attention_note(kind: str, trained: bool) -> str:
    """Return the reason why there is no attention to show."""
    if not trained:
        return "Attention shares appear here once a fusion run of this study has finished."
    if kind == "paper":
        return (
            "This study uses the published fusion layer, which attends to a single token: its attention is always 1 "
            "and shows nothing about modalities. Train a study with fusion “attention” or “transformer” to see shares."
        )
    return "This study's fusion concatenates the modalities and has no attention to show."


def mean_shares(rows: pd.DataFrame) -> dict[str, float]:
    """Return the mean attention share per modality."""
    columns = attention_columns(rows)
    return {m: float(rows[f"attention_{m}"].mean()) for m in MODALITIES if f"attention_{m}" in columns}


def head_shares(values: np.ndarray, modalities: Sequence[str]) -> go.Figure:
    """Draw stacked bars of ``values`` (head, modality), the class token's attention shares, and of their mean."""
    values = np.asarray(values)
    names = [*(f"head {h + 1}" for h in range(len(values))), "mean"]
    shares = np.vstack([values, values.mean(axis=0)]).T.tolist()
    return _stacked(300, "Attention share, %", names, dict(zip(modalities, shares, strict=True)))


def attention_map(values: np.ndarray, modalities: Sequence[str]) -> go.Figure:
    """Draw the attention between modalities: ``values`` (query, key), rows sum to one; NaN rows stay empty."""
    fig = theme.figure(280, {"title": "attends to"}, {"title": "Modality", "autorange": "reversed"})
    names = [theme.label(m) for m in modalities]
    fig.add_trace(
        go.Heatmap(
            z=100 * np.asarray(values),
            x=names,
            y=names,
            zmin=0,
            zmax=100,
            colorscale=theme.SEQUENTIAL,
            texttemplate="%{z:.0f} %",
            showscale=False,
            hovertemplate="%{y} attends to %{x}: %{z:.1f} %<extra></extra>",
        )
    )
    return fig


def _stacked(height: int, title: str, names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> go.Figure:
    """Draw one bar per name, stacked from the modalities' ``shares``."""
    fig = theme.figure(height, {"type": "category"}, {"title": title, "range": [0, 100]}, barmode="stack")
    for modality, values in shares.items():
        fig.add_trace(
            go.Bar(
                name=theme.label(modality),
                x=list(names),
                y=[100 * s for s in values],
                marker_color=theme.colour(modality),
                hovertemplate=f"{theme.label(modality)}: %{{y:.1f}} %<extra></extra>",
            )
        )
    return fig
