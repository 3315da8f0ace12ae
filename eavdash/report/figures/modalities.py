"""Figures and sentences of the modalities' part in one decision: a waterfall, and a table of shares.

In: values of ``eavdash.results.shapley``, in log-probability of the decided class. Out: Plotly figures and texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme

_ENDS = {"base": "Training share", "decision": "Decision"}
APART = 0.1  # shares that differ less are called close
#: What a share of attention is, by kind of fusion, and why it may differ from what the decision rests on.
MEANING = {
    "attention": (
        "In this fusion a share is the weight of a modality's opinion, its class probabilities, in the mean of all "
        "opinions, and not its effect: an opinion close to the class frequencies, or one that the others share, "
        "changes little at any weight."
    ),
    "transformer": (
        "In this fusion a share is the size of a modality's opinion in the sum of all opinions, whichever class it "
        "supports: opinions can agree or cancel each other, and what features add beyond them is in no share."
    ),
}


def waterfall(steps: Sequence[tuple[str, float]], decided: str, ends_named: Mapping[str, str] = _ENDS) -> go.Figure:
    """Draw the way from the training frequency of a class to its log-probability in the decision.

    ``steps``: the start (its own value), what each modality alone adds, what two or more together add, the decision.
    ``ends_named``: names of both ends, ``base`` and ``decision``.
    """
    levels = [steps[0][1]]
    for _, value in steps[1:-1]:
        levels.append(levels[-1] + value)
    levels.append(steps[-1][1])
    span = max(levels) - min(levels) or 1.0
    left = min(levels) - 0.35 * span  # both ends are bars from the left edge: the longer, the more probable
    bars = []
    for place, (name, value) in enumerate(steps):
        ends = place in (0, len(steps) - 1)
        start, stop = (left, value) if ends else (levels[place - 1], levels[place])
        text = f"{value:.2f} ({theme.percent(math.exp(value))})".replace("-", "−") if ends else theme.signed(value)
        factor = "" if ends else f" (probability × {math.exp(value):.2f})"
        title = ends_named.get(name) or _named(name)
        bars.append((title, start, stop, text, f"{title}: {text}{factor}", _colour(name, ends)))
    fig = theme.figure(
        56 + 34 * len(bars),
        {"title": f"Log-probability of {decided}", "range": [left, max(levels) + 0.3 * span]},
        {"type": "category", "autorange": "reversed"},
        showlegend=False,
        bargap=0.3,
    )
    for name, start, stop, text, hover, colour in bars:
        fig.add_trace(
            go.Bar(
                orientation="h",
                y=[name],
                x=[stop - start],
                base=[start],
                text=[text],
                textposition="outside",
                cliponaxis=False,
                marker_color=colour,
                customdata=[hover],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    return fig


def shares(values: Mapping[str, float]) -> dict[str, float]:
    """Return each modality's part of the sum of magnitudes; nothing if all are 0."""
    total = sum(map(abs, values.values()))
    return {name: abs(value) / total for name, value in values.items()} if total else {}


#: What the columns of :func:`table` mean.
COLUMNS = {
    "Shapley": "What the modality adds to the log-probability of the decided class, averaged over all orders.",
    "Share": "Its part of the sum of the magnitudes of all Shapley values.",
    "Attention": "The weight that the fusion's attention gives it, averaged over heads and windows.",
    "Map": "The sum of its attributions in the stored map of the decided class, averaged over windows.",
}


def table(shapley: Mapping[str, float], attention: Mapping[str, float], sums: Mapping[str, float]) -> pd.DataFrame:
    """Return a row per modality, with the columns of :data:`COLUMNS`; a dash where there is no number."""
    exact = shares(shapley)
    rows = []
    for name in sorted(shapley, key=lambda m: -abs(shapley[m])):
        rows.append(
            {
                "Modality": theme.label(name),
                "Shapley": theme.signed(shapley[name]),
                "Share": theme.percent(exact.get(name, math.nan)),
                "Attention": theme.percent(attention.get(name, math.nan)),
                "Map": theme.signed(sums[name]) if name in sums else "–",
            }
        )
    return pd.DataFrame(rows)


def disagreement(shapley: Mapping[str, float], attention: Mapping[str, float], kind: str) -> str:
    """Return what it means that attention and Shapley shares differ; empty if they agree or there is no attention."""
    exact = shares(shapley)
    both = [name for name in exact if name in attention]
    if not both:
        return ""
    name = max(both, key=lambda m: abs(attention[m] - exact[m]))
    if abs(attention[name] - exact[name]) < APART:
        return ""
    return (
        f"Attention says {theme.percent(attention[name])} {theme.label(name)}, Shapley values say "
        f"{theme.percent(exact[name])}. {MEANING.get(kind, '')}".strip()
    )


def _colour(name: str, ends: bool) -> str:
    if ends:
        return theme.COLOURS["fusion"] if name == "decision" else theme.COLOURS["majority"]
    return theme.colour(name)


def _named(name: str) -> str:
    """Return a step's name, such as ``Vision × Audio`` for ``vision+audio``."""
    return " × ".join(theme.label(part) for part in name.split("+"))
