"""One probing of a study at a time: started in the background, watched, and told why it ended.

In: a study. Out: what is known of its probing. Files beside the study: ``.probe.lock`` is held by whoever probes, and
inherited by a process that is started for it, so that two clicks start one; ``probe-status.json`` says what it is doing
or why it failed, ``probe.log`` what it printed. The probes themselves are ``eavdash.cli.commands.probing``'s.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eavdash.errors import EavdashError, QueueError
from eavdash.jobs.executors.local import with_package
from eavdash.store import StudyDir, locks
from eavdash.store.atomic import is_locked, read_json, write_json

#: Environment variable with the number of the inherited descriptor that holds the lock.
LOCK_VARIABLE = "EAVDASH_PROBE_LOCK_FD"


@dataclass(frozen=True)
class Probing:
    """The state of a study's probing."""

    under_way: bool = False  # somebody probes now
    doing: str = ""  # which probe
    started: float = 0.0  # seconds since the epoch
    reason: str = ""  # why the last probing failed, if it did


def look(study: StudyDir) -> Probing:
    """What is true now, whatever the files were left saying."""
    under_way = is_locked(study.probe_lock_file)
    said: dict[str, Any] = {}
    with contextlib.suppress(EavdashError, TypeError, ValueError):
        said = dict(read_json(study.probe_status_file))
    doing, started = str(said.get("doing") or ""), float(said.get("started") or 0)
    if under_way:
        return Probing(True, doing, started)
    if said.get("state") == "failed":
        return Probing(False, doing, started, str(said.get("reason") or "no reason was recorded"))
    if said.get("state") == "running":
        return Probing(False, doing, started, _last_words(study))
    return Probing()


def start(study: StudyDir, names: Sequence[str]) -> bool:
    """Probe in a process of its own, which outlives this one; False if a probing is under way already.

    Raises:
        QueueError: no process can be started. TrainingError: nothing can be written beside the study.
    """
    lock = _acquired(study)
    if lock is None:
        return False
    try:
        _note(study, state="running", doing="", reason="", started=time.time())
        command = ["probe", study.name, "--probes", ",".join(names), "--checkpoints", str(study.path.parent)]
        try:
            with study.probe_log_file.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "eavdash", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock,),
                    cwd=study.path.parent,
                    env=with_package({**os.environ, "PYTHONUNBUFFERED": "1", LOCK_VARIABLE: str(lock)}),
                )
        except OSError as error:
            raise QueueError.at(
                study.path,
                expected="a process that probes",
                found=error.strerror or str(error),
                remedy=f"run eavdash probe {study.name}",
            ) from error
        locks.sign(lock, process.pid)
    except EavdashError as error:
        _note(study, state="failed", reason=str(error))
        raise
    finally:
        os.close(lock)  # the process has its own
    # It may end long before this one does: somebody has to bury it.
    threading.Thread(target=process.wait, daemon=True).start()
    return True


@contextlib.contextmanager
def at_work(study: StudyDir) -> Iterator[Callable[[str], None]]:
    """Hold the lock, or the one that was inherited; yields ``tell(probe)`` for what is being done.

    Raises:
        QueueError: a probing of the study is under way.
    """
    lock = _inherited(study)
    if lock is None:
        lock = _acquired(study)
    if lock is None:
        owner = locks.owner(study.probe_lock_file)
        raise QueueError.at(
            study.path,
            expected="a study that nobody probes",
            found="a probing under way" + (f" (process {owner.pid} on {owner.host})" if owner else ""),
            remedy="wait until it is done, and see its results with eavdash results " + study.name,
        )
    try:
        locks.sign(lock, os.getpid())
        _note(study, state="running", doing="", reason="", started=time.time())
        _sweep(study)
        try:
            yield lambda probe: _note(study, doing=probe)
        except BaseException as error:
            stopped = not isinstance(error, Exception)
            reason = str(error) if isinstance(error, EavdashError) else f"{type(error).__name__}: {error}"
            _note(study, state="failed", reason="it was stopped." if stopped else reason)
            raise
        _note(study, state="done", doing="")
    finally:
        os.close(lock)


def _acquired(study: StudyDir) -> int | None:
    try:
        return locks.acquire(study.probe_lock_file)
    except OSError as error:
        raise QueueError.at(
            study.probe_lock_file,
            expected="a file that can be written",
            found=error.strerror or str(error),
            remedy="mend the permissions of the study's folder",
        ) from error


def _inherited(study: StudyDir) -> int | None:
    """The descriptor of the lock that whoever started this process holds for it."""
    given = os.environ.pop(LOCK_VARIABLE, None)
    if given is None:
        return None
    try:
        descriptor = int(given)
        if os.path.samestat(os.fstat(descriptor), study.probe_lock_file.stat()):
            os.set_inheritable(descriptor, False)
            return descriptor
    except (OSError, ValueError):
        pass  # the variable came from elsewhere
    return None


def _note(study: StudyDir, **fields: Any) -> None:
    """Change some fields of probe-status.json; only the holder of the lock writes it."""
    said: dict[str, Any] = {}
    with contextlib.suppress(EavdashError, TypeError, ValueError):
        said = dict(read_json(study.probe_status_file))
    write_json(study.probe_status_file, {**said, **fields})


def _sweep(study: StudyDir) -> None:
    """Remove the temporary folders of a probing that was killed."""
    name = re.compile(re.escape(study.probe_scratch) + r"[a-z0-9_]{8}")
    for folder in study.path.parent.iterdir():
        if name.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _last_words(study: StudyDir) -> str:
    """Why a probing may have ended that could not say so itself."""
    with contextlib.suppress(OSError):
        lines = study.probe_log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return f"its process ended before it was done; the last line of {study.probe_log_file}: {lines[-1]}"
    return "its process ended before it was done."
