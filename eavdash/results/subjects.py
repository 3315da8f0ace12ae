"""Means over subjects with their intervals, what a subject gains by fusion, and the subjects that lack a stage.

In: a table of ``tables.scores``, and the states of the study's runs. Out: records and frames; nothing is averaged over
subjects that it does not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.results.paired import share_interval
from eavdash.results.scored import STAGE_RANK
from eavdash.text import natural_order, plural

HOLE_COLUMNS = ("subject", "stage", "state", "reason", "run", "done", "planned")
NOT_PLANNED = "not planned"


@dataclass(frozen=True)
class Standing:
    """A stage's mean over subjects with Student's 95 % interval, cut at 0 and 1; NaN for a single subject."""

    stage: str
    mean: float
    low: float
    high: float
    subjects: int
    n: int  # tested items of all subjects


def standings(scores: pd.DataFrame, metric: str = "accuracy") -> list[Standing]:
    """Return the standing of each stage of a ``tables.scores`` table, in the order of its stages."""
    found = []
    for stage, rows in scores.groupby("stage", sort=False):
        values = rows[metric].to_numpy(float)
        ends = share_interval(values)
        found.append(Standing(str(stage), float(values.mean()), *ends, len(values), int(rows["n"].sum())))
    return found


def reference(stages: Sequence[str], chosen: str = "") -> str:
    """Return the modality that fusion is compared with: the one ``chosen`` by validation, otherwise the first one.

    Empty without a fusion or a modality.
    """
    singles = [m for m in MODALITIES if m in stages]
    if "fusion" not in stages or not singles:
        return ""
    return chosen if chosen in singles else singles[0]


def gains(scores: pd.DataFrame, metric: str, against: str) -> dict[str, float]:
    """Return by subject the metric of fusion minus that of ``against``, for the subjects that have both."""
    wide = scores[scores["stage"].isin(["fusion", against])].pivot(index="subject", columns="stage", values=metric)
    if not {"fusion", against} <= set(wide.columns):
        return {}
    gap = (wide["fusion"] - wide[against]).dropna()
    return {str(subject): float(value) for subject, value in gap.items()}


def order(scores: pd.DataFrame, by: str, metric: str, names: Sequence[str], against: str = "") -> list[str]:
    """Return ``names`` in natural order, or from the best to the worst in a stage or, ``by`` "gain", over ``against``.

    Those without a value come last.
    """
    names = list(natural_order(names))
    if by == "subject":
        return names
    rows = scores[scores["stage"] == by]
    values = gains(scores, metric, against) if by == "gain" else dict(zip(rows["subject"], rows[metric], strict=True))
    return sorted(names, key=lambda name: -values.get(name, -math.inf))


def holes(
    states: pd.DataFrame, tested: Mapping[tuple[str, int], int], scores: pd.DataFrame, damaged: Mapping[str, str]
) -> pd.DataFrame:
    """Return the subjects and stages that are not tested, or not by all planned runs.

    Args:
        states: a snapshot of the runs: run, subject ("" across subjects), stage, fold, shown, reason.
        tested: test trials by subject and fold, as planned. scores: of the stages without baselines.
        damaged: why a run's files cannot be used, by its name.

    Returns:
        :data:`HOLE_COLUMNS`: the state and reason of the first run that is not done ("not planned" without any), and
        the numbers of runs that are done and planned.
    """
    people: dict[int, list[str]] = {}
    for subject, fold in tested:
        if subject:
            people.setdefault(fold, []).append(subject)
    planned: dict[tuple[str, str], int] = {}
    lacking: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    names = ("run", "subject", "stage", "fold", "shown", "reason")
    for run, subject, stage, fold, shown, reason in zip(*(states[name].tolist() for name in names), strict=True):
        state, why = ("damaged", damaged[run]) if run in damaged else (shown, reason)
        for name in [subject] if subject else people.get(fold, []):
            planned[name, stage] = planned.get((name, stage), 0) + 1
            if state != "done":
                lacking.setdefault((name, stage), []).append((state, why, run))
    have = set(zip(scores["subject"], scores["stage"], strict=True))
    every = natural_order({name for name, _ in planned} | {name for name, _ in have})
    stages = list(dict.fromkeys([*states["stage"].tolist(), *scores["stage"].tolist()]))
    rows = []
    for name in every:
        for stage in stages:
            runs, count = lacking.get((name, stage), []), planned.get((name, stage), 0)
            if runs:
                state, why, run = runs[0]
                rows.append((name, stage, state, why, run, count - len(runs), count))
            elif (name, stage) not in have:
                rows.append((name, stage, "no test trial" if count else NOT_PLANNED, "", "", count, count))
    return pd.DataFrame(rows, columns=list(HOLE_COLUMNS))


def holes_sentence(found: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Return which subjects a stage's mean leaves out or has partly, by stage; empty if none."""
    have = set(zip(scores["subject"], scores["stage"], strict=True))
    parts = []
    for stage in sorted(set(found["stage"]), key=STAGE_RANK.__getitem__):
        rows = found[found["stage"] == stage]
        there = pd.Series([(s, stage) in have for s in rows["subject"]], rows.index, bool)
        if (~there).any():
            states = ", ".join(f"{n} {state}" for state, n in rows.loc[~there, "state"].value_counts().items())
            parts.append(f"{stage} lacks {plural(int((~there).sum()), 'subject')} ({states})")
        if there.any():
            parts.append(f"{stage} has only a part of the runs of {plural(int(there.sum()), 'subject')}")
    return f"The means are over the subjects that each stage has: {'; '.join(parts)}." if parts else ""
