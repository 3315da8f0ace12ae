"""Keeping house with studies: overview, clone, extend, archive, delete, verify."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from fake_study import make_study
from short_sounds import AUDIO, table

from eavdash.config.convert import to_dict, with_settings
from eavdash.config.schema import Execution, Selection
from eavdash.errors import QueueError, StudyConflictError, UsageError
from eavdash.store import RunDir, StudyDir, studies
from eavdash.studies import archive, extend, overview, verify
from eavdash.studies.overview import COLUMNS
from eavdash.studies.write import prepare, refresh, retry


def rows(root: Path, archived: bool = False) -> dict[str, dict]:
    return {row["study"]: row for row in overview.overview(root, archived).to_dict(orient="records")}


def size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Execution]]:
    """What was handed to the queue; as the queue does, each run gets the token of its request."""
    asked: list[tuple[list[str], Execution]] = []

    def submit(study: StudyDir, runs: list[str], execution: Execution) -> None:
        asked.append((list(runs), execution))
        for name in runs:
            settings = {"device": execution.device, "threads": execution.threads}
            study.run(name).update(submission=f"{time.time_ns():x}", execution=settings)

    monkeypatch.setattr("eavdash.jobs.queue.submit", submit)
    return asked


# Overview


def test_of_an_empty_folder_there_is_an_empty_table_with_every_column(tmp_path: Path) -> None:
    empty = overview.overview(tmp_path / "none")
    assert empty.empty
    assert list(empty.columns) == list(COLUMNS)


def test_one_row_says_how_far_a_study_is_how_large_and_of_what(tmp_path: Path) -> None:
    states = {"s01-audio": "failed", "s02-eeg": "queued", "s02-fusion": "blocked", "s02-audio": "running"}
    study = make_study(tmp_path, "first", subjects=("1", "2"), states=states, dataset="/data/EAV")
    make_study(tmp_path, "second", protocol="paper", simulated=False)
    study.run("s01-audio").resume_file.write_bytes(b"r" * 1000)
    (study.run("s01-fusion").explain_dir).mkdir()
    (study.run("s01-fusion").explain_dir / "4-x.npz").write_bytes(b"e" * 500)
    found = rows(tmp_path)
    assert list(found) == ["first", "second"]
    first = found["first"]
    assert (first["runs"], first["done"], first["never_queued"]) == (8, 4, 1)
    # Nobody holds the lock of the run that says it is running.
    assert first["states"] == {"done": 4, "failed": 1, "queued": 1, "blocked": 1, "not responding": 1}
    assert first["bytes"] == size(study.path)
    assert first["resume_bytes"] == 1000
    assert (first["dataset"], first["protocol"], first["simulated"]) == ("/data/EAV", "conversation", True)
    assert (found["second"]["protocol"], found["second"]["simulated"]) == ("paper", False)
    assert (first["preset"], first["created"]) == ("quick", "2026-01-01T00:00:00+0000")
    assert abs(first["changed"] - time.time()) < 60


def test_a_second_look_sees_what_has_changed_and_reads_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, states={"s01-audio": "queued"})
    before = time.time() - 60
    for run in study.runs():
        os.utime(run.path, (before, before))
    assert rows(tmp_path)["demo"]["done"] == 11
    read = []
    status = RunDir.status
    monkeypatch.setattr(RunDir, "status", lambda run: read.append(run.name) or status(run))
    assert rows(tmp_path)["demo"]["done"] == 11
    assert read == []
    study.run("s01-audio").transition("cancelled", reason="x" * 5000)
    read.clear()
    again = rows(tmp_path)["demo"]
    assert again["states"]["cancelled"] == 1
    assert again["bytes"] == size(study.path)
    assert set(read) == {"s01-audio"}


def test_two_changes_within_one_tick_of_the_clock_are_both_seen(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), stages=("audio",), states={"*": "queued"})
    run = study.run("s01-audio")
    stamp = time.time_ns() + 60 * 10**9  # as fresh as can be, however slow this machine is
    os.utime(run.path, ns=(stamp, stamp))
    assert rows(tmp_path)["demo"]["states"] == {"queued": 1}
    run.transition("cancelled")
    os.utime(run.path, ns=(stamp, stamp))
    assert rows(tmp_path)["demo"]["states"] == {"cancelled": 1}


def test_a_run_whose_files_are_gone_is_not_counted_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "SETTLED", -10.0)  # remembered at once
    study = make_study(tmp_path, subjects=("1", "2"), states={"s02-eeg": "queued"})
    assert overview.overview(tmp_path)["done"].item() == 7
    study.run("s01-eeg").model_file.unlink()
    study.run("s01-audio").predictions_file.write_bytes(b"x")  # in place
    study.run("s01-vision").config_file.write_text("{")
    states = overview.overview(tmp_path)["states"].item()
    assert states == {"done": 4, "damaged": 2, "failed": 1, "queued": 1}


def test_a_damaged_study_keeps_its_row_and_says_why(tmp_path: Path) -> None:
    study = make_study(tmp_path, "torn")
    study.study_file.write_text("{")
    study.run("s01-eeg").status_file.write_text("{")
    make_study(tmp_path, "whole")
    found = rows(tmp_path)
    assert "study.json: expected JSON" in found["torn"]["problem"]
    assert found["torn"]["states"] == {"done": 11, "failed": 1}
    assert found["whole"]["problem"] == ""


# Clone


def test_a_clone_has_the_edits_and_says_what_they_are(tmp_path: Path) -> None:
    config = with_settings(AUDIO, ["train.audio.epochs=7"])
    study = prepare(table(tmp_path), "pilot", config, Selection(("1", "2"), (0, 1), (0, 3)), tmp_path / "c").study
    made = extend.clone(study, "wider", ["audio.width=32"], seeds=(5,))
    assert made.differences == ("audio.width: 64 → 32", "seeds: [0, 3] → [5]")
    assert made.plan.document["config"]["train"]["audio"]["epochs"] == 7
    assert made.plan.document["selection"] == {"subjects": ["1", "2"], "folds": [0, 1], "seeds": [5]}
    assert not (tmp_path / "c" / "wider").exists()
    extend.clone(study, "wider", ["audio.width=32"], seeds=(5,), write=True)
    assert len(StudyDir(tmp_path / "c" / "wider").runs()) == 4
    assert len(study.runs()) == 8


def test_with_another_protocol_a_clone_takes_all_of_its_folds(tmp_path: Path) -> None:
    study = prepare(table(tmp_path, 4), "pilot", AUDIO, Selection(folds=(3,)), tmp_path / "c").study
    made = extend.clone(study, "people", ["protocol.name=subject-kfold", "protocol.folds=3"])
    assert made.plan.document["selection"]["folds"] == [0, 1, 2]
    assert extend.clone(study, "all", folds=()).plan.document["selection"]["folds"] == [0, 1, 2, 3, 4]


def test_a_clone_needs_a_name_of_its_own(tmp_path: Path) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    with pytest.raises(UsageError, match="'pilot', which exists; try pilot-2"):
        extend.clone(study, "pilot")
    with pytest.raises(UsageError, match="study name"):
        extend.clone(study, "../up")
    with pytest.raises(UsageError, match=r"did you mean audio\.width"):
        extend.clone(study, "b", ["audio.widht=3"])


def test_free_names_count_on(tmp_path: Path) -> None:
    for name in ("pilot", "pilot-2", "day-2026"):
        (tmp_path / name).mkdir()
    assert extend.free_name(tmp_path, "pilot") == "pilot-3"
    assert extend.free_name(tmp_path, "pilot-2") == "pilot-3"
    assert extend.free_name(tmp_path, "other") == "other-2"
    assert extend.free_name(tmp_path, "-1") == "-1-2"


# Extend


def test_only_the_holes_are_queued(tmp_path: Path, submitted: list) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(("1", "2"), (0,), (0,)), tmp_path / "c").study
    study.run("s01-audio").update(submission="1", execution={"device": "cpu", "threads": 3})
    study.run("s01-audio").transition("running")
    before = study.run("s01-audio").status()
    planned = extend.plan_extension(study, seeds=(1,))
    assert set(planned.holes) == {"s02-audio", "s01-audio-seed1", "s02-audio-seed1"}
    assert set(planned.new) == {"s01-audio-seed1", "s02-audio-seed1"}
    assert not study.run("s01-audio-seed1").path.exists()
    made = extend.extend(study, seeds=(1,))
    assert set(made.holes) == set(planned.holes)
    assert set(made.new) == set(planned.new)
    assert submitted == [(list(made.holes), Execution(device="cpu", threads=3))]
    assert study.run("s01-audio").status() == before
    # Once more: nothing is left to do.
    assert extend.extend(study, seeds=(1,)).holes == ()
    assert len(submitted) == 1
    assert study.study()["selection"] == {"subjects": ["1", "2"], "folds": [0], "seeds": [0, 1]}
    assert study.study()["config"] == to_dict(AUDIO)
    # All subjects and all folds: what was there keeps its name and its state.
    more = extend.extend(study, subjects=(), folds=())
    assert len(more.plan.runs) == 3 * 5 * 2
    assert len(more.holes) == 30 - 4
    assert study.run("s01-audio").status() == before


def test_failed_and_cancelled_runs_are_left_alone_unless_asked_for(
    tmp_path: Path, submitted: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    study.run("s01-audio").transition("failed", submission="1")
    study.run("s02-audio").transition("cancelled", submission="1")
    assert extend.extend(study).holes == ("s03-audio",)
    asked = []
    monkeypatch.setattr("eavdash.jobs.queue.retry", lambda study, runs: asked.append(runs) or runs)
    assert extend.extend(study).again == ()
    assert asked == []
    assert set(extend.extend(study, retry_ended=True).again) == {"s01-audio", "s02-audio"}
    assert asked == [["s01-audio", "s02-audio"]]
    assert len(submitted) == 1


def test_a_subject_that_was_mended_is_a_hole(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path)
    (tmp_path / "2-3-calm.wav").rename(tmp_path / "hidden.wav")
    study = prepare(root, "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    assert set(extend.plan_extension(study).holes) == {"s01-audio", "s03-audio"}
    assert set(extend.extend(study, retry_ended=True).holes) == {"s01-audio", "s03-audio"}
    (tmp_path / "hidden.wav").rename(tmp_path / "2-3-calm.wav")
    assert extend.extend(study).holes == ("s02-audio",)


def test_what_cannot_be_added_is_refused_and_nothing_is_queued(tmp_path: Path, submitted: list) -> None:
    root = table(tmp_path, subjects=4)
    study = prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), tmp_path / "c").study
    with pytest.raises(UsageError, match="expected"):
        extend.extend(study, subjects=("9",))
    with pytest.raises(UsageError, match="--folds"):
        extend.extend(study, folds=(7,))
    loso = replace(AUDIO, protocol=replace(AUDIO.protocol, name="loso"))
    people = prepare(root, "people", loso, Selection(("1", "2", "3")), tmp_path / "c").study
    with pytest.raises(StudyConflictError, match="every fold depends on all of them"):
        extend.extend(people, subjects=("4",))
    soundfile.write(tmp_path / "1-0-calm.wav", [0.5] * 3200, 16000)
    with pytest.raises(StudyConflictError) as caught:
        extend.extend(study, seeds=(1,))
    assert caught.value.differences == ("recordings of subject 1 have changed",)
    assert submitted == []


# Archive


def test_an_archived_study_is_left_out_and_nothing_of_it_is_run(tmp_path: Path, submitted: list) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    study.run("s01-audio").transition("failed", submission="1")
    archive.archive(study)
    assert rows(tmp_path / "c") == {}
    assert rows(tmp_path / "c", archived=True)["pilot"]["archived"] is True
    for refused in (
        lambda: prepare(tmp_path / "trials.csv", "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c"),
        lambda: refresh(study),
        lambda: retry(study),
        lambda: extend.extend(study, seeds=(1,)),
        lambda: extend.plan_extension(study, seeds=(1,)),
    ):
        with pytest.raises(UsageError, match=r"found an archived one; .*eavdash unarchive pilot"):
            refused()
    assert extend.clone(study, "copy").plan.runs  # a copy of it is a study of its own
    archive.unarchive(study)
    assert rows(tmp_path / "c")["pilot"]["archived"] is False
    assert extend.extend(study, seeds=(1,)).holes


def test_archiving_may_free_what_unfinished_runs_would_go_on_from(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"s01-audio": "failed"})
    run = study.run("s01-audio")
    run.resume_file.write_bytes(b"r" * 1000)
    run.joint_resume_file.write_bytes(b"r" * 24)
    assert archive.archive(study) == 0
    assert rows(tmp_path, archived=True)["demo"]["resume_bytes"] == 1024
    assert archive.archive(study, drop_resume=True) == 1024
    assert not run.resume_file.exists()
    assert rows(tmp_path, archived=True)["demo"]["resume_bytes"] == 0


# Delete


def test_a_study_is_deleted_by_its_name_only(tmp_path: Path) -> None:
    study, other = make_study(tmp_path, "pilot"), make_study(tmp_path, "other")
    for typed in ("", "Pilot", "other"):
        with pytest.raises(UsageError, match="'pilot' as confirmation"):
            archive.delete(study, typed)
    assert len(study.runs()) == 12
    archive.delete(study, "pilot")
    assert not study.path.exists()
    assert list((tmp_path / ".deleted").iterdir()) == []
    assert studies(tmp_path) == [other]
    with pytest.raises(UsageError, match="expected a study 'pilot', found other"):
        archive.delete(study, "pilot")
    with pytest.raises(UsageError, match="expected a study 'pilot'"):
        archive.archive(study)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"state": "running"}, "s01-audio running"),
        ({"state": "queued", "submission": "1"}, "s01-audio queued"),
        ({"state": "blocked", "submission": "1"}, "s01-audio blocked"),
    ],
)
@pytest.mark.parametrize("act", ["delete", "archive"])
def test_a_study_under_way_is_neither_deleted_nor_archived(
    tmp_path: Path, status: dict[str, str], said: str, act: str
) -> None:
    study = make_study(tmp_path, states={"s01-audio": "queued"})
    study.run("s01-audio").transition(**status)
    with pytest.raises(UsageError, match=rf"found {said}; cancel first: eavdash cancel demo"):
        archive.delete(study, "demo") if act == "delete" else archive.archive(study)
    assert len(study.runs()) == 12
    assert not study.archived
    study.run("s01-audio").transition("cancelled")
    archive.delete(study, "demo") if act == "delete" else archive.archive(study)


def test_a_held_lock_is_a_run_whatever_its_status_says(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.run("s01-audio").status_file.write_text("{")
    with study.run("s01-audio").lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="s01-audio running"):
            archive.delete(study, "demo")
    assert len(study.runs()) == 12
    archive.delete(study, "demo")


def test_a_study_that_is_probed_is_neither_deleted_nor_archived(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    with study.probe_lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for act in (lambda: archive.delete(study, "demo"), lambda: archive.archive(study)):
            with pytest.raises(UsageError, match="expected no probing under way of a study that is to be"):
                act()
    archive.archive(study)


@pytest.mark.parametrize(("who", "said"), [("s01-audio/.lock", "s01-audio running"), (".probe.lock", "one at work")])
def test_whoever_begins_in_the_last_moment_keeps_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str, said: str
) -> None:
    """A worker by hand, or a probing, asks nobody: here between the look and the moment in which the study goes."""
    study = make_study(tmp_path)
    rename = Path.rename
    with (study.path / who).open("ab") as lock:

        def begin(path: Path, target: Path) -> Path:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", begin)
        with pytest.raises(UsageError, match=said):
            archive.delete(study, "demo")
        assert len(study.runs()) == 12
    assert list((tmp_path / ".deleted").iterdir()) == []


def test_planned_runs_and_those_that_will_not_come_are_no_obstacle(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"*": "queued", "s01-audio": "failed", "s01-fusion": "blocked"})
    study.run("s01-fusion").update(submission="1", blocked_by=["s01-audio"])
    archive.delete(study, "demo")
    assert not study.path.exists()


def test_whoever_is_inside_the_queues_door_is_waited_for(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"s01-audio": "queued"})
    (tmp_path / ".queue").mkdir()
    caught: list[Exception] = []

    def remove() -> None:
        try:
            archive.delete(study, "demo")
        except UsageError as error:
            caught.append(error)

    with (tmp_path / ".queue" / "door.lock").open("ab") as door:
        fcntl.flock(door, fcntl.LOCK_SH)
        deleting = threading.Thread(target=remove)
        deleting.start()
        deleting.join(0.3)
        assert deleting.is_alive()
        study.run("s01-audio").update(submission="1")
    deleting.join(30)
    assert "s01-audio queued" in str(caught[0])
    assert len(study.runs()) == 12


def test_of_two_who_delete_at_once_one_does_and_one_is_told(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def remove() -> None:
        together.wait(10)
        try:
            archive.delete(study, "demo")
            outcomes.append("deleted")
        except UsageError as error:
            outcomes.append(str(error))

    both = [threading.Thread(target=remove) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(30)
    assert sorted(outcomes)[1] == "deleted"
    assert "expected a study 'demo', found none" in sorted(outcomes)[0]
    assert not study.path.exists()
    assert list((tmp_path / ".deleted").iterdir()) == []


def test_a_crash_after_the_move_leaves_nothing_to_see_and_the_next_look_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path)

    def crash(_folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(archive, "_remove", crash)
        with pytest.raises(KeyboardInterrupt):
            archive.delete(study, "demo")
    (left,) = (tmp_path / ".deleted").iterdir()
    assert (left / "study.json").exists()
    assert studies(tmp_path) == []
    # Whoever is about to delete may still put it back: it is not touched meanwhile.
    with (tmp_path / ".queue" / "plan.lock").open("ab") as planning:
        fcntl.flock(planning, fcntl.LOCK_EX)
        assert rows(tmp_path) == {}
        assert left.exists()
    assert rows(tmp_path) == {}
    assert not left.exists()


def test_what_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path)

    def denied(_folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(archive, "_remove", denied)
    with pytest.raises(QueueError, match="found Permission denied; mend its permissions"):
        archive.delete(study, "demo")
    assert studies(tmp_path) == []


def test_a_study_that_lies_elsewhere_loses_its_link_only(tmp_path: Path) -> None:
    study = make_study(tmp_path / "disk")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "demo").symlink_to(study.path)
    archive.delete(StudyDir(tmp_path / "c" / "demo"), "demo")
    assert studies(tmp_path / "c") == []
    assert len(study.runs()) == 12


def test_whoever_had_looked_before_does_not_bring_a_deleted_study_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    document = study.study()
    archive.delete(study, "pilot")
    monkeypatch.setattr(StudyDir, "study", lambda _self: document)
    for act in (lambda: refresh(study), lambda: extend.extend(study, seeds=(1,))):
        with pytest.raises(UsageError, match="expected a study 'pilot', found none"):
            act()
    assert not study.path.exists()


# Verify


def test_an_untouched_study_is_whole(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"s01-audio": "failed", "s02-eeg": "queued"})
    seen: list[tuple[int, int]] = []
    found = verify.verify(study, lambda done, of, _run: seen.append((done, of)))
    assert (found.runs, found.checked, found.damaged, found.unchecked) == (12, 10, (), ())
    assert found.sentence.endswith(
        f"{found.files} files of 10 runs: all as they were written; 2 of 12 runs have no file yet"
    )
    assert found.files == sum(len(run.status().get("checksums") or {}) for run in study.runs()) > 20
    assert seen[-1] == (12, 12)
    planned = verify.verify(make_study(tmp_path, "planned", states={"*": "queued"}))
    assert planned.sentence == "none of 12 runs has a file to compare yet"


def test_what_is_damaged_is_named_with_its_remedy(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.run("s01-eeg").model_file.write_bytes(b"weightz")
    study.run("s02-audio").predictions_file.unlink()
    study.run("s03-audio").status_file.write_text("{")
    study.run("s03-eeg").update(checksums={})
    found = verify.verify(study)
    assert [(d.run, d.file) for d in found.damaged] == [
        ("s01-eeg", "model.safetensors"),
        ("s02-audio", "predictions.parquet"),
        ("s03-audio", "status.json"),
    ]
    assert "eavdash retry demo --run s01-eeg" in found.damaged[0].reason
    assert "found none" in found.damaged[1].reason
    assert "eavdash extend demo" in found.damaged[2].reason
    assert found.unchecked == ("s03-eeg",)
    assert found.sentence.endswith("of 10 runs: 2 damaged; 1 of 12 runs cannot be read")
    study.run("s03-eeg").predictions_file.unlink()
    assert ("s03-eeg", "predictions.parquet") in [(d.run, d.file) for d in verify.verify(study).damaged]
    study.study_file.write_text("{")
    assert verify.verify(study).damaged[0].file == "study.json"


def test_the_remedy_for_an_unreadable_run_works(tmp_path: Path, submitted: list) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    extend.extend(study)
    run = study.run("s02-audio")
    run.status_file.write_text("{")
    assert "remove this folder" in verify.verify(study).damaged[0].reason
    for file in run.path.iterdir():
        file.unlink()
    run.path.rmdir()
    assert extend.extend(study).holes == ("s02-audio",)
    assert not verify.verify(study).damaged
