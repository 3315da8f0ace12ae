"""Obstacles of the queue of a checkpoints folder: a stopped scheduler, or a full disk.

The scheduler writes a sign of life into ``.queue/scheduler.beat`` every two seconds, in place, so that it can do so on
a full disk. It counts as stopped if its file is older than :data:`eavdash.store.status.HEARTBEAT_LOST` seconds while it
holds its lock, by a clock that all processes of the machine share.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from pydantic import ConfigDict

from eavdash.errors import EavdashError, sentence
from eavdash.jobs.queue_database import QueueDatabase, queue_database
from eavdash.jobs.scheduler_process import ensure_scheduler, scheduler_alive
from eavdash.store.atomic import boot_clock, disk_full, host
from eavdash.store.record import Record, Whole, read_record
from eavdash.store.status import HEARTBEAT_EVERY, HEARTBEAT_LOST

#: Seconds after which a scheduler whose main loop does not turn counts as stopped; a large folder takes its time.
LOOP_LOST = 300.0
#: Bytes of the file, so that each write replaces all of it.
LENGTH = 256


class Beat(Record):
    """A scheduler's sign of life: the process, and seconds since boot of this sign and of its loop's last turn."""

    model_config = ConfigDict(title="a scheduler's sign of life")

    pid: Whole
    host: str
    boot: str
    at: float
    turned: float


class SignOfLife:
    """Writer of the scheduler's sign of life, in a thread."""

    def __init__(self, database: QueueDatabase) -> None:
        self._file = beat_file(database)
        self._turned = boot_clock()[1]
        self._stop = threading.Event()

    def turn(self) -> None:
        """Record that the scheduler's loop goes on."""
        self._turned = boot_clock()[1]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Write the sign of life while the block runs."""
        thread = threading.Thread(target=self._write, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _write(self) -> None:
        while not self._stop.is_set():
            boot, now = boot_clock()
            beat = Beat(pid=os.getpid(), host=host(), boot=boot, at=now, turned=self._turned)
            with contextlib.suppress(OSError):  # the folder is gone or unavailable: the loop notices that
                descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
                try:
                    os.pwrite(descriptor, beat.model_dump_json().ljust(LENGTH).encode(), 0)
                finally:
                    os.close(descriptor)
            self._stop.wait(HEARTBEAT_EVERY)


def beat_file(database: QueueDatabase) -> Path:
    """Return the file with the sign of life of this machine's scheduler."""
    return database.home / (f"scheduler-{host()}.beat" if database.shared else "scheduler.beat")


def start_scheduler(root: Path) -> str:
    """Start the scheduler if runs wait and none is alive; return what keeps the queue from going on, or ""."""
    try:
        ensure_scheduler(root)
    except EavdashError as error:
        return str(error)
    return obstacle(root)


def obstacle(root: Path) -> str:
    """Return what keeps the queue from going on, with the remedy; empty if nothing is known to. Starts nothing."""
    with contextlib.suppress(EavdashError, OSError):
        return disk_full(root) or _stopped_scheduler(root)
    return ""


def _stopped_scheduler(root: Path) -> str:
    if not scheduler_alive(root):
        return ""  # the next command starts one
    file = beat_file(queue_database(root))
    if not file.exists():
        return ""  # it is just starting, or of an earlier version
    beat = read_record(file, Beat)
    boot, now = boot_clock()
    if beat.host != host() or beat.boot != boot:
        return ""  # by another machine's clock, or of an earlier scheduler
    silent = now - beat.at
    if silent <= HEARTBEAT_LOST:
        silent = now - beat.turned
        if silent <= LOOP_LOST:
            return ""
    if not _wrote(beat.pid, file):
        return ""  # of an earlier scheduler: the present one is just starting
    stopped = _is_stopped(beat.pid)
    first = f"let it continue (kill -CONT {beat.pid}) or" if stopped else "wait, and if it stays so for minutes"
    return sentence(
        root,
        "a scheduler that responds",
        f"none for {silent:.0f} s: its process {beat.pid} is {'stopped' if stopped else 'busy, or the machine is'}",
        f"{first} end it (kill -9 {beat.pid}): running jobs are not affected, and the next command starts a new one",
    )


def _wrote(pid: int, file: Path) -> bool:
    """Return True if the process is there, and was before its sign of life: ids of ended processes come again."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        return psutil.Process(pid).create_time() <= file.stat().st_mtime + HEARTBEAT_EVERY
    return False


def _is_stopped(pid: int) -> bool:
    """True if a signal or a debugger has stopped the process, so that it will not continue by itself."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return False
