"""A checkpoints folder whose runs are computed by the stand-in worker, and functions on its runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from documents import run_config, study_document

from eavdash.config.choices import MODALITIES
from eavdash.jobs.queue import scheduler_alive
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.snapshot import snapshot
from eavdash.store import RunDir, StudyDir, locks
from eavdash.store.record import write_record
from eavdash.store.task import tasks

STANDIN = Path(__file__).resolve().parents[1] / "jobs" / "standin_worker.py"


class Lab:
    """A checkpoints folder with one study, whose runs are computed by the stand-in worker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study = StudyDir(root / "tried")
        self.study.path.mkdir(parents=True)
        write_record(self.study.study_file, study_document("tried"))

    def run(self, name: str, parents: tuple[str, ...] = (), **standin: Any) -> RunDir:
        """Create a run; standin_worker.py lists the options of its training."""
        run = self.study.run(name)
        needed = {parent.split("-")[1]: parent for parent in parents}
        run.create(run_config(name, parents=needed, standin={"epochs": 3, "seconds": 0.05, **standin}))
        return run

    def subject(self, number: int, **standin: Any) -> list[RunDir]:
        """Create the three encoders and the fusion of a subject; ``fusion={...}`` sets options of one stage."""
        unit = f"s{number:02d}"
        own = {stage: standin.pop(stage, {}) for stage in (*MODALITIES, "fusion")}
        names = tuple(f"{unit}-{m}" for m in MODALITIES)
        runs = [self.run(name, **{**standin, **own[name[4:]]}) for name in names]
        return [*runs, self.run(f"{unit}-fusion", names, **{**standin, **own["fusion"]})]

    def launches(self) -> Counter[str]:
        """Return how often each run was launched."""
        with contextlib.suppress(FileNotFoundError):
            return Counter(line.split()[0] for line in (self.study.path / "launches.txt").read_text().splitlines())
        return Counter()

    def states(self) -> dict[str, str]:
        """Return the displayed state of each run; of a waiting one "blocked", the state that is stored."""
        table = snapshot(self.study)
        return dict(zip(table["run"], table["shown"].replace("waiting", "blocked"), strict=True))

    def until(self, condition: Callable[[], Any], seconds: float = 90) -> Any:
        """Wait until a condition is true; return its value."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            log = self.root / ".queue" / "conductor.log"
            assert time.monotonic() < deadline, (self.states(), log.read_text() if log.exists() else "no scheduler")
            time.sleep(0.05)
        return value

    def at_epoch(self, run: RunDir, epoch: int = 1) -> int:
        """Wait until a run has finished an epoch; return its process id."""

        def process() -> int | None:
            status = run.status()  # read once: it may change in between
            assert status.state != "done", f"{run.name} ended before it could be caught at epoch {epoch}"
            return status.pid if status.state == "running" and status.epoch >= epoch and run.locked() else None

        return int(self.until(process))

    def scheduler_pid(self) -> int:
        """Return the process id of the scheduler; one that has just started may not have signed its lock yet."""

        def living() -> locks.Owner | None:
            owner = locks.owner(queue_database(self.root).lock_file)
            return owner if owner and owner.alive else None

        return int(self.until(living).pid)

    def kill_scheduler(self) -> None:
        os.kill(self.scheduler_pid(), signal.SIGKILL)
        self.until(lambda: not scheduler_alive(self.root))

    def processes(self) -> list[int]:
        """Return the ids of all live processes of workers, of background tasks, and of their children."""
        folders = [*self.study.path.glob("*-*"), *(task.path for task in tasks(self.root))]
        return [pid for folder in folders for pid in locks.pids_with_env("EAVDASH_RUN", str(folder))]

    def close(self) -> None:
        """Kill the scheduler and all remaining processes."""
        if scheduler_alive(self.root):
            self.kill_scheduler()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def change_standin(run: RunDir, **standin: Any) -> None:
    """Change the options of a run's stand-in training."""
    config = run.config()
    config.standin.update(standin)
    write_record(run.config_file, config)


def expected_weights(run: RunDir) -> bytes:
    """Return the weights of a stand-in run that computes every epoch once and in order."""
    chain = hashlib.sha256(run.name.encode()).hexdigest()
    for epoch in range(1, run.config().standin["epochs"] + 1):
        chain = hashlib.sha256(f"{chain}{epoch}".encode()).hexdigest()
    return chain.encode()


def child_pid(run: RunDir) -> int:
    """Return the id of the process that the stand-in worker has started (``child``)."""
    return int((run.path / "child.txt").read_text())
