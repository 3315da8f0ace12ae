"""A pool of processes that read trials, in bounded memory.

In: a prepared reader and trials with their windows' spans. Out: their readings in the order of the trials, as if one
process had read them. Delegated to worker.py: the reading processes.

The processes are forked from a separate program (not from the caller, which may be a server with threads), use one
thread each, and form their own session, so that only the caller receives Ctrl-C. They end with the pool, or when a
killed caller's sockets are closed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import cast

import numpy as np

from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.errors import EavdashError, RecordingError
from eavdash.processes import python_environment, python_module

Task = tuple[TrialRow, list[Span]]
#: Memory limit (bytes) of the caller and the processes together, for datasets of any size ...
MEMORY = 2 * 10**9
#: ... of which this much goes to the caller and the shared libraries, and this much to each process.
LIBRARIES = 900 * 10**6
PROCESS = 60 * 10**6
#: Environment of the processes: the C library keeps freed memory for the next trial instead of requesting new, zeroed
#: pages from the system, which took a third of the time.
_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
}
_PATIENCE = 5.0  # seconds to wait for processes to end


def jobs_within(jobs: int, reading: int, result: int, memory: int = MEMORY) -> int:
    """The number of processes, up to ``jobs``, that fit into ``memory`` bytes; at least 1, which means the caller's
    process.

    ``reading``: bytes for reading the longest trial; ``result``: bytes of its arrays. In addition the caller may hold
    jobs + 1 results that wait for an earlier one.
    """
    fits = [n for n in range(2, jobs + 1) if LIBRARIES + n * (PROCESS + reading) + (n + 1) * result <= memory]
    return max(fits, default=1)


class ReaderPool:
    """A context manager of up to ``jobs`` processes that read trials. They are started when first needed."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._modality = ""
        self._server: _ForkServer | None = None

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, also while they are reading."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def read(self, reader: Reader, tasks: Sequence[Task], jobs: int) -> Iterator[Reading]:
        """Yield the reading of each task in order, read by at most ``jobs`` processes; at most jobs + 1 are running or
        waiting.

        Raises:
            RecordingError: a trial cannot be read, or its process was killed; raised for the first such trial in order.
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
                        with contextlib.suppress(OSError):  # a dead process is detected when the result is fetched
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
                            connection.send(None)  # the cached file is no longer needed
                yield found
        except BaseException:
            if busy or started < len(tasks):
                self.close()  # nothing will fetch the running tasks' results
            raise

    def _server_for(self, modality: str, jobs: int) -> _ForkServer:
        """The fork server for a modality; one for another modality, or with too few processes, is ended first."""
        if self._server is None or modality != self._modality or len(self._server.connections) < jobs:
            self.close()
            self._server, self._modality = _ForkServer(modality, jobs), modality
        return self._server


def send(connection: Connection, found: Reading | Exception) -> None:
    """Send a reading or an error; arrays are sent raw, without a copy."""
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
    """Receive what :func:`send` sent."""
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
    """Release the file that this process's readers cache, up to half a gigabyte."""
    from eavdash.data.eeg import reading as eeg

    eeg.release()


class _ForkServer:
    """The program that forks the processes: ``connections`` to them, and one on which it reports their exit codes."""

    def __init__(self, modality: str, jobs: int) -> None:
        pairs = [socket.socketpair() for _ in range(jobs + 1)]
        theirs = [pair[1].fileno() for pair in pairs]
        try:
            self.process = subprocess.Popen(
                python_module("eavdash.data.readers.worker", modality, *map(str, theirs)),
                pass_fds=theirs,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=python_environment(1, **_SETTINGS),
            )
        finally:
            for pair in pairs:
                pair[1].close()
        self.control, *self.connections = [Connection(pair[0].detach()) for pair in pairs]
        self._exit_codes: dict[int, int] = {}

    def exit_code(self, connection: Connection) -> int | None:
        """The exit code of the process behind a broken connection; None if it is unknown."""
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
        """End all processes. The program ignores SIGTERM until its processes have ended."""
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
        name = f"by {signal.Signals(-code).name}" + (", perhaps out of memory" if code == -signal.SIGKILL else "")
    return RecordingError.at(
        row.path,
        expected="a process that reads the whole file",
        found=f"a process that ended {name}",
        remedy="try again with fewer jobs, and leave the trial out if it fails again",
    )


def _picklable(error: Exception) -> Exception:
    """The error in a form that can be pickled; an unexpected one carries its traceback along."""
    if not isinstance(error, EavdashError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
