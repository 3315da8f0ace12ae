"""The files of one run: its configuration, its state, and its results with their checksums."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from eavdash.errors import IntegrityError, TrainingError, VersionError
from eavdash.store.atomic import sha256
from eavdash.store.documents import EpochRow, RunConfig
from eavdash.store.paths import RunPaths
from eavdash.store.record import read_record, write_record
from eavdash.store.regular import read_end
from eavdash.store.status import LiveStatus, RunStatus, observed
from eavdash.store.status_folder import StatusFolder

CHANGEABLE = "fix its permissions, or free some disk space"
#: Reason of a run that was never queued.
PLANNED = "planned, not in the queue yet"
CHECKED_FILES = (
    "model.safetensors",
    "encoders.safetensors",
    "person_statistics.safetensors",
    "predictions.parquet",
    "baselines.parquet",
    "scores.parquet",
    "attention.parquet",
    "shapley.parquet",
)


class Place(NamedTuple):
    """A run's place among the runs of its study, as config.json says."""

    stage: str
    parents: tuple[str, ...]  # names of the runs that must be done before it


@dataclass(frozen=True)
class RunDir(RunPaths, StatusFolder[RunStatus]):
    """One run's folder, ``checkpoints/<study>/<run>``: the content of its files and the changes of its state."""

    def sibling(self, name: str) -> RunDir:
        """Return another run of the same study."""
        return RunDir(self.path.with_name(name))

    def config(self) -> RunConfig:
        """Return the content of config.json.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        self.refuse_link()
        remedy = f"remove this folder and create the run again: eavdash extend {self.study.name}"
        return read_record(self.config_file, RunConfig, remedy)

    def place(self) -> Place:
        """Return the stage and the parents; config.json is read again only once it has changed.

        Raises:
            IntegrityError: as :meth:`config`.
        """
        self.refuse_link()
        file = str(self.config_file)
        try:
            found = os.stat(file)  # noqa: PTH116 - called for each of thousands of runs
        except OSError:
            self.config()  # raises, with the reason
            raise
        return _place(file, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))

    def refuse_link(self) -> None:
        """Check that the run's folder is not a symbolic link: files of its names elsewhere are not to be changed.

        Raises:
            IntegrityError: it is one.
        """
        if os.path.islink(self.path):  # noqa: PTH114 - called for each of thousands of runs
            found, remedy = (
                "a symbolic link to another folder",
                "replace the link by the folder; a whole study may be a link",
            )
            raise IntegrityError.at(self.path, expected="a run's folder", found=found, remedy=remedy)

    def describe(self, **fields: Any) -> None:
        """Change fields of config.json, which describe the model and its inputs."""
        write_record(self.config_file, self.config().replace(**fields))

    def status(self) -> RunStatus:
        """Return the content of status.json as last written; :meth:`live_status` adds what can be observed now.

        Raises:
            IntegrityError: it is missing or damaged (:meth:`restore_status`).
        """
        self.refuse_link()
        retry = f"restore it and resume the run: eavdash retry {self.study.name} --run {self.name}"
        return read_record(self.status_file, RunStatus, retry)

    def live_status(self) -> LiveStatus:
        """Return the status with what can be observed now.

        A run is shown as running only while a live process holds its lock and its heartbeat is recent, and as done only
        while its result files exist with the recorded sizes (:meth:`damage`); only status.json is read.
        """
        live = observed(self.path, self.status())
        if live.status.state == "done" and (damage := self.damage(live.status)):
            return LiveStatus(live.status, "damaged", damage)
        return live

    def unreadable(self) -> str:
        """Return why config.json or status.json cannot be read, with the remedy; empty if both can."""
        try:
            self.place()
            self.status()
        except IntegrityError as error:
            return str(error)
        return ""

    def create(self, config: RunConfig) -> None:
        """Create the folder with config.json and an initial status (queued); an existing run is not changed."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.refuse_link()
        if not self.config_file.exists():
            write_record(self.config_file, config)
        if not self.status_file.exists():
            self._write(RunStatus(state="queued", reason=PLANNED))

    def restore_status(self) -> None:
        """Replace a damaged status.json, so that a retry resumes the run after its last finished epoch.

        The damaged file is kept as status.json.damaged. Nothing is done while a process computes the run.
        """
        if not self.config_file.exists() or self.path.is_symlink() or self.locked():
            return
        with self._status_lock():
            try:
                self.status()
            except VersionError:
                return
            except IntegrityError as error:
                with TrainingError.from_os(self.path, expected="a folder that can be changed", remedy=CHANGEABLE):
                    if self.status_file.exists():
                        self.status_file.replace(self.status_file.with_name("status.json.damaged"))
                epoch = max((row["epoch"] for row in self.metrics()), default=0)
                reason = f"its status was damaged and has been restored: {error}"
                self._write(RunStatus(state="failed", epoch=epoch, reason=reason))

    def seal(self) -> dict[str, str]:
        """Return the checksums of the existing result files, for status.json."""
        return {name: sha256(self.path / name) for name in CHECKED_FILES if (self.path / name).exists()}

    def _completed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields; if they have checksums, with the sizes of those files, which are quick to check later."""
        if "checksums" not in fields:
            return fields
        files = {name: self.path / name for name in fields["checksums"]}
        return {**fields, "sizes": {name: file.stat().st_size for name, file in files.items() if file.exists()}}

    def result_files(self, status: RunStatus) -> list[str]:
        """Return the names of the result files that a finished run with this status has written."""
        return sorted({*status.checksums, self.predictions_file.name})

    def damage(self, status: RunStatus) -> str:
        """Return which file of a finished run is missing or has another size than recorded; empty if none is.

        No file is read: :meth:`verify` compares checksums.
        """
        sizes, folder = status.sizes, str(self.path)
        for name in self.result_files(status):
            try:
                found = os.stat(f"{folder}/{name}").st_size  # noqa: PTH116 - called for each file of thousands of runs
            except OSError:
                return str(self._missing_file(name))
            if found != sizes.get(name, found) or not found:
                expected = f"{sizes[name]} bytes" if name in sizes else "a file that is not empty"
                return str(self._damaged_file(name, expected, f"{found} bytes (the file is damaged)"))
        return ""

    def _missing_file(self, name: str) -> IntegrityError:
        return self._damaged_file(name, "a file written by the run", "none")

    @property
    def remedy(self) -> str:
        """The remedy for a damaged result file, for messages."""
        return f"train the run again: eavdash retry {self.study.name} --run {self.name}"

    def _damaged_file(self, name: str, expected: str, found: str) -> IntegrityError:
        return IntegrityError.at(self.path / name, expected=expected, found=found, remedy=self.remedy)

    def verify(self, name: str) -> Path:
        """Return the path of a result file after checking its checksum against status.json.

        Raises:
            IntegrityError: it is missing, or its checksum differs.
        """
        path = self.path / name
        expected = self.status().checksums.get(name)
        try:
            found = sha256(path)
        except FileNotFoundError:
            raise self._missing_file(name) from None
        except OSError as error:
            raise self._damaged_file(name, "a file that can be read", error.strerror or str(error)) from error
        if expected is not None and found != expected:
            raise self._damaged_file(name, f"checksum {expected[:12]}", f"{found[:12]} (the file is damaged)")
        return path

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl that are :class:`~eavdash.store.documents.EpochRow`; others are skipped.

        Of a file that is longer than training writes, the last rows; of one that cannot be read, none.
        """
        try:
            content, _ = read_end(self.metrics_file)
        except OSError:
            return []
        rows = []
        for line in content.splitlines():
            with contextlib.suppress(ValueError):
                row = from_json(line)
                EpochRow.model_validate(row)
                rows.append(row)
        return rows


@lru_cache(maxsize=50_000)
def _place(file: str, _stamp: tuple[int, ...]) -> Place:
    """Return the place of the run whose config.json is ``file``; an error is not remembered."""
    config = RunDir(Path(file).parent).config()
    return Place(config.stage, tuple(config.parents.values()))
