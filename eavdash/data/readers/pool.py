"""Trials read by several processes at once, in bounded memory.

In: a prepared reader and trials with their windows' spans. Out: their readings in the order of the trials, as if one
process had read them. Delegated to worker.py: what such a process does.

The processes come from a program of its own (not forked from the caller, who may be a server with threads), use one
thread each, and are a session of their own, so that Ctrl-C reaches the caller alone. They end with the team, or when a
caller that was killed no longer holds the sockets.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import cast

import numpy as np

from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.errors import EavdashError, RecordingError

Task = tuple[TrialRow, list[Span]]
#: What caller and processes may take together (bytes), whatever the dataset's size ...
MEMORY = 2 * 10**9
#: ... of which this much goes to the caller and to the libraries that the processes share, and to each process.
LIBRARIES = 900 * 10**6
PROCESS = 60 * 10**6
#: Of the processes: one thread each; and the C library keeps what it was given back (it may use the same again for the
#: next trial) instead of asking the system for new, empty pages, which took a third of the time.
_SETTINGS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
_ROOT = Path(__file__).resolve().parents[3]
_PATIENCE = 5.0  # seconds for processes that were told to end


def jobs_within(jobs: int, reading: int, result: int, memory: int = MEMORY) -> int:
    """How many of ``jobs`` processes fit into ``memory`` bytes; at least 1, which is to read in the caller's process.

    ``reading``: bytes that reading the longest trial takes; ``result``: bytes of its arrays. Besides what the processes
    hold, the caller may hold jobs + 1 results that wait for an earlier one.
    """
    fits = [n for n in range(2, jobs + 1) if LIBRARIES + n * (PROCESS + reading) + (n + 1) * result <= memory]
    return max(fits, default=1)


class ReaderPool:
    """Up to ``jobs`` processes that read trials; a context manager. They are started when first needed."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._modality = ""
        self._server: _ForkServer | None = None

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def read(self, reader: Reader, tasks: Sequence[Task], jobs: int) -> Iterator[Reading]:
        """The reading of each task in order, by at most ``jobs`` processes; at most jobs + 1 are under way or wait.

        Raises:
            RecordingError: a trial cannot be read, or the process that read it was killed; the first one in order.
        """
        server = self._server_for(reader.modality, max(1, min(jobs, self.jobs)))
        connections = server.connections[:jobs]
        idle = list(connections)
        busy: dict[Connection, int] = {}
        waiting: dict[int, Reading | Exception] = {}
        started = 0
        try:
            for place in range(len(tasks)):
                while place not in waiting:
                    while idle and started < min(len(tasks), place + len(connections) + 1):
                        connection = idle.pop()
                        with contextlib.suppress(OSError):  # one that has died says so when the result is fetched
                            connection.send((reader, *tasks[started]))
                        busy[connection] = started
                        started += 1
                    for ready in wait(list(busy)):
                        connection = cast(Connection, ready)
                        number = busy.pop(connection)
                        try:
                            waiting[number] = receive(connection)
                            idle.append(connection)
                        except (EOFError, OSError, pickle.UnpicklingError):
                            waiting[number] = _process_died(tasks[number][0], server.exit_code(connection))
                found = waiting.pop(place)
                if isinstance(found, Exception):
                    raise found
                if place == len(tasks) - 1:
                    for connection in connections:
                        with contextlib.suppress(OSError):
                            connection.send(None)  # what was kept of the last file is not needed any more
                yield found
        except BaseException:
            if busy or started < len(tasks):
                self.close()  # what is under way belongs to nobody
            raise

    def _server_for(self, modality: str, jobs: int) -> _ForkServer:
        """The processes for a modality; those for another one, or too few, are ended first."""
        if self._server is None or modality != self._modality or len(self._server.connections) < jobs:
            self.close()
            self._server, self._modality = _ForkServer(modality, jobs), modality
        return self._server


def send(connection: Connection, found: Reading | Exception) -> None:
    """Send a reading or an error; arrays go as they are, without a copy."""
    if isinstance(found, Exception):
        connection.send(_picklable(found))
        return
    arrays = [np.ascontiguousarray(found.values), np.ascontiguousarray(found.mask)]
    connection.send(([(a.shape, a.dtype) for a in arrays], found.facts))
    for array in filter(np.size, arrays):
        rest = array.data.cast("B")
        while len(rest):
            rest = rest[os.write(connection.fileno(), rest) :]


def receive(connection: Connection) -> Reading | Exception:
    """What :func:`send` sent."""
    found = connection.recv()
    if isinstance(found, Exception):
        return found
    arrays = []
    for shape, dtype in found[0]:
        array: np.ndarray = np.empty(shape, dtype)
        rest = array.data.cast("B") if array.size else memoryview(b"")
        while len(rest):
            count = os.readv(connection.fileno(), [rest])
            if not count:
                raise EOFError
            rest = rest[count:]
        arrays.append(array)
    return Reading(arrays[0], arrays[1], found[1])


def release_files() -> None:
    """Let go of what readers of this process keep of the last file, up to half a gigabyte."""
    from eavdash.data.eeg import reading as eeg

    eeg.release()


class _ForkServer:
    """The program behind a team: ``lines`` to its processes, and a line by which it says how they ended."""

    def __init__(self, modality: str, jobs: int) -> None:
        pairs = [socket.socketpair() for _ in range(jobs + 1)]
        theirs = [pair[1].fileno() for pair in pairs]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eavdash.data.readers.worker", modality, *map(str, theirs)],
                pass_fds=theirs,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **_SETTINGS, "PYTHONPATH": _path()},
            )
        finally:
            for pair in pairs:
                pair[1].close()
        self.control, *self.connections = [Connection(pair[0].detach()) for pair in pairs]
        self._exit_codes: dict[int, int] = {}

    def exit_code(self, connection: Connection) -> int | None:
        """The exit code of the process behind a line that broke; None if nobody is left to tell."""
        number = next(n for n, other in enumerate(self.connections) if other is connection)
        try:
            while number not in self._exit_codes and self.control.poll(_PATIENCE):
                ended, code = self.control.recv()
                self._exit_codes[ended] = code
        except (EOFError, OSError):  # the program itself has ended
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(_PATIENCE)
        return self._exit_codes.get(number)

    def close(self) -> None:
        """End all processes. The program ignores SIGTERM until those it made are gone."""
        for connection in (self.control, *self.connections):
            connection.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_PATIENCE)
                return


def _process_died(row: TrialRow, code: int | None) -> EavdashError:
    name = "for an unknown reason" if code is None else f"with exit code {code}"
    if code is not None and -code in {*signal.Signals}:
        name = f"by {signal.Signals(-code).name}" + (", perhaps for want of memory" if code == -signal.SIGKILL else "")
    return RecordingError.at(
        row.path,
        expected="a process that reads it to its end",
        found=f"one that ended {name}",
        remedy="try again with fewer jobs; if it happens at this file again, leave the trial out",
    )


def _picklable(error: Exception) -> Exception:
    """The error, as far as it can be sent; one that is nobody's fault takes the story of where it happened along."""
    if not isinstance(error, EavdashError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _path() -> str:
    """PYTHONPATH by which the process finds this very package, installed or in a checkout."""
    root = [] if _ROOT.name in ("site-packages", "dist-packages") else [str(_ROOT)]
    return os.pathsep.join([*root, *filter(None, [os.environ.get("PYTHONPATH")])])
