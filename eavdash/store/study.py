"""The files of one study, its runs, and the studies of a checkpoints folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.errors import IntegrityError, UsageError
from eavdash.store.atomic import locked_file, read_json, write_json
from eavdash.store.names import check_study_name
from eavdash.store.paths import StudyPaths
from eavdash.store.run import RunDir


@dataclass(frozen=True)
class StudyDir(StudyPaths):
    """One study's folder, ``checkpoints/<study>``: what stands in its files, and its runs."""

    @classmethod
    def of(cls, run: RunDir) -> StudyDir:
        """The study that a run belongs to."""
        return cls(run.study.path)

    @property
    def exists(self) -> bool:
        return self.study_file.exists()

    def study(self) -> dict[str, Any]:
        """The content of study.json."""
        return dict(read_json(self.study_file))

    def control(self) -> dict[str, Any]:
        """``paused`` and ``archived``, both false where nobody has said otherwise."""
        try:
            found = read_json(self.control_file) if self.control_file.exists() else {}
        except IntegrityError:
            found = {}  # a wish that cannot be read is none
        return {"paused": False, "archived": False, **(found if isinstance(found, dict) else {})}

    @property
    def paused(self) -> bool:
        """Whether no run of it may start."""
        return bool(self.control()["paused"])

    @property
    def archived(self) -> bool:
        """Whether it is kept out of lists and of the queue."""
        return bool(self.control()["archived"])

    def refuse_archived(self) -> None:
        """Nothing is added to an archived study, and nothing of it is run.

        Raises:
            UsageError: it is archived.
        """
        if self.archived:
            raise UsageError.at(
                self.path,
                expected="a study in use",
                found="an archived one",
                remedy=f"take it out of the archive first: eavdash unarchive {self.name}",
            )

    def set_control(self, **fields: Any) -> dict[str, Any]:
        """Write control.json with some fields changed."""
        with self._lock():
            control = {**self.control(), **fields}
            write_json(self.control_file, control)
            return control

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with locked_file(self.path, ".control.lock"):
            yield

    def run(self, name: str) -> RunDir:
        """The folder of one run, which may not exist yet."""
        return RunDir(self.path / name)

    def runs(self) -> list[RunDir]:
        """Every run that exists, by name."""
        return [RunDir(p) for p in _holding(self.path, "config.json")]


def _holding(folder: Path, name: str) -> list[Path]:
    """What of a folder holds a file of that name, sorted; not what is gone already, or nobody lets us look into."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if os.path.exists(path / name))  # noqa: PTH110 - raises nothing
    return []


def studies(root: Path) -> list[StudyDir]:
    """Every study under a checkpoints folder, by name."""
    return [StudyDir(p) for p in _holding(root, "study.json")]


def find_study(root: Path, name: str) -> StudyDir:
    """The study of that name.

    Raises:
        UsageError: there is none; the message lists those that exist.
    """
    study = StudyDir(root / check_study_name(name))
    if not study.exists:
        names = ", ".join(s.name for s in studies(root)) or "none"
        raise UsageError.at(root, expected=f"a study {name!r}", found=names, remedy="check the name or --checkpoints")
    return study


def find_run(study: StudyDir, name: str) -> RunDir:
    """The run of that name in a study.

    Raises:
        UsageError: there is none.
    """
    run = study.run(check_study_name(name))
    if not run.config_file.exists():
        raise UsageError.at(
            study.path, expected=f"a run {name!r}", found="none of that name", remedy="see eavdash status"
        )
    return run
