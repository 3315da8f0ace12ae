"""Files that are whole or not there: written to a temporary name, flushed, then renamed; their checksums; locks.

Also which machine this is, and its clock that does not jump: what is written into shared files is signed with them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from eavdash.errors import IntegrityError, TrainingError

#: Checksums of the files in its folder, as ``sha256sum`` writes and checks them.
CHECKSUMS = "SHA256SUMS"


def write_atomic(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call ``write(file)`` on a temporary file beside ``path``, flush it to disk and rename it into place.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; the file that was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unwritable(path: Path, error: OSError) -> TrainingError:
    """What is said when the disk is full, or a folder may not be written."""
    return TrainingError.at(
        path,
        expected="a file that can be written",
        found=error.strerror or str(error),
        remedy="free some disk space or mend the permissions, then retry: the last finished epoch is kept",
    )


def write_json(path: Path, data: Any) -> None:
    """``data`` as indented UTF-8 JSON, atomically."""
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def read_json(path: Path, remedy: str = "restore it or train the study again") -> Any:
    """The JSON document at ``path``.

    Raises:
        IntegrityError: it is missing or not JSON; ``remedy`` says what to do then.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IntegrityError.at(path, expected="a file", found="none", remedy=remedy) from None
    except (ValueError, OSError) as error:
        raise IntegrityError.at(path, expected="JSON", found=str(error), remedy=remedy) from error


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked_file(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock on a file of ``folder``, waiting for whoever holds it.

    Raises:
        IntegrityError: the folder is gone. TrainingError: nothing can be written there.
    """
    try:
        file = (folder / name).open("ab")
    except FileNotFoundError:
        raise IntegrityError.at(folder, expected="a folder", found="none", remedy="train the study again") from None
    except OSError as error:
        raise unwritable(folder / name, error) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether a live process holds the lock on a file (``flock``); also where this user may not look, for who knows."""
    try:
        file = path.open("rb")
    except PermissionError:
        return True
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def host() -> str:
    """The name under which this machine signs files; ``EAVDASH_HOST`` where several are called the same."""
    return os.environ.get("EAVDASH_HOST") or os.uname().nodename


def boot_clock() -> list[Any]:
    """Now, by a clock that every process of this machine shares and that nobody sets: [boot, seconds since then]."""
    return [_boot(), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))]


@cache
def _boot() -> str:
    """What tells one boot of a machine from the next; empty where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
