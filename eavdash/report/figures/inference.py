"""The declared comparison as papers print it: a sentence, a table, and the differences subject by subject.

In: a :class:`~eavdash.results.comparisons.Question` and the :class:`~eavdash.results.inference.Inference` on it.
Differences are fractions and are shown in points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.results.comparisons import Question
from eavdash.results.inference import ROPE, Inference
from eavdash.results.metrics import METRICS
from eavdash.results.paired import Comparison, least_subjects
from eavdash.text import p_value

HOW = (
    "Interval: bias-corrected and accelerated bootstrap over subjects (9,999 resamples); with few subjects it is a "
    "little too narrow (docs/statistics.md). g: Hedges' g of paired "
    "differences with its interval from the noncentral t distribution. Bayes: signed-rank test with a region of "
    "practical equivalence of ±1 point; the three probabilities sum to 1."
)


def printed(question: Question, found: Inference) -> str:
    """Return the declared comparison in the form that journals print; empty without one.

    What needs more subjects is left out, and without a verdict the sentence says why.
    """
    c = question.primary
    if c is None or not c.subjects:
        return ""
    what = METRICS[question.metric]
    parts = [
        f"Fusion reached a mean {what} of {100 * c.mean_a:.1f} %, {theme.label(c.b)}, the modality chosen by "
        f"validation, {100 * c.mean_b:.1f} %"
    ]
    parts.append(f"mean difference {signed(c.difference)} percentage points")
    few = c.subjects < least_subjects()
    if not few:
        parts.append(f"95 % CI [{signed(found.low)}, {signed(found.high)}], {found.how}")
    if not question.why_not:
        parts.append(f"sign-flip permutation test, two-sided, {p_value(c.p)}")
    if not few and math.isfinite(found.effect):
        parts.append(f"Hedges' g = {found.effect:.2f} [{found.effect_low:.2f}, {found.effect_high:.2f}]")
    parts.append(f"N = {c.subjects}")
    sentence = f"{parts[0]} ({'; '.join(parts[1:])})."
    sentence += f" Of the {c.subjects} subjects, {found.gained} gained, {found.lost} lost and {found.tied} tied."
    if not few and math.isfinite(found.equal):
        sentence += (
            f" A Bayesian signed-rank test (region of practical equivalence ±{100 * ROPE:g} point) gave "
            f"P(fusion better) = {found.above:.2f}, P(equivalent) = {found.equal:.2f}, "
            f"P(fusion worse) = {found.below:.2f}."
        )
    return sentence + (f" {question.why_not}" if question.why_not else "")


def facts(question: Question, found: Inference) -> pd.DataFrame:
    """Return the numbers of the sentence as a table of one row."""
    c = question.primary
    if c is None:
        return pd.DataFrame()
    few = c.subjects < least_subjects()
    row = {
        "difference": f"{signed(found.difference)} points",
        "95 % interval": "too few" if few else _span(found.low, found.high, signed),
        "p": "–" if question.why_not or few else p_value(c.p),
        "Hedges' g": "–" if few or math.isnan(found.effect) else f"{found.effect:+.2f}",
        "95 % interval of g": "–" if few else _span(found.effect_low, found.effect_high, lambda g: f"{g:+.2f}"),
        "gained / lost / tied": f"{found.gained} / {found.lost} / {found.tied}",
        "P(worse)": "–" if few else theme.percent(found.below),
        "P(equivalent)": "–" if few else theme.percent(found.equal),
        "P(better)": "–" if few else theme.percent(found.above),
    }
    return pd.DataFrame([row])


def references(chance: float, majority: float, time_only: Mapping[str, float]) -> pd.DataFrame:
    """Return what an accuracy must be compared with: reference, accuracy, meaning; means over subjects."""
    rows = [("chance", chance, "one of the classes at random")]
    if math.isfinite(majority):
        rows.append(("majority class", majority, "always the most frequent label of a subject's test trials"))
    if time_only:
        mean = float(np.mean([*time_only.values()]))
        rows.append(("time alone", mean, "guessed from a trial's position in the session, without any recording"))
    table = pd.DataFrame(rows, columns=["reference", "accuracy", "meaning"])
    return table.assign(accuracy=[theme.percent(value, 1) for value in table["accuracy"]])


def paired_differences(comparisons: Sequence[Comparison], differences: Mapping[str, pd.Series]) -> go.Figure:
    """Draw each comparison as a row: a dot per subject, the mean and its 95 % interval, the p value at the right.

    Args:
        comparisons: of one stage with others, the first at the top; the key of the others is ``a/b``.
        differences: by key, indexed by subject.
    """
    names = [f"{theme.label(c.a)} − {theme.label(c.b)}" for c in comparisons]
    y = {"autorange": "reversed", "tickvals": [*range(len(names))], "ticktext": names, "showgrid": False}
    fig = theme.figure(90 + 52 * len(names), {"title": "Difference, points"}, y, showlegend=False)
    fig.add_vline(x=0, line={"color": theme.GREY, "width": 1})
    fig.add_vrect(x0=-100 * ROPE, x1=100 * ROPE, fillcolor=theme.GREY, opacity=0.18, line_width=0)
    rng = np.random.default_rng(0)
    reach = max((100 * float(d.abs().max()) for d in differences.values() if len(d)), default=1.0)
    for number, c in enumerate(comparisons):
        key = f"{c.a}/{c.b}"
        gaps, low, high = differences[key], c.low, c.high
        colour = theme.colour(c.b)
        fig.add_trace(
            go.Scatter(
                x=100 * gaps.to_numpy(float),
                y=number + rng.uniform(-0.18, 0.18, len(gaps)),
                mode="markers",
                marker={"color": colour, "size": 7, "opacity": 0.6},
                customdata=[str(name) for name in gaps.index],
                hovertemplate="subject %{customdata}: %{x:+.1f} points<extra></extra>",
            )
        )
        mean = 100 * c.difference
        few = c.subjects < least_subjects()
        known = math.isfinite(low) and not few
        told = f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}" if known else "too few subjects for an interval"
        arms = {"array": [100 * high - mean], "arrayminus": [mean - 100 * low], "thickness": 2, "color": theme.GREY}
        fig.add_trace(
            go.Scatter(
                x=[mean],
                y=[number],
                mode="markers",
                marker={"color": theme.colour(c.a), "size": 12, "symbol": "diamond", "line": {"width": 1}},
                error_x={"type": "data", "symmetric": False, **arms} if known else None,
                hovertemplate=f"mean %{{x:+.1f}} points, {told}<extra></extra>",
            )
        )
        p = c.p if number == 0 and math.isnan(c.p_holm) else c.p_holm
        text = "too few" if few or math.isnan(p) else p_value(p)
        fig.add_annotation(x=1, xref="paper", xanchor="right", y=number - 0.36, text=text, showarrow=False)
    fig.update_xaxes(range=[-1.12 * reach - 1, 1.12 * reach + 1])
    return fig


def scatter(people: pd.DataFrame, a: str, b: str, metric: str, chance: float, stage: str = "") -> go.Figure:
    """Draw a dot per subject: ``b`` on the horizontal axis, ``a`` on the vertical one; above the diagonal ``a`` wins.

    ``people``: columns a and b, indexed by subject. ``chance``: NaN for no line. ``stage``: whose colour ``a`` has, if
    both are studies.
    """
    axis = {"range": [0, 105], "constrain": "domain"}
    title = METRICS[metric]
    fig = theme.figure(
        380,
        {"title": f"{theme.label(b)}: {title}, %", **axis},
        {"title": f"{theme.label(a)}: {title}, %", "scaleanchor": "x", **axis},
        showlegend=False,
    )
    line = {"color": theme.GREY, "width": 1}
    fig.add_shape(type="line", x0=0, y0=0, x1=105, y1=105, line=line)
    if math.isfinite(chance):
        at = 100 * chance
        for ends in ({"x0": at, "x1": at, "y0": 0, "y1": 105}, {"y0": at, "y1": at, "x0": 0, "x1": 105}):
            fig.add_shape(type="line", line={**line, "dash": "dash"}, **ends)
    above = people["a"] > people["b"]
    colours = np.where(
        above, theme.colour(stage or a), np.where(people["a"] < people["b"], theme.colour(b), theme.GREY)
    )
    fig.add_trace(
        go.Scatter(
            x=100 * people["b"].to_numpy(float),
            y=100 * people["a"].to_numpy(float),
            mode="markers",
            marker={"color": colours, "size": 9, "opacity": 0.8},
            customdata=[str(name) for name in people.index],
            hovertemplate="subject %{customdata}: %{x:.1f} % → %{y:.1f} %<extra></extra>",
        )
    )
    return fig


def signed(value: float) -> str:
    """Return a fraction in points, with its sign: ``+4.2``."""
    return "–" if math.isnan(value) else f"{100 * value:+.1f}".replace("-", "−")


def _span(low: float, high: float, text: Callable[[float], str]) -> str:
    return "–" if math.isnan(low) or math.isnan(high) else f"{text(low)} to {text(high)}"
