"""The files and runs of one study, and the studies of a checkpoints folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.errors import IntegrityError, UsageError
from eavdash.store.atomic import locked_file, write_json
from eavdash.store.names import check_study_name
from eavdash.store.paths import StudyPaths
from eavdash.store.record import read_json
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

    def study(self) -> dict[str, Any]:
        """Return the content of study.json."""
        return dict(read_json(self.study_file))

    def control(self) -> dict[str, Any]:
        """Return ``paused`` and ``archived``, both False by default."""
        try:
            found = read_json(self.control_file) if self.control_file.exists() else {}
        except IntegrityError:
            found = {}  # fall back to the defaults
        return {"paused": False, "archived": False, **(found if isinstance(found, dict) else {})}

    @property
    def paused(self) -> bool:
        """True if none of its runs may start."""
        return bool(self.control()["paused"])

    @property
    def archived(self) -> bool:
        """True if it is excluded from lists and from the queue."""
        return bool(self.control()["archived"])

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

    def set_control(self, **fields: Any) -> dict[str, Any]:
        """Change fields of control.json."""
        with self._lock():
            control = {**self.control(), **fields}
            write_json(self.control_file, control)
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
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if os.path.exists(path / name))  # noqa: PTH110 - raises nothing
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
