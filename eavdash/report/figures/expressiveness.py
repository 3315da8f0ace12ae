"""Expressiveness of a modality against how often it was right, as a figure, a table and sentences.

In: tables of :mod:`eavdash.results.expressiveness`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.expressiveness import MEASURES, Relation
from eavdash.text import natural_order, p_value

SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x", "hexagon")


def measure_name(measure: str) -> str:
    """Return ``Vision: face motion``."""
    modality, name, _ = MEASURES[measure]
    return f"{theme.label(modality)}: {name}"


def against_accuracy(cells: pd.DataFrame, measure: str) -> go.Figure:
    """Draw ``cells``: a dot per subject and label, the measure against the accuracy of its modality."""
    modality, name, unit = MEASURES[measure]
    fig = theme.figure(
        360, {"title": f"{name[0].upper()}{name[1:]}, {unit}"}, {"title": "Accuracy, %", "range": [-4, 104]}
    )
    for number, label in enumerate(natural_order(cells["label"])):
        mine = cells[cells["label"] == label]
        fig.add_trace(
            go.Scatter(
                x=mine["value"].to_numpy(float),
                y=100 * mine["accuracy"].to_numpy(float),
                mode="markers",
                name=str(label),
                marker={
                    "symbol": SYMBOLS[number % len(SYMBOLS)],
                    "size": 9,
                    "color": theme.colour(modality),
                    "opacity": 0.75 - 0.1 * (number % 5),
                },
                customdata=np.stack([mine["subject"].to_numpy(str), mine["n"].to_numpy(str)], axis=1),
                hovertemplate="subject %{customdata[0]}: %{x:.2f}, %{y:.0f} %, n = %{customdata[1]} trials",
            )
        )
    return fig


def by_label(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over subjects of the measure and of the accuracy by label, as texts."""
    rows = []
    for label in natural_order(cells["label"]):
        mine = cells[cells["label"] == label]
        spread = f" ± {mine['value'].std():.2f}" if len(mine) > 1 else ""
        rows.append(
            {
                "label": label,
                "measure": f"{mine['value'].mean():.2f}{spread}",
                "accuracy": theme.percent(float(mine["accuracy"].mean()), 1),
                "subjects": len(mine),
                "trials": int(mine["n"].sum()),
            }
        )
    return pd.DataFrame(rows)


def relation_table(found: Sequence[Relation]) -> pd.DataFrame:
    """Return the correlations as texts."""
    rows = []
    for r in found:
        span = "" if math.isnan(r.low) else f" ({r.low:+.2f} to {r.high:+.2f})"
        rows.append(
            {
                "measure": measure_name(r.measure),
                "over subjects": _rho(r.across),
                "p": "too few" if math.isnan(r.p) else p_value(r.p),
                "subjects": r.subjects,
                "within subjects": f"{_rho(r.within)}{span}",
                "of subjects": r.people,
            }
        )
    return pd.DataFrame(rows)


def _rho(value: float) -> str:
    return "too few" if math.isnan(value) else f"{value:+.2f}"
