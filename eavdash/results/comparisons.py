"""The comparisons that a study's results are asked for, and what may be concluded from them.

In: a table of ``tables.trials`` (one row per test trial, stage, fold and seed). Out: a :class:`Question`.

*Same trials on both sides*: two stages are compared on the (subject, trial, fold, seed) that both have been tested on;
a trial is averaged over its seeds first, then a subject over its trials. *One declared question*: is fusion more
accurate than the one modality with the best mean accuracy on validation trials? Two-sided and uncorrected. All other
comparisons are secondary: Holm's correction over all of them. There is no verdict while runs are missing, without
validation trials, or with fewer subjects than the test needs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.errors import EavdashError
from eavdash.results import tables
from eavdash.results.paired import Comparison, compare, holm, least_subjects, too_few_subjects
from eavdash.results.tables import BESIDE
from eavdash.store import StudyDir
from eavdash.text import plural

_ITEM = ["subject", "trial", "fold", "seed"]
BEST_OF_EACH = "each subject's best"


@dataclass(frozen=True)
class Question:
    """The declared comparison of a study, and everything that stands beside it.

    ``primary``: fusion against the modality chosen on validation trials; None if none can be chosen. ``why_not``: why
    there is no verdict; empty if there is one. ``oracle``: fusion against each subject's best modality by its test
    trials, which no one can choose in advance: described, never tested. ``secondary``: corrected by Holm's method.
    """

    primary: Comparison | None
    why_not: str
    oracle: Comparison | None
    secondary: tuple[Comparison, ...]


def ask(trials: pd.DataFrame, validation: pd.Series, unfinished: str = "") -> Question:
    """Return the study's question.

    Args:
        trials: from ``tables.trials``, with the baselines.
        validation: mean accuracy on validation trials by modality (:func:`validation`); empty without any.
        unfinished: a sentence about the runs that are not done; empty if all are.
    """
    wide = by_stage(trials)
    singles = [m for m in MODALITIES if m in wide.columns]
    if "fusion" not in wide.columns or not singles:
        return Question(None, "", None, tuple(_corrected(_beside_encoders(wide))))
    chosen = _chosen(wide, singles, validation)
    rivals = [m for m in singles if m != chosen] + [n for n in BESIDE["fusion"] if n in wide and n != "majority"]
    others = [paired(wide, "fusion", name) for name in rivals] + list(_beside_encoders(wide))
    primary = paired(wide, "fusion", chosen) if chosen else None
    why_not = unfinished or _too_few(primary)
    return Question(primary, why_not, _oracle(wide, singles), tuple(_corrected(others)))


def question_of(study: StudyDir) -> Question:
    """Return :func:`ask` of a study's files."""
    return ask(tables.trials(study, baselines=True), validation(study), unfinished(study))


def validation(study: StudyDir) -> pd.Series:
    """Return each modality's mean accuracy over the subjects' validation trials; a protocol without any: empty."""
    rows = tables.predictions(study, MODALITIES, split="validation")
    table = tables.score_table(rows)
    found: pd.Series = table.groupby("stage")["accuracy"].mean()
    return found


def unfinished(study: StudyDir) -> str:
    """Return a sentence about the runs of a study that are not done, stage by stage; empty if all are."""
    planned: dict[str, list[bool]] = {}
    for run in study.runs():
        with contextlib.suppress(EavdashError):  # reported beside the scores
            planned.setdefault(run.config().stage, []).append(run.status().state == "done")
    open_runs = [f"{len(d) - sum(d)} of {plural(len(d), 'run')} of {s}" for s, d in planned.items() if not all(d)]
    return f"Not done yet: {', '.join(open_runs)}. There is no verdict until all are." if open_runs else ""


def by_stage(trials: pd.DataFrame) -> pd.DataFrame:
    """Return right (1) or wrong (0) by subject, trial, fold and seed (index) and stage (columns); NaN: not tested."""
    table = trials[[*_ITEM, "stage"]].assign(correct=trials["correct"].astype(float))
    return table.pivot_table(index=_ITEM, columns="stage", values="correct", aggfunc="mean")


def paired(wide: pd.DataFrame, a: str, b: str) -> Comparison:
    """Compare two stages on the trials that both have been tested on."""
    both = wide[[a, b]].dropna()
    people = _accuracies(both)
    either = wide.index[wide[[a, b]].notna().any(axis=1)]
    count = _distinct(both.index)
    return replace(
        compare(a, people[a].tolist(), b, people[b].tolist()),
        trials=count,
        trials_left_out=_distinct(either) - count,
        subjects_left_out=either.get_level_values("subject").nunique() - len(people),
    )


def encoder_comparisons(wide: pd.DataFrame) -> list[Comparison]:
    """Compare each encoder with the baselines beside it; those of a stage from the best to the worst."""
    return _corrected(_beside_encoders(wide))


def behind(trials: pd.DataFrame) -> list[str]:
    """Return a sentence for each encoder that is not clearly better than the best of its baselines.

    "Best" is chosen on the test trials, which favours the baseline: a gain over it is conservative. ``STAGE:time`` is
    left out, because it reads no recording and has a sentence of its own (:mod:`eavdash.results.probes`). A frozen
    encoder with a linear fit is its own ``STAGE:linear``, so a tie with that says nothing.
    """
    sentences = []
    seen: set[str] = set()
    for c in encoder_comparisons(by_stage(trials)) if len(trials) else []:
        itself = c.b.endswith(":linear") and c.difference == 0
        if c.a in seen or not c.subjects or c.b.endswith(":time") or itself:
            continue
        seen.add(c.a)
        few = c.subjects < least_subjects()
        if c.difference > 0 and (few or c.low > 0):
            continue
        how = "does not beat" if c.difference <= 0 else "is not clearly better than"
        interval = f"95 % interval {100 * c.low:+.1f} to {100 * c.high:+.1f}"
        sentences.append(
            f"The {c.a} encoder ({100 * c.mean_a:.1f} %) {how} the simple baseline {c.b} ({100 * c.mean_b:.1f} %): "
            f"{100 * c.difference:+.1f} points over {plural(c.subjects, 'subject')}, "
            f"{'too few for an interval' if few else interval}."
        )
    return sentences


def uneven(trials: pd.DataFrame) -> str:
    """Return a sentence if the stages have been tested on different subjects or trials; their means do not compare."""
    sets = {str(stage): frozenset(zip(r["subject"], r["trial"], strict=True)) for stage, r in trials.groupby("stage")}
    if len(set(sets.values())) < 2:
        return ""
    counts = ", ".join(f"{stage} {len(items)}" for stage, items in sets.items())
    return (
        f"The stages have been tested on different trials ({counts}), so their averages do not compare; "
        "differences on the Statistics page are over common trials."
    )


def _accuracies(both: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies by subject: each trial is averaged over its folds and seeds first."""
    return both.groupby(level=["subject", "trial"]).mean().groupby(level="subject").mean()


def _chosen(wide: pd.DataFrame, singles: Sequence[str], validation: pd.Series) -> str:
    """Return the modality with the best mean accuracy on validation trials, among those that half of the subjects have.

    A single lucky subject must not determine it. Empty: no modality has validation trials.
    """
    people = wide[["fusion", *singles]].groupby(level="subject").mean()
    had = people.loc[people["fusion"].notna(), singles].notna().mean()
    common = [m for m in singles if had[m] >= min(0.5, had.max()) and m in validation.index]
    return max(common, key=lambda m: (validation[m], -singles.index(m))) if common else ""


def _too_few(primary: Comparison | None) -> str:
    if primary is None:
        return (
            "There are no validation trials, so no modality can be chosen without looking at the test trials: "
            "the differences below describe these trials and decide nothing."
        )
    return too_few_subjects(primary.subjects)


def _oracle(wide: pd.DataFrame, singles: Sequence[str]) -> Comparison:
    """Return fusion against each subject's best modality, without p: by chance alone that is mostly better."""
    both = wide[["fusion", *singles]].dropna(subset=["fusion"]).dropna(axis=1, how="all")
    people = both.groupby(level=["subject", "trial"]).mean().groupby(level="subject").mean()
    best = people[[m for m in singles if m in people]].max(axis=1).dropna()
    made = compare("fusion", people.loc[best.index, "fusion"].tolist(), BEST_OF_EACH, best.tolist())
    return replace(made, p=math.nan, p_wilcoxon=math.nan, effect=math.nan, low=math.nan, high=math.nan)


def _beside_encoders(wide: pd.DataFrame) -> Iterator[Comparison]:
    for stage in (m for m in MODALITIES if m in wide.columns):
        mine = [paired(wide, stage, name) for name in BESIDE[stage] if name in wide.columns]
        # Of equal ones, first those of the recording itself, which say more than "frozen features" or a guess.
        yield from sorted(
            mine,
            key=lambda c: (-round(np.nan_to_num(c.mean_b), 12), c.b.endswith((":linear", ":time", ":majority"))),
        )


def _corrected(comparisons: Iterator[Comparison] | Sequence[Comparison]) -> list[Comparison]:
    found = list(comparisons)
    corrected = holm([c.p for c in found])
    return [replace(c, p_holm=p) for c, p in zip(found, corrected, strict=True)]


def _distinct(index: pd.Index) -> int:
    """Return the number of distinct trials of an index of tested items."""
    return len(index.to_frame()[["subject", "trial"]].drop_duplicates())
