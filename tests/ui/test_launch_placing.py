"""The launch form's execution settings, and the check of the executor before anything is queued."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_pages import checkpoints, open_page
from test_pages_data import fill_in, sounds

from eavdash.config.schema import Execution
from eavdash.jobs import executors

__all__ = ["checkpoints", "sounds"]


class Cluster:
    """An executor with the given problems."""

    has_queue = True

    def __init__(self, *lacks: str) -> None:
        self.lacks = list(lacks)

    def check(self, root: Path, settings: Execution) -> list[str]:
        return self.lacks


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[Execution]:
    seen: list[Execution] = []
    monkeypatch.setattr("eavdash.jobs.queue.submit", lambda study, runs, execution: seen.append(execution))
    return seen


def test_settings_reach_the_queue(sounds: Path, checkpoints: Path, queued: list, monkeypatch) -> None:
    monkeypatch.setitem(executors._executors, "slurm", Cluster(executors.NOTE + "no node was free."))
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.selectbox(key="training_launch_executor").select("slurm").run()
    app.text_input(key="training_launch_slurm").set_value("partition=gpu time=04:00:00")
    app.selectbox(key="training_launch_shares").select(2)
    app.number_input(key="training_launch_priority").set_value(7).run()
    app.button(key="training_launch_queue").click().run()
    assert not app.exception
    assert queued == [Execution(executor="slurm", slurm=("partition=gpu", "time=04:00:00"), runs_per_gpu=2, priority=7)]


def test_an_executor_with_a_problem_is_checked_and_refused(
    sounds: Path, checkpoints: Path, queued: list, monkeypatch
) -> None:
    monkeypatch.setitem(executors._executors, "ray", Cluster("http://lab: expected a Ray head, found none; start it."))
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.selectbox(key="training_launch_executor").select("ray").run()
    app.button(key="training_launch_check").click().run()
    assert any("expected a Ray head" in box.value for box in app.error)
    app.button(key="training_launch_queue").click().run()
    assert any("expected a Ray head" in box.value for box in app.error)
    assert not queued
    assert not list(checkpoints.glob("*/study.json"))


def test_this_machine_is_checked_too(sounds: Path, queued: list, monkeypatch) -> None:
    monkeypatch.setenv("EAVDASH_GPUS", "")
    app = fill_in(open_page("launch", {"training_launch_dataset": str(sounds)}), "voices")
    app.button(key="training_launch_check").click().run()
    assert [box.value for box in app.success] == ["This machine: ready to compute runs."]
    app.selectbox(key="training_launch_device").select("cuda").run()
    app.button(key="training_launch_check").click().run()
    assert any("found no GPU" in box.value for box in app.error)
