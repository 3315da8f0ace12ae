"""A process that has loaded torch once and starts workers by ``fork``: ``python -m eavdash.jobs.preload SOCKET``.

Loading torch and the libraries around it costs more processor time than many a run's training. The scheduler starts
this process beside it and asks it for workers; each is a fork in a session of its own that runs ``jobs.worker`` with
the run's environment, log, lock and leases, exactly as a started process would. Linux only, and only for workers with
the thread count that the libraries were loaded with.

In: messages on the inherited socket, each with the worker's descriptors (standard output, lock, leases). Out: messages
with the number of each worker's process, and with its exit code once it and its group are gone. It ends when the other
end of the socket is closed; workers continue.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import selectors
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from eavdash.jobs.forked import ForkMessage, ForkRequest, encoded, receive
from eavdash.store import locks

#: Loaded before the first worker: what runs import sooner or later.
LIBRARIES = (
    "eavdash.training.run",
    "eavdash.data.readers.eeg",
    "eavdash.data.readers.audio",
    "eavdash.data.readers.vision",
    "scipy.signal",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "pyriemann.geometry.tangentspace",
    "pyarrow.parquet",
    "safetensors.torch",
)


def main(arguments: list[str] | None = None) -> int:
    """Load the libraries, then start workers until the socket closes."""
    (number,) = arguments if arguments is not None else sys.argv[1:]
    connection = socket.socket(fileno=int(number))
    connection.set_inheritable(False)
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    if threading.active_count() > 1 or len(list(Path("/proc/self/task").iterdir())) > 1:
        return 1  # a fork would copy locks that other threads hold; the scheduler starts workers the usual way
    serve(connection)
    return 0


def serve(connection: socket.socket) -> None:
    """Answer requests and report ended workers until the other end closes."""
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    _send(connection, ForkMessage(os.getpid()))
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    while woken.recv(4096):
                        pass
                for pid, code in _ended():
                    _send(connection, ForkMessage(pid, code=code))
            if connection in ready:
                request, descriptors = receive(connection, ForkRequest)
                if request is None:
                    return
                pid = os.fork()
                if not pid:
                    selector.close()
                    for each in (connection, woken, wake):
                        each.close()
                    _become_worker(request, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                _send(connection, ForkMessage(pid, number=request.number))


def _send(connection: socket.socket, message: ForkMessage) -> None:
    with contextlib.suppress(OSError):  # the scheduler is gone: the next receive ends this process
        connection.sendall(encoded(message))


def _ended() -> list[tuple[int, int]]:
    """Reap the workers that have ended, each after the rest of its process group was killed; their exit codes."""
    codes: list[tuple[int, int]] = []
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return codes
        if found is None:
            return codes
        # Until the dead process is reaped, its group id cannot be reused.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(found.si_pid, signal.SIGKILL)
        _, status = os.waitpid(found.si_pid, 0)
        codes.append((found.si_pid, os.waitstatus_to_exitcode(status)))


def _become_worker(request: ForkRequest, descriptors: list[int]) -> NoReturn:
    """Turn this fork into the worker of a run, as if it had been started by its command."""
    code = 1
    try:
        from eavdash.jobs import worker

        output, lock, *leases = descriptors
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.close(nothing)
        os.close(output)
        for descriptor in (lock, *leases):
            os.set_inheritable(descriptor, True)
        os.environ.clear()
        os.environ.update(request.environment | {request.lock_variable: str(lock)})
        os.chdir(request.folder)
        locks.tag_process(request.run)
        random.seed()  # a started process has a state of its own
        code = worker.main([request.run])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
