"""Other processes that look at files: several at once, and none that can take the scan down with it.

In: looks. Out: pairs of look and answer, in the order in which they are done. Each process
(:mod:`eavdash.health.measures.worker`) is asked for one file after the other; one that crashes or takes too long makes
a problem of that file and is replaced. Nothing is left behind: they end with their input, at the latest with the scan.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from eavdash.errors import sentence
from eavdash.health.measures.base import MeasureRequest
from eavdash.health.measures.worker import encode_request

#: Seconds that any file may take, and bytes for which there is one second more: a slow network drive reads as many.
LIMIT, BYTES_PER_SECOND = 120.0, 2**21
#: Files of arrays from this size on are read one at a time: each is in memory whole (EAV: half a gigabyte).
LARGE = 64 * 2**20
_ARRAYS = (".mat", ".pkl", ".dat", ".set")
_FILES_PER_PROCESS = 8  # fewer are looked at sooner than another process starts
_MOST = 8
_GRACE = 5.0  # seconds after which a process that ignores its alarm is killed
COMMAND = (sys.executable, "-P", "-m", "eavdash.health.measures.worker")


def run(
    requests: Sequence[MeasureRequest],
    limit: float = LIMIT,
    command: Sequence[str] = COMMAND,
    processes: int | None = None,
) -> Iterator[tuple[MeasureRequest, dict[str, Any]]]:
    """Each look with its answer, as it is done. ``processes``: by default, as many as there are cores for.

    An answer's ``kind`` is "crash" or "limit" when the process did not live to give one.
    """
    if not requests:
        return
    todo = _Pending(requests)
    answers: queue.Queue[tuple[MeasureRequest, dict[str, Any]]] = queue.Queue()
    count = processes or max(1, min(len(os.sched_getaffinity(0)), _MOST, -(-len(requests) // _FILES_PER_PROCESS)))
    workers = [_Process(tuple(command), limit) for _ in range(count)]
    threads = [threading.Thread(target=_work, args=(w, todo, answers), daemon=True) for w in workers]
    for thread in threads:
        thread.start()
    try:
        for _ in requests:
            yield answers.get()
    finally:
        todo.stop()
        for worker in workers:
            worker.kill()
        for thread in threads:
            thread.join(_GRACE)


class _Pending:
    """The looks that nobody has taken yet, handed out so that large arrays are never read side by side."""

    def __init__(self, requests: Sequence[MeasureRequest]) -> None:
        self._large = deque(x for x in requests if _is_large(x.file))
        self._rest = deque(x for x in requests if not _is_large(x.file))
        self._reading = False
        self._stopped = False
        self._changed = threading.Condition()

    def take(self) -> tuple[MeasureRequest | None, bool]:
        """The next look (None: there is no more) and whether it is a large one, to be given back by :meth:`done`."""
        with self._changed:
            while not self._stopped:
                if self._large and not self._reading:
                    self._reading = True
                    return self._large.popleft(), True
                if self._rest:
                    return self._rest.popleft(), False
                if not self._large:
                    break
                self._changed.wait()
            return None, False

    def done(self) -> None:
        """A large file has been read."""
        with self._changed:
            self._reading = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def _is_large(file: str) -> bool:
    return file.lower().endswith(_ARRAYS) and _size(file) >= LARGE


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def _work(process: _Process, todo: _Pending, answers: queue.Queue[tuple[MeasureRequest, dict[str, Any]]]) -> None:
    """What one thread does: hand its process one file after the other, and end it."""
    try:
        while True:
            request, large = todo.take()
            if request is None:
                return
            answers.put((request, process.ask(request)))
            if large:
                todo.done()
    finally:
        process.close()


class _Process:
    """One process, started when it is first asked and again after it has gone."""

    def __init__(self, command: tuple[str, ...], limit: float) -> None:
        self.command, self.limit = command, limit
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def ask(self, request: MeasureRequest) -> dict[str, Any]:
        """The answer to one look, whatever happens to the process."""
        limit = self.limit + _size(request.file) / BYTES_PER_SECOND
        try:
            running = self._started()
            into, out = cast("IO[bytes]", running.stdin), cast("IO[bytes]", running.stdout)
            into.write(encode_request(request, limit).encode() + b"\n")
            into.flush()
            ready = select.poll()
            ready.register(out, select.POLLIN | select.POLLHUP)
            line = out.readline() if ready.poll(1000 * (limit + _GRACE)) else b""
            if line.endswith(b"\n"):
                return cast("dict[str, Any]", json.loads(line))
        except (OSError, ValueError) as error:
            self.close()
            return _process_failed(request.file, "crash", f"a process that could not be asked ({error})")
        code = self.close()
        if code in (-signal.SIGALRM, None):
            return _process_failed(request.file, "limit", f"one that is still being read after {limit:.0f} s")
        reason = signal.strsignal(-code) if code < 0 else f"exit code {code}"
        return _process_failed(request.file, "crash", f"one that brings its decoder down ({reason})")

    def kill(self) -> None:
        """Start no more processes and kill the present one; who waits for its answer gets none."""
        with self._lock:
            self._ended = True
            if self._running is not None:
                self._running.kill()

    def close(self) -> int | None:
        """Let the process end, and return how it did; None when it had to be killed."""
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return None
        with contextlib.suppress(OSError):
            cast("IO[bytes]", running.stdin).close()
        try:
            code = running.wait(1)
        except subprocess.TimeoutExpired:
            code = None
            running.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(_GRACE)
        cast("IO[bytes]", running.stdout).close()
        return code

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise OSError("the scan has ended")
            if self._running is None:
                self._running = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C is for the scan, which ends them
                )
            return self._running


def _process_failed(file: str, kind: str, found: str) -> dict[str, Any]:
    remedy = "copy the file again, or leave it out"
    return {"problem": sentence(file, "a recording that can be read", found, remedy), "kind": kind, "parts": []}


def _environment() -> dict[str, str]:
    """This process's environment; the package is found where this one has found it, one thread per process."""
    home = str(Path(__file__).resolve().parents[2])
    rest = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != home]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([home, *rest]), "OMP_NUM_THREADS": "1"}
