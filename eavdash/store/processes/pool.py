"""A pool of worker processes that answer requests.

In: requests, JSON-ready dictionaries. Out: answers in order of completion: a JSON-ready dictionary and arrays, an
error, or how the process ended instead. A process that crashes or exceeds its time limit costs one answer and is
replaced. Delegated to program.py: the program that is started.

The processes are forked from a separate program (not from the caller, which may be a server with threads), so that they
share the memory of the libraries that it loads. They form their own session, so that only the
caller receives Ctrl-C. When the caller ends, in whatever way, the program's control socket closes, and it kills its
processes and itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from math import inf
from multiprocessing.connection import wait
from typing import Any, Self, TypeVar

from eavdash.store.processes import python_environment
from eavdash.store.processes.program import Answer, rebuild, receive, send

Key = TypeVar("Key")
_GRACE = 5.0  # seconds after which a process that ignores its alarm is killed
_TICK = 0.5  # seconds between looks at the time limits


@dataclass(frozen=True)
class Ended:
    """The end of a process that did not answer: exit code (negative: a signal), and whether it was late."""

    code: int
    overdue: bool = False


class ProcessPool:
    """A context manager of up to ``jobs`` processes, started when first needed.

    ``command`` starts the program, which calls :func:`eavdash.store.processes.program.serve`; ``threads``: of each
    process's libraries, 0: as many as in this process.
    """

    def __init__(
        self, command: Sequence[str], jobs: int, environment: dict[str, str] | None = None, threads: int = 1
    ) -> None:
        self.command, self.jobs = tuple(command), jobs
        self._environment = python_environment(threads, **(environment or {}))
        self._program: _Program | None = None
        self._idle: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answers(
        self, take: Callable[[], tuple[Key, dict[str, Any], float] | None], jobs: int | None = None
    ) -> Iterator[tuple[Key, Answer | Exception | Ended]]:
        """Yield the key and the answer of every request that ``take()`` returns, from at most ``jobs`` processes.

        A request is a key, a JSON-ready dictionary, and the seconds that its answer may take (0: any). ``take()``
        returns None while there is none, and is called again after each answer; without one to wait for, None ends the
        iteration. Processes that are busy when the iterator is closed are killed.
        """
        busy: dict[_Process, tuple[Key, float]] = {}
        try:
            while True:
                done: list[tuple[Key, Answer | Exception | Ended]] = []
                while len(busy) < (jobs or self.jobs) and (asked := take()) is not None:
                    key, request, limit = asked
                    process = None
                    try:
                        if not self._idle:
                            self._program = self._program or _Program(self.command, self._environment)
                            self._idle.append(self._program.fork())
                        process = self._idle.pop()
                        send(process.connection, [request, limit])
                        busy[process] = key, time.monotonic() + limit + _GRACE if limit else inf
                    except OSError as error:
                        done.append((key, Ended(self._end(process)) if process else error))
                ready = wait([process.connection for process in busy], 0 if done else _TICK)
                for process, (key, end) in list(busy.items()):
                    if process.connection in ready:
                        done.append((key, self._receive(process)))
                    elif time.monotonic() > end:
                        done.append((key, Ended(self._end(process), overdue=True)))
                    else:
                        continue
                    del busy[process]
                if not (done or busy):
                    return
                yield from done
        finally:
            for process in busy:
                self._end(process)

    def end_idle(self) -> None:
        """End the processes that are not busy, and so free their memory; the program stays."""
        while self._idle:
            self._end(self._idle.pop())

    def close(self) -> None:
        """End all processes, also busy ones, and the program."""
        if self._program is not None:
            self._program.close()
        for process in self._idle:
            process.close()
        self._program, self._idle = None, []

    def _receive(self, process: _Process) -> Answer | Exception | Ended:
        try:
            (content, failure), arrays = receive(process.stream)
        except (OSError, ValueError, EOFError):
            code = self._end(process)
            return Ended(code, overdue=code == -signal.SIGALRM)
        self._idle.append(process)
        return rebuild(*failure) if failure else (content, arrays)

    def _end(self, process: _Process) -> int:
        """Kill a process if it is alive; return its exit code, or that of the program if it has ended."""
        process.close()
        code = process.program.ask(b"%d" % process.pid)
        if code is None:
            code = process.program.close()
            if self._program is process.program:
                self.close()  # the next request starts another
        return code


@dataclass(frozen=True, eq=False)
class _Process:
    """One process: its program, its id (0: it could not be forked), and the socket to it."""

    program: _Program
    pid: int
    connection: socket.socket
    stream: BufferedReader

    def close(self) -> None:
        self.stream.close()
        self.connection.close()


class _Program:
    """The running program, and the socket over which it is told to fork and to end processes."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()

    def fork(self) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self.ask(b"fork", theirs.fileno())
        return _Process(self, pid or 0, ours, ours.makefile("rb"))

    def close(self) -> int:
        """Kill the program and its processes; return its exit code, its own if it had ended before."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._control.close()
        return self._process.returncode

    def ask(self, message: bytes, *descriptors: int) -> int | None:
        """Have a process forked with a descriptor, or one killed by its id; return its id, or its exit code.

        None if the program has ended. The exit code is that of an earlier end if there was one.
        """
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [message], descriptors)
            if answer := self._control.recv(32):
                return int(answer)
        return None
