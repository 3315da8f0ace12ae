"""Relocation of a study whose dataset has moved to another folder.

In: a study with a frozen table, and the dataset's new folder or table file. Out: ``trials.parquet`` with the paths of
the new place and ``study.json`` with the dataset's new path; names and sizes of the files must be those of planning.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from eavdash.config.choices import COLUMN
from eavdash.config.convert import recorded_config
from eavdash.data.frozen import frozen_bytes, read_frozen, rerooted
from eavdash.data.named_files import file_of
from eavdash.data.table import TrialTable, fingerprint
from eavdash.errors import UsageError
from eavdash.jobs.background import running_tasks
from eavdash.store import StudyDir, find_study
from eavdash.store.atomic import is_locked, write_atomic
from eavdash.store.names import expanded
from eavdash.store.record import write_record
from eavdash.studies.archive import active_runs
from eavdash.studies.write import planner_lock


@dataclass(frozen=True)
class Relocation:
    """Old and new path of the dataset, and the number of ``files`` that were found there."""

    before: str
    after: str
    files: int


def relocate(study: StudyDir, root: str | Path) -> Relocation:
    """Point a study to the folder or table file to which its dataset has moved.

    Paths that are not below the dataset's old folder stay as they are.

    Raises:
        UsageError: a run or probing of the study is running, the study has no frozen table, or a recording is missing
            or has another size; nothing was written.
        IntegrityError: the frozen table is damaged.
    """
    after = Path(os.path.realpath(expanded(root)))
    with planner_lock(study.path.parent):
        find_study(study.path.parent, study.name)
        _refuse_if_running(study)
        if not study.table_file.exists():
            raise UsageError.at(
                study.table_file,
                expected="the trials that the study was planned with",
                found="none, as the study was made by an earlier version",
                remedy=f"plan it again with its settings: eavdash train {after} --study {study.name}",
            )
        document = study.study()
        before = document.dataset.path
        table = _at(read_frozen(study.table_file), Path(before), after)
        columns = [COLUMN[m] for m in recorded_config(document).modalities]
        files = {file_of(entry) for column in columns for entry in table.frame[column] if entry}
        for file in sorted(files):
            if not os.path.isfile(file):  # noqa: PTH113 -- returns False instead of raising
                raise UsageError.at(
                    file,
                    expected="a recording of the study at its new place",
                    found="no file",
                    remedy="copy the whole dataset there, or give the folder that holds it now",
                )
        found = fingerprint(table)
        recorded = document.dataset.fingerprint
        if changed := [s for s, h in recorded.items() if found.get(s, h) != h]:
            raise UsageError.at(
                after,
                expected=f"the recordings of subject {changed[0]} with their sizes when the study was planned",
                found="other sizes or missing files",
                remedy="copy them again, or train a new study on them",
            )
        write_atomic(study.table_file, lambda file: file.write(frozen_bytes(table)))
        write_record(
            study.study_file, document.replace(dataset=document.dataset.replace(path=str(after), folders=None))
        )
    return Relocation(before, str(after), len(files))


def _at(table: TrialTable, before: Path, after: Path) -> TrialTable:
    """Return the table of the dataset ``before``, now at ``after``.

    The table's root is the dataset's folder, or a folder below it in which an adapter found the subjects.
    """
    folder = after.parent if after.is_file() else after
    below = table.root.relative_to(before) if table.root.is_relative_to(before) else Path()
    roots = [folder / below, folder]
    if table.root.is_relative_to(folder):  # an earlier relocation was interrupted between its two files
        roots.append(table.root)
    tried = [rerooted(table, root) for root in dict.fromkeys(roots)]
    return next((one for one in tried if _holds_recording(one)), tried[0])


def _holds_recording(table: TrialTable) -> bool:
    """Return True if a recording below the table's root exists."""
    below = f"{table.root}/"
    entries = (e for column in COLUMN.values() for e in table.frame[column] if e.startswith(below))
    return any(os.path.isfile(file_of(entry)) for entry in entries)  # noqa: PTH113 -- as above


def _refuse_if_running(study: StudyDir) -> None:
    running = [name for name, state in active_runs(study).items() if state == "running"]
    if is_locked(study.probe_lock_file):
        running.append("its probes")
    running += running_tasks(study)
    if running:
        raise UsageError.at(
            study.path,
            expected="a study of which nothing is running",
            found=", ".join(running[:3]) + (f" and {len(running) - 3} more" if len(running) > 3 else ""),
            remedy=f"wait until they are done, or cancel them with eavdash cancel {study.name}",
        )
