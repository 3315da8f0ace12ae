"""The declared question and the comparisons beside it, as sentences, tables and a figure.

In: a :class:`~eavdash.results.comparisons.Question`. Accuracies are fractions and are shown in per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go

from eavdash.report import theme
from eavdash.report.figures.answer import metric_name
from eavdash.results.comparisons import Question
from eavdash.results.metrics import METRICS
from eavdash.results.paired import ALPHA, Comparison, least_subjects
from eavdash.text import natural_order, p_value, plural

_METHOD = (
    "Differences are the first stage minus the other, over the trials that both have been tested on; a trial is "
    "averaged over "
    "its seeds first. The interval is Student's. p: two-sided sign-flip permutation test of the mean over subjects, "
    "corrected "
    "over all rows of {tables} by Holm's method; the signed-rank p stands beside it, uncorrected. Effect: "
    "rank-biserial "
    "correlation, from -1 to 1."
)


def method_note(tables: str) -> str:
    """Return how the comparisons are made; ``tables``: those over which p is corrected, in words."""
    return _METHOD.format(tables=tables)


def comparison_table(comparisons: Sequence[Comparison], metric: str = "accuracy") -> pd.DataFrame:
    """Return comparisons as texts; "too few" where no test over so few subjects can pass even uncorrected."""
    return pd.DataFrame([_row(c) for c in comparisons]).rename(columns={"accuracy": METRICS[metric]})


def _row(c: Comparison) -> dict[str, object]:
    few = c.subjects < least_subjects()
    return {
        "stage": theme.label(c.a),
        "against": theme.label(c.b),
        "subjects": c.subjects,
        "trials": c.trials,
        "left out": c.trials_left_out,
        "accuracy": theme.percent(c.mean_a, 1),
        "other": theme.percent(c.mean_b, 1),
        "difference": f"{100 * c.difference:+.1f} points",
        "95 % interval": "too few" if few else f"{100 * c.low:+.1f} to {100 * c.high:+.1f}",
        "better / worse": f"{c.better} / {c.worse}",
        "p (Holm)": "too few" if few else p_value(c.p_holm),
        "p (signed rank)": "too few" if few else p_value(c.p_wilcoxon),
        "effect": "too few" if few else f"{c.effect:+.2f}",
    }


def primary_table(question: Question) -> pd.DataFrame:
    """Return the declared comparison as a table of one row; its p is not corrected."""
    if question.primary is None:
        return pd.DataFrame()
    row = _row(replace(question.primary, p_holm=question.primary.p))
    row["p"] = "–" if question.why_not else row["p (Holm)"]
    return pd.DataFrame([{name: value for name, value in row.items() if name != "p (Holm)"}]).rename(
        columns={"accuracy": METRICS[question.metric]}
    )


def verdict(question: Question) -> str:
    """Return the answer to the declared question as a sentence; empty if there is none."""
    c = question.primary
    if c is None or question.why_not:
        return ""
    other = theme.label(c.b)
    said = "" if question.metric == "accuracy" else f" of {METRICS[question.metric]}"
    how = (
        f"{100 * c.difference:+.1f} points{said}, 95 % interval {100 * c.low:+.1f} to {100 * c.high:+.1f}, "
        f"n = {c.subjects} subjects, sign-flip permutation test, {p_value(c.p)}"
    )
    if c.p >= ALPHA:
        return f"No difference between fusion and {other}, the modality chosen by validation, can be told ({how})."
    better = "better" if c.difference > 0 else "worse"
    return f"Fusion is {better} than {other}, the modality chosen by validation ({how})."


def question_notes(question: Question, across: bool) -> list[str]:
    """Return what a reader must know beside the question: trials left out, oracle, family, shared training data."""
    notes = []
    if (c := question.primary) is not None and c.trials_left_out:
        notes.append(
            f"{plural(c.trials_left_out, 'trial')} and {plural(c.subjects_left_out, 'subject')} that only one of both "
            "has been tested on are left out."
        )
    if (o := question.oracle) is not None and o.subjects:
        notes.append(
            f"Each subject's best modality, chosen by these test trials, has {theme.percent(o.mean_b, 1)} "
            f"(fusion {100 * o.difference:+.1f} points): nobody can choose it in advance, so it is described and not "
            "tested."
        )
    if question.secondary:
        least = least_subjects(len(question.secondary))
        most = max(c.subjects for c in question.secondary)
        few = f", so that none of them can pass with {plural(most, 'subject')}" if most < least else ""
        notes.append(
            f"The tables below are secondary: Holm's correction over {plural(len(question.secondary), 'comparison')}. "
            "It takes "
            f"{plural(least, 'subject')} for one of them to pass{few}."
        )
    if across:
        notes.append(
            "Across subjects the models of several people share training data, so their results are not independent "
            "and p is "
            "too small to an unknown degree."
        )
    return notes


def paired_lines(scores: pd.DataFrame, a: str, b: str, metric: str = "accuracy") -> go.Figure:
    """Draw one line per subject from stage ``b`` to stage ``a``."""
    wide = scores.pivot(index="subject", columns="stage", values=metric)[[b, a]].dropna()
    fig = theme.figure(320, {}, {"title": f"{metric_name(metric)}, %", "range": [0, 105]}, showlegend=False)
    pairs = {str(s): values.tolist() for s, values in zip(wide.index, wide.to_numpy(float), strict=True)}
    for subject in natural_order(pairs):
        fig.add_trace(
            go.Scatter(
                x=[theme.label(b), theme.label(a)],
                y=[100 * value for value in pairs[subject]],
                mode="lines+markers",
                line={"color": theme.GREY, "width": 1},
                marker={"color": [theme.colour(b), theme.colour(a)], "size": 9},
                customdata=[subject, subject],
                hovertemplate="subject %{customdata}, %{x}: %{y:.1f} %<extra></extra>",
            )
        )
    return fig
