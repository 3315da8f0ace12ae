"""The rule which files that users name may be read, and the opening of these files.

In: a path from a form, a trial table, a header or the command line. Out: its resolved path or an open file, or an
:class:`~eavdash.errors.OutsideError`. What counts is the path after links and ``..`` are resolved.

The app reads only below its *data folders*, and there nothing hidden: others may reach it, but not with its owner's
rights. They are listed in the environment variable :data:`VARIABLE`, which the processes that it starts inherit.
Without that variable (command line, workers of studies planned there) the user's own rights decide. The system's
files under :data:`SYSTEM` and eavdash's own secrets are never read.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any

from eavdash.errors import OutsideError, UsageError
from eavdash.store.secret import state_folders

#: JSON list of absolute paths; absent: no restriction.
VARIABLE = "EAVDASH_DATA"
SYSTEM = ("/proc", "/sys", "/dev")
_IN_MEMORY = "/dev/shm"  # a disk in memory, where recordings may lie
_MOST_BYTES = 100_000  # of the list, as one variable of the environment has a size limit
#: git-annex keeps the content of datasets there, in the repository itself or in that of a submodule.
_ANNEX = re.compile(r"/\.git/(?:modules/(?:[^/]+/)+?)?annex/objects(?=/|$)")

#: Further folders of this thread or task; None: no restriction.
_lent: ContextVar[tuple[str, ...] | None] = ContextVar("lent", default=())
_changing = threading.Lock()
_watched = threading.local()  # .paths: the extra paths of :func:`checked_opens` while it is active in this thread


def data_folders() -> tuple[str, ...] | None:
    """Return the data folders; None if only the user's own rights decide.

    Raises:
        UsageError: the environment variable is not a list of paths.
    """
    text, lent = os.environ.get(VARIABLE), _lent.get()
    return None if text is None or lent is None else (*_parsed(text), *lent)


def set_data_folders(folders: Iterable[str | Path] | None) -> None:
    """Restrict this process, and those that it starts, to ``folders``; None: do not restrict it."""
    if folders is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = json.dumps(outermost(map(_resolved, folders)))


def add_data_folders(folders: Iterable[str | Path]) -> None:
    """Add to the data folders of this process, if it is restricted; they must be chosen by its owner.

    What has no room is left out: it is refused when it is opened.
    """
    with _changing:
        if (text := os.environ.get(VARIABLE)) is not None:
            # Those before are resolved already: one that was replaced by a link must not take its target along.
            before, added = _parsed(text), outermost(map(_resolved, folders))
            while len(text := json.dumps(outermost((*before, *added)))) > _MOST_BYTES and added:
                del added[-1 - len(added) // 10 :]
            os.environ[VARIABLE] = text


def restrict_data_folders(folders: Iterable[str] | None) -> None:
    """Restrict this process to what both its data folders and ``folders`` cover; None: change nothing."""
    if folders is None:
        return
    mine, others = data_folders(), [_resolved(folder) for folder in folders]
    if mine is not None:
        others = [a if covers(b, a) else b for a in mine for b in others if covers(a, b) or covers(b, a)]
    set_data_folders(others)


@contextmanager
def lent(folder: str | Path | None) -> Iterator[None]:
    """Let the block read ``folder`` too; with None it reads whatever the user may, except what is never read."""
    token = _lent.set(None if folder is None else (_resolved(folder),))
    try:
        yield
    finally:
        _lent.reset(token)


def outermost(folders: Iterable[str]) -> list[str]:
    """Return the resolved folders that the others do not cover."""
    kept: list[str] = []
    above: list[str] = []  # of those kept, the ones that hold the folder: in this order they come right before it
    for folder in sorted(set(folders), key=lambda folder: folder.split("/")):
        while above and not _below(folder, above[-1]):
            above.pop()
        if not any(covers(other, folder) for other in above):
            kept.append(folder)
            above.append(folder)
    return kept


def covers(folder: str, real: str) -> bool:
    """Return True if a data folder lets a resolved path be read: it is below it, and nothing there is hidden."""
    return _below(real, folder) and not _hidden(real, folder)


def check_readable(path: str | Path) -> str:
    """Return the resolved path of a file or folder that may be read; whether it exists is not checked.

    Raises:
        OutsideError: it may not be read.
    """
    try:
        real = _resolved(path)
    except (OSError, ValueError):  # no valid path: opening it reports the reason
        return os.fsdecode(path)
    if _never(real):
        raise OutsideError.at(
            shown(path),
            expected="a dataset, a recording or weights",
            found="a file of the system, or one of eavdash's own secrets",
            remedy="give another path",
        )
    folders = data_folders()
    if folders is None or any(covers(folder, real) for folder in folders):
        return real
    inside = any(_below(real, folder) for folder in folders)
    linked = f", a link to {shown(real)}" if os.path.abspath(path) != real else ""  # noqa: PTH100
    named = [shown(f) for f in folders if "/." not in f]
    # By its name alone: whether there is such a file is nothing to tell.
    folder = os.path.dirname(real) if os.path.splitext(real)[1] else real  # noqa: PTH120, PTH122
    error = OutsideError.at(
        shown(path),
        expected=f"a path in a folder that the app may read ({', '.join(named[:5]) or 'none'})",
        found=f"{'a hidden one' if inside else 'one outside of them'}{linked}",
        remedy=f"allow {shown(folder)} in the app if it runs on your computer, or start it with --data",
    )
    error.folder = folder
    raise error


def is_readable(path: str | Path, known: dict[str, bool] | None = None) -> bool:
    """Return True if :func:`check_readable` accepts a path.

    ``known``: answers about folders, to be filled and used again for many files, which are checked again when opened.
    """
    folder, name = os.path.split(path)
    if known is not None and not name.startswith(".") and not os.path.islink(path):  # noqa: PTH114
        if folder not in known:
            known[folder] = is_readable(folder)
        if known[folder]:
            return True
    try:
        check_readable(path)
    except OutsideError:
        return False
    return True


def open_readable(path: str | Path) -> BufferedReader:
    """Open a regular file for reading; the file that was opened is checked, not only its name.

    Raises:
        OutsideError: it may not be read.
        OSError: it cannot be opened, or is a folder, a pipe or a device (which never blocks).
    """
    real = check_readable(path)
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "a folder, a pipe or a device", os.fsdecode(path))
        link = f"/proc/self/fd/{descriptor}"
        if os.path.exists(link) and (opened := os.readlink(link).removesuffix(" (deleted)")) != real:  # noqa: PTH110, PTH115
            check_readable(opened)  # a folder on the way was replaced by a link meanwhile
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def checked_opens(*further: str) -> Iterator[None]:
    """Check every file that Python code in the block opens for reading, such as one that a recording's header names.

    Files of Python itself, of installed packages, and the ``further`` ones may be opened too. In this thread only; the
    inner one of two nested blocks counts.
    """
    _install()
    before = getattr(_watched, "paths", None)
    _watched.paths = (*_code(), *map(_resolved, further))
    try:
        yield
    finally:
        _watched.paths = before


def _resolved(path: str | Path) -> str:
    """The path without links and ``..``; of two slashes at its beginning, which POSIX allows, one."""
    return "/" + os.path.realpath(os.fsdecode(path)).lstrip("/")


def _below(real: str, folder: str) -> bool:
    return real == folder or real.startswith(folder.rstrip("/") + "/")


def _hidden(real: str, folder: str) -> bool:
    """True if a part of the path below ``folder`` is hidden, except the folder of git-annex's content."""
    return "/." in _ANNEX.sub("", real[len(folder.rstrip("/")) :])


def _never(real: str) -> bool:
    if any(_below(real, folder) for folder in SYSTEM):
        return not _below(real, _IN_MEMORY)
    return any(_below(real, _resolved(folder)) for folder in state_folders())


def shown(path: str | Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@lru_cache(maxsize=8)
def _parsed(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(f, str) and os.path.isabs(f) for f in found):  # noqa: PTH117
        raise UsageError.at(
            VARIABLE,
            expected='a JSON list of absolute paths, such as ["/data"]',
            found=repr(text[:100]),
            remedy="unset it and start the app with --data",
        )
    return tuple(found)


@lru_cache(maxsize=1)
def _code() -> tuple[str, ...]:
    """The folders of Python and of installed packages."""
    installed = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    return tuple(map(_resolved, (sys.prefix, sys.base_prefix, *installed)))


@lru_cache(maxsize=1)
def _install() -> None:
    """Install the hook of :func:`checked_opens`, once; it cannot be removed, and does nothing outside of a block."""
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    further = getattr(_watched, "paths", None) if event == "open" else None
    if further is None or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    mode, flags = arguments[1], arguments[2]
    writes = flags & (os.O_WRONLY | os.O_RDWR) if isinstance(flags, int) else 0
    if writes or (isinstance(mode, str) and "r" not in mode):
        return
    if not any(_below(_resolved(os.fsdecode(arguments[0])), folder) for folder in further):
        check_readable(os.fsdecode(arguments[0]))
