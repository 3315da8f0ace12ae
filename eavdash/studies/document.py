"""A study's document and tables, for a new study or one to which subjects, folds or seeds are added.

In: a trial table, a configuration, a selection, and the earlier document if there is one. Out: the content of
study.json, and tables that keep the rows of the other subjects.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.convert import to_dict
from eavdash.config.schema import Selection, StudyConfig
from eavdash.results.columns import study_table
from eavdash.store.documents import Naming, RecordedDataset, RecordedSelection, StudyDocument
from eavdash.store.names import expanded
from eavdash.store.provenance import git_commit, versions
from eavdash.store.readable import data_folders

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable


def run_naming(folds: Sequence[int], seeds: Sequence[int]) -> Naming:
    """Return the fold and the seed without a suffix in run names: the only one at creation, else None.

    Later additions do not change it.
    """
    return Naming(
        fold=folds[0] if len(folds) == 1 else None,
        seed=seeds[0] if len(seeds) == 1 else None,
    )


def make_document(
    name: str,
    root: Path,
    table: TrialTable,
    config: StudyConfig,
    selection: Selection,
    subjects: Sequence[str],
    folds: Sequence[int],
    classes: Sequence[str],
    fingerprint: Mapping[str, str],
    old: StudyDocument | None,
) -> StudyDocument:
    """Return the content of study.json; ``old`` is its earlier content, if any, of which unknown keys are kept.

    ``fingerprint``: hashes of the recordings, by subject; those of other subjects are kept.
    """
    dataset = RecordedDataset(
        path=str(expanded(root).resolve()),
        kind=table.kind,
        simulated=table.simulated,
        trials=len(table.frame),
        fingerprint=dict(fingerprint),
        folders=data_folders(),
    )
    if old is None:
        return StudyDocument(
            name=name,
            created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            config=to_dict(config),
            selection=RecordedSelection(
                subjects=tuple(dict.fromkeys(subjects)),
                folds=tuple(sorted({*folds})),
                seeds=tuple(sorted({*selection.seeds})),
            ),
            dataset=dataset,
            classes=tuple(classes),
            naming=run_naming(folds, selection.seeds),
            versions=versions(),
            git_commit=git_commit(),
        )
    before, kept = old.selection, old.dataset.fingerprint
    return old.replace(
        name=name,
        config=to_dict(config),
        selection=before.replace(
            subjects=tuple(dict.fromkeys([*before.subjects, *subjects])),
            folds=tuple(sorted({*before.folds, *folds})),
            seeds=tuple(sorted({*before.seeds, *selection.seeds})),
        ),
        dataset=old.dataset.replace(**{**dict(dataset), "fingerprint": {**kept, **fingerprint}}),
        classes=tuple(classes),
    )


def result_columns(trials: pd.DataFrame) -> pd.DataFrame:
    """Return subject, trial, label and the additional columns of a trial table, by which results can be split."""
    from eavdash.data.segments import own_times

    known = {"group", "start", "stop", *own_times(trials), *COLUMN.values()}
    first = ["subject", "trial", "label"]
    return trials[[*first, *(c for c in trials.columns if c not in known and c not in first)]]


def merge_rows(file: Path, rows: pd.DataFrame, subjects: Sequence[str]) -> pd.DataFrame:
    """Return the study's table with the rows of the planned subjects replaced; other rows of ``subjects`` stay.

    Raises:
        IntegrityError: the file is damaged and has rows that are not planned now.
    """
    if not file.exists() or set(subjects) <= set(rows["subject"]):
        return rows.reset_index(drop=True)
    old = study_table(file, [name for name in ("subject", "fold") if name in rows.columns])
    others = old[~old["subject"].isin(set(rows["subject"]))]
    return pd.concat([others, rows], ignore_index=True) if len(others) else rows.reset_index(drop=True)
