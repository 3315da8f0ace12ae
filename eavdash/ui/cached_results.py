"""Caches of results between reruns of the pages: predictions, scores, attention and remarks.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import streamlit as st

from eavdash.results import attention, columns, epochs, probes, tables
from eavdash.store import StudyDir

Stamp = tuple[tuple[str, int, int], ...]


def results_stamp(study: StudyDir) -> Stamp:
    """Return the times of the files on which a study's results depend: its runs' predictions and states."""
    stamps = []
    for run in study.runs():
        try:
            predictions, status = run.predictions_file.stat(), run.status_file.stat()
        except OSError:
            continue
        stamps.append((run.name, predictions.st_mtime_ns, status.st_mtime_ns))
    return tuple(stamps)


def predictions(study: StudyDir, baselines: bool = False) -> pd.DataFrame:
    """Return the test predictions of all finished runs."""
    return _predictions(str(study.path), results_stamp(study), baselines)


def scores(study: StudyDir, level: str = "trial", baselines: bool = False) -> pd.DataFrame:
    """Return ``tables.scores``; problems with files are in ``attrs``."""
    return _scores(str(study.path), results_stamp(study), level, baselines)


def scores_by_column(study: StudyDir, column: str, level: str = "trial") -> pd.DataFrame:
    """Return ``tables.scores`` split by an additional column of the trial table."""
    return tables.score_table(predictions(study), level, split=columns.column(study, column))


def remarks(study: StudyDir) -> tuple[list[str], list[str]]:
    """Return the remarks on a study's accuracy, and the names of probes that were not run yet."""
    files = (study.probes_file, study.splits_file, study.trials_file)
    times = tuple((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists())
    return _remarks(str(study.path), (*results_stamp(study), *times))


def trials(study: StudyDir) -> pd.DataFrame:
    """Return ``tables.trials``."""
    return _trials(str(study.path), results_stamp(study))


def attention_heads(study: StudyDir) -> attention.Heads:
    """Return ``results.attention.heads``: the fusions' attention by layer and head."""
    files = (run.attention_file for run in study.runs())
    times = tuple((f.parent.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists())
    return _attention_heads(str(study.path), (*results_stamp(study), *times))


def windows(study: StudyDir, subject: str, trial: str) -> pd.DataFrame:
    """Return ``tables.windows`` of one trial."""
    return tables.windows_of(predictions(study), subject, trial)


def majority(study: StudyDir) -> dict[str, float]:
    """Return each subject's share of its most frequent test label: the accuracy of always guessing that label."""
    table = trials(study).drop_duplicates(["subject", "trial"])
    return {str(s): float(labels.value_counts(normalize=True).max()) for s, labels in table.groupby("subject")["label"]}


def test_trial_counts(study: StudyDir) -> dict[tuple[str, int], int]:
    """Return the number of test trials by subject and fold (subject "": all subjects)."""
    try:
        stamp = study.splits_file.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    return _test_trial_counts(str(study.splits_file), stamp)


@st.cache_data(max_entries=4, show_spinner="Reading the results")
def _predictions(path: str, stamp: Stamp, baselines: bool) -> pd.DataFrame:
    return tables.predictions(StudyDir(Path(path)), baselines=baselines)


@st.cache_data(max_entries=16, show_spinner="Reading the results")
def _scores(path: str, stamp: Stamp, level: str, baselines: bool) -> pd.DataFrame:
    rows = _predictions(path, stamp, baselines)
    table = tables.score_table(rows, level)
    table.attrs["problems"] = rows.attrs["problems"]
    return table


@st.cache_data(max_entries=16, show_spinner=False)
def _remarks(path: str, stamp: Stamp) -> tuple[list[str], list[str]]:
    study = StudyDir(Path(path))
    gain = epochs.gain_sentence(epochs.epoch_gain(study))
    return [*filter(None, [gain]), *probes.sentences(study)], probes.missing(study)


@st.cache_data(max_entries=4, show_spinner="Reading the results")
def _trials(path: str, stamp: Stamp) -> pd.DataFrame:
    return tables.trials(StudyDir(Path(path)))


@st.cache_data(max_entries=2, show_spinner="Reading the attention")
def _attention_heads(path: str, stamp: Stamp) -> attention.Heads:
    return attention.heads(StudyDir(Path(path)))


@st.cache_data(max_entries=16, show_spinner=False)
def _test_trial_counts(path: str, stamp: int) -> dict[tuple[str, int], int]:
    splits = pd.read_csv(path, dtype={"subject": str, "fold": int}, keep_default_na=False)
    rows = splits[splits["split"] == "test"]
    counts = Counter(zip(rows["subject"], rows["fold"].astype(int), strict=True))
    return {**counts, **Counter(("", fold) for fold in rows["fold"].astype(int))}
