"""Fixtures that several test modules share, and the rule about skipped tests in CI."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eavdash.store.readable import VARIABLE

SHARED = Path(__file__).resolve().parents[2] / "shared"
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
NO_RECORDINGS = "../shared/data/real is not there"
_skips: list[str] = []


def allowed_skips(recordings: bool, root: bool) -> list[str]:
    """Return the patterns of skips that CI accepts: the written ones, and those for what is not there.

    Args:
        recordings: the real recordings are beside the checkout.
        root: the tests run as root.
    """
    lines = ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
    written = [line for line in lines if line.strip() and not line.startswith("#")]
    absent = [] if recordings else [re.escape(NO_RECORDINGS)]
    return [*written, *absent, *([] if root else ["requires root"])]


@pytest.fixture(autouse=True)
def app_folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The app reads the temporary folders; what the command line does is not restricted. Secrets are not the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    os.environ.pop(VARIABLE, None)
    if request.path.parent.name in ("ui", "browser_tests"):
        os.environ[VARIABLE] = json.dumps([str(tmp_path_factory.getbasetemp().resolve())])
    yield
    os.environ.pop(VARIABLE, None)  # also what the tested code has set: fixtures of modules are made before this one


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings beside the checkout."""
    folder = SHARED / "data" / "real"
    if not folder.is_dir():
        pytest.skip(f"{NO_RECORDINGS}: real recordings are not part of the repository")
    return folder


@pytest.fixture
def all_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let planning find every recording usable, whatever is in the files."""
    monkeypatch.setattr("eavdash.health.look.unusable", lambda *_: [])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember why tests were skipped."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _skips.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skip that is not on the written list fails the run: a test nobody runs proves nothing."""
    if os.environ.get("CI") != "true":
        return
    allowed = allowed_skips((SHARED / "data" / "real").is_dir(), os.geteuid() == 0)
    unlisted = [skip for skip in _skips if not any(re.search(pattern, skip) for pattern in allowed)]
    if unlisted:
        print("\nskipped in CI without being listed in tests/allowed_skips.txt:", *unlisted, sep="\n  ")
        session.exitstatus = 1
