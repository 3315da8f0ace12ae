"""A study of stand-in runs, and the certainty that no process outlives a test."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eavdash.config.choices import MODALITIES
from eavdash.jobs.queue import scheduler_alive
from eavdash.jobs.queue_database import queue_database
from eavdash.jobs.snapshot import snapshot
from eavdash.store import RunDir, StudyDir, locks
from eavdash.store.atomic import write_json

# Its assertions are to explain themselves like those of a test module.
pytest.register_assert_rewrite("scenarios")
STANDIN = Path(__file__).with_name("standin_worker.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What needs a SLURM of its own is run when it is asked for (-m slurm), also where SLURM is installed."""
    if not config.getoption("markexpr"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("slurm")])
        items[:] = [item for item in items if not item.get_closest_marker("slurm")]


class Lab:
    """One checkpoints folder whose runs are computed by the stand-in worker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study = StudyDir(root / "tried")
        self.study.path.mkdir(parents=True)
        write_json(self.study.study_file, {"name": "tried"})

    def run(self, name: str, parents: tuple[str, ...] = (), **standin: Any) -> RunDir:
        """Plan a run; see standin_worker.py for how it can go."""
        unit, stage = name.split("-")[:2]
        run = self.study.run(name)
        run.create(
            {
                "run": name,
                "unit": unit,
                "subject": unit[1:].lstrip("0"),
                "stage": stage,
                "fold": 0,
                "seed": 0,
                "classes": ["a", "b"],
                "parents": {parent.split("-")[1]: parent for parent in parents},
                "standin": {"epochs": 3, "seconds": 0.05, **standin},
            }
        )
        return run

    def subject(self, number: int, **standin: Any) -> list[RunDir]:
        """Plan the three encoders and the fusion of a subject; ``fusion={...}`` and the like for one stage."""
        unit = f"s{number:02d}"
        own = {stage: standin.pop(stage, {}) for stage in (*MODALITIES, "fusion")}
        names = tuple(f"{unit}-{m}" for m in MODALITIES)
        runs = [self.run(name, **{**standin, **own[name[4:]]}) for name in names]
        return [*runs, self.run(f"{unit}-fusion", names, **{**standin, **own["fusion"]})]

    def launches(self) -> Counter[str]:
        """How often each run was launched."""
        with contextlib.suppress(FileNotFoundError):
            return Counter(line.split()[0] for line in (self.study.path / "launches.txt").read_text().splitlines())
        return Counter()

    def states(self) -> dict[str, str]:
        """The state that is shown for each run."""
        table = snapshot(self.study)
        return dict(zip(table["run"], table["shown"], strict=True))

    def until(self, what: Callable[[], Any], seconds: float = 90) -> Any:
        """Wait for something to be true."""
        deadline = time.monotonic() + seconds
        while not (value := what()):
            log = self.root / ".queue" / "conductor.log"
            assert time.monotonic() < deadline, (self.states(), log.read_text() if log.exists() else "no conductor")
            time.sleep(0.05)
        return value

    def at_epoch(self, run: RunDir, epoch: int = 1) -> int:
        """Wait until a run has finished an epoch; the number of its process."""

        def process() -> int | None:
            status = run.status()  # once: it may be another by the next reading
            assert status["state"] != "done", f"{run.name} ended before it could be caught at epoch {epoch}"
            return status["pid"] if status["state"] == "running" and status["epoch"] >= epoch and run.locked() else None

        return int(self.until(process))

    def conductor(self) -> int:
        """The number of the conductor's process."""
        owner = self.until(lambda: locks.owner(queue_database(self.root).lock_file))
        return int(owner.pid)

    def kill_conductor(self) -> None:
        os.kill(self.conductor(), signal.SIGKILL)
        self.until(lambda: not scheduler_alive(self.root))

    def processes(self) -> list[int]:
        """Every process, alive, of a worker or of what a worker started."""
        return [pid for run in self.study.path.glob("*-*") for pid in locks.pids_with_env("EAVDASH_RUN", str(run))]

    def close(self) -> None:
        """End the conductor, then whatever it has left."""
        if scheduler_alive(self.root):
            self.kill_conductor()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("EAVDASH_WORKER", f"{sys.executable} -P {STANDIN}")
    monkeypatch.setenv("EAVDASH_SLOTS", "4")
    monkeypatch.setenv("EAVDASH_IDLE", "30")
    made = Lab(tmp_path / "checkpoints")
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of an empty Postgres on the loopback, started for the tests and gone after them."""
    found = [Path(p).parent for p in (shutil.which("initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")) if p]
    if not found:
        pytest.skip("no Postgres is installed: apt-get install postgresql")
    programs = Path(os.path.realpath(found[0] / "initdb")).parent
    folder = Path(tempfile.mkdtemp(prefix="eavdash-postgres-"))
    # The server refuses to be root.
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def control(*arguments: str) -> None:
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user is not None else {}
        subprocess.run(arguments, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **identity)

    data, log = folder / "data", folder / "log"
    control(str(programs / "initdb"), "-D", str(data), "-U", "eavdash", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    control(str(programs / "pg_ctl"), "-D", str(data), "-l", str(log), "-o", options, "-w", "start")
    try:
        yield f"postgresql://eavdash@127.0.0.1:{port}/postgres"
    finally:
        control(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
