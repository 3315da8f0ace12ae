"""The page Runs: texts of each state, data for the browser, and requests of its buttons."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from documents import run_config
from fake_study import make_study
from test_pages import checkpoints, open_page, page_text

from eavdash.config.schema import Execution
from eavdash.errors import QueueError
from eavdash.jobs import estimates
from eavdash.jobs.snapshot import snapshot
from eavdash.jobs.tested import with_tested
from eavdash.report.figures import training
from eavdash.store import StudyDir
from eavdash.store.regular import read_end
from eavdash.store.status import TRAINING, Phase
from eavdash.studies.plan import Plan
from eavdash.studies.runs import PlannedRun
from eavdash.ui import cached_runs, monitor
from eavdash.ui.training import launch_plan, logs, run_details

__all__ = ["checkpoints"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The data sent to the grid component, newest last."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(monitor, "_grid", lambda data, **_: sent.append(data))
    cached_runs.refresh()
    yield sent
    cached_runs.refresh()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The requests of buttons to the queue."""
    calls: list[tuple[str, Any]] = []
    monkeypatch.setattr("eavdash.studies.write.retry", lambda study, runs=None: calls.append(("retry", runs)))
    monkeypatch.setattr("eavdash.jobs.queue.cancel", lambda study, runs=None: calls.append(("cancel", runs)))
    return calls


def cells(sent: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {cell["run"]: cell for row in sent[-1]["rows"] for cell in row["cells"] if cell}


def click(page: Any, *names: str) -> None:
    """Do what a click on the grid does, which is impossible without a browser."""
    page.session_state["training_monitor_chosen"] = list(names)
    page.session_state["training_monitor_turn"] = scope_turn(page) + 1
    page.run()


def scope_turn(page: Any) -> int:
    key = "training_monitor_turn"
    return int(page.session_state[key]) if key in page.session_state else 0


def scope(page: Any) -> Any:
    """Return the widget that selects the runs for the buttons."""
    return page.selectbox(key=f"training_monitor_scope_{scope_turn(page)}")


def looked_at(study: StudyDir) -> Any:
    table = snapshot(study)
    return with_tested(table, study).assign(left=estimates.seconds_left(table))


def test_the_grid_shows_every_state_in_words(checkpoints: Path, drawn: list[dict[str, Any]]) -> None:
    states = {
        "s01-audio": "failed",
        "s01-fusion": "blocked",
        "s02-vision": "running",
        "s02-eeg": "running",
        "s03-eeg": "cancelled",
        "s03-fusion": "queued",
    }
    study = make_study(checkpoints, states=states)
    study.run("s02-vision").update(heartbeat=time.time() + 600)  # fresh, however slow this machine is
    with study.run("s02-vision").lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # alive; no process holds the lock of s02-eeg
        page = open_page("monitor")
    found = cells(drawn)
    assert {name: found[name]["words"] for name in states} == {
        **states,
        "s01-fusion": "waiting",
        "s02-vision": "starting",
        "s02-eeg": "not responding 7/12",
    }
    assert found["s02-vision"]["more"].endswith(" left")
    assert found["s02-eeg"]["more"] == ""
    assert found["s01-vision"]["words"].startswith("done ")
    assert found["s01-vision"]["more"] == "n = 10"
    assert "copy it again" in found["s01-audio"]["reason"]
    assert drawn[-1]["columns"][1]["states"] == {"done": 2, "failed": 1}
    assert "12 runs: 6 done, 1 running, 1 queued, 1 waiting, 1 failed, 1 cancelled, 1 not responding" in page_text(page)
    assert "1 run at a time" in page_text(page)


def test_a_finished_run_without_its_files_is_not_shown_as_done(
    checkpoints: Path, drawn: list[dict[str, Any]], asked: list[tuple[str, Any]]
) -> None:
    study = make_study(checkpoints, subjects=("1",))
    study.run("s01-eeg").model_file.unlink()
    study.run("s01-audio").config_file.write_text("{")
    page = open_page("monitor")
    assert {name: cell["words"].split()[0] for name, cell in cells(drawn).items()} == {
        **{"s01-vision": "done", "s01-audio": "failed"},
        **{"s01-eeg": "damaged", "s01-fusion": "done"},
    }
    assert "4 runs: 2 done, 1 failed, 1 damaged" in page_text(page)
    click(page, "s01-audio")
    assert "Invalid JSON" in page_text(page).replace("\\", "")
    assert "press Retry" not in page_text(page)
    click(page, "s01-eeg")
    assert page_text(page).replace("\\", "").count("found none; train the run again") == 2  # also above the grid
    page.button(key="training_monitor_retry").click().run()
    page.button(key="training_monitor_train_again").click().run()
    assert asked == [("retry", ["s01-eeg"])] * 2


def test_a_running_run_says_what_it_does_and_a_waiting_one_what_it_waits_for(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), states={"*": "running", "s01-fusion": "blocked"})
    study.run("s01-vision").update(phase=Phase(name="reading windows", done=40, total=60))
    study.run("s01-audio").update(phase=Phase(name=TRAINING, done=3, total=12))
    study.run("s01-eeg").update(phase=None, epoch=12)  # of an earlier version
    study.run("s01-fusion").update(reason="waits for s01-audio, s01-eeg")

    def words() -> dict[str, str]:
        table = looked_at(study)
        sent = training.grid(table, training.grid_lines(table), {})
        return {cell["run"]: cell["words"] for row in sent["rows"] for cell in row["cells"]}

    with ExitStack() as stack:
        for stage in ("vision", "audio", "eeg"):
            run = study.run(f"s01-{stage}")
            run.update(heartbeat=time.time() + 600)
            fcntl.flock(stack.enter_context(run.lock_file.open("ab")), fcntl.LOCK_EX)
        assert words() == {
            "s01-vision": "reading windows 40/60",
            "s01-audio": "epoch 8 of 12",  # the epochs are written before the phase
            "s01-eeg": "epoch 12 of 12",
            "s01-fusion": "waits for audio, EEG",
        }
        row = looked_at(study).set_index("run", drop=False).loc["s01-vision"]
        assert training.run_summary(row, 0).startswith("**running**, reading windows 40/60")
        assert training.run_summary(row, 0).endswith(".")
    # Once its process is gone, a run does nothing; and a run that a failure keeps from starting does not wait.
    study.run("s01-fusion").update(blocked_by=("s01-audio",), reason="s01-audio failed: no file")
    assert words() == {
        **{f"s01-{stage}": f"not responding {n}/12" for stage, n in (("vision", 7), ("audio", 7), ("eeg", 12))},
        "s01-fusion": "blocked",
    }
    assert set(looked_at(study)["phase"]) == {""}


def test_failures_come_first_and_are_retried_together(
    checkpoints: Path, asked: list[tuple[str, Any]], drawn: list[dict[str, Any]]
) -> None:
    states = {"s01-audio": "failed", "s02-audio": "failed", "s01-fusion": "blocked", "s03-eeg": "cancelled"}
    study = make_study(checkpoints, states=states)
    study.run("s01-fusion").update(blocked_by=("s01-audio",))
    study.run("s02-audio").update(reason="no space left")
    page = open_page("monitor")
    text = page_text(page).replace("\\", "")
    assert "2 runs have failed. 1 run is blocked." in text
    assert "- **2 · Audio**: no space left." in text
    page.button(key="training_monitor_retry_failed").click().run()
    assert asked == [("retry", ["s01-audio", "s02-audio"])]
    page.button(key="training_monitor_select_failed").click().run()
    assert drawn[-1]["selected"] == ["s01-audio", "s02-audio"]


def test_a_study_that_has_ended_leads_to_its_results_and_cannot_be_paused(
    checkpoints: Path, drawn: list[dict[str, Any]]
) -> None:
    study = make_study(checkpoints)
    page = open_page("monitor")
    links = [link.proto.label for link in page.get("page_link")]
    assert "See the results" in links
    assert not [b.key for b in page.button if "pause" in str(b.key) or "retry_failed" in str(b.key)]
    study.run("s01-eeg").transition("queued")
    cached_runs.refresh()
    page.run()
    assert "See the results so far" in [link.proto.label for link in page.get("page_link")]
    assert page.button(key="training_monitor_pause")


def test_several_folds_and_seeds_are_rows_of_their_own(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("2", "10"), folds=(0, 1), seeds=(0, 1), states={"*": "queued"})
    table = looked_at(study)
    lines = training.grid_lines(table)
    assert [line.name for line in lines[:2]] == ["2 · fold 0 · seed 0", "2 · fold 0 · seed 1"]
    assert len(lines) == 8
    sent = training.grid(table, lines, {})
    assert sent["rows"][4]["cells"][1]["run"] == "s10-audio-fold0-seed0"
    assert training.tally(table) == "32 runs: 32 queued"
    # The cell of a missing run stays empty.
    sent = training.grid(
        *[(t := table[table["run"] != "s02-eeg-fold0-seed0"].reset_index(drop=True)), training.grid_lines(t)], {}
    )
    assert sent["rows"][0]["cells"][2] is None


@pytest.mark.parametrize(
    ("text", "subjects"),
    [("", ["1", "2", "10", "ann"]), ("1", ["1"]), ("2-10", ["2", "10"]), ("AN, 1", ["1", "ann"]), ("7", [])],
)
def test_subjects_are_found_by_number_range_or_part(tmp_path: Path, text: str, subjects: list[str]) -> None:
    table = looked_at(make_study(tmp_path, subjects=("1", "2", "10", "ann"), stages=("eeg",), states={"*": "queued"}))
    assert [line.subject for line in training.grid_lines(table, text)] == subjects


def test_thousands_of_runs_come_in_pages(checkpoints: Path, drawn: list[dict[str, Any]]) -> None:
    subjects = [str(n) for n in range(1, 151)]
    make_study(checkpoints, subjects=subjects, stages=("audio", "eeg"), states={"*": "queued", "s140-eeg": "failed"})
    page = open_page("monitor")
    assert [row["name"] for row in drawn[-1]["rows"]] == subjects[:60]
    assert drawn[-1]["columns"][1]["states"] == {"queued": 149, "failed": 1}
    assert len(json.dumps(drawn[-1])) < 40_000
    page.number_input(key="training_monitor_page").set_value(3).run()
    assert [row["name"] for row in drawn[-1]["rows"]] == subjects[120:]
    # A filter brings what fits to the first page.
    page.multiselect(key="training_monitor_states").set_value(["failed"]).run()
    assert [row["name"] for row in drawn[-1]["rows"]] == ["140"]
    page.text_input(key="training_monitor_subjects").set_value("1-9").run()
    assert "No row of the grid matches" in page_text(page)
    assert not page.exception


def test_a_failed_run_shows_reason_remedy_and_earlier_attempts(
    checkpoints: Path, asked: list[tuple[str, Any]], drawn: list[dict[str, Any]]
) -> None:
    make_study(checkpoints, states={"s01-audio": "failed"})
    page = open_page("monitor")
    assert page.button(key="training_monitor_retry").disabled  # nothing is selected
    click(page, "s01-audio")
    (error,) = [e.value for e in page.error]
    assert "copy it again" in error
    assert "press Retry: it resumes after epoch 7" in error.replace("\\", "")
    assert "epoch 7 of 12" in page.code[0].value
    history = page.dataframe[0].value
    assert history["ended as"].tolist() == ["failed", "to be resumed"]
    assert history[["attempt", "took", "epochs"]].iloc[1].tolist() == [1, "15 s", "0 → 2"]
    assert "510 MB of memory at most" in page_text(page)
    page.button(key="training_monitor_retry").click().run()
    scope(page).select("all").run()
    page.button(key="training_monitor_retry").click().run()
    scope(page).select("stage audio").run()
    page.button(key="training_monitor_retry").click().run()
    scope(page).select("subject 1").run()
    page.button(key="training_monitor_retry").click().run()
    stage, subject = [f"s0{n}-audio" for n in (1, 2, 3)], [f"s01-{s}" for s in ("audio", "eeg", "fusion", "vision")]
    assert asked == [("retry", names) for names in (["s01-audio"], None, stage, subject)]
    # After a new selection the buttons act on it.
    click(page, "s02-eeg")
    assert scope(page).value == "chosen"
    assert page.button(key="training_monitor_retry").disabled


def test_one_run_or_all_are_cancelled(
    checkpoints: Path, asked: list[tuple[str, Any]], drawn: list[dict[str, Any]]
) -> None:
    make_study(checkpoints, states={"s01-audio": "queued"})
    page = open_page("monitor", {"training_monitor_chosen": ["s01-audio", "of-another-study"]})
    assert drawn[-1]["selected"] == ["s01-audio"]
    page.button(key="training_monitor_cancel").click().run()
    scope(page).select("all").run()
    page.button(key="training_monitor_cancel").click().run()
    assert asked == [("cancel", ["s01-audio"]), ("cancel", None)]
    assert "Cancelled" in page_text(page)
    page.button(key="training_monitor_none").click().run()
    assert drawn[-1]["selected"] == []


def test_a_study_is_paused_resumed_and_prioritised(
    checkpoints: Path, drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr("eavdash.jobs.queue.pause", lambda study: study.set_control(paused=True))
    monkeypatch.setattr("eavdash.jobs.queue.resume", lambda study: study.set_control(paused=False))
    monkeypatch.setattr("eavdash.jobs.queue.prioritise", lambda study, names, number: calls.append((names, number)))
    study = make_study(checkpoints, states={"*": "queued"})
    page = open_page("monitor", {"training_monitor_chosen": ["s01-audio"]})
    page.button(key="training_monitor_pause").click().run()
    assert study.paused
    assert "This study is paused" in page_text(page)
    page.button(key="training_monitor_resume").click().run()
    assert not study.paused
    assert "This study is paused" not in page_text(page)
    page.number_input(key="training_monitor_priority").set_value(5).run()
    page.button(key="training_monitor_prioritise").click().run()
    assert calls == [(["s01-audio"], 5)]


def test_curves_of_several_runs_share_a_chart(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), folds=(0, 1))
    rows = looked_at(study).set_index("run", drop=False)
    names = ["s01-eeg-fold0", "s01-audio-fold0", "s02-eeg-fold1"]
    drawn = {training.short_name(rows.loc[n]): (rows.loc[n, "stage"], study.run(n).metrics()) for n in names}
    figure = training.overlaid_curves(drawn, "validation_accuracy")
    assert [t.name for t in figure.data] == ["1 · fold 0 · EEG", "1 · fold 0 · Audio", "2 · fold 1 · EEG"]
    colours, dashes = [t.line.color for t in figure.data], [t.line.dash for t in figure.data]
    assert colours[0] == colours[2] != colours[1]
    assert dashes[0] == dashes[1] != dashes[2]
    assert figure.data[0].y[1] == pytest.approx(24)
    assert "Loss" in training.overlaid_curves(drawn, "loss").layout.yaxis.title.text


def test_damaged_files_of_a_finished_run_are_named_and_fixed_by_a_click(
    checkpoints: Path, asked: list[tuple[str, Any]], drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(checkpoints)
    page = open_page("monitor", {"training_monitor_chosen": ["s02-eeg"]})
    assert not page.error
    assert "training_monitor_train_again" not in [b.key for b in page.button]
    study.run("s02-eeg").model_file.write_bytes(b"other weights")
    study.run("s02-eeg").predictions_file.unlink()
    page.run()
    text = " ".join(e.value for e in page.error).replace("\\", "")
    assert "model.safetensors: expected checksum" in text
    assert "predictions.parquet: expected a file written by the run, found none" in text
    # Files are read once, not at every poll.
    monkeypatch.setattr("eavdash.store.run.sha256", lambda path: pytest.fail(f"{path} is read again"))
    page.run()
    assert not page.exception
    page.button(key="training_monitor_train_again").click().run()
    assert asked == [("retry", ["s02-eeg"])]


def test_a_log_search_ignores_case(checkpoints: Path, drawn: list[dict[str, Any]]) -> None:
    study = make_study(checkpoints, states={"s01-audio": "failed"})
    lines = [f"epoch {n}" + (" Warning: loud" if n % 100 == 0 else "") for n in range(1, 1001)]
    study.run("s01-audio").log_file.write_text("\n".join(lines) + "\n")
    page = open_page("monitor", {"training_monitor_chosen": ["s01-audio"]})
    assert page.code[0].value.splitlines() == lines[-30:]
    page.text_input(key="training_monitor_log_search").set_value("WARNING").run()
    assert page.code[0].value.splitlines()[0] == "100: epoch 100 Warning: loud"
    assert "10 lines with “WARNING”" in page_text(page)
    page.text_input(key="training_monitor_log_search").set_value("no such text").run()
    assert "0 lines with" in page_text(page)


def test_a_large_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.txt"
    path.write_text("".join(f"line {n} of many\n" for n in range(2000)))
    monkeypatch.setattr(logs, "read_end", partial(read_end, size=5000))
    found = logs.search(path, "LINE")
    assert not found.whole
    assert 0 < found.count < 400
    assert len(found.lines) == logs.HITS
    assert found.lines[-1].endswith("line 1999 of many")
    assert logs.search(tmp_path / "none", "x") == logs.LogMatches((), 0, True)


@pytest.mark.parametrize(
    ("states", "title"),
    [
        ({"*": "done", "s01-eeg": "queued"}, "11/12 · eavdash"),
        ({"*": "done"}, "done · eavdash"),
        ({"*": "done", "s01-eeg": "failed"}, "1 failed · eavdash"),
        ({"*": "queued", "s01-eeg": "failed"}, "1 failed · 0/12 · eavdash"),
    ],
)
def test_the_tab_title_shows_the_progress(tmp_path: Path, states: dict[str, str], title: str) -> None:
    assert training.tab_title(looked_at(make_study(tmp_path, states=states))) == title


def test_the_remedy_depends_on_the_state(tmp_path: Path) -> None:
    row = {"shown": "failed", "ended": True, "epoch": 0, "reason": "", "host": "n1"}
    assert "it starts over" in run_details.remedy(row, False)
    assert "recordings" in run_details.remedy(row, True)
    assert "resumes after epoch 3" in run_details.remedy({**row, "shown": "cancelled", "epoch": 3}, False)
    assert "that it needs" in run_details.remedy({**row, "shown": "blocked"}, False)
    assert run_details.remedy({**row, "shown": "blocked", "ended": False}, False) == ""


def test_a_plan_has_an_estimated_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, subjects=("1",), stages=("audio",), dataset="/data/EAV")
    study.run("s01-audio").update(from_epoch=0, started=1000.0, finished=2200.0)  # 12 epochs of 100 s
    monkeypatch.setattr(cached_runs, "parallel_runs", lambda settings: 2)
    runs = [study.run("s01-audio").config(), *(run_config(f"s02-{stage}") for stage in ("audio", "eeg"))]
    names = ("s01-audio", "s02-audio", "s02-eeg")
    planned = tuple(PlannedRun(name, config) for name, config in zip(names, runs, strict=True))
    plan = Plan(study, study.study(), pd.DataFrame(), pd.DataFrame(), planned, {}, (), None)
    epochs = study.study().config["train"]["audio"]["epochs"]
    text = launch_plan.time_sentence([plan], Execution())
    assert text.startswith(f"Time: at least {estimates.duration(100 * epochs)} with 2 runs at a time, ")
    assert "some stages are not counted" in text
    assert launch_plan.time_sentence([replace(plan, planned=planned[:1])], Execution()) == ""
    assert "unknown" in launch_plan.time_sentence([replace(plan, planned=planned[2:])], Execution())


def test_an_open_page_restarts_a_dead_scheduler(
    checkpoints: Path, drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def dead(root: Path) -> bool:
        asked.append(root)
        raise QueueError(f"{root}: expected a running scheduler, found none; see its log.")

    make_study(checkpoints, states={"*": "queued"})
    page = open_page("monitor")
    monkeypatch.setattr("eavdash.jobs.obstacle.ensure_scheduler", dead)
    cached_runs.scheduler_problem.clear()
    page.run()
    page.run()
    assert any("running scheduler" in e.value for e in page.error)
    assert asked == [checkpoints] * 3  # twice by app.py, and once by the page, which is not at every poll
