"""The lock under which the leakage probes of a study run, one probing at a time.

In: a study. Out: a block in which no other process probes the study, archives, deletes or relocates it.
``eavdash.cli.commands.probing`` runs the probes, in the background as a task (:mod:`eavdash.jobs.background`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator

from eavdash.errors import QueueError
from eavdash.store import StudyDir, locks


@contextlib.contextmanager
def probing_lock(study: StudyDir) -> Iterator[None]:
    """Hold the probing lock, after removing what a probing that was killed has left.

    Raises:
        QueueError: a probing of the study is running, or the lock file cannot be opened.
    """
    remedy = "fix the permissions of the study's folder"
    with QueueError.from_os(study.probe_lock_file, expected="a writable file", remedy=remedy):
        lock = locks.acquire(study.probe_lock_file)
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
        _remove_scratch(study)
        yield
    finally:
        os.close(lock)


def _remove_scratch(study: StudyDir) -> None:
    """Remove the temporary folders of a probing that was killed."""
    name = re.compile(re.escape(study.probe_scratch) + r"[a-z0-9_]{8}")
    for folder in study.path.parent.iterdir():
        if name.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
