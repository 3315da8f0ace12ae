"""Probing: one at a time, each probe's result kept, in the foreground and as a background task."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from failing import fails
from fake_study import CLASSES, make_study

from eavdash.cli.main import main
from eavdash.errors import QueueError, UsageError
from eavdash.results import probes
from eavdash.store import StudyDir
from eavdash.store.atomic import is_locked
from eavdash.store.task import TASK_VARIABLE, TaskDir, TaskStatus
from eavdash.studies import probing

HOLD = """
import pathlib, sys
from eavdash.store import StudyDir
from eavdash.studies.probing import probing_lock
with probing_lock(StudyDir(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    """A study for the probe of trial order."""
    made = make_study(tmp_path / "checkpoints", subjects=("1",), stages=("audio",))
    lines = [f"1,{n},{CLASSES[n // 2 % 5]}" for n in range(2, 140)]
    made.trials_file.write_text("\n".join(["subject,trial,label", *lines]) + "\n")
    return made


def test_the_command_line_names_a_running_probing(study: StudyDir, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--checkpoints", str(study.path.parent)]
    command = [sys.executable, "-c", HOLD, str(study.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert main(["probe", study.name, "--probes", "time", *folder]) == 1
        assert f"(process {other.pid}" in capsys.readouterr().err
        assert probes.read(study) == {}
        found = f"process {other.pid}"
        with (
            fails(QueueError, where=str(study.path), found=found, remedy=f"eavdash results {study.name}"),
            probing.probing_lock(study),
        ):
            pass
        other.kill()
    assert main(["probe", study.name, "--probes", "time", *folder]) == 0
    assert list(probes.read(study)) == ["time"]


def test_what_a_killed_probing_has_left_is_removed(study: StudyDir) -> None:
    left = [study.path.parent / f"{study.probe_scratch}{rest}" for rest in ("abcd_123", "more-abcd_123")]
    for folder in left:
        folder.mkdir()
    with probing.probing_lock(study):
        assert is_locked(study.probe_lock_file)
    assert not is_locked(study.probe_lock_file)
    assert [folder.exists() for folder in left] == [False, True]  # the other belongs to another study


def test_a_failed_probe_does_not_stop_the_others_and_progress_names_each(
    study: StudyDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = TaskDir(study.path.parent, "probe-1")
    task.create(TaskStatus(state="running"))
    monkeypatch.setenv(TASK_VARIABLE, str(task.path))
    monkeypatch.setattr("eavdash.store.task.WRITE_EVERY", 0.0)

    def shuffled(*_: object, **__: object) -> None:
        status = task.status()
        assert (status.done, status.total, status.doing) == (0, 2, "training an encoder on shuffled labels")
        raise UsageError("the recordings are gone; correct the path.")

    monkeypatch.setattr("eavdash.training.probes.shuffled_labels", shuffled)
    folder = ["--checkpoints", str(study.path.parent)]
    assert main(["probe", study.name, "--probes", "shuffled,time", *folder]) == 2
    assert "the recordings are gone; correct the path." in capsys.readouterr().err
    assert list(probes.read(study)) == ["time"]
    assert (task.status().done, task.status().total) == (2, 2)


def test_the_status_file_of_an_earlier_version_is_ignored(study: StudyDir) -> None:
    (study.path / "probe-status.json").write_text("{")
    folder = ["--checkpoints", str(study.path.parent)]
    assert main(["probe", study.name, "--probes", "time", *folder]) == 0


def test_an_unwritable_lock_is_an_error_with_a_remedy(study: StudyDir, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    study.probe_lock_file.symlink_to(precious)
    with fails(QueueError, where=".probe.lock", found="symbolic link"), probing.probing_lock(study):
        pass
    assert precious.read_text() == "keep"
    os.unlink(study.probe_lock_file)  # noqa: PTH108
