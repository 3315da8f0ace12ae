"""The worker processes of the scan: they measure several files at once, and a crash does not end the scan.

In: requests. Out: pairs of request and answer, in order of completion. Each process
(:mod:`eavdash.health.measures.worker`) gets one file after another; one that crashes or exceeds its time limit becomes
a problem of that file and is replaced. The processes end when their input closes, at the latest with the scan.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from eavdash.errors import sentence
from eavdash.health.measures.base import MeasureRequest
from eavdash.health.measures.worker import encode_request
from eavdash.processes import python_environment, python_module

#: Time limit of any file in seconds, and bytes per additional second: the speed of a slow network drive.
LIMIT, BYTES_PER_SECOND = 120.0, 2**21
#: Array files from this size (bytes) on are read one at a time: each is loaded completely (EAV: half a gigabyte).
LARGE = 64 * 2**20
_ARRAYS = (".mat", ".pkl", ".dat", ".set")
_FILES_PER_PROCESS = 8  # fewer are measured faster than another process starts
_MOST = 8
_GRACE = 5.0  # seconds after which a process that ignores its alarm is killed
COMMAND = tuple(python_module("eavdash.health.measures.worker"))


def run(
    requests: Sequence[MeasureRequest],
    limit: float = LIMIT,
    command: Sequence[str] = COMMAND,
    processes: int | None = None,
) -> Iterator[tuple[MeasureRequest, dict[str, Any]]]:
    """Yield each request with its answer, as they complete. ``processes``: by default, by the number of cores.

    An answer's ``kind`` is "crash" or "limit" if the process ended without one.
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
    """The pending requests, handed out so that large arrays are never read at the same time."""

    def __init__(self, requests: Sequence[MeasureRequest]) -> None:
        self._large = deque(x for x in requests if _is_large(x.file))
        self._rest = deque(x for x in requests if not _is_large(x.file))
        self._reading = False
        self._stopped = False
        self._changed = threading.Condition()

    def take(self) -> tuple[MeasureRequest | None, bool]:
        """Take the next request (None: no more) and True if it is large, in which case :meth:`done` must follow."""
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
        """Mark the large file as read."""
        with self._changed:
            self._reading = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out no more requests."""
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
    """Pass requests to one process until there are no more, then end it; run by one thread per process."""
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
    """One worker process, started when first needed and restarted after it has ended."""

    def __init__(self, command: tuple[str, ...], limit: float) -> None:
        self.command, self.limit = command, limit
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def ask(self, request: MeasureRequest) -> dict[str, Any]:
        """Return the answer to one request, also if the process fails."""
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
            return _process_failed(request.file, "crash", f"a failed measuring process ({error})")
        code = self.close()
        if code in (-signal.SIGALRM, None):
            return _process_failed(request.file, "limit", f"a file that is still being read after {limit:.0f} s")
        reason = signal.strsignal(-code) if code < 0 else f"exit code {code}"
        return _process_failed(request.file, "crash", f"a file that crashes its decoder ({reason})")

    def kill(self) -> None:
        """Kill the process and start no more; a pending request gets no answer."""
        with self._lock:
            self._ended = True
            if self._running is not None:
                self._running.kill()

    def close(self) -> int | None:
        """Let the process end and return its exit code; None if it had to be killed."""
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
                    env=python_environment(1),
                    start_new_session=True,  # only the scan receives Ctrl-C, and ends the processes
                )
            return self._running


def _process_failed(file: str, kind: str, found: str) -> dict[str, Any]:
    remedy = "copy the file again, or leave it out"
    return {"problem": sentence(file, "a readable recording", found, remedy), "kind": kind, "parts": []}
