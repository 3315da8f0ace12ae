"""The files of one run: what it is to do, its state, and what it wrote with the checksums of that."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eavdash.errors import IntegrityError, QueueError
from eavdash.store.atomic import is_locked, locked_file, read_json, sha256, write_json
from eavdash.store.paths import RunPaths
from eavdash.store.status import TRANSITIONS, validation_error, with_attempt, with_liveness

#: Reason of a run that nobody has queued yet.
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
    """One run's folder, ``checkpoints/<study>/<run>``: what stands in its files, and how its state changes."""

    def sibling(self, name: str) -> RunDir:
        """Another run of the same study."""
        return RunDir(self.path.with_name(name))

    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return self._record(self.config_file)

    def status(self) -> dict[str, Any]:
        """The content of status.json as it was last written; see :meth:`live_status` for what is true now."""
        return self._record(self.status_file, validation_error)

    def live_status(self) -> dict[str, Any]:
        """The status with what can be observed now: ``shown`` is the state, "not responding" or "damaged".

        A run is shown as running only while a live process holds its lock and its heartbeat is recent, and as done only
        while the files that it wrote are there in their sizes (:meth:`lost`); nothing but status.json is read.
        """
        status = with_liveness(self.path, self.status())
        if status["state"] == "done" and (lost := self.lost(status)):
            status |= {"shown": "damaged", "reason": lost}
        return status

    def unreadable(self) -> str:
        """Why config.json or status.json cannot be read, with the remedy; empty if they can."""
        try:
            self.config()
            self.status()
        except IntegrityError as error:
            return str(error)
        return ""

    def _record(self, file: Path, wrong: Callable[[dict[str, Any]], str] = lambda found: "") -> dict[str, Any]:
        """What one of the run's own two files holds.

        Raises:
            IntegrityError: it is missing or damaged. Such a run cannot be started over: it has to be made again.
        """
        remedy = f"remove this folder and have the run made again: eavdash extend {self.study.name}"
        found = read_json(file, remedy)
        if not isinstance(found, dict):
            raise IntegrityError.at(file, expected="a JSON object", found=type(found).__name__, remedy=remedy)
        if said := wrong(found):
            raise IntegrityError.at(file, expected="what a run writes about itself", found=said, remedy=remedy)
        return found

    def create(self, config: dict[str, Any]) -> None:
        """Make the folder with config.json and a first status (queued); an existing run is left as it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.config_file.exists():
            write_json(self.config_file, config)
        if not self.status_file.exists():
            write_json(self.status_file, {"state": "queued", "attempt": 0, "epoch": 0, "epochs": 0, "reason": PLANNED})

    def update(self, expect: Mapping[str, Any] | None = None, /, **fields: Any) -> dict[str, Any]:
        """Write status.json with some fields changed, the state excepted, provided that ``expect`` still holds.

        Raises:
            QueueError: a field of ``expect`` has another value by now.
        """
        if "state" in fields:
            raise QueueError(f"{self.path}: a state changes by transition(), not update().")
        with self._status_lock():
            status = self.status()
            self._check(status, expect)
            status |= self._sized(fields)
            write_json(self.status_file, status)
            return status

    def transition(self, state: str, *, expect: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """Change the state, and any other fields with it, provided that the fields of ``expect`` still hold.

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
                    remedy="look at the run again, its state has changed meanwhile",
                )
            status = with_attempt(status, state, fields)
            status |= {**self._sized(fields), "state": state, "changed": time.time()}
            write_json(self.status_file, status)
            return status

    def _check(self, status: Mapping[str, Any], expect: Mapping[str, Any] | None) -> None:
        for key, value in (expect or {}).items():
            if status.get(key) != value:
                raise QueueError.at(
                    self.status_file,
                    expected=f"{key} {value!r}",
                    found=repr(status.get(key)),
                    remedy="look at the run again, it has changed meanwhile",
                )

    def seal(self) -> dict[str, str]:
        """Checksums of the result files that exist, for status.json."""
        return {name: sha256(self.path / name) for name in CHECKED_FILES if (self.path / name).exists()}

    def _sized(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields of a status; with checksums the sizes of the files, by which every look can tell what is missing."""
        if "checksums" not in fields:
            return fields
        files = {name: self.path / name for name in fields["checksums"]}
        return {**fields, "sizes": {name: file.stat().st_size for name, file in files.items() if file.exists()}}

    def written(self, status: Mapping[str, Any]) -> list[str]:
        """The names of the result files that a run with this status, if it is done, has written."""
        return sorted({*(status.get("checksums") or {}), self.predictions_file.name})

    def lost(self, status: Mapping[str, Any]) -> str:
        """Which file of a finished run is missing or has another size than it wrote; empty if none is.

        Nothing is read: :meth:`verify` compares checksums.
        """
        sizes = dict(status.get("sizes") or {})
        for name in self.written(status):
            try:
                found = (self.path / name).stat().st_size
            except OSError:
                return str(self._missing(name))
            if found != sizes.get(name, found) or not found:
                expected = f"{sizes[name]} bytes" if name in sizes else "a file with something in it"
                return str(self._differs(name, expected, f"{found} bytes (the file is damaged)"))
        return ""

    def _missing(self, name: str) -> IntegrityError:
        return self._differs(name, "a file written by the run", "none")

    def _differs(self, name: str, expected: str, found: str) -> IntegrityError:
        remedy = f"train the run again: eavdash retry {self.study.name} --run {self.name}"
        return IntegrityError.at(self.path / name, expected=expected, found=found, remedy=remedy)

    def verify(self, name: str) -> Path:
        """The path of a result file whose checksum matches status.json.

        Raises:
            IntegrityError: it is missing or differs from what the run wrote.
        """
        path = self.path / name
        expected = dict(self.status().get("checksums") or {}).get(name)
        if not path.exists():
            raise self._missing(name)
        found = sha256(path)
        if expected is not None and found != expected:
            raise self._differs(name, f"checksum {expected[:12]}", f"{found[:12]} (the file is damaged)")
        return path

    def locked(self) -> bool:
        """Whether a live process holds this run's lock."""
        return is_locked(self.lock_file)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; an unfinished last line is left out."""
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
