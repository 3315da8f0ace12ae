"""The program of a :class:`~eavdash.store.processes.pool.ProcessPool`, and the messages between both.

In: the descriptor of a control socket, over which the program is told to fork and to end processes; and one socket per
process, with requests. Out: answers, errors included. A message is a line of JSON, followed by the bytes of its arrays.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from io import BufferedReader
from typing import TYPE_CHECKING, Any, NoReturn

from eavdash import errors

if TYPE_CHECKING:
    import numpy as np

#: What answers a request: a JSON-ready dictionary, and arrays.
Answer = tuple[dict[str, Any], "list[np.ndarray]"]


def serve(answer: Callable[[dict[str, Any]], Answer], load: Callable[[], object] | None = None) -> None:
    """Fork and end processes, as told over the socket whose descriptor is the last argument, until it is closed.

    ``load()`` is called once, before the first fork; each process calls ``answer(content)`` for one request after
    another, until its own socket is closed. An alarm ends a process that exceeds its time limit, even if the caller
    has ended.
    """
    control = socket.socket(fileno=int(sys.argv[-1]))
    if load is not None:
        load()
    try:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 32, 1)
            if descriptors:
                number = os.fork()
                if not number:
                    control.close()
                    _answer_all(descriptors[0], answer)
                os.close(descriptors[0])
            elif message:
                os.kill(int(message), signal.SIGKILL)
                number = os.waitstatus_to_exitcode(os.waitpid(int(message), 0)[1])
            else:
                break
            control.sendall(b"%d" % number)
    finally:
        os.killpg(0, signal.SIGKILL)


def _answer_all(descriptor: int, answer: Callable[[dict[str, Any]], Answer]) -> NoReturn:
    """Answer the requests from a socket until it is closed, then exit."""
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as stream:
            while True:
                (content, limit), _ = receive(stream)
                signal.setitimer(signal.ITIMER_REAL, limit)
                try:
                    found, arrays, failure = *answer(content), None
                except Exception as error:
                    found, arrays, failure = {}, [], describe(error)
                signal.setitimer(signal.ITIMER_REAL, 0)
                send(connection, [found, failure], arrays)
    except (EOFError, OSError):
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def send(connection: socket.socket, message: Any, arrays: Sequence[np.ndarray] = ()) -> None:
    """Send a message and arrays; the arrays' bytes are not copied."""
    kinds = [[array.shape, array.dtype.str] for array in arrays]
    connection.sendall(json.dumps([message, kinds]).encode("ascii") + b"\n")
    for array in arrays:
        if array.size:
            connection.sendall(array.data.cast("B") if array.flags.c_contiguous else array.tobytes())


def receive(stream: BufferedReader) -> tuple[Any, list[np.ndarray]]:
    """Receive what :func:`send` sent.

    Raises:
        EOFError: the other side has ended.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    message, kinds = json.loads(line)
    arrays = []
    for shape, dtype in kinds:
        import numpy as np

        array = np.empty(shape, dtype)
        if array.size and stream.readinto(array.data.cast("B")) < array.nbytes:
            raise EOFError
        arrays.append(array)
    return message, arrays


def describe(error: Exception) -> list[Any]:
    """Describe an error in JSON: type, text and fields of one of :mod:`eavdash.errors`, the traceback of any other."""
    kind = next((kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__), "")
    return [kind, str(error), vars(error)] if kind else ["", "".join(traceback.format_exception(error)), {}]


def rebuild(kind: str, text: str, fields: dict[str, Any]) -> Exception:
    """Rebuild an error from its description; one that is not of :mod:`eavdash.errors` becomes a RuntimeError."""
    error: Exception = getattr(errors, kind)(text) if kind else RuntimeError(text)
    vars(error).update(fields)
    return error
