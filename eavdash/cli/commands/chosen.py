"""The study and the subjects that a command's options name, and the trials that the study has tested."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.config.selection import parse_subjects
from eavdash.errors import UsageError
from eavdash.text import natural_order


def study_of(options: argparse.Namespace) -> store.StudyDir:
    """Return the study that ``options.study`` names.

    Raises:
        UsageError: it does not exist.
    """
    return store.find_study(store.checkpoints_root(options.checkpoints), options.study)


def tested_trials(study: store.StudyDir) -> pd.DataFrame:
    """Return ``tables.trials`` of a study.

    Raises:
        UsageError: no finished run has test trials.
    """
    from eavdash.results import tables

    trials = tables.trials(study)
    if trials.empty:
        where, remedy = f"study {study.name}", f"wait until one is done: eavdash status {study.name}"
        raise UsageError.at(where, expected="a finished run with test trials", found="none", remedy=remedy)
    return trials


def subjects_of(text: str | None, dataset: str | Path) -> tuple[str, ...]:
    """Return the subjects of a list such as ``1-3,7``; empty, which means all, for None. Incomplete ranges are noted.

    Raises:
        TableError: the dataset cannot be opened. UsageError: it has no such subject.
    """
    if text is None:
        return ()
    from eavdash.data.table import open_table

    table = open_table(dataset)
    # A subject with problems can be named, so that the plan says what they are; some of its trials may be usable.
    return parse_subjects(text, natural_order([*table.subjects, *table.problems]), note=console.info)
