"""Figures and a table of what-ifs: class probabilities, and shares and Shapley values, before and after.

In: an ``eavdash.explain.whatif_record.WhatIf``. Out: Plotly figures and a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures import modalities

if TYPE_CHECKING:
    from eavdash.explain.whatif_record import WhatIf

ENDS = {"base": "Before", "decision": "After"}


def probabilities(found: WhatIf) -> go.Figure:
    """Draw the probability of each class before (hollow) and after (filled)."""
    fig = theme.figure(300, {"type": "category"}, {"title": "Probability, %", "range": [0, 108]}, barmode="group")
    colour = theme.colour(found.stage)
    for name, outcome, fill in (("Before", found.before, "rgba(0,0,0,0)"), ("After", found.after, colour)):
        values = [100 * outcome.probabilities[found.stage][c] for c in found.classes]
        fig.add_trace(
            go.Bar(
                name=name,
                x=list(found.classes),
                y=values,
                text=[f"{value:.0f}" for value in values],
                textposition="outside",
                cliponaxis=False,
                marker={"color": fill, "line": {"color": colour, "width": 1.5}},
                hovertemplate=f"{name}, %{{x}}: %{{y:.1f}} %<extra></extra>",
            )
        )
    return fig


def difference(found: WhatIf) -> go.Figure:
    """Draw the way from the decision before to the one after: how much each Shapley value grows or shrinks."""
    return modalities.waterfall(found.difference(), found.target, ENDS)


def table(found: WhatIf) -> pd.DataFrame:
    """Return a row per modality of a fusion: attention share and Shapley value before and after."""
    rows = []
    for name in found.modalities:
        row = {"Modality": theme.label(name)}
        if found.before.attention:
            row["Attention"] = _pair(found.before.attention, found.after.attention, name, theme.percent)
        row["Shapley"] = _pair(found.before.shapley, found.after.shapley, name, theme.signed)
        rows.append(row)
    return pd.DataFrame(rows)


def windows(found: WhatIf) -> pd.DataFrame:
    """Return a row per window: its seconds and the class decided before and after, with its probability."""
    rows = []
    for before, after in zip(found.before.windows, found.after.windows, strict=True):
        row = {"Window": f"{before.start:g}–{before.stop:g} s"}
        for title, each in (("Before", before), ("After", after)):
            known = each.probabilities.get(found.stage)
            row[title] = f"{each.predicted} ({theme.percent(known[each.predicted])})" if known else "nothing left"
        rows.append(row)
    return pd.DataFrame(rows)


def _pair(before: Mapping[str, float], after: Mapping[str, float], name: str, text: Callable[[float], str]) -> str:
    return " → ".join(text(of[name]) if name in of else "–" for of in (before, after))
