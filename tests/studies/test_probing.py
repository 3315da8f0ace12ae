"""Probing in the background: one at a time, whoever starts it and however it ends."""

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
from fake_study import CLASSES, make_study

from eavdash.cli.main import main
from eavdash.errors import EavdashError, QueueError, UsageError
from eavdash.results import probes
from eavdash.store import StudyDir, locks
from eavdash.store.atomic import is_locked
from eavdash.studies import probing

#: Stands for Python in a started probing: notes that it was started, and waits for the file ``go``.
STANDIN = """#!{python}
import os, sys, time
with open({home!r} + "/started", "a") as file:
    file.write("x")
deadline = time.monotonic() + 60
while not os.path.exists({home!r} + "/go") and time.monotonic() < deadline:
    time.sleep(0.02)
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def soon(what: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the stand-in lies and looks for ``go``."""
    folder = tmp_path / "home"
    folder.mkdir()
    script = folder / "python"
    script.write_text(STANDIN.format(python=sys.executable, home=str(folder)))
    script.chmod(0o755)
    return folder


@pytest.fixture
def study(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudyDir]:
    """A study whose place in the session can be probed; no probing outlives the test."""
    made = make_study(tmp_path / "checkpoints", subjects=("1",), stages=("audio",))
    lines = [f"1,{n},{CLASSES[n // 2 % 5]}" for n in range(2, 140)]
    made.trials_file.write_text("\n".join(["subject,trial,label", *lines]) + "\n")
    monkeypatch.setattr(probing.sys, "executable", str(home / "python"))
    yield made
    (home / "go").touch()
    kill(made)
    soon(lambda: not is_locked(made.probe_lock_file))


def kill(study: StudyDir) -> None:
    """End the process that probes, at once."""
    owner = locks.owner(study.probe_lock_file)
    if owner is not None and owner.alive and is_locked(study.probe_lock_file) and owner.pid != os.getpid():
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner.pid, signal.SIGKILL)


def test_of_several_starts_at_once_one_probes(study: StudyDir, home: Path) -> None:
    barrier = threading.Barrier(6)

    def click(_: int) -> bool:
        barrier.wait()
        return probing.start(study, ("time",))

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(click, range(6))) == [False] * 5 + [True]
    assert probing.look(study).under_way
    assert not probing.start(study, ("time",))
    (home / "go").touch()
    soon(lambda: not probing.look(study).under_way)
    assert (home / "started").read_text() == "x"
    assert probing.look(study) == probing.Probing(), study.probe_log_file.read_text()
    assert list(probes.read(study)) == ["time"]
    assert "position in the session alone" in study.probe_log_file.read_text()


def test_the_command_line_says_that_one_is_under_way(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert probing.start(study, ("time",))
    owner = locks.owner(study.probe_lock_file)
    assert owner is not None
    place = ["--checkpoints", str(study.path.parent)]
    assert main(["probe", study.name, "--probes", "time", *place]) == 1
    assert f"a probing under way (process {owner.pid}" in capsys.readouterr().err
    assert probes.read(study) == {}
    with pytest.raises(QueueError, match="wait until it is done"), probing.at_work(study):
        pass


def test_a_killed_one_is_told_from_one_that_is_at_work_and_leaves_nothing(study: StudyDir, home: Path) -> None:
    left = [study.path.parent / f"{study.probe_scratch}{rest}" for rest in ("abcd_123", "more-abcd_123")]
    for folder in left:
        folder.mkdir()
    assert probing.start(study, ("time",))
    kill(study)
    soon(lambda: not probing.look(study).under_way)
    assert "ended before it was done" in probing.look(study).reason
    (home / "go").touch()
    assert probing.start(study, ("time",))
    soon(lambda: not probing.look(study).under_way)
    assert probing.look(study).reason == ""
    assert list(probes.read(study)) == ["time"]
    assert [folder.exists() for folder in left] == [False, True]  # the other is of another study


def test_it_outlives_whoever_started_it(study: StudyDir, home: Path) -> None:
    code = f"""
import pathlib, sys
from eavdash.studies import probing
from eavdash.store import StudyDir
sys.executable = {str(home / "python")!r}
assert probing.start(StudyDir(pathlib.Path({str(study.path)!r})), ("time",))
"""
    subprocess.run([sys.orig_argv[0], "-c", code], check=True, timeout=60)
    assert probing.look(study).under_way
    (home / "go").touch()
    soon(lambda: not probing.look(study).under_way)
    assert list(probes.read(study)) == ["time"]


def test_one_that_fails_gives_its_reason_and_does_not_stop_the_others(
    study: StudyDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shuffled(*_: object, **__: object) -> None:
        assert probing.look(study).doing == "shuffled"
        raise UsageError("the recordings are gone; mend the path.")

    monkeypatch.setattr("eavdash.training.probes.shuffled_labels", shuffled)
    place = ["--checkpoints", str(study.path.parent)]
    assert main(["probe", study.name, "--probes", "shuffled,time", *place]) == 2
    assert "the recordings are gone; mend the path." in capsys.readouterr().err
    assert list(probes.read(study)) == ["time"]
    now = probing.look(study)
    assert (now.under_way, now.reason) == (False, "the recordings are gone; mend the path.")
    assert main(["probe", study.name, "--probes", "time", *place]) == 0
    assert probing.look(study).reason == ""


def test_what_nobody_foresaw_and_a_stop_are_reasons_too(study: StudyDir) -> None:
    for error, reason in ((ValueError("odd"), "ValueError: odd"), (KeyboardInterrupt(), "it was stopped.")):
        with pytest.raises(type(error)), probing.at_work(study):
            raise error
        assert probing.look(study).reason == reason


def test_without_a_process_nothing_is_left_under_way(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing.sys, "executable", "/nowhere/python")
    with pytest.raises(EavdashError, match="expected a process that probes"):
        probing.start(study, ("time",))
    now = probing.look(study)
    assert not now.under_way
    assert "expected a process that probes" in now.reason


def test_a_number_that_is_not_the_lock_is_not_taken_for_it(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(probing.LOCK_VARIABLE, "0")
    with probing.at_work(study):
        assert is_locked(study.probe_lock_file)
    assert not is_locked(study.probe_lock_file)
