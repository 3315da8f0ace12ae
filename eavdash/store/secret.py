"""A secret of this user, kept on disk between processes in a file that no other user can read.

It lies in ``$XDG_STATE_HOME/eavdash`` (default: ``~/.local/state/eavdash``), not beside the studies, whose folder may
be shared.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from eavdash.errors import UsageError

BYTES = 32


def state_folders() -> tuple[Path, ...]:
    """Return the folders that may hold files of :func:`private_folder`, which need not exist; the first is in use.

    The second is that of processes without ``XDG_STATE_HOME``.
    """
    usual = Path(os.path.expanduser("~/.local/state/eavdash"))  # noqa: PTH111 -- does not raise without a home
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (given / "eavdash", usual) if given.is_absolute() else (usual,)


def private_folder() -> Path:
    """Return this user's folder for private files, made with mode 0700 if it is missing.

    Raises:
        UsageError: it cannot be made, is not a folder of this user, or other users have access to it.
    """
    folder = state_folders()[0]
    with UsageError.from_os(folder, expected="a folder that you can write", remedy="set XDG_STATE_HOME to another"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _check(folder, folder.lstat(), stat.S_ISDIR, "a folder with mode 0700 that is yours")
    return folder


def user_secret(name: str) -> bytes:
    """Return the secret in the file ``name``, 32 bytes; it is made at the first call.

    Raises:
        UsageError: the file is a link, belongs to another user, can be read by others, or holds no secret.
    """
    path = private_folder() / name
    expected = "a file with mode 0600 that is yours"
    with UsageError.from_os(path, expected=expected, remedy="delete it; it is made again"):
        if not os.path.lexists(path):
            _create(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            _check(path, os.fstat(descriptor), stat.S_ISREG, expected)
            secret = file.read(BYTES + 1)
    if len(secret) != BYTES:
        raise UsageError.at(path, expected=f"{BYTES} bytes", found="another size", remedy="delete it; it is made again")
    return secret


def _create(path: Path) -> None:
    """Write a new secret under a temporary name, and give it its own unless another process was faster."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(BYTES))
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()


def _check(path: Path, status: os.stat_result, is_kind: Callable[[int], bool], expected: str) -> None:
    """Raise an error if a file is not of this kind, not this user's, or accessible to others."""
    if status.st_uid != os.geteuid():
        found = f"one of user {status.st_uid}"
    elif not is_kind(status.st_mode):
        found = "something else"
    elif status.st_mode & 0o077:
        found = f"mode {stat.S_IMODE(status.st_mode):04o}"
    else:
        return
    remedy = "remove it if it is not yours, or take the rights of others away (chmod go=)"
    raise UsageError.at(path, expected=expected, found=found, remedy=remedy)
