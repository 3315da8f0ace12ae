"""The plan of a study, with nothing written.

In: where the recordings are, the study's name, a :class:`~eavdash.config.schema.StudyConfig` and a
:class:`~eavdash.config.schema.Selection`. Out: a :class:`Plan`. Reading recordings' tables and splitting them is
delegated to ``eavdash.data``, which is imported when a plan is made and not before: pages import this package.

A study's configuration is frozen; subjects, folds and seeds may be added by planning again with the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import DataError, SplitError
from eavdash.store import StudyDir, check_study_name
from eavdash.studies.checks import (
    chosen_folds,
    refuse_conflict,
    refuse_missing_weights,
    refuse_other_people,
    refuse_unknown_encoders,
    unpretrained,
)
from eavdash.studies.document import further, make_document, merged, naming_of
from eavdash.studies.runs import CROSS_SUBJECT, PlannedRun, make_runs, recorded_stages

_SPLIT_COLUMNS = ["subject", "trial", "group", "fold", "split"]


@dataclass(frozen=True)
class Plan:
    """What a study will hold. ``left_out`` says for each run that is not made why (no recordings of a modality)."""

    study: StudyDir
    document: dict[str, Any]  # study.json
    splits: pd.DataFrame
    trials: pd.DataFrame  # subject, trial, label and the further columns of the trial table, as text
    planned: tuple[PlannedRun, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[str]:
        """Names of the runs that were asked for, parents before children."""
        return [run.name for run in self.planned]

    @property
    def existing(self) -> list[str]:
        """Those of :attr:`runs` that are there already."""
        return [name for name in self.runs if self.study.run(name).config_file.exists()]


def plan(root: str | Path, name: str, config: StudyConfig, selection: Selection, checkpoints: Path) -> Plan:
    """The plan of a study, without writing anything.

    Raises:
        UsageError: a name, subject, fold or seed that cannot be; ``StudyConflictError`` when the name is taken.
        DataError, SplitError: no subject at all can be trained (the message is that of the first one), or a gate of
            ``eavdash.data.gates`` does not hold.
    """
    from eavdash.data.gates import check_study
    from eavdash.data.splits import make_splits
    from eavdash.data.table import fingerprint, natural_order, open_table, select

    study = StudyDir(checkpoints / check_study_name(name))
    refuse_missing_weights(config)
    refuse_unknown_encoders(config)
    old = study.study() if study.exists else None
    study.refuse_archived()
    table = open_table(root)
    chosen = select(table, config, selection.subjects)
    # Subjects that cannot be used keep their place: their runs are made, as failed ones that say why.
    subjects = list(natural_order([*chosen.subjects, *chosen.problems]))
    if config.protocol.name in CROSS_SUBJECT or config.protocol.pooled:
        if config.protocol.name in CROSS_SUBJECT:
            subjects = list(chosen.subjects)
        if old is not None:
            refuse_other_people(study, old, subjects)
    trials = chosen.frame
    # Classes come from every subject, so that adding subjects later cannot change them.
    classes = list(select(table, config).classes)
    if len(classes) < 2:
        raise DataError.at(
            table.root,
            expected="at least two classes in the column label",
            found=f"only {classes[0]!r}",
            remedy="check the labels or the filter `where`",
        )
    splits = make_splits(trials, config.protocol)
    check_study(trials, splits.frame, config.protocol, config.modalities, study.cache_dir)
    problems = {**chosen.problems, **splits.problems}

    folds = chosen_folds(splits.frame, selection.folds, problems)
    naming = old["naming"] if old else naming_of(folds, selection.seeds)
    document = make_document(name, Path(root), table, config, selection, subjects, folds, classes, naming, old)
    document["dataset"]["fingerprint"] = {
        **(old["dataset"]["fingerprint"] if old else {}),
        **{s: h for s, h in fingerprint(chosen).items() if s not in problems},
    }
    if old:
        refuse_conflict(study, old, document, fingerprint(chosen))

    stages, unrecorded = recorded_stages(config, trials)
    planned, left_out = make_runs(document, stages, trials, splits.frame, subjects, folds, selection.seeds, problems)
    left_out |= {f"subject {s}": p for s, p in chosen.problems.items() if s not in subjects}
    if not any(not run.problem for run in planned):
        reason = next((run.problem for run in planned if run.problem), None) or next(iter(left_out.values()), "")
        reason = reason or (f"{table.root}: {'; '.join(unrecorded)}." if unrecorded else "")
        raise SplitError(reason or f"{table.root}: nothing to train; choose other stages, subjects or folds.")
    notes = (*table.notes, *splits.notes, *unrecorded, *unpretrained(config))
    everyone = document["selection"]["subjects"]
    tables = (
        merged(study.splits_file, splits.frame[_SPLIT_COLUMNS], everyone),
        merged(study.trials_file, further(trials), everyone),
    )
    return Plan(study, document, *tables, tuple(planned), left_out, notes)
