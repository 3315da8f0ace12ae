"""The files and runs of one study, and the studies of a checkpoints folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eavdash.errors import IntegrityError, UsageError
from eavdash.store.atomic import locked_file
from eavdash.store.documents import Control, StudyDocument
from eavdash.store.names import check_study_name
from eavdash.store.paths import StudyPaths
from eavdash.store.record import read_record, write_record
from eavdash.store.run import RunDir


@dataclass(frozen=True)
class StudyDir(StudyPaths):
    """One study's folder, ``checkpoints/<study>``: the content of its files, and its runs."""

    @classmethod
    def of(cls, run: RunDir) -> StudyDir:
        """Return the study of a run."""
        return cls(run.study.path)

    @property
    def exists(self) -> bool:
        return self.study_file.exists()

    def study(self) -> StudyDocument:
        """Return the content of study.json.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        return read_record(self.study_file, StudyDocument)

    def control(self) -> Control:
        """Return what was switched on for the whole study; nothing by default.

        Raises:
            IntegrityError: control.json is damaged.
        """
        if not os.path.lexists(self.control_file):
            return Control()
        return read_record(self.control_file, Control, "delete it: the study is then neither paused nor archived")

    @property
    def paused(self) -> bool:
        """True if none of its runs may start."""
        return self.control().paused

    @property
    def archived(self) -> bool:
        """True if it is excluded from lists and from the queue."""
        return self.control().archived

    @property
    def listed(self) -> bool:
        """True if lists show it: it is not archived, or damaged so that this is unknown."""
        try:
            return not self.archived
        except IntegrityError:
            return True

    def refuse_archived(self) -> None:
        """Check that the study is not archived: such a study gets no new runs, and none of its runs may start.

        Raises:
            UsageError: it is archived.
        """
        if self.archived:
            raise UsageError.at(
                self.path,
                expected="an active study",
                found="an archived one",
                remedy=f"unarchive it first: eavdash unarchive {self.name}",
            )

    def set_control(self, **fields: bool) -> Control:
        """Change fields of control.json.

        Raises:
            IntegrityError: it is damaged.
        """
        with self._lock():
            control = self.control().replace(**fields)
            write_record(self.control_file, control)
            return control

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with locked_file(self.path, ".control.lock"):
            yield

    def run(self, name: str) -> RunDir:
        """Return the folder of one run, which need not exist."""
        return RunDir(self.path / name)

    def runs(self) -> list[RunDir]:
        """Return all existing runs, sorted by name."""
        return [RunDir(p) for p in _folders_with(self.path, "config.json")]


def _folders_with(folder: Path, name: str) -> list[Path]:
    """Return the subfolders that contain a file of that name, sorted; those that cannot be opened are skipped."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        # Of thousands of runs, making and comparing path objects would take longer than looking.
        names = sorted(entry.name for entry in entries if os.path.exists(f"{entry.path}/{name}"))  # noqa: PTH110
        return [folder / found for found in names]
    return []


def studies(root: Path) -> list[StudyDir]:
    """Return all studies of a checkpoints folder, sorted by name."""
    return [StudyDir(p) for p in _folders_with(root, "study.json")]


def find_study(root: Path, name: str) -> StudyDir:
    """Return the study of that name.

    Raises:
        UsageError: it does not exist; the message lists those that do.
    """
    study = StudyDir(root / check_study_name(name))
    if not study.exists:
        names = ", ".join(s.name for s in studies(root)) or "none"
        raise UsageError.at(root, expected=f"a study {name!r}", found=names, remedy="check the name or --checkpoints")
    return study


def find_run(study: StudyDir, name: str) -> RunDir:
    """Return the run of that name.

    Raises:
        UsageError: it does not exist.
    """
    run = study.run(check_study_name(name))
    if not run.config_file.exists():
        raise UsageError.at(
            study.path, expected=f"a run {name!r}", found="none of that name", remedy="see eavdash status"
        )
    return run
