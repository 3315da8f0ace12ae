"""The section What if of the page One trial, and the warm processes behind it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import whatif_answers
from fake_study import make_study
from test_pages import checkpoints, page_text
from test_trial_page import open_link

from eavdash.errors import UsageError
from eavdash.report.figures import whatif as figures
from eavdash.store import RunDir
from eavdash.ui.explain import warm

__all__ = ["checkpoints"]


class Answers:
    """Stands in for the warm processes: ``made`` are their answers, in any state."""

    def __init__(self) -> None:
        self.made: list[warm.Asked] = []
        self.pairs: list[list[tuple[str, str]]] = []
        self.state = "answered"
        self.forgotten = self.cancelled = 0

    def ask(self, run: RunDir, subject: str, trial: str, pairs: list[tuple[str, str]]) -> warm.Asked:
        self.pairs.append(list(pairs))
        asked = warm.Asked(str(run.study.path), step=1)
        if self.state == "answered":
            asked.finish(whatif_answers.answered(list(pairs), run.config().stage))
        elif self.state == "failed":
            asked.finish(
                error=UsageError.at("--mute eeg:90-99", expected="a band", found="none", remedy="choose another")
            )
        elif self.state == "cancelled":
            asked.cancelled = True
            asked.finish()
        return asked

    def cancel(self, asked: warm.Asked) -> None:
        self.cancelled += 1

    def forget(self, asked: warm.Asked) -> None:
        self.forgotten += 1


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    found = Answers()
    monkeypatch.setattr("eavdash.ui.explain.warm.processes", lambda: found)
    monkeypatch.setattr("eavdash.ui.explain.whatif._PATIENCE", 0.01)
    return found


def test_nothing_is_asked_before_something_is_changed(answers: Answers, checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_link(subject="1", trial="2")
    assert "Change a modality" in page_text(app)
    assert answers.pairs == []
    assert all(app.selectbox(key=f"explain_trial_if_{m}").value is None for m in ("vision", "audio", "eeg"))


def test_a_link_opens_a_what_if_and_shows_its_answer(answers: Answers, checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_link(subject="1", trial="2", if_audio="noise", if_audio_to="7", if_vision="drop")
    assert answers.pairs[-1] == [("drop", "vision"), ("noise", "audio:7")]
    text = page_text(app)
    assert "the decision is Calmness (70 %) instead of Anger (80 %, then 30 %)" in text
    assert "A note." in text
    assert "differs from the tested probabilities by up to 20 %" in text
    assert app.query_params["if_audio_to"] == "7"
    app.button(key="explain_trial_if_reset").click().run()
    assert "Change a modality" in page_text(app)
    assert app.query_params["if_audio"] == ""


def test_another_kind_of_change_gets_a_value_of_its_own(answers: Answers, checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_link(subject="1", trial="2")
    app.selectbox(key="explain_trial_if_eeg").select("mute").run()
    assert answers.pairs[-1] == [("mute", "eeg:8-13")]
    app.selectbox(key="explain_trial_if_eeg").select("shift").run()
    assert answers.pairs[-1] == [("shift", "eeg:0.5")]
    app.selectbox(key="explain_trial_if_eeg").select("swap").run()
    assert answers.pairs[-1][0][1].startswith("eeg=")
    assert not app.exception


def test_a_wrong_value_is_one_sentence_and_asks_nothing(answers: Answers, checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_link(subject="1", trial="2", if_audio="noise", if_audio_to="much")
    assert "--noise: expected a number from -40 to 60 dB, found 'much'" in page_text(app)
    assert answers.pairs == []
    assert "expected" not in page_text(open_link(subject="1", trial="2", if_audio="fly", if_audio_to="x"))


@pytest.mark.parametrize(("state", "said"), [("failed", "expected a band"), ("cancelled", "Cancelled.")])
def test_what_failed_can_be_asked_again(state: str, said: str, answers: Answers, checkpoints: Path) -> None:
    make_study(checkpoints)
    answers.state = state
    app = open_link(subject="1", trial="2", if_eeg="drop")
    assert said in page_text(app)
    app.button(key="explain_trial_if_again").click().run()
    assert answers.forgotten == 1


def test_an_unfinished_one_shows_its_step_and_can_be_cancelled(answers: Answers, checkpoints: Path) -> None:
    make_study(checkpoints)
    answers.state = "unfinished"
    app = open_link(subject="1", trial="2", if_eeg="drop")
    assert warm.STEPS[1] in page_text(app)
    app.button(key="explain_trial_if_cancel").click().run()
    assert answers.cancelled == 1


def test_a_modality_alone_has_no_shares(answers: Answers, checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_link(subject="1", trial="2", of="eeg", if_eeg="drop", if_audio="drop")
    assert answers.pairs[-1] == [("drop", "eeg")]
    assert not app.exception


def test_the_figures_show_both_decisions_and_the_way_between() -> None:
    found = whatif_answers.answered([("drop", "audio")])
    bars = figures.probabilities(found)
    assert [list(trace.y) for trace in bars.data] == [pytest.approx([80, 20]), pytest.approx([30, 70])]
    assert [trace.y[0] for trace in figures.difference(found).data] == ["Before", "Vision", "Audio", "After"]
    assert figures.table(found)["Shapley"].tolist() == ["+0.30 → +0.30", "+0.20 → −0.50"]
    assert figures.windows(found)["After"].tolist() == ["Calmness (70\xa0%)"] * 2


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[warm.WarmProcesses]:
    command = [sys.executable, "-P", whatif_answers.__file__]
    monkeypatch.setattr("eavdash.ui.explain.warm.python_module", lambda _: command)
    found = warm.WarmProcesses()
    yield found
    found.close()


def ask(processes: warm.WarmProcesses, run: RunDir, trial: str = "2", **more: Any) -> warm.Asked:
    asked = processes.ask(run, "1", trial, [("drop", "audio")])
    assert asked.done.wait(more.get("seconds", 60))
    return asked


def ask_slowly(processes: warm.WarmProcesses, run: RunDir) -> warm.Asked:
    """A question that a warm process has begun and does not answer soon."""
    assert ask(processes, run).answer
    slow = processes.ask(run, "1", "slow", [("drop", "audio")])
    time.sleep(0.2)
    return slow


def test_warm_processes_answer_once_and_are_bounded(processes: warm.WarmProcesses, checkpoints: Path) -> None:
    runs = [make_study(checkpoints, name).run("s01-fusion") for name in ("a", "b", "c")]
    first = ask(processes, runs[0])
    assert first.answer == whatif_answers.answered([("drop", "audio")])
    assert ask(processes, runs[0]) is first
    for run in runs[1:]:
        assert ask(processes, run).answer
    assert processes.running() == warm.MOST
    wrong = ask(processes, runs[2], "wrong")
    assert isinstance(wrong.error, UsageError)
    crashed = ask(processes, runs[2], "crash")
    assert "its process ended (exit code 3)" in str(crashed.error)
    assert ask(processes, runs[2], "3").answer
    processes.forget(crashed)
    assert ask(processes, runs[2], "crash") is not crashed


def test_a_cancelled_one_ends_at_once_and_the_next_starts_another_process(
    processes: warm.WarmProcesses, checkpoints: Path
) -> None:
    run = make_study(checkpoints).run("s01-fusion")
    slow = ask_slowly(processes, run)
    processes.cancel(slow)
    assert slow.done.wait(20)
    assert slow.cancelled
    assert "cancelled" in str(slow.error)
    assert processes.running() == 0
    assert ask(processes, run, "4").answer


def test_a_cancelled_one_that_waits_leaves_the_other_its_process(
    processes: warm.WarmProcesses, checkpoints: Path
) -> None:
    run = make_study(checkpoints).run("s01-fusion")
    slow = ask_slowly(processes, run)
    waiting = processes.ask(run, "1", "5", [("drop", "audio")])
    processes.cancel(waiting)
    assert waiting.done.wait(5)
    assert "cancelled" in str(waiting.error)
    assert not slow.done.wait(0.5), "another person's what-if goes on"
    assert processes.running() == 1
    processes.cancel(slow)
    assert slow.done.wait(20)


def test_an_idle_process_ends(processes: warm.WarmProcesses, checkpoints: Path) -> None:
    processes.idle = 0.2
    ask(processes, make_study(checkpoints).run("s01-fusion"))
    until = time.monotonic() + 20
    while processes.running() and time.monotonic() < until:
        time.sleep(0.05)
    assert processes.running() == 0
