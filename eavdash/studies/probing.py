"""Leakage probes of a study in a background process, one at a time.

In: a study. Out: the state of its probing. Files in the study's folder: ``.probe.lock`` is held while probes run and is
inherited by the process that runs them, so that two clicks start only one; ``probe-status.json`` contains the current
probe or the reason of a failure, ``probe.log`` the output. ``eavdash.cli.commands.probing`` runs the probes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eavdash.errors import EavdashError, IntegrityError, QueueError
from eavdash.processes import python_environment, python_module
from eavdash.store import StudyDir, locks
from eavdash.store.atomic import is_locked
from eavdash.store.own_files import own_file
from eavdash.store.record import Record, read_record, write_record
from eavdash.store.regular import last_lines

#: Environment variable with the number of the inherited descriptor that holds the lock.
LOCK_VARIABLE = "EAVDASH_PROBE_LOCK_FD"


class ProbingStatus(Record):
    """The content of probe-status.json."""

    state: str = ""  # running, failed or done
    doing: str = ""  # the current probe
    started: float = 0.0  # seconds since the epoch
    reason: str = ""


@dataclass(frozen=True)
class ProbingState:
    """The state of a study's probing."""

    running: bool = False
    probe: str = ""  # the current probe
    started: float = 0.0  # seconds since the epoch
    reason: str = ""  # why the last probing failed; empty if it succeeded


def probing_state(study: StudyDir) -> ProbingState:
    """Return the state of a study's probing; the lock counts more than the status file."""
    status = _read_status(study)
    running = is_locked(study.probe_lock_file, unknown=status.state == "running")
    if running:
        return ProbingState(True, status.doing, status.started)
    if status.state == "failed":
        return ProbingState(False, status.doing, status.started, status.reason or "no reason was recorded")
    if status.state == "running":
        return ProbingState(False, status.doing, status.started, _crash_reason(study))
    return ProbingState()


def start_probing(study: StudyDir, names: Sequence[str]) -> bool:
    """Run probes in a new process, which outlives this one; return False if a probing is running already.

    Raises:
        QueueError: no process can be started.
        TrainingError: the study's folder is not writable.
    """
    lock = _acquire_lock(study)
    if lock is None:
        return False
    try:
        _update_status(study, state="running", doing="", reason="", started=time.time())
        command = ["probe", study.name, "--probes", ",".join(names), "--checkpoints", str(study.path.parent)]
        remedy = f"run eavdash probe {study.name}"
        with (
            QueueError.from_os(study.path, expected="a new process for the probes", remedy=remedy),
            own_file(study.probe_log_file, "wb") as log,
        ):
            process = subprocess.Popen(
                python_module("eavdash", *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
                cwd=study.path.parent,
                env=python_environment(**{LOCK_VARIABLE: str(lock)}),
            )
        locks.sign(lock, process.pid)
    except EavdashError as error:
        _update_status(study, state="failed", reason=str(error))
        raise
    finally:
        os.close(lock)  # the new process has inherited it
    # Wait in a thread, so that the ended process does not stay a zombie while this one runs.
    threading.Thread(target=process.wait, daemon=True).start()
    return True


@contextlib.contextmanager
def probing_lock(study: StudyDir) -> Iterator[Callable[[str], None]]:
    """Hold the probing lock, inherited or new; yields ``set_probe(name)``, which records the current probe.

    Raises:
        QueueError: a probing of the study is running.
    """
    lock = _inherited_lock(study)
    if lock is None:
        lock = _acquire_lock(study)
    if lock is None:
        owner = locks.owner(study.probe_lock_file)
        raise QueueError.at(
            study.path,
            expected="no running probing of the study",
            found="a running one" + (f" (process {owner.pid} on {owner.host})" if owner else ""),
            remedy=f"wait until it is done, and see its results with eavdash results {study.name}",
        )
    try:
        locks.sign(lock, os.getpid())
        _update_status(study, state="running", doing="", reason="", started=time.time())
        _remove_scratch(study)
        try:
            yield lambda probe: _update_status(study, doing=probe)
        except BaseException as error:
            stopped = not isinstance(error, Exception)
            reason = str(error) if isinstance(error, EavdashError) else f"{type(error).__name__}: {error}"
            _update_status(study, state="failed", reason="it was stopped." if stopped else reason)
            raise
        _update_status(study, state="done", doing="")
    finally:
        os.close(lock)


def _acquire_lock(study: StudyDir) -> int | None:
    remedy = "fix the permissions of the study's folder"
    with QueueError.from_os(study.probe_lock_file, expected="a writable file", remedy=remedy):
        return locks.acquire(study.probe_lock_file)


def _inherited_lock(study: StudyDir) -> int | None:
    """Return the descriptor of the lock that this process has inherited, or None."""
    given = os.environ.pop(LOCK_VARIABLE, None)
    if given is None:
        return None
    try:
        descriptor = int(given)
        if os.path.samestat(os.fstat(descriptor), study.probe_lock_file.stat()):
            os.set_inheritable(descriptor, False)
            return descriptor
    except (OSError, ValueError):
        pass  # the variable does not belong to this study's lock
    return None


def _read_status(study: StudyDir) -> ProbingStatus:
    """Return the content of probe-status.json, empty if it is missing or damaged."""
    with contextlib.suppress(IntegrityError):
        return read_record(study.probe_status_file, ProbingStatus)
    return ProbingStatus()


def _update_status(study: StudyDir, **fields: Any) -> None:
    """Change fields of probe-status.json; only the holder of the lock writes it."""
    write_record(study.probe_status_file, _read_status(study).replace(**fields))


def _remove_scratch(study: StudyDir) -> None:
    """Remove the temporary folders of a probing that was killed."""
    name = re.compile(re.escape(study.probe_scratch) + r"[a-z0-9_]{8}")
    for folder in study.path.parent.iterdir():
        if name.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _crash_reason(study: StudyDir) -> str:
    """Return the reason of a probing that ended without recording one: the last line of its log."""
    with contextlib.suppress(OSError):
        lines = last_lines(study.probe_log_file, 1)
        if lines:
            return f"its process ended early; the last line of {study.probe_log_file}: {lines[-1]}"
    return "its process ended early."
