"""Caches of the statistics of a study between reruns of their pages; each is computed once per state of the results.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from eavdash.results import across_folds, comparisons, expressiveness, inference, learning, per_class
from eavdash.results import between as pairs
from eavdash.results import optimism as steps
from eavdash.results import together as decided
from eavdash.results.between import Between
from eavdash.results.columns import study_table
from eavdash.results.comparisons import Question
from eavdash.results.expressiveness import Relation
from eavdash.results.inference import Inference
from eavdash.results.optimism import Step
from eavdash.results.paired import Comparison
from eavdash.results.together import Together
from eavdash.store import StudyDir
from eavdash.ui import cached_results, cached_runs
from eavdash.ui.cached_results import Stamp, file_stamp, results_key


@dataclass(frozen=True)
class Compared:
    """Values beside comparisons of a study: by ``a/b``, in fractions, of each subject."""

    people: dict[str, pd.DataFrame]  # a, b by subject, on common trials
    differences: dict[str, pd.Series]


def question(study: StudyDir, metric: str = "accuracy") -> Question:
    """Return what may be concluded about a study's declared question."""
    states = cached_runs.snapshot(study)
    done = (states["state"] == "done").tolist()
    unfinished = comparisons.unfinished_sentence(zip(states["stage"].tolist(), done, strict=True))
    return cached_results.of(study).question(metric, unfinished)


@st.cache_data(max_entries=32, show_spinner="Resampling the subjects", hash_funcs={StudyDir: results_key})
def inferred(study: StudyDir, metric: str, against: str) -> Inference:
    """Return the inference on fusion against another stage."""
    found = comparisons.of_both(cached_results.of(study).decisions(), "fusion", against, metric)
    return inference.infer((found["a"] - found["b"]).to_numpy(float))


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={StudyDir: results_key})
def compared(study: StudyDir, metric: str, pairs: tuple[tuple[str, str], ...]) -> Compared:
    """Return the subjects' values and differences of pairs of stages."""
    made = cached_results.of(study).decisions()
    people = {f"{a}/{b}": comparisons.of_both(made, a, b, metric) for a, b in pairs}
    gaps = {key: (rows["a"] - rows["b"]).round(12) for key, rows in people.items()}
    return Compared(people, gaps)


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={StudyDir: results_key})
def together(study: StudyDir) -> Together | None:
    """Return the modalities' decisions on common trials, or None."""
    return decided.together(cached_results.trials(study))


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={StudyDir: results_key})
def recall_by_class(study: StudyDir) -> pd.DataFrame:
    """Return ``per_class.recall_by_class`` of the stages."""
    return per_class.recall_by_class(cached_results.trials(study))


def curves(study: StudyDir, stage: str, quantity: str) -> pd.DataFrame:
    """Return ``learning.curves``."""
    return _curves(study, stage, quantity, [file_stamp(run.metrics_file) for run in study.runs()])


@st.cache_data(max_entries=16, show_spinner="Reading the curves", hash_funcs={StudyDir: lambda s: str(s.path)})
def _curves(study: StudyDir, stage: str, quantity: str, stamps: list[Stamp]) -> pd.DataFrame:
    return learning.curves(study, stage, quantity)


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={StudyDir: results_key})
def fold_test(study: StudyDir, against: str, metric: str = "accuracy") -> across_folds.FoldTest:
    """Return the corrected resampled t-test of fusion against another stage.

    Raises:
        IntegrityError: the splits cannot be read.
    """
    splits = study_table(study.splits_file, ("fold", "split"))
    return across_folds.fold_test(cached_results.trials(study), splits, "fusion", against, metric)


def majority(study: StudyDir) -> float:
    """Return the mean over subjects of the accuracy of always guessing the most frequent label."""
    found = cached_results.of(study).majority()
    return float(np.mean([*found.values()])) if found else math.nan


def keyed(rows: list[Comparison]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of stages of comparisons."""
    return tuple((c.a, c.b) for c in rows)


@dataclass(frozen=True)
class Expressive:
    """Measures of the recordings of a study."""

    rows: dict[str, pd.DataFrame]  # ``expressiveness.beside`` by measure
    relations: list[Relation]
    problems: list[str]


def expressive(study: StudyDir) -> Expressive | None:
    """Return the measures beside the decisions; None if they were not computed.

    Raises:
        IntegrityError: their file is damaged.
    """
    return _expressive(study, file_stamp(study.expressiveness_file))


@st.cache_data(max_entries=4, show_spinner="Reading the measures", hash_funcs={StudyDir: results_key})
def _expressive(study: StudyDir, stamp: Stamp) -> Expressive | None:
    table = expressiveness.load(study)
    if table is None:
        return None
    trials = cached_results.trials(study)
    every = {name: expressiveness.beside(table, trials, name) for name in expressiveness.MEASURES}
    rows = {name: found for name, found in every.items() if len(found)}
    problems = table.loc[table["problem"] != "", "problem"].drop_duplicates().tolist()
    return Expressive(rows, [expressiveness.relation(found, name) for name, found in rows.items()], problems)


def between(study: StudyDir, other: StudyDir, metric: str = "accuracy") -> Between:
    """Return one study against another, in a metric.

    Raises:
        IntegrityError: the document or the splits of one of them cannot be read.
    """
    return _between(study, other, metric, *map(_planned, (study, other)))


def optimism(study: StudyDir, other: StudyDir | None, stage: str) -> list[Step]:
    """Return the steps from published to honest scoring of a stage.

    Raises:
        IntegrityError: the splits of a study cannot be read.
    """
    results = cached_results.of(study)
    found = between(study, other) if other is not None else None
    return steps.optimism(study, stage, results.scores("frame", False), results.scores("trial", False), found)


def _planned(study: StudyDir) -> tuple[Stamp, Stamp]:
    return file_stamp(study.study_file), file_stamp(study.splits_file)


@st.cache_data(max_entries=8, show_spinner="Comparing the studies", hash_funcs={StudyDir: results_key})
def _between(
    study: StudyDir, other: StudyDir, metric: str, one: tuple[Stamp, Stamp], two: tuple[Stamp, Stamp]
) -> Between:
    return pairs.between(study, cached_results.trials(study), other, cached_results.trials(other), metric)
