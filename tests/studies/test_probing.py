"""Probing in the background: one at a time, with a reason for each failure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from failing import fails
from fake_study import CLASSES, make_study

from eavdash.cli.main import main
from eavdash.errors import QueueError, UsageError
from eavdash.results import probes
from eavdash.store import StudyDir, locks
from eavdash.store.atomic import is_locked
from eavdash.store.record import write_record
from eavdash.studies import probing

#: Replaces Python in a started probing: records the start and waits for the file ``go``.
FAKE_PYTHON = """#!{python}
import os, sys, time
with open({home!r} + "/started", "a") as file:
    file.write("x")
deadline = time.monotonic() + 60
while not os.path.exists({home!r} + "/go") and time.monotonic() < deadline:
    time.sleep(0.02)
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of the fake Python and of its file ``go``."""
    folder = tmp_path / "home"
    folder.mkdir()
    script = folder / "python"
    script.write_text(FAKE_PYTHON.format(python=sys.executable, home=str(folder)))
    script.chmod(0o755)
    return folder


@pytest.fixture
def study(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudyDir]:
    """A study for the probe of trial order; no probing outlives the test."""
    made = make_study(tmp_path / "checkpoints", subjects=("1",), stages=("audio",))
    lines = [f"1,{n},{CLASSES[n // 2 % 5]}" for n in range(2, 140)]
    made.trials_file.write_text("\n".join(["subject,trial,label", *lines]) + "\n")
    monkeypatch.setattr(sys, "executable", str(home / "python"))
    yield made
    (home / "go").touch()
    kill(made)
    wait_until(lambda: not is_locked(made.probe_lock_file))


def kill(study: StudyDir) -> None:
    """Kill the probing process."""
    owner = locks.owner(study.probe_lock_file)
    if owner is not None and owner.alive and is_locked(study.probe_lock_file) and owner.pid != os.getpid():
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner.pid, signal.SIGKILL)


def test_of_several_simultaneous_starts_one_probes(study: StudyDir, home: Path) -> None:
    barrier = threading.Barrier(6)

    def click(_: int) -> bool:
        barrier.wait()
        return probing.start_probing(study, ("time",))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(click, range(6))) == [False] * 5 + [True]
    assert probing.probing_state(study).running
    assert not probing.start_probing(study, ("time",))
    (home / "go").touch()
    wait_until(lambda: not probing.probing_state(study).running)
    assert (home / "started").read_text() == "x"
    assert probing.probing_state(study) == probing.ProbingState(), study.probe_log_file.read_text()
    assert list(probes.read(study)) == ["time"]
    assert probes.read(study)["time"].sentence in study.probe_log_file.read_text()


def test_the_command_line_reports_a_running_probing(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert probing.start_probing(study, ("time",))
    owner = locks.owner(study.probe_lock_file)
    assert owner is not None
    folder = ["--checkpoints", str(study.path.parent)]
    assert main(["probe", study.name, "--probes", "time", *folder]) == 1
    assert f"(process {owner.pid}" in capsys.readouterr().err
    assert probes.read(study) == {}
    with (
        fails(QueueError, where=str(study.path), found=f"process {owner.pid}", remedy=f"eavdash results {study.name}"),
        probing.probing_lock(study),
    ):
        pass


def test_a_killed_probing_has_a_reason_and_its_scratch_is_removed(study: StudyDir, home: Path) -> None:
    left = [study.path.parent / f"{study.probe_scratch}{rest}" for rest in ("abcd_123", "more-abcd_123")]
    for folder in left:
        folder.mkdir()
    assert probing.start_probing(study, ("time",))
    kill(study)
    wait_until(lambda: not probing.probing_state(study).running)
    assert probing.probing_state(study).reason
    (home / "go").touch()
    assert probing.start_probing(study, ("time",))
    wait_until(lambda: not probing.probing_state(study).running)
    assert probing.probing_state(study).reason == ""
    assert list(probes.read(study)) == ["time"]
    assert [folder.exists() for folder in left] == [False, True]  # the other belongs to another study


def test_it_outlives_the_process_that_started_it(study: StudyDir, home: Path) -> None:
    code = f"""
import pathlib, sys
from eavdash.studies import probing
from eavdash.store import StudyDir
sys.executable = {str(home / "python")!r}
assert probing.start_probing(StudyDir(pathlib.Path({str(study.path)!r})), ("time",))
"""
    subprocess.run([sys.orig_argv[0], "-c", code], check=True, timeout=60)
    assert probing.probing_state(study).running
    (home / "go").touch()
    wait_until(lambda: not probing.probing_state(study).running)
    assert list(probes.read(study)) == ["time"]


def test_a_failed_probe_has_a_reason_and_does_not_stop_the_others(
    study: StudyDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shuffled(*_: object, **__: object) -> None:
        assert probing.probing_state(study).probe == "shuffled"
        raise UsageError("the recordings are gone; correct the path.")

    monkeypatch.setattr("eavdash.training.probes.shuffled_labels", shuffled)
    folder = ["--checkpoints", str(study.path.parent)]
    assert main(["probe", study.name, "--probes", "shuffled,time", *folder]) == 2
    assert "the recordings are gone; correct the path." in capsys.readouterr().err
    assert list(probes.read(study)) == ["time"]
    now = probing.probing_state(study)
    assert (now.running, now.reason) == (False, "the recordings are gone; correct the path.")
    assert main(["probe", study.name, "--probes", "time", *folder]) == 0
    assert probing.probing_state(study).reason == ""


def test_unexpected_errors_and_interruptions_are_reasons_too(study: StudyDir) -> None:
    for error, reason in ((ValueError("odd"), "ValueError: odd"), (KeyboardInterrupt(), "it was stopped.")):
        with pytest.raises(type(error)), probing.probing_lock(study):
            raise error
        assert probing.probing_state(study).reason == reason


def test_a_probing_that_cannot_start_has_failed(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with fails(QueueError, where=str(study.path), remedy=f"eavdash probe {study.name}") as caught:
        probing.start_probing(study, ("time",))
    now = probing.probing_state(study)
    assert not now.running
    assert now.reason == str(caught.value)


def test_a_descriptor_of_another_file_is_not_used_as_the_lock(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(probing.LOCK_VARIABLE, "0")
    with probing.probing_lock(study):
        assert is_locked(study.probe_lock_file)
    assert not is_locked(study.probe_lock_file)


def test_the_output_of_probes_is_not_written_through_a_link(study: StudyDir, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    study.probe_log_file.symlink_to(precious)
    with fails(QueueError, where=study.name, found="symbolic link"):
        probing.start_probing(study, ["order"])
    assert precious.read_text() == "keep"
    assert not is_locked(study.probe_lock_file)


def test_another_user_who_may_not_ask_for_the_lock_sees_the_recorded_state(
    study: StudyDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as other_user:
        other_user.setattr("eavdash.store.atomic.open_lock", refused)
        assert not probing.probing_state(study).running
        write_record(study.probe_status_file, probing.ProbingStatus(state="running", doing="order"))
        assert probing.probing_state(study).running
