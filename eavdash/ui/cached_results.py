"""Caches of results between reruns of the pages: predictions, scores, attention and remarks.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import streamlit as st

from eavdash.errors import EavdashError, IntegrityError
from eavdash.results import attention, columns, comparisons, epochs, groups, probes, tables
from eavdash.store import StudyDir

Stamp = tuple[int, int]
MISSING: Stamp = (-1, -1)


def file_stamp(file: Path) -> Stamp:
    """Return a file's size and time, which change with its content; :data:`MISSING` if there is none."""
    try:
        stat = file.stat()
    except OSError:
        return MISSING
    return stat.st_size, stat.st_mtime_ns


def results_key(study: StudyDir) -> tuple[object, ...]:
    """Return what a study's results depend on: the predictions and states of the runs that have predictions."""
    stamps = ((run, file_stamp(run.predictions_file)) for run in study.runs())
    return str(study.path), [(r.name, of, file_stamp(r.status_file)) for r, of in stamps if of != MISSING]


def _remarks_key(study: StudyDir) -> tuple[object, ...]:
    return results_key(study), *map(file_stamp, (study.probes_file, study.splits_file, study.trials_file))


def _question_key(study: StudyDir) -> tuple[object, ...]:
    return results_key(study), [run.name for run in study.runs()]


def _attention_key(study: StudyDir) -> tuple[object, ...]:
    return results_key(study), [file_stamp(run.attention_file) for run in study.runs()]


@st.cache_data(max_entries=4, show_spinner="Reading the results", hash_funcs={StudyDir: results_key})
def predictions(study: StudyDir, baselines: bool) -> pd.DataFrame:
    """Return the test predictions of all finished runs."""
    return tables.predictions(study, baselines=baselines)


@st.cache_data(max_entries=16, show_spinner="Reading the results", hash_funcs={StudyDir: results_key})
def scores(study: StudyDir, level: str, baselines: bool) -> pd.DataFrame:
    """Return ``tables.scores``; problems with files are in ``attrs``."""
    rows = predictions(study, baselines)
    table = tables.score_table(rows, level)
    table.attrs.update(rows.attrs)
    return table


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={StudyDir: results_key})
def independent(study: StudyDir, baselines: bool) -> pd.DataFrame:
    """Return subject, stage and n: how many independent trials the test trials are worth."""
    found = groups.effective_trials(tables.trial_table(predictions(study, baselines)))
    return pd.DataFrame([(*key, n) for key, n in found.items()], columns=["subject", "stage", "n"])


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={StudyDir: _remarks_key})
def time_only(study: StudyDir) -> dict[str, float]:
    """Return the accuracy of guessing from a trial's position, by subject; empty if it cannot be told."""
    try:
        return probes.by_subject(probes.time_only(study))
    except EavdashError:
        return {}


def scores_by_column(study: StudyDir, column: str) -> pd.DataFrame:
    """Return ``tables.scores`` split by an additional column of the trial table."""
    return tables.score_table(predictions(study, False), "trial", split=columns.column(study, column))


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={StudyDir: _remarks_key})
def remarks(study: StudyDir) -> tuple[list[str], list[str]]:
    """Return the remarks on a study's accuracy, and the names of probes that were not run yet."""
    gain = epochs.gain_sentence(epochs.epoch_gain(study))
    return [*behind(study), *filter(None, [gain]), *probes.sentences(study)], probes.missing(study)


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={StudyDir: results_key})
def behind(study: StudyDir) -> list[str]:
    """Return a sentence for each encoder that is not clearly better than its baselines."""
    return comparisons.behind(tables.trial_table(predictions(study, True)))


@st.cache_data(max_entries=16, show_spinner="Comparing", hash_funcs={StudyDir: _question_key})
def question(study: StudyDir) -> comparisons.Question:
    """Return what may be concluded from a study's results."""
    every = tables.trial_table(predictions(study, True))
    return comparisons.ask(every, comparisons.validation(study), comparisons.unfinished(study))


@st.cache_data(max_entries=4, show_spinner="Reading the results", hash_funcs={StudyDir: results_key})
def trials(study: StudyDir) -> pd.DataFrame:
    """Return ``tables.trials``."""
    return tables.trials(study)


@st.cache_data(max_entries=2, show_spinner="Reading the attention", hash_funcs={StudyDir: _attention_key})
def attention_heads(study: StudyDir) -> attention.Heads:
    """Return ``results.attention.heads``: the fusions' attention by layer and head."""
    return attention.heads(study)


def windows(study: StudyDir, subject: str, trial: str) -> pd.DataFrame:
    """Return ``tables.windows`` of one trial."""
    return tables.windows_of(predictions(study, False), subject, trial)


def majority(study: StudyDir) -> dict[str, float]:
    """Return each subject's share of its most frequent test label: the accuracy of always guessing that label."""
    table = trials(study).drop_duplicates(["subject", "trial"])
    return {str(s): float(labels.value_counts(normalize=True).max()) for s, labels in table.groupby("subject")["label"]}


@st.cache_data(
    max_entries=16, show_spinner=False, hash_funcs={StudyDir: lambda s: (str(s.path), file_stamp(s.splits_file))}
)
def test_trial_counts(study: StudyDir) -> dict[tuple[str, int], int]:
    """Return the number of test trials by subject and fold (subject "": all subjects); none of a damaged file."""
    try:
        splits = columns.study_table(study.splits_file, ("subject", "fold", "split"))
    except IntegrityError:
        return {}
    rows = splits[splits["split"] == "test"]
    counts = Counter(zip(rows["subject"], rows["fold"].astype(int), strict=True))
    return {**counts, **Counter(("", fold) for fold in rows["fold"].astype(int))}
