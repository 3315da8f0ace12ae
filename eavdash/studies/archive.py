"""Archiving and deletion of studies, never while a run is active, and atomic for readers.

In: a study's folder. Out: its control.json, or nothing. A deleted study is first moved in one step to
``.deleted/<name>-<hex>`` under the checkpoints folder and then removed; the next :func:`delete` or overview removes
what a crash leaves there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from eavdash.errors import EavdashError, IntegrityError, QueueError, UsageError
from eavdash.jobs.background import running_tasks
from eavdash.jobs.queue_database import queue_folder
from eavdash.jobs.scheduler_process import queue_closed
from eavdash.store import StudyDir, find_study
from eavdash.store.atomic import file_lock, is_locked
from eavdash.store.own_files import refuse_link
from eavdash.studies.write import PLAN_LOCK, planner_lock

DELETED = ".deleted"


def active_runs(study: StudyDir) -> dict[str, str]:
    """Return the states of the runs that are running or queued, by name; runs that are only planned are left out."""
    active = {}
    for run in study.runs():
        if run.locked():
            active[run.name] = "running"
            continue
        try:
            status = run.status()
        except IntegrityError:
            continue  # with an unreadable status, only the lock counts
        waits = bool(status.submission) and not status.ended
        if status.state == "running" or waits:
            active[run.name] = status.state
    return active


def archive(study: StudyDir, drop_resume: bool = False) -> int:
    """Hide a study from pickers, lists and the queue; its results stay.

    ``drop_resume``: also delete the checkpoints from which unfinished runs would resume. Returns the freed bytes.

    Raises:
        UsageError: the study is gone, or a run of it is active.
    """
    freed = 0
    with _exclusive(study):
        _refuse_if_busy(study, "archived")
        study.set_control(archived=True)
        for file in _resume_files(study) if drop_resume else ():
            with contextlib.suppress(OSError):
                size = file.stat().st_size
                file.unlink()
                freed += size
    return freed


def resume_bytes(study: StudyDir) -> int:
    """Return the size of the checkpoints from which a study's unfinished runs would resume, in bytes."""
    total = 0
    for file in _resume_files(study):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def unarchive(study: StudyDir) -> None:
    """Take a study out of the archive.

    Raises:
        UsageError: the study is gone.
    """
    with _exclusive(study):
        study.set_control(archived=False)


def delete(study: StudyDir, confirm: str) -> None:
    """Delete a study permanently. ``confirm`` is the confirmation that the user typed: the study's name.

    Raises:
        UsageError: the confirmation is wrong, the study is gone, or a run of it is active.
        QueueError: its files cannot be removed.
    """
    if confirm != study.name:
        raise UsageError.at(
            study.path,
            expected=f"the study's name {study.name!r} as confirmation",
            found=repr(confirm),
            remedy="type it exactly; nothing was deleted",
        )
    root = study.path.parent
    with _exclusive(study):
        _refuse_if_busy(study, "deleted")
        hidden = root / DELETED / f"{study.name}-{secrets.token_hex(4)}"
        with _removable(study.path):
            hidden.parent.mkdir(exist_ok=True)
            _check_deleted(hidden.parent)
            study.path.rename(hidden)
        # A worker started by hand, or a probing, takes neither lock and may have begun since the check.
        if refusal := _refusal(StudyDir(hidden), study, "deleted"):
            hidden.rename(study.path)
            raise refusal
    with _removable(hidden):
        _remove(hidden)
    sweep(root)


def sweep(root: Path) -> None:
    """Remove what an interrupted deletion has left behind; files that cannot be removed stay."""
    try:
        _check_deleted(root / DELETED)
    except OSError:
        return  # none, or not made by a deletion
    # A deletion holds the planner's lock while it may still undo the move; with the lock held, all is safe to remove.
    try:
        with file_lock(queue_folder(root) / PLAN_LOCK, wait=False) as alone:
            leftovers = list((root / DELETED).iterdir()) if alone else []
    except (EavdashError, OSError):
        return
    for folder in leftovers:
        with contextlib.suppress(OSError):
            _remove(folder)


def _check_deleted(folder: Path) -> None:
    """Check that what is in ``.deleted`` was put there by this program.

    Raises:
        OSError: it is missing, a link to another folder, or another user's.
    """
    refuse_link(folder)
    if folder.stat().st_uid not in (os.geteuid(), folder.parent.stat().st_uid):
        raise OSError(errno.EPERM, "another user's folder", str(folder))


@contextlib.contextmanager
def _exclusive(study: StudyDir) -> Iterator[None]:
    """Keep all processes from planning studies and from sending requests to the queue.

    Raises:
        UsageError: the study does not exist.
    """
    root = study.path.parent
    with planner_lock(root), queue_closed(root):
        find_study(root, study.name)
        yield


def _resume_files(study: StudyDir) -> list[Path]:
    runs = [run for run in study.runs() if not run.path.is_symlink()]
    return [file for run in runs for file in (run.resume_file, run.joint_resume_file)]


def _refuse_if_busy(study: StudyDir, action: str) -> None:
    if refusal := _refusal(study, study, action):
        raise refusal


def _refusal(folder: StudyDir, study: StudyDir, action: str) -> UsageError | None:
    """Return the error that keeps ``study``, now at ``folder``, from being ``action``; None if it is idle."""
    if is_locked(folder.probe_lock_file):
        return UsageError.at(
            study.path,
            expected=f"no running probing of a study to be {action}",
            found="a running one",
            remedy=f"wait until it is done, see eavdash results {study.name}",
        )
    if running := running_tasks(study):
        return UsageError.at(
            study.path,
            expected=f"no running task about a study to be {action}",
            found=", ".join(running[:3]),
            remedy=f"cancel it first with eavdash tasks cancel {running[0]}",
        )
    if not (active := active_runs(folder)):
        return None
    first = ", ".join(f"{name} {state}" for name, state in list(active.items())[:3])
    more = f" and {len(active) - 3} more" if len(active) > 3 else ""
    return UsageError.at(
        study.path,
        expected=f"no active run in a study to be {action}",
        found=f"{first}{more}",
        remedy=f"cancel first with eavdash cancel {study.name}",
    )


def _removable(path: Path) -> contextlib.AbstractContextManager[None]:
    remedy = "fix its permissions and delete again"
    return QueueError.from_os(path, expected="a folder that can be removed", remedy=remedy)


def _remove(folder: Path) -> None:
    """Remove a folder, even if other processes remove it at the same time.

    Raises:
        OSError: a file cannot be removed.
    """
    while folder.exists() or folder.is_symlink():
        # A missing file was removed by another process; continue with the rest.
        with contextlib.suppress(FileNotFoundError):
            if folder.is_symlink() or not folder.is_dir():
                folder.unlink()  # remove the link, keep its target
            else:
                shutil.rmtree(folder)
