"""Fixtures: a study of stand-in runs whose processes end with the test, and a Postgres server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import STANDIN, Lab

# Explain failed assertions of this module as in a test module.
pytest.register_assert_rewrite("scenarios")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run tests that start their own SLURM only on request (-m slurm), even where SLURM is installed."""
    if not config.getoption("markexpr"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("slurm")])
        items[:] = [item for item in items if not item.get_closest_marker("slurm")]


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
    """Address of an empty Postgres on the loopback interface, started for the tests and removed afterwards."""
    found = [Path(p).parent for p in (shutil.which("initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")) if p]
    if not found:
        pytest.skip("no Postgres is installed: apt-get install postgresql")
    programs = Path(os.path.realpath(found[0] / "initdb")).parent
    folder = Path(tempfile.mkdtemp(prefix="eavdash-postgres-"))
    # The server refuses to run as root.
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
