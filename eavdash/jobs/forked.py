"""Workers forked from a preloaded process (:mod:`eavdash.jobs.preload`), as the scheduler sees them.

In: a run, an environment and descriptors. Out: a :class:`ForkedProcess`, with the few methods of a child process that
the executor needs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from eavdash.store.processes import python_module

#: Bytes of a message: the environment of a process is in it.
LARGEST = 2**20
Message = TypeVar("Message", "ForkRequest", "ForkMessage")
#: Seconds that the preloaded process may take to answer.
ANSWER_WITHIN = 30.0


@dataclass(frozen=True)
class ForkRequest:
    """Request for a worker of ``run``; the descriptors that travel with it are its output, its lock, then leases."""

    number: int
    run: str
    environment: dict[str, str]
    lock_variable: str
    folder: str  # in which it works


@dataclass(frozen=True)
class ForkMessage:
    """Message of the preloaded process about process ``pid``.

    With a ``number``: the worker of that request was started; with a ``code``: that worker has ended; with neither: the
    preloaded process itself has loaded its libraries.
    """

    pid: int
    number: int | None = None
    code: int | None = None


@dataclass
class ForkedProcess:
    """A worker by its process number. ``returncode`` is None until it has ended.

    ``lost``: the preloaded process is gone, so that nothing will tell how the worker ends; its lock tells when.
    """

    pid: int
    returncode: int | None = None
    lost: bool = False


@dataclass
class Preloaded:
    """The preloaded process of this scheduler; it is started by the first :meth:`start` and used once it is ready."""

    _process: subprocess.Popen[bytes] | None = None
    _connection: socket.socket | None = None
    _ready: bool = False
    _started: dict[int, ForkedProcess] = field(default_factory=dict)  # by the request's number
    _processes: dict[int, ForkedProcess] = field(default_factory=dict)  # by process number, those that live
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def ready(self) -> bool:
        """True if the next worker will be a fork."""
        return self._ready

    def kill(self) -> None:
        """End the process; its workers continue."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End the process and let go of the socket."""
        self.kill()
        if self._connection is not None:
            self._connection.close()

    def launch(self, environment: dict[str, str]) -> None:
        """Start the process, unless it was started before."""
        with self._changed:
            if self._connection is not None or not hasattr(socket, "recv_fds") or sys.platform != "linux":
                return
            self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    python_module("eavdash.jobs.preload", str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                    # pyarrow's allocator would start a thread, and a process with threads must not fork.
                    env=environment | {"JE_ARROW_MALLOC_CONF": "background_thread:false"},
                )
            threading.Thread(target=self._listen, args=(self._connection,), daemon=True).start()

    def start(
        self, run: str, environment: dict[str, str], lock_variable: str, descriptors: Sequence[int]
    ) -> ForkedProcess | None:
        """Fork a worker; None if the process is not ready, so that the worker is started the usual way.

        ``descriptors``: standard output, the run's lock, then leases.

        Raises:
            OSError: the process does not answer. The worker may have been started all the same.
        """
        with self._changed:
            if not self._ready or self._connection is None:
                return None
            number = next(self._numbers)
            data = encoded(ForkRequest(number, run, environment, lock_variable, str(Path.cwd())))
            if len(data) > LARGEST:
                return None
            try:
                socket.send_fds(self._connection, [data], list(descriptors))
            except OSError:
                self._ready = False
                return None
            self._changed.wait_for(lambda: number in self._started or not self._ready, ANSWER_WITHIN)
            if number not in self._started:
                self._ready = False
                raise OSError("the process that starts workers does not answer")
            return self._started.pop(number)

    def _listen(self, connection: socket.socket) -> None:
        """Take in the process's messages until it ends."""
        while True:
            message, _ = receive(connection, ForkMessage)
            with self._changed:
                if message is None:
                    self._ready = False
                    for process in self._processes.values():
                        process.lost = True
                elif message.number is not None:
                    process = ForkedProcess(message.pid)
                    self._started[message.number] = self._processes[process.pid] = process
                elif message.code is None:
                    self._ready = True
                elif ended := self._processes.pop(message.pid, None):
                    ended.returncode = message.code
                self._changed.notify_all()
            if message is None:
                with contextlib.suppress(OSError):
                    connection.close()
                return


def encoded(message: ForkRequest | ForkMessage) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(asdict(message)).encode()


def receive(connection: socket.socket, kind: type[Message]) -> tuple[Message | None, list[int]]:
    """Return the next message and its descriptors; None if the other end is closed."""
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 64)
    except ConnectionError:
        return None, []
    return (kind(**json.loads(data)) if data else None), list(descriptors)
