"""The files of one run: its configuration, its state, and its results with their checksums."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.errors import IntegrityError, QueueError
from eavdash.store.atomic import is_locked, locked_file, sha256, write_json
from eavdash.store.documents import RunConfig
from eavdash.store.paths import RunPaths
from eavdash.store.record import read_json, read_record, write_record
from eavdash.store.status import TRANSITIONS, validation_error, with_attempt, with_liveness

#: Reason of a run that was never queued.
PLANNED = "planned, not in the queue yet"
CHECKED_FILES = (
    "model.safetensors",
    "encoders.safetensors",
    "predictions.parquet",
    "baselines.parquet",
    "attention.parquet",
)


@dataclass(frozen=True)
class RunDir(RunPaths):
    """One run's folder, ``checkpoints/<study>/<run>``: the content of its files and the changes of its state."""

    def sibling(self, name: str) -> RunDir:
        """Return another run of the same study."""
        return RunDir(self.path.with_name(name))

    def config(self) -> RunConfig:
        """Return the content of config.json.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        return read_record(self.config_file, RunConfig, self._remedy)

    def describe(self, **fields: Any) -> None:
        """Change fields of config.json, which describe the model and its inputs."""
        write_record(self.config_file, self.config().replace(**fields))

    def status(self) -> dict[str, Any]:
        """Return the content of status.json as last written; :meth:`live_status` adds what can be observed now."""
        return self._read_record(self.status_file, validation_error)

    def live_status(self) -> dict[str, Any]:
        """Return the status with ``shown``: the state, or "not responding" or "damaged" if that is observed now.

        A run is shown as running only while a live process holds its lock and its heartbeat is recent, and as done only
        while its result files exist with the recorded sizes (:meth:`damage`); only status.json is read.
        """
        status = with_liveness(self.path, self.status())
        if status["state"] == "done" and (damage := self.damage(status)):
            status |= {"shown": "damaged", "reason": damage}
        return status

    def unreadable(self) -> str:
        """Return why config.json or status.json cannot be read, with the remedy; empty if both can."""
        try:
            self.config()
            self.status()
        except IntegrityError as error:
            return str(error)
        return ""

    @property
    def _remedy(self) -> str:
        """Remedy of a damaged record: such a run cannot be restarted, only created again."""
        return f"remove this folder and create the run again: eavdash extend {self.study.name}"

    def _read_record(self, file: Path, validate: Callable[[dict[str, Any]], str] = lambda _: "") -> dict[str, Any]:
        """Return the content of config.json or status.json.

        Raises:
            IntegrityError: it is missing or damaged. Such a run cannot be restarted, only created again.
        """
        remedy = self._remedy
        found = read_json(file, remedy)
        if not isinstance(found, dict):
            raise IntegrityError.at(file, expected="a JSON object", found=type(found).__name__, remedy=remedy)
        if error := validate(found):
            raise IntegrityError.at(file, expected="a valid status", found=error, remedy=remedy)
        return found

    def create(self, config: RunConfig) -> None:
        """Create the folder with config.json and an initial status (queued); an existing run is not changed."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.config_file.exists():
            write_record(self.config_file, config)
        if not self.status_file.exists():
            write_json(self.status_file, {"state": "queued", "attempt": 0, "epoch": 0, "epochs": 0, "reason": PLANNED})

    def update(self, expect: Mapping[str, Any] | None = None, /, **fields: Any) -> dict[str, Any]:
        """Change fields of status.json other than the state, provided that the fields of ``expect`` still match.

        Raises:
            QueueError: a field of ``expect`` has another value by now.
        """
        if "state" in fields:
            raise QueueError(f"{self.path}: use transition() to change the state, not update().")
        with self._status_lock():
            status = self.status()
            self._check(status, expect)
            status |= self._with_sizes(fields)
            write_json(self.status_file, status)
            return status

    def transition(self, state: str, *, expect: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """Change the state and other fields, provided that the fields of ``expect`` still match.

        Raises:
            QueueError: the change is not in :data:`TRANSITIONS`, or a field of ``expect`` has another value by now.
        """
        with self._status_lock():
            status = self.status()
            self._check(status, expect)
            if state != status["state"] and state not in TRANSITIONS[status["state"]]:
                raise QueueError.at(
                    self.status_file,
                    expected=f"one of {', '.join(sorted(TRANSITIONS[status['state']]))} after {status['state']}",
                    found=state,
                    remedy="check the run's status: its state has changed in the meantime",
                )
            status = with_attempt(status, state, fields)
            status |= {**self._with_sizes(fields), "state": state, "changed": time.time()}
            write_json(self.status_file, status)
            return status

    def _check(self, status: Mapping[str, Any], expect: Mapping[str, Any] | None) -> None:
        for key, value in (expect or {}).items():
            if status.get(key) != value:
                raise QueueError.at(
                    self.status_file,
                    expected=f"{key} {value!r}",
                    found=repr(status.get(key)),
                    remedy="check the run's status: it has changed in the meantime",
                )

    def seal(self) -> dict[str, str]:
        """Return the checksums of the existing result files, for status.json."""
        return {name: sha256(self.path / name) for name in CHECKED_FILES if (self.path / name).exists()}

    def _with_sizes(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields; if they have checksums, with the sizes of those files, which are quick to check later."""
        if "checksums" not in fields:
            return fields
        files = {name: self.path / name for name in fields["checksums"]}
        return {**fields, "sizes": {name: file.stat().st_size for name, file in files.items() if file.exists()}}

    def result_files(self, status: Mapping[str, Any]) -> list[str]:
        """Return the names of the result files that a finished run with this status has written."""
        return sorted({*(status.get("checksums") or {}), self.predictions_file.name})

    def damage(self, status: Mapping[str, Any]) -> str:
        """Return which file of a finished run is missing or has another size than recorded; empty if none is.

        No file is read: :meth:`verify` compares checksums.
        """
        sizes = dict(status.get("sizes") or {})
        for name in self.result_files(status):
            try:
                found = (self.path / name).stat().st_size
            except OSError:
                return str(self._missing_file(name))
            if found != sizes.get(name, found) or not found:
                expected = f"{sizes[name]} bytes" if name in sizes else "a file that is not empty"
                return str(self._damaged_file(name, expected, f"{found} bytes (the file is damaged)"))
        return ""

    def _missing_file(self, name: str) -> IntegrityError:
        return self._damaged_file(name, "a file written by the run", "none")

    def _damaged_file(self, name: str, expected: str, found: str) -> IntegrityError:
        remedy = f"train the run again: eavdash retry {self.study.name} --run {self.name}"
        return IntegrityError.at(self.path / name, expected=expected, found=found, remedy=remedy)

    def verify(self, name: str) -> Path:
        """Return the path of a result file after checking its checksum against status.json.

        Raises:
            IntegrityError: it is missing, or its checksum differs.
        """
        path = self.path / name
        expected = dict(self.status().get("checksums") or {}).get(name)
        if not path.exists():
            raise self._missing_file(name)
        found = sha256(path)
        if expected is not None and found != expected:
            raise self._damaged_file(name, f"checksum {expected[:12]}", f"{found[:12]} (the file is damaged)")
        return path

    def locked(self) -> bool:
        """Return True if a process holds this run's lock."""
        return is_locked(self.lock_file)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl; an incomplete last line is skipped."""
        try:
            text = self.metrics_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        rows = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    @contextlib.contextmanager
    def _status_lock(self) -> Iterator[None]:
        """Serialise read-modify-write of status.json between threads and processes of one machine.

        Raises:
            IntegrityError: the run's folder is gone.
        """
        with locked_file(self.path, ".status.lock"):
            yield
