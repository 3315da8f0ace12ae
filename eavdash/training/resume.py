"""``resume.pt``: the state from which a run continues after its last finished epoch.

One file, replaced atomically: a first line with the checksum of the rest, then a torch archive of tensors and plain
values, loaded with ``weights_only=True``. If the file is damaged or belongs to another configuration, the run starts
over and its log says so.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch

from eavdash.store.atomic import KEPT, write_atomic
from eavdash.store.regular import open_regular

log = logging.getLogger(__name__)
_DIGITS = 64  # of a hexadecimal SHA-256


class _Hashing:
    """A file writer that hashes the data written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def save(path: Path, state: dict[str, Any], signature: str) -> None:
    """Write ``state`` (tensors, numbers, strings, lists and dictionaries of them) under ``signature``.

    Raises:
        TrainingError: it cannot be written; the state of the previous epoch is kept.
    """

    def write(file: BinaryIO) -> None:
        file.write(b"0" * _DIGITS + b"\n")
        hashing = _Hashing(file)
        torch.save({"signature": signature, "state": state}, hashing)  # type: ignore[arg-type]  # torch only writes and flushes
        file.seek(0)
        file.write(hashing.digest.hexdigest().encode())

    write_atomic(path, write, remedy=KEPT)


def load(path: Path, signature: str) -> dict[str, Any] | None:
    """Load the state saved under ``signature``, on the CPU; return None, with a log line, if it cannot be used."""
    try:
        with open_regular(path) as file:
            content = file.read()
        checksum, archive = content[:_DIGITS], content[_DIGITS + 1 :]
        if hashlib.sha256(archive).hexdigest().encode() != checksum:
            raise ValueError("checksum mismatch: it is damaged")
        data = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
        if data["signature"] != signature:
            raise ValueError("it belongs to other data or another configuration")
        return dict(data["state"])
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError) as error:
        log.warning("Cannot use %s (%s); the run starts over.", path, error)
        return None
