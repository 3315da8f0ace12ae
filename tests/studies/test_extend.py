"""Clones of a study, and additional subjects, folds and seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from failing import fails
from short_sounds import AUDIO, table

from eavdash.config.convert import to_dict, with_settings
from eavdash.config.fitting import with_fit
from eavdash.config.schema import Execution, Selection
from eavdash.errors import ConfigError, StudyConflictError, UsageError
from eavdash.store import StudyDir
from eavdash.studies import extend
from eavdash.studies.write import prepare


def test_a_clone_has_the_changes_and_lists_them(tmp_path: Path) -> None:
    config = with_settings(AUDIO, ["train.audio.epochs=7"])
    study = prepare(table(tmp_path), "pilot", config, Selection(("1", "2"), (0, 1), (0, 3)), tmp_path / "c").study
    made = extend.clone(study, "wider", ["audio.width=32"], seeds=(5,))
    assert made.differences == ("audio.width: 64 → 32", "seeds: [0, 3] → [5]")
    assert made.plan.document.config["train"]["audio"]["epochs"] == 7
    assert made.plan.document.selection.document() == {"subjects": ["1", "2"], "folds": [0, 1], "seeds": [5]}
    assert not (tmp_path / "c" / "wider").exists()
    extend.clone(study, "wider", ["audio.width=32"], seeds=(5,), write=True)
    assert len(StudyDir(tmp_path / "c" / "wider").runs()) == 4
    assert len(study.runs()) == 8


def test_with_another_protocol_a_clone_takes_all_of_its_folds(tmp_path: Path) -> None:
    study = prepare(table(tmp_path, 4), "pilot", AUDIO, Selection(folds=(3,)), tmp_path / "c").study
    made = extend.clone(study, "people", ["protocol.name=subject-kfold", "protocol.folds=3"])
    assert made.plan.document.selection.folds == (0, 1, 2)
    assert extend.clone(study, "all", folds=()).plan.document.selection.folds == (0, 1, 2, 3, 4)


def test_a_clone_needs_a_new_name(tmp_path: Path) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    with fails(UsageError, where=str(tmp_path / "c"), found="'pilot'", remedy="pilot-2"):
        extend.clone(study, "pilot")
    with fails(UsageError, found="../up"):
        extend.clone(study, "../up")
    with fails(ConfigError, where="audio.widht=3", remedy="audio.width"):
        extend.clone(study, "b", ["audio.widht=3"])


def test_free_names_continue_the_numbering(tmp_path: Path) -> None:
    for name in ("pilot", "pilot-2", "day-2026"):
        (tmp_path / name).mkdir()
    assert extend.free_name(tmp_path, "pilot") == "pilot-3"
    assert extend.free_name(tmp_path, "pilot-2") == "pilot-3"
    assert extend.free_name(tmp_path, "other") == "other-2"
    assert extend.free_name(tmp_path, "-1") == "-1-2"


def test_only_runs_never_submitted_are_queued(tmp_path: Path, submitted: list) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(("1", "2"), (0,), (0,)), tmp_path / "c").study
    study.run("s01-audio").update(submission="1", execution={"device": "cpu", "threads": 3})
    study.run("s01-audio").transition("running")
    before = study.run("s01-audio").status()
    planned = extend.plan_extension(study, seeds=(1,))
    assert set(planned.queued) == {"s02-audio", "s01-audio-seed1", "s02-audio-seed1"}
    assert set(planned.new) == {"s01-audio-seed1", "s02-audio-seed1"}
    assert not study.run("s01-audio-seed1").path.exists()
    made = extend.extend(study, seeds=(1,))
    assert set(made.queued) == set(planned.queued)
    assert set(made.new) == set(planned.new)
    assert submitted == [(list(made.queued), Execution(device="cpu", threads=3))]
    assert study.run("s01-audio").status() == before
    # A second call has nothing left to queue.
    assert extend.extend(study, seeds=(1,)).queued == ()
    assert len(submitted) == 1
    assert study.study().selection.document() == {"subjects": ["1", "2"], "folds": [0], "seeds": [0, 1]}
    assert study.study().config == to_dict(with_fit(AUDIO))
    # All subjects and all folds: existing runs keep their names and states.
    more = extend.extend(study, subjects=(), folds=())
    assert len(more.plan.runs) == 3 * 5 * 2
    assert len(more.queued) == 30 - 4
    assert study.run("s01-audio").status() == before


def test_failed_and_cancelled_runs_are_queued_only_on_request(
    tmp_path: Path, submitted: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    study.run("s01-audio").transition("failed", submission="1")
    study.run("s02-audio").transition("cancelled", submission="1")
    assert extend.extend(study).queued == ("s03-audio",)
    asked = []
    monkeypatch.setattr("eavdash.jobs.queue.retry", lambda study, runs: asked.append(runs) or runs)
    assert extend.extend(study).again == ()
    assert asked == []
    assert set(extend.extend(study, retry_ended=True).again) == {"s01-audio", "s02-audio"}
    assert asked == [["s01-audio", "s02-audio"]]
    assert len(submitted) == 1


def test_a_subject_that_was_fixed_is_queued(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for path in tmp_path.glob("2-*-calm.wav"):
        path.rename(hidden / path.name)
    study = prepare(root, "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    assert set(extend.plan_extension(study).queued) == {"s01-audio", "s03-audio"}
    assert set(extend.extend(study, retry_ended=True).queued) == {"s01-audio", "s03-audio"}
    for path in hidden.glob("*.wav"):
        path.rename(tmp_path / path.name)
    assert extend.extend(study).queued == ("s02-audio",)


def test_invalid_additions_are_refused_and_nothing_is_queued(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path, subjects=4)
    study = prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), tmp_path / "c").study
    with fails(UsageError, expected="1, 2, 3, 4", found="9"):
        extend.extend(study, subjects=("9",))
    with fails(UsageError, where="--folds", expected="0, 1", found="7"):
        extend.extend(study, folds=(7,))
    loso = replace(AUDIO, protocol=replace(AUDIO.protocol, name="loso"))
    people = prepare(root, "people", loso, Selection(("1", "2", "3")), tmp_path / "c").study
    with fails(StudyConflictError, where="study.json", expected="1, 2, 3", found="1, 2, 3, 4"):
        extend.extend(people, subjects=("4",))
    soundfile.write(tmp_path / "1-0-calm.wav", [0.5] * 3200, 16000)
    with fails(StudyConflictError, found="subject 1") as caught:
        extend.extend(study, seeds=(1,))
    assert caught.value.differences == ("recordings of subject 1 have changed",)
    assert submitted == []
