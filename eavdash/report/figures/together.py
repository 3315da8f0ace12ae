"""Agreement of the modalities, and who is right when the others are wrong, as tables and a figure.

In: tables of :mod:`eavdash.results.together`.
"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.together import Together, ceiling

NOBODY = "none of them"


def pattern_name(right: str) -> str:
    """Return a combination of modalities in words: ``Vision, EEG`` or ``none of them``."""
    return ", ".join(theme.label(m) for m in right.split("+")) if right else NOBODY


def pattern_bars(table: pd.DataFrame) -> go.Figure:
    """Draw ``patterns``: the share of trials by who was right, and the part that fusion decided rightly."""
    names = [pattern_name(right) for right in table["right"]]
    colours = [theme.colour(right) for right in table["right"]]  # grey for several or none
    fig = theme.figure(
        80 + 34 * len(names),
        {"title": "Share of the trials, %", "rangemode": "tozero"},
        {"type": "category", "autorange": "reversed", "title": "Right"},
        barmode="overlay",
    )
    fused = table["fusion"].notna().any()
    fig.add_trace(
        go.Bar(
            x=100 * table["share"],
            y=names,
            orientation="h",
            name="trials",
            marker={"color": colours, "opacity": 0.35 if fused else 0.8},
            customdata=table[["n"]].to_numpy(float),
            hovertemplate="right: %{y}, %{x:.1f} %, n = %{customdata[0]:.0f} trials<extra></extra>",
        )
    )
    if fused:
        fig.add_trace(
            go.Bar(
                x=100 * table["share"] * table["fusion"],
                y=names,
                orientation="h",
                name="of these, fusion right",
                marker={"color": theme.colour("fusion")},
                width=0.4,
                customdata=100 * table["fusion"],
                hovertemplate="right: %{y}; fusion right in %{customdata:.0f} % of them<extra></extra>",
            )
        )
    return fig


def pair_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``pairs`` as texts."""
    shares = {"same": "same class", "both": "both right", "only_a": "only first", "only_b": "only second"}
    out = pd.DataFrame({"first": table["a"].map(theme.label), "second": table["b"].map(theme.label)})
    for name, title in (*shares.items(), ("neither", "neither")):
        out[title] = [theme.percent(value, 1) for value in table[name]]
    out["Cohen's κ"] = ["–" if value != value else f"{value:.2f}" for value in table["kappa"]]
    return out


def sentence(found: Together) -> str:
    """Return what the modalities could do together, and what fusion makes of it."""
    best = ceiling(found)
    weight = found.items["weight"]
    singles = {m: float((found.items[f"right_{m}"] * weight).sum() / weight.sum()) for m in found.modalities}
    first = max(singles, key=lambda m: singles[m])
    text = (
        f"On {found.trials} common test trials at least one modality is right in {100 * best:.1f} % (an oracle that "
        f"always follows the right one); {theme.label(first)}, the best of them, in {100 * singles[first]:.1f} %"
    )
    if found.fused:
        fused = float((found.items["right_fusion"] * weight).sum() / weight.sum())
        text += f", fusion in {100 * fused:.1f} %"
        if best > singles[first]:
            part = (fused - singles[first]) / (best - singles[first])
            text += f": {100 * part:.0f} % of what the oracle gains over the best modality"
    left = f" {found.left_out} trials that not all have been tested on are left out." if found.left_out else ""
    return f"{text}.{left}"


def alone_table(items: pd.DataFrame, modalities: tuple[str, ...], fused: bool) -> pd.DataFrame:
    """Return the trials that one modality alone was right about: subject, trial, label, and every stage's decision."""
    out = items[["subject", "trial", "label"]].copy()
    for name in ("fold", "seed"):
        if items[name].nunique() > 1:
            out[name] = items[name]
    for stage in (*modalities, *(["fusion"] if fused else [])):
        out[theme.label(stage)] = items[f"predicted_{stage}"]
    return out
