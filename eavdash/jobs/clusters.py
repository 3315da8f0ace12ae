"""The clusters and options that users of a checkpoints folder have asked for: the only ones that its queue uses.

In: ``.queue/clusters.json``, private. Out: whether a run may be handed to a cluster, or searched there. A run's
status.json names the address of a Ray head and the options of sbatch, but its folder may have been copied from
elsewhere: a stranger's address must not get this user's token, nor SLURM a stranger's options.

The list is made when the queue is first used. A queue of an earlier version has none: what its runs name then is taken
over, so that they continue.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from eavdash.config.convert import execution_of
from eavdash.config.schema import Execution
from eavdash.errors import EavdashError, IntegrityError, QueueError, UsageError
from eavdash.jobs.executors.ray_head import address_of
from eavdash.jobs.queue_database import queue_folder
from eavdash.store import RunDir, studies
from eavdash.store.atomic import file_lock
from eavdash.store.record import Record, Texts, read_record, write_record
from eavdash.store.status import RunStatus


class Clusters(Record):
    """The content of clusters.json."""

    model_config = ConfigDict(title="a list of clusters")

    asked: Texts = ()  # "ray ADDRESS" and "slurm OPTION=VALUE"


#: What this process has seen, by folder of the queue: it survives the deletion of the queue while jobs run.
_seen: dict[Path, frozenset[str]] = {}


def known(root: Path) -> frozenset[str]:
    """Return what was asked for in a checkpoints folder; the first call makes the list.

    Raises:
        QueueError, OSError: the queue's folder cannot be used.
    """
    return _add(queue_folder(root), root, frozenset())


def remember(root: Path, settings: Execution) -> None:
    """Record settings that a user has given, so that runs with them are handed to their cluster.

    Raises:
        QueueError, OSError: the queue's folder cannot be used.
    """
    if needed := _needed(settings):
        _add(queue_folder(root), root, needed)


def check(run: RunDir, status: RunStatus) -> None:
    """Check that a run's job, or else its settings, belong to this queue.

    Raises:
        UsageError: they do not. QueueError: they do not, but a process computes the run now.
    """
    settings, job = execution_of(status.execution), status.job
    if job is None:
        missing = _needed(settings)
    elif job.executor == "local" or job.name.startswith(f"eavdash-{run.study.name}-{run.name}-"):
        missing = _needed(Execution(executor=job.executor, ray_address=job.address or ""))
    else:
        missing = frozenset({f"the job {job.name}"})
    if not missing or not (missing := missing - known(run.path.parent.parent)):
        return
    kind = QueueError if run.locked() else UsageError
    retry = f"eavdash retry {run.study.name} --run {run.name} --executor {settings.executor}"
    raise kind.at(
        run.path,
        expected="a cluster, options and a job that were asked for in this checkpoints folder",
        found=", ".join(map(repr, sorted(missing))),
        remedy=f"give the settings yourself: {retry}",
    )


def _needed(settings: Execution) -> frozenset[str]:
    """Return what a run with these settings needs beyond what this user's environment names."""
    if settings.executor == "ray":
        return frozenset({f"ray {address_of(str(settings.ray_address))}"} - {f"ray {address_of('')}"})
    return frozenset(f"slurm {option}" for option in settings.slurm) if settings.executor == "slurm" else frozenset()


def _add(home: Path, root: Path, more: frozenset[str]) -> frozenset[str]:
    file = home / "clusters.json"
    with file_lock(home / "clusters.lock"):
        try:
            listed: Iterable[str] | None = read_record(file, Clusters).asked if file.exists() else None
        except IntegrityError:
            listed = ()  # the settings have to be given again
        before = None if listed is None else frozenset(listed)
        asked = (_first(home, root) if before is None else before) | more
        if asked != before:
            write_record(file, Clusters(asked=tuple(sorted(asked))), private=True)
    _seen[home.resolve()] = asked
    return asked


def _first(home: Path, root: Path) -> frozenset[str]:
    """Return the first list of a queue: nothing for a new one, else what this process or the runs' files know."""
    if (seen := _seen.get(home.resolve())) is not None:
        return seen
    found: set[str] = set()
    if (home / "queue.sqlite").exists() or (home / "url").exists():
        for run in (run for study in studies(root) for run in study.runs()):
            found |= _of(run)
    return frozenset(found)


def _of(run: RunDir) -> frozenset[str]:
    try:
        status: Any = run.status()
        jobs = (
            []
            if status.job is None
            else [Execution(executor=status.job.executor, ray_address=status.job.address or "")]
        )
        return frozenset().union(*(_needed(settings) for settings in (execution_of(status.execution), *jobs)))
    except (EavdashError, OSError, TypeError):
        return frozenset()
