"""The processes of a :class:`~eavdash.data.readers.pool.ReaderPool`, which end with it.

``python -m eavdash.data.readers.worker MODALITY CONTROL FD ...`` loads the libraries for reading that modality once and
forks a process per further socket, so that all share the libraries' memory (half a gigabyte). Each process receives
tasks from its socket and sends readings back until the socket is closed; the parent reports the exit code of each to
the pool over the socket CONTROL.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from multiprocessing.connection import Connection

from eavdash.data.readers.base import Reading
from eavdash.data.readers.pool import release_files, send

_LIBRARIES = {
    "vision": ("torch", "facenet_pytorch.models.mtcnn"),
    "audio": ("torch", "torchaudio.functional", "torchaudio.compliance.kaldi"),
    "eeg": ("mne", "scipy.io", "scipy.signal"),
}


def main(modality: str, control: int, sockets: list[int]) -> None:
    """Load the libraries, fork the reading processes, and wait for them to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pool's owner handles Ctrl-C
    for library in _LIBRARIES.get(modality, ()):
        with contextlib.suppress(ImportError):  # reading reports what is missing
            importlib.import_module(library)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends the reading processes, and so this one
    processes: dict[int, int] = {}
    for number, socket in enumerate(sockets):
        process = os.fork()
        if not process:
            _reading_process(socket, [control, *sockets[number + 1 :]])
        processes[process] = number
        os.close(socket)
    with Connection(control) as connection, contextlib.suppress(OSError):
        while processes:
            process, status = os.wait()
            connection.send((processes.pop(process), os.waitstatus_to_exitcode(status)))


def _reading_process(socket: int, others: list[int]) -> None:
    """Run one reading process until its socket is closed, then exit."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    code = 1
    try:
        for other in others:
            os.close(other)
        with Connection(socket) as connection:
            work(connection)
        code = 0
    finally:
        os._exit(code)


def work(connection: Connection) -> None:
    """Read one trial after another until the connection is closed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            if task is None:
                release_files()
                continue
            reader, row, spans = task
            found: Reading | Exception
            try:
                found = reader.read(row, spans)
            except Exception as error:
                found = error
            send(connection, found)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(number) for number in sys.argv[3:]])
