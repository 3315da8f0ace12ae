"""The study and the subjects that a command's options name."""

from __future__ import annotations

import argparse
from pathlib import Path

from eavdash import store
from eavdash.cli import console
from eavdash.config.selection import parse_subjects
from eavdash.text import natural_order


def study_of(options: argparse.Namespace) -> store.StudyDir:
    """Return the study that ``options.study`` names.

    Raises:
        UsageError: it does not exist.
    """
    return store.find_study(store.checkpoints_root(options.checkpoints), options.study)


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
