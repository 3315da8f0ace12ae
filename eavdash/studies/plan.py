"""The plan of a study, made without writing anything.

In: the dataset's path, the study's name, a :class:`~eavdash.config.schema.StudyConfig` and a
:class:`~eavdash.config.schema.Selection`. Out: a :class:`Plan`. ``eavdash.data`` reads and splits the trial table; it
is imported only when a plan is made, as pages import this package.

A study's configuration is fixed; planning again with the same name adds subjects, folds and seeds. Its trials are
frozen in ``trials.parquet``: the rows of a subject that has runs cannot change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from eavdash.config.choices import ACROSS
from eavdash.config.convert import recorded_config
from eavdash.config.fitting import with_fit
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import DataError, SplitError
from eavdash.store import StudyDir, check_study_name
from eavdash.store.documents import StudyDocument
from eavdash.store.names import check_unit_names
from eavdash.store.readable import check_readable
from eavdash.studies.checks import (
    chosen_folds,
    fewer_folds_notes,
    keep_earlier,
    missing_pretraining_notes,
    refuse_conflict,
    refuse_other_subjects,
    refuse_too_many_runs,
)
from eavdash.studies.document import make_document, merge_rows, result_columns
from eavdash.studies.eeg_headers import differing_channels, eeg_headers
from eavdash.studies.encoders import refuse_missing_weights, refuse_unfit_encoders, refuse_unknown_encoders
from eavdash.studies.lengths import short_trials_notes
from eavdash.studies.runs import PlannedRun, make_runs, recorded_stages

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable
    from eavdash.studies.unusable import Unusable

_SPLIT_COLUMNS = ["subject", "trial", "group", "fold", "split"]


@dataclass(frozen=True)
class Plan:
    """The planned content of a study. ``left_out``: run that is not made → reason (no recordings of a modality).

    ``window_bytes``: the disk space of the windows at most, None if it is unknown.
    """

    study: StudyDir
    document: StudyDocument
    splits: pd.DataFrame
    trials: pd.DataFrame  # subject, trial, label and the additional columns of the trial table, as text
    planned: tuple[PlannedRun, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    table: TrialTable  # what trials.parquet freezes: the trials of all subjects that the filters select
    window_bytes: int | None = None

    @property
    def runs(self) -> list[str]:
        """Return the names of the requested runs, parents before children."""
        return [run.name for run in self.planned]

    @property
    def problems(self) -> dict[str, str]:
        """Return the runs that cannot start, with the reason."""
        return {run.name: run.problem for run in self.planned if run.problem}

    @property
    def existing(self) -> list[str]:
        """Return the names of the :attr:`runs` that exist already."""
        return [name for name in self.runs if self.study.run(name).config_file.exists()]


def plan(
    root: str | Path,
    name: str,
    config: StudyConfig,
    selection: Selection,
    checkpoints: Path,
    *,
    frozen: bool = False,
    imported: bool = False,
    unusable: Unusable | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Plan:
    """Plan a study without writing anything; the recordings of new subjects are looked at, as by the health check.

    ``frozen``: do not open the dataset if the study's frozen table has all subjects of the selection. ``imported``: its
    models exist and are not built from the settings. ``unusable``: what becomes of trials that cannot be used.
    ``report(done, of)`` counts the files that are looked at.

    Raises:
        UsageError: a name, subject, fold or seed is invalid; ``StudyConflictError`` if the name is taken.
        IntegrityError: a file of the study is damaged.
        OutsideError: the dataset may not be read.
        DataError, SplitError: no subject can be trained (with the reason of the first one), or a check of
            ``eavdash.data.gates`` fails.
    """
    from eavdash.data.calibration import calibration_notes, refuse_uncalibrated
    from eavdash.data.frozen import merged, read_frozen, rerooted
    from eavdash.data.gates import check_study
    from eavdash.data.readers import reader_of
    from eavdash.data.spelling import doubts
    from eavdash.data.splits import make_splits
    from eavdash.data.table import fingerprint, open_table
    from eavdash.models.automatic import resolved
    from eavdash.studies.unusable import usable_trials
    from eavdash.text import natural_order

    study = StudyDir(checkpoints / check_study_name(name))
    check_readable(root)  # also where its frozen table is enough
    old = study.study() if study.exists else None
    config, encoders = resolved(config, recorded_config(old) if old else None)
    refuse_missing_weights(config)
    refuse_unknown_encoders(config)
    for modality in config.modalities:
        reader_of(modality, config).check_size()
    config = with_fit(config)
    config, kept = keep_earlier(config, old) if old else (config, [])
    study.refuse_archived()
    before = read_frozen(study.table_file) if old and study.table_file.exists() else None
    reused = before if frozen and before and old and _has_usable(before, old, selection.subjects) else None
    table = reused or open_table(root)
    remembered = study.cache_dir if checkpoints.is_dir() else None  # planning makes no folder of studies
    looked = usable_trials(table, config, selection.subjects, remembered, unusable, old, report)
    everyone, chosen = looked.everyone, looked.chosen
    # Subjects that cannot be used stay in the order; their runs are made as failed runs with a reason.
    subjects = list(natural_order([*chosen.subjects, *chosen.problems]))
    if config.protocol.name in ACROSS or config.protocol.pooled:
        if config.protocol.name in ACROSS:
            subjects = list(chosen.subjects)
        if old is not None:
            refuse_other_subjects(study, old, subjects)
    trials = chosen.frame
    # Classes come from all subjects, so that adding subjects later cannot change them.
    classes = list(everyone.classes)
    if len(classes) < 2:
        raise DataError.at(
            table.root,
            expected="at least two classes in the column label",
            found=f"only {classes[0]!r}",
            remedy="check the labels and the filter `where`",
        )
    splits = make_splits(trials, config.protocol)
    refuse_uncalibrated(trials, config.protocol, config.modalities)
    check_study(trials, splits.frame, config.protocol, config.modalities, study.cache_dir)
    header_notes, refused = eeg_headers(trials, config)
    differing, unlike_eeg = differing_channels(trials, config, looked.electrodes)
    problems = {**unlike_eeg, **refused, **chosen.problems, **splits.problems}

    folds = chosen_folds(splits.frame, selection.folds, problems)
    recorded = old.dataset.fingerprint if old else {}
    every = fingerprint(everyone)
    found = {s: every[s] for s in chosen.subjects}
    usable = {s: h for s, h in found.items() if s not in problems}
    document = make_document(name, Path(root), table, config, selection, subjects, folds, classes, usable, old)
    check_unit_names(document.selection.subjects)
    document = document.replace(left_out=looked.record)
    if old and reused:
        document = document.replace(dataset=old.dataset.replace(fingerprint=document.dataset.fingerprint))
    if old:
        refuse_conflict(study, old, document, found)
    # Links are resolved as in the document, so that a link that is changed later does not change the study.
    fresh = rerooted(everyone, Path(os.path.realpath(table.root)))
    unlike = {s for s, h in recorded.items() if every.get(s) != h}
    rows = looked.of(reused) if reused else merged(fresh, before, unlike)

    stages, unrecorded = recorded_stages(config, trials)
    cross = config.protocol.name in ACROSS
    refuse_too_many_runs(1 if cross else len(subjects), len(folds), len(selection.seeds), len(stages))
    planned, left_out = make_runs(document, stages, trials, splits.frame, subjects, folds, selection.seeds, problems)
    left_out |= {f"subject {s}": p for s, p in chosen.problems.items() if s not in subjects}
    if not any(not run.problem for run in planned):
        reason = next((run.problem for run in planned if run.problem), None) or next(iter(left_out.values()), "")
        reason = reason or (f"{table.root}: {'; '.join(unrecorded)}." if unrecorded else "")
        raise SplitError(reason or f"{table.root}: nothing to train; choose other stages, subjects or folds.")
    together = cross or config.protocol.pooled
    built = old is None and not imported
    unfit = refuse_unfit_encoders(config, trials, len(classes), together) if built else []
    further = (
        *unfit,
        *calibration_notes(trials, config.protocol),
        *short_trials_notes(trials, config),
        *header_notes,
        *differing,
        *kept,
    )
    unclear = doubts(everyone.frame, config.names)
    notes = (
        *encoders,
        *table.notes,
        *unclear,
        *splits.notes,
        *fewer_folds_notes(config, splits.frame),
        *unrecorded,
        *missing_pretraining_notes(config),
        *further,
    )
    all_subjects = document.selection.subjects
    tables = (
        merge_rows(study.splits_file, splits.frame[_SPLIT_COLUMNS], all_subjects),
        merge_rows(study.trials_file, result_columns(trials), all_subjects),
    )
    return Plan(study, document, *tables, tuple(planned), left_out, notes, rows, looked.window_bytes)


def _has_usable(frozen: TrialTable, old: StudyDocument, subjects: Sequence[str]) -> bool:
    """Return True if the frozen table suffices to plan ``subjects``, none of which could not be used so far."""
    unusable = set(old.selection.subjects) - set(old.dataset.fingerprint)
    return bool(subjects) and set(subjects) <= set(frozen.subjects) - unusable
