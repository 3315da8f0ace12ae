"""Caches of results between reruns of the pages: predictions, scores, attention and remarks.

Keys contain the times and sizes of the files on which a result depends, so that nothing stale is shown; every cache is
bounded.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
import streamlit as st

from eavdash.config.choices import STAGES
from eavdash.errors import EavdashError, IntegrityError
from eavdash.results import attention, columns, comparisons, epochs, groups, probes, study_scores, tables
from eavdash.results.decisions import Decisions
from eavdash.results.reading import BASELINES, NEEDED
from eavdash.store import RunDir, StudyDir

Made = TypeVar("Made")
Stamp = tuple[int, int]
MISSING: Stamp = (-1, -1)
_SOME_RUN = RunDir(Path("run"))
_PREDICTIONS, _STATUS = _SOME_RUN.predictions_file.name, _SOME_RUN.status_file.name


def file_stamp(file: Path | str) -> Stamp:
    """Return a file's size and time, which change with its content; :data:`MISSING` if there is none."""
    try:
        stat = os.stat(file)  # noqa: PTH116 - called for each of thousands of files
    except OSError:
        return MISSING
    return stat.st_size, stat.st_mtime_ns


def results_key(study: StudyDir) -> tuple[str, str]:
    """Return what a study's results depend on: the predictions and states of the runs that have predictions."""
    digest, folder = blake2b(), str(study.path)
    with suppress(OSError), os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries):
            if (of := file_stamp(f"{folder}/{name}/{_PREDICTIONS}")) != MISSING:
                digest.update(f"{name} {of} {file_stamp(f'{folder}/{name}/{_STATUS}')}".encode(errors="surrogatepass"))
    return folder, digest.hexdigest()


def _remarks_key(study: StudyDir) -> tuple[object, ...]:
    return results_key(study), *map(file_stamp, (study.probes_file, study.splits_file, study.trials_file))


def _attention_key(study: StudyDir) -> tuple[object, ...]:
    return results_key(study), [file_stamp(run.attention_file) for run in study.runs()]


class Results:
    """One reading of a study's results, and every table that is made of it, each of them once.

    The tables are shared by all sessions: a page that changes one makes a copy.
    """

    def __init__(self, study: StudyDir) -> None:
        self.scored = study_scores.read(study, verify=False)
        self._made: dict[tuple[object, ...], Any] = {}

    def _once(self, make: Callable[..., Made], *key: Any) -> Made:
        name = make.__name__, *key
        if name not in self._made:
            self._made[name] = make(*key)
        return cast(Made, self._made[name])

    def scores(self, level: str, baselines: bool) -> pd.DataFrame:
        """Return ``tables.scores``; problems with files are in ``attrs``."""
        return self._once(self._scores, level, baselines).copy(deep=False)

    def _scores(self, level: str, baselines: bool) -> pd.DataFrame:
        return self.scored.scores(level, (), _stages(baselines))

    def spread(self, level: str, metric: str) -> dict[tuple[str, str], str]:
        """Return ``Scored.spread``."""
        return self._once(self._spread, level, metric)

    def _spread(self, level: str, metric: str) -> dict[tuple[str, str], str]:
        return self.scored.spread(level, metric)

    def trials(self) -> pd.DataFrame:
        """Return ``tables.trials``."""
        return self._once(self._trials).copy(deep=False)

    def _trials(self) -> pd.DataFrame:
        return self.scored.trials()

    def independent(self, baselines: bool) -> pd.DataFrame:
        """Return subject, stage and n: how many independent trials the test trials are worth."""
        return self._once(self._independent, baselines)

    def _independent(self, baselines: bool) -> pd.DataFrame:
        found = groups.effective_trials(self.scored.trials(_stages(baselines)))
        return pd.DataFrame([(*key, n) for key, n in found.items()], columns=["subject", "stage", "n"])

    def majority(self) -> dict[str, float]:
        """Return each subject's share of its most frequent test label: the accuracy of always guessing that label."""
        return self._once(self._majority)

    def _majority(self) -> dict[str, float]:
        table = self.trials().drop_duplicates(["subject", "trial"])
        counts = table.groupby(["subject", "label"]).size()
        share = counts.groupby(level="subject").max() / counts.groupby(level="subject").sum()
        return {str(subject): float(value) for subject, value in share.items()}

    def uneven(self) -> str:
        """Return ``comparisons.uneven``."""
        return self._once(self._uneven)

    def _uneven(self) -> str:
        return comparisons.uneven(self.trials())

    def behind(self, metric: str) -> list[str]:
        """Return a sentence for each encoder that is not clearly better than its baselines."""
        return self._once(self._behind, metric)

    def _behind(self, metric: str) -> list[str]:
        return comparisons.behind(self.decisions(), metric)

    def decisions(self) -> Decisions:
        """Return who decided what, of all stages and baselines."""
        return self._once(self._decisions)

    def _decisions(self) -> Decisions:
        return comparisons.decisions(self.scored)

    def question(self, metric: str, unfinished: str) -> comparisons.Question:
        """Return what may be concluded; ``unfinished``: a sentence about the runs that are not done."""
        return self._once(self._question, metric, unfinished)

    def _question(self, metric: str, unfinished: str) -> comparisons.Question:
        means = comparisons.validation_means(self.scored, metric)
        return comparisons.ask(self.decisions(), means, unfinished, metric)


@st.cache_resource(max_entries=8, show_spinner="Reading the results", hash_funcs={StudyDir: results_key})
def of(study: StudyDir) -> Results:
    """Return the results of a study; of a new run one small file is read."""
    return Results(study)


def scores(study: StudyDir, level: str, baselines: bool) -> pd.DataFrame:
    """Return ``tables.scores``; problems with files are in ``attrs``."""
    return of(study).scores(level, baselines)


def trials(study: StudyDir) -> pd.DataFrame:
    """Return ``tables.trials``."""
    return of(study).trials()


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={StudyDir: _remarks_key})
def _time_only(study: StudyDir) -> probes.Finding | None:
    try:
        return probes.time_only(study, of(study).scored)
    except EavdashError:
        return None


def time_only(study: StudyDir) -> dict[str, float]:
    """Return the accuracy of guessing from a trial's position, by subject; empty if it cannot be told."""
    found = _time_only(study)
    return probes.by_subject(found) if found else {}


def scores_by_column(study: StudyDir, column: str) -> pd.DataFrame:
    """Return ``tables.scores`` split by an additional column of the trial table."""
    return of(study).scored.scores(split=columns.column(study, column))


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={StudyDir: _remarks_key})
def probed(study: StudyDir) -> tuple[list[str], list[str]]:
    """Return the sentences of a study's probes, and the names of those that were not run yet."""
    return probes.sentences(study, _time_only(study)), probes.missing(study)


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={StudyDir: _remarks_key})
def remarks(study: StudyDir, metric: str = "accuracy") -> tuple[list[str], list[str]]:
    """Return the remarks on a study's scores, and the names of probes that were not run yet."""
    gain = epochs.gain_sentence(epochs.epoch_gain(study))
    said, missing = probed(study)
    return [*of(study).behind(metric), *filter(None, [gain]), *said], missing


def behind(study: StudyDir, metric: str = "accuracy") -> list[str]:
    """Return a sentence for each encoder that is not clearly better than its baselines."""
    return of(study).behind(metric)


@st.cache_data(max_entries=64, show_spinner="Reading the windows", hash_funcs={StudyDir: results_key})
def windows(study: StudyDir, subject: str, trial: str) -> pd.DataFrame:
    """Return the test windows of one trial, all stages, folds and seeds; only its runs are read."""
    table = trials(study)
    runs = table.loc[(table["subject"] == subject) & (table["trial"] == trial), ["run", "stage"]].drop_duplicates()
    rows = [
        tables.read_table(study.run(run), "predictions.parquet", NEEDED, "p_<label>").assign(run=run, stage=stage)
        for run, stage in runs.itertuples(index=False)
    ]
    found = pd.concat(rows, ignore_index=True)
    return tables.windows_of(found[found["split"] == "test"], subject, trial)


@st.cache_data(max_entries=2, show_spinner="Reading the attention", hash_funcs={StudyDir: _attention_key})
def attention_heads(study: StudyDir) -> attention.Heads:
    """Return ``results.attention.heads``: the fusions' attention by layer and head."""
    return attention.heads(study)


def _stages(baselines: bool) -> list[str]:
    return [*STAGES, *(BASELINES if baselines else ())]


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
