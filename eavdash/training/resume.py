"""``resume.pt``: everything a run needs to go on after its last finished epoch.

One file, replaced atomically: a first line with the checksum of what follows, then a torch archive of tensors and
plain values, read back with ``weights_only=True``. A damaged file, or one of another configuration, costs the epochs
it held and nothing else: the run starts over and says so in its log.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch

from eavdash.store.atomic import write_atomic

log = logging.getLogger(__name__)
_DIGITS = 64  # of a hexadecimal SHA-256


class _Hashing:
    """A writer that hashes what passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def save(path: Path, state: dict[str, Any], signature: str) -> None:
    """Write ``state`` (tensors, numbers, strings, lists and dictionaries of them) for the run ``signature`` names.

    Raises:
        TrainingError: it cannot be written; the state of the epoch before is kept.
    """

    def write(file: BinaryIO) -> None:
        file.write(b"0" * _DIGITS + b"\n")
        hashing = _Hashing(file)
        torch.save({"signature": signature, "state": state}, hashing)  # type: ignore[arg-type]
        file.seek(0)
        file.write(hashing.digest.hexdigest().encode())

    write_atomic(path, write)


def load(path: Path, signature: str) -> dict[str, Any] | None:
    """The state saved under ``signature``, on the CPU; None (and a line in the log) if there is none to go on from."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read (%s); the run starts over.", path, error)
        return None
    checksum, archive = content[:_DIGITS], content[_DIGITS + 1 :]
    if hashlib.sha256(archive).hexdigest().encode() != checksum:
        log.warning("%s is damaged (its checksum does not match); the run starts over.", path)
        return None
    try:
        data = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
        found, state = data["signature"], dict(data["state"])
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError) as error:
        log.warning("%s cannot be read (%s); the run starts over.", path, error)
        return None
    if found != signature:
        log.warning("%s belongs to other data or another configuration; the run starts over.", path)
        return None
    return state
