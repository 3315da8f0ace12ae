"""Put a study away, or delete it: never under a run, and so that no reader ever sees half of one.

In: a study's folder. Out: its control.json, or nothing. A study that is deleted is first moved to
``.deleted/<name>-<hex>`` under the checkpoints folder in one step, then removed; what a crash leaves there is removed
by the next :func:`delete` or overview.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from eavdash.errors import EavdashError, IntegrityError, QueueError, UsageError
from eavdash.jobs.scheduler_process import queue_closed
from eavdash.store import StudyDir, find_study
from eavdash.store.atomic import is_locked
from eavdash.store.status import ended
from eavdash.studies.write import PLAN_LOCK, one_planner

DELETED = ".deleted"


def under_way(study: StudyDir) -> dict[str, str]:
    """The runs that something happens to, or will by itself, and their states; planned ones are not among them."""
    found = {}
    for run in study.runs():
        if run.locked():
            found[run.name] = "running"
            continue
        try:
            status = run.status()
        except IntegrityError:
            continue  # of a status that cannot be read the lock is all that counts
        waits = bool(status.get("submission")) and not ended(status)
        if status["state"] == "running" or waits:
            found[run.name] = str(status["state"])
    return found


def archive(study: StudyDir, drop_resume: bool = False) -> int:
    """Keep a study out of pickers, lists and the queue; its results stay where they are.

    ``drop_resume``: also delete what unfinished runs would go on from. Returns the bytes that this has freed.

    Raises:
        UsageError: the study is gone, or a run of it is under way.
    """
    freed = 0
    with _alone(study):
        _refuse_under_way(study, "archived")
        study.set_control(archived=True)
        for file in _resume_files(study) if drop_resume else ():
            with contextlib.suppress(OSError):
                size = file.stat().st_size
                file.unlink()
                freed += size
    return freed


def resume_bytes(study: StudyDir) -> int:
    """The bytes that unfinished runs of a study would go on from."""
    found = 0
    for file in _resume_files(study):
        with contextlib.suppress(OSError):
            found += file.stat().st_size
    return found


def unarchive(study: StudyDir) -> None:
    """Take a study out of the archive.

    Raises:
        UsageError: the study is gone.
    """
    with _alone(study):
        study.set_control(archived=False)


def delete(study: StudyDir, confirm: str) -> None:
    """Delete a study for good. ``confirm`` is what the person typed: the study's name.

    Raises:
        UsageError: the name is not that of the study, the study is gone, or a run of it is under way.
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
    with _alone(study):
        _refuse_under_way(study, "deleted")
        hidden = root / DELETED / f"{study.name}-{secrets.token_hex(4)}"
        try:
            hidden.parent.mkdir(exist_ok=True)
            study.path.rename(hidden)
        except OSError as error:
            raise _cannot_remove(study.path, error) from error
        # A worker that was started by hand asks nobody, nor does a probing: one may have begun since the look.
        if refusal := _refusal(StudyDir(hidden), study, "deleted"):
            hidden.rename(study.path)
            raise refusal
    try:
        _remove(hidden)
    except OSError as error:
        raise _cannot_remove(hidden, error) from error
    sweep(root)


def sweep(root: Path) -> None:
    """Remove what deleting has left behind when it was interrupted; what cannot be removed stays."""
    if not (root / DELETED).is_dir():
        return
    # Whoever deletes holds the planner's lock until the study may be removed: what is there now may go.
    try:
        with (root / ".queue" / PLAN_LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = list((root / DELETED).iterdir())
    except OSError:
        return
    for folder in left:
        with contextlib.suppress(OSError):
            _remove(folder)


@contextlib.contextmanager
def _alone(study: StudyDir) -> Iterator[None]:
    """Nobody plans, and no request reaches the queue; the study is there.

    Raises:
        UsageError: it is not.
    """
    root = study.path.parent
    # Whoever submits, retries or cancels is inside the queue's door meanwhile.
    with one_planner(root), queue_closed(root):
        find_study(root, study.name)
        yield


def _resume_files(study: StudyDir) -> list[Path]:
    return [file for run in study.runs() for file in (run.resume_file, run.joint_resume_file)]


def _refuse_under_way(study: StudyDir, what: str) -> None:
    if refusal := _refusal(study, study, what):
        raise refusal


def _refusal(folder: StudyDir, study: StudyDir, what: str) -> UsageError | None:
    """Why ``study``, which lies in ``folder``, may not be ``what`` now."""
    if is_locked(folder.probe_lock_file):
        return UsageError.at(
            study.path,
            expected=f"no probing under way of a study that is to be {what}",
            found="one at work",
            remedy="wait until it is done: eavdash results " + study.name,
        )
    if not (busy := under_way(folder)):
        return None
    some = ", ".join(f"{name} {state}" for name, state in list(busy.items())[:3])
    more = f" and {len(busy) - 3} more" if len(busy) > 3 else ""
    return UsageError.at(
        study.path,
        expected=f"no run under way in a study that is to be {what}",
        found=f"{some}{more}",
        remedy=f"cancel first: eavdash cancel {study.name}",
    )


def _cannot_remove(path: Path, error: OSError) -> EavdashError:
    return QueueError.at(
        path,
        expected="a folder that can be removed",
        found=error.strerror or str(error),
        remedy="mend its permissions and delete again",
    )


def _remove(folder: Path) -> None:
    """Remove a folder, together with others who do the same at the same time.

    Raises:
        OSError: something of it cannot be removed.
    """
    while folder.exists() or folder.is_symlink():
        # What is gone already was removed by somebody else: go on with the rest.
        with contextlib.suppress(FileNotFoundError):
            if folder.is_symlink() or not folder.is_dir():
                folder.unlink()  # what a link points to was put there by somebody, and stays
            else:
                shutil.rmtree(folder)
