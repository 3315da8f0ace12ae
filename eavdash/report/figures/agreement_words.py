"""Sentences and tables about attention shares beside Shapley values and attributions.

In: tables of ``eavdash.results.agreement``. Out: texts, in which shares are in per cent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.report import theme
from eavdash.report.figures.modalities import APART, MEANING
from eavdash.results.agreement import ENOUGH, measures
from eavdash.text import markdown, plural

MEASURE_LABELS = {"attention": "Attention", "shapley": "Shapley", "attribution": "Attributions"}
QUESTIONS = {"order": "Order within a trial", "trials": "over trials", "subjects": "over subjects"}
SHARES_NOTE = (
    "Shares of the predicted class: Shapley values (of its log-probability, over all sets of present modalities) and "
    "sums of attributions as absolute values, divided by their sum over the modalities."
)
AGREEMENT_NOTE = (
    "Spearman's rank correlation, from -1 to 1; 0 is no relation. Order within a trial: of the modalities' ranks in "
    "one decision, averaged. Over trials: of a modality's shares within a subject, averaged over subjects. Over "
    "subjects: of a modality's mean shares."
)


def answer(means: pd.DataFrame, subjects: pd.DataFrame, kind: str) -> list[str]:
    """Return sentences on which modality the decisions rest, and how far attention says the same.

    ``means``, ``subjects``: of ``agreement.mean_shares`` over all decisions and by subject; ``kind``: of fusion.
    """
    shares = by_measure(means)
    if "shapley" not in shares:
        return []
    values = shares["shapley"]
    ranked = sorted(values, key=lambda m: -values[m])
    listed = [f"{theme.label(m)} ({theme.percent(values[m])})" for m in ranked]
    rest = f", then {' and '.join(listed[1:])}" if listed[1:] else ""
    sentences = [f"By Shapley values the fused decisions rest most on {listed[0]}{rest}."]
    if "attention" not in shares or len(ranked) < 2:
        return sentences
    said, gap, modality = _widest(shares)
    same = gap < APART and max(shares["attention"], key=lambda m: shares["attention"][m]) == ranked[0]
    if same:
        text = f"On average attention says much the same: no share differs by more than {_points(gap)}."
    else:
        text = f"Attention says {theme.label(modality)} {said}."
    each = {str(subject): _widest(by_measure(rows)) for subject, rows in subjects.groupby("group", sort=False)}
    apart = [subject for subject in each if each[subject][1] >= APART]
    if apart and len(each) > 1:
        most = max(apart, key=lambda subject: each[subject][1])
        text += (
            f" In {len(apart)} of {plural(len(each), 'subject')} a share differs by {_points(APART)} or more, most for "
            f"subject {markdown(most)}: attention says {theme.label(each[most][2])} {each[most][0]}."
        )
    meaning = MEANING.get(kind, "") if apart or not same else ""
    return [*sentences, f"{text} {meaning}".strip()]


def _widest(shares: Mapping[str, Mapping[str, float]]) -> tuple[str, float, str]:
    """Return where attention and Shapley differ most: both shares as text, the difference, the modality."""
    attention, values = (shares.get(measure, {}) for measure in ("attention", "shapley"))
    names = [m for m in MODALITIES if m in attention or m in values]
    if not attention or not values:
        return "", 0.0, ""
    modality = max(names, key=lambda m: abs(attention.get(m, 0.0) - values.get(m, 0.0)))
    first, second = attention.get(modality, 0.0), values.get(modality, 0.0)
    return f"{theme.percent(first)}, Shapley {theme.percent(second)}", abs(first - second), modality


def additive_sentence(share: float) -> str:
    """Return a sentence on how much of the fusion is additive (EMAP, Hessel & Lee 2020); empty for NaN."""
    if share != share:
        return ""
    return (
        f"{theme.percent(share)} of the fusion's decisions are additive: a sum of one function per modality, without "
        "interactions between them, decides them alike."
    )


def by_measure(means: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return measure → modality → share, of ``agreement.mean_shares`` over all decisions."""
    return {
        str(measure): dict(zip(rows["modality"], rows["share"].astype(float), strict=True))
        for measure, rows in means.groupby("measure", sort=False)
    }


def pair_label(first: str, second: str) -> str:
    """Return the name of a comparison of two measures."""
    return f"{MEASURE_LABELS[first]} and {MEASURE_LABELS[second].lower() if second == 'attribution' else 'Shapley'}"


def agreement_table(found: pd.DataFrame) -> pd.DataFrame:
    """Return the correlations of ``agreement.agreements`` or ``orders_by`` as texts."""
    rows = found.to_dict("records")
    grouped = "group" in found
    names = [str(r["group"]) if grouped else question_label(r["question"], r["modality"]) for r in rows]
    return pd.DataFrame(
        {
            "group" if grouped else "correlation": names,
            "rho": ["–" if r["rho"] != r["rho"] else f"{r['rho']:+.2f}" for r in rows],
            "95 % interval": [interval_text(r).removeprefix("95 % interval ") for r in rows],
            "n": [sample_text(r) for r in rows],
        }
    )


def decision_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the decisions of ``agreement.decisions`` as a table, shares in per cent."""
    out = table[["subject", "trial", "label", "predicted", "outcome", "fold", "seed"]].copy()
    for measure in measures(table):
        for modality in (m for m in MODALITIES if table[f"{measure}_{m}"].notna().any()):
            share = 100 * table[f"{measure}_{modality}"]
            out[f"{MEASURE_LABELS[measure]} {theme.label(modality)}, %"] = share.round(0)
    return out


def question_label(question: str, modality: str) -> str:
    """Return what a rank correlation is about."""
    return QUESTIONS[question] if not modality else f"{theme.label(modality)}, {QUESTIONS[question]}"


def interval_text(row: Mapping[Hashable, Any]) -> str:
    """Return the interval of a correlation as text."""
    low, high = float(row["low"]), float(row["high"])
    return "too few for an interval" if low != low else f"95 % interval {low:+.2f} to {high:+.2f}"


def sample_text(row: Mapping[Hashable, Any]) -> str:
    """Return how many trials and subjects a correlation is from."""
    return f"{plural(int(row['trials']), 'trial')}, {plural(int(row['subjects']), 'subject')}"


def resampled_note(found: pd.DataFrame) -> str:
    """Return what the intervals of ``agreement.agreements`` were resampled over."""
    if set(found["resampled"]) == {"trials"}:
        return (
            f"Intervals: 95 %, bootstrap over the trials within each subject, as there are fewer than {ENOUGH} "
            "subjects; they say nothing about other subjects."
        )
    return "Intervals: 95 %, bootstrap over subjects."


def _points(gap: float) -> str:
    return plural(max(1, round(100 * abs(gap))), "point")
