"""A folder whose status.json several processes change: one run, or one background task.

Every change is a compare-and-set under a lock, so that of two processes that act on the same state only one succeeds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from eavdash.errors import QueueError
from eavdash.store.atomic import is_locked, locked_file
from eavdash.store.record import write_record
from eavdash.store.status import TRANSITIONS, JobStatus

if TYPE_CHECKING:
    from pathlib import Path

SomeStatus = TypeVar("SomeStatus", bound=JobStatus)


class StatusFolder(Generic[SomeStatus]):
    """Base of the folders with a status.json; subclasses say where the files are and how the status is read."""

    if TYPE_CHECKING:

        @property
        def path(self) -> Path: ...
        @property
        def name(self) -> str: ...
        @property
        def status_file(self) -> Path: ...
        @property
        def log_file(self) -> Path: ...
        @property
        def lock_file(self) -> Path:
            """Locked by the process that does the work, as long as it lives."""

    def status(self) -> SomeStatus:
        """Return the content of status.json as last written.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        raise NotImplementedError

    def live_status(self) -> Any:
        """Return an object with the ``status`` and what is observed now: ``shown`` and ``reason``."""
        raise NotImplementedError

    def locked(self) -> bool:
        """Return True if a process holds the lock."""
        return is_locked(self.lock_file)

    def update(self, expect: Mapping[str, Any] | None = None, /, **fields: Any) -> SomeStatus:
        """Change fields of status.json other than the state, provided that the fields of ``expect`` still match.

        Raises:
            QueueError: a field of ``expect`` has another value by now.
        """
        if "state" in fields:
            raise QueueError(f"{self.path}: use transition() to change the state, not update().")
        with self._status_lock():
            status = self.status()
            self._check(status, expect)
            return self._write(status.replace(**self._completed(fields)))

    def transition(self, state: str, *, expect: Mapping[str, Any] | None = None, **fields: Any) -> SomeStatus:
        """Change the state and other fields, provided that the fields of ``expect`` still match.

        Raises:
            QueueError: the change is not in :data:`TRANSITIONS`, or a field of ``expect`` has another value by now.
        """
        with self._status_lock():
            status = self.status()
            self._check(status, expect)
            if state != status.state and state not in TRANSITIONS[status.state]:
                raise QueueError.at(
                    self.status_file,
                    expected=f"one of {', '.join(sorted(TRANSITIONS[status.state]))} after {status.state}",
                    found=state,
                    remedy="check the status: the state has changed in the meantime",
                )
            return self._write(status.changed_to(state, self._completed(fields)))

    def _write(self, status: SomeStatus) -> SomeStatus:
        write_record(self.status_file, status)
        return status

    def _completed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a change with those that follow from them."""
        return fields

    def _check(self, status: SomeStatus, expect: Mapping[str, Any] | None) -> None:
        for key, value in (expect or {}).items():
            if (found := getattr(status, key)) != value:
                raise QueueError.at(
                    self.status_file,
                    expected=f"{key} {value!r}",
                    found=repr(found),
                    remedy="check the status: it has changed in the meantime",
                )

    @contextlib.contextmanager
    def _status_lock(self) -> Iterator[None]:
        """Serialise read-modify-write of status.json between threads and processes of one machine.

        Raises:
            IntegrityError: the folder is gone.
        """
        with locked_file(self.path, ".status.lock"):
            yield
