"""Archiving and deletion of studies, also while other processes use them."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest
from failing import fails, holds
from fake_study import make_study
from short_sounds import AUDIO, table

from eavdash.config.schema import Selection
from eavdash.errors import QueueError, UsageError
from eavdash.store import StudyDir, studies
from eavdash.studies import archive, extend, overview
from eavdash.studies.write import prepare, refresh, retry


def rows(root: Path, archived: bool = False) -> dict[str, dict]:
    return {row["study"]: row for row in overview.overview(root, archived).to_dict(orient="records")}


def test_an_archived_study_is_not_listed_and_not_run(tmp_path: Path, submitted: list) -> None:
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
        with fails(UsageError, found="archived", remedy="eavdash unarchive pilot"):
            refused()
    assert extend.clone(study, "copy").plan.runs  # its clone is a separate study
    archive.unarchive(study)
    assert rows(tmp_path / "c")["pilot"]["archived"] is False
    assert extend.extend(study, seeds=(1,)).queued


def test_archiving_can_delete_the_checkpoints_of_unfinished_runs(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"s01-audio": "failed"})
    run = study.run("s01-audio")
    run.resume_file.write_bytes(b"r" * 1000)
    run.joint_resume_file.write_bytes(b"r" * 24)
    assert archive.archive(study) == 0
    assert rows(tmp_path, archived=True)["demo"]["resume_bytes"] == 1024
    assert archive.archive(study, drop_resume=True) == 1024
    assert not run.resume_file.exists()
    assert rows(tmp_path, archived=True)["demo"]["resume_bytes"] == 0


def test_deleting_needs_the_exact_name(tmp_path: Path) -> None:
    study, other = make_study(tmp_path, "pilot"), make_study(tmp_path, "other")
    for typed in ("", "Pilot", "other"):
        with fails(UsageError, expected="'pilot'", found=repr(typed)):
            archive.delete(study, typed)
    assert len(study.runs()) == 12
    archive.delete(study, "pilot")
    assert not study.path.exists()
    assert list((tmp_path / ".deleted").iterdir()) == []
    assert studies(tmp_path) == [other]
    with fails(UsageError, expected="'pilot'", found="other"):
        archive.delete(study, "pilot")
    with fails(UsageError, expected="'pilot'", found="other"):
        archive.archive(study)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"state": "running"}, "s01-audio running"),
        ({"state": "queued", "submission": "1"}, "s01-audio queued"),
        ({"state": "blocked", "submission": "1"}, "s01-audio blocked"),
    ],
)
@pytest.mark.parametrize("act", ["delete", "archive"])
def test_an_active_study_is_neither_deleted_nor_archived(
    tmp_path: Path, status: dict[str, str], found: str, act: str
) -> None:
    study = make_study(tmp_path, states={"s01-audio": "queued"})
    study.run("s01-audio").transition(**status)
    with fails(UsageError, found=found, remedy="eavdash cancel demo"):
        archive.delete(study, "demo") if act == "delete" else archive.archive(study)
    assert len(study.runs()) == 12
    assert not study.archived
    study.run("s01-audio").transition("cancelled")
    archive.delete(study, "demo") if act == "delete" else archive.archive(study)


def test_a_locked_run_is_running_even_if_its_status_is_damaged(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.run("s01-audio").status_file.write_text("{")
    with study.run("s01-audio").lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with fails(UsageError, found="s01-audio running"):
            archive.delete(study, "demo")
    assert len(study.runs()) == 12
    archive.delete(study, "demo")


def test_a_study_with_a_running_probing_is_neither_deleted_nor_archived(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    with study.probe_lock_file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for act in (lambda: archive.delete(study, "demo"), lambda: archive.archive(study)):
            with fails(UsageError, expected="probing", remedy="eavdash results demo"):
                act()
    archive.archive(study)


@pytest.mark.parametrize(
    ("file", "facts"),
    [("s01-audio/.lock", {"found": "s01-audio running"}), (".probe.lock", {"expected": "probing"})],
)
def test_a_process_that_starts_at_the_last_moment_keeps_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, facts: dict[str, str]
) -> None:
    """A worker started by hand and a probing take no queue lock; here one begins between the check and the move."""
    study = make_study(tmp_path)
    rename = Path.rename
    with (study.path / file).open("ab") as lock:

        def begin(path: Path, target: Path) -> Path:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", begin)
        with fails(UsageError, **facts):
            archive.delete(study, "demo")
        assert len(study.runs()) == 12
    assert list((tmp_path / ".deleted").iterdir()) == []


def test_planned_runs_and_runs_blocked_for_good_do_not_prevent_deletion(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"*": "queued", "s01-audio": "failed", "s01-fusion": "blocked"})
    study.run("s01-fusion").update(submission="1", blocked_by=["s01-audio"])
    archive.delete(study, "demo")
    assert not study.path.exists()


def test_deletion_waits_for_requests_to_the_queue(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"s01-audio": "queued"})
    (tmp_path / ".queue").mkdir()
    caught: list[UsageError] = []

    def remove() -> None:
        try:
            archive.delete(study, "demo")
        except UsageError as error:
            caught.append(error)

    with (tmp_path / ".queue" / "door.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        deleting = threading.Thread(target=remove)
        deleting.start()
        deleting.join(0.3)
        assert deleting.is_alive()
        study.run("s01-audio").update(submission="1")
    deleting.join(30)
    holds(caught[0], found="s01-audio queued")
    assert len(study.runs()) == 12


def test_of_two_simultaneous_deletions_one_succeeds_and_one_fails(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    deleted: list[bool] = []
    errors: list[UsageError] = []
    barrier = threading.Barrier(2)

    def remove() -> None:
        barrier.wait(10)
        try:
            archive.delete(study, "demo")
            deleted.append(True)
        except UsageError as error:
            errors.append(error)

    threads = [threading.Thread(target=remove) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert deleted == [True]
    (error,) = errors
    holds(error, expected="'demo'", found="none")
    assert not study.path.exists()
    assert list((tmp_path / ".deleted").iterdir()) == []


def test_after_a_crash_the_moved_study_is_invisible_and_the_next_overview_removes_it(
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
    # A deletion that holds the planner's lock may still move the study back, so nothing is removed meanwhile.
    with (tmp_path / ".queue" / "plan.lock").open("ab") as planning:
        fcntl.flock(planning, fcntl.LOCK_EX)
        assert rows(tmp_path) == {}
        assert left.exists()
    assert rows(tmp_path) == {}
    assert not left.exists()


def test_files_that_cannot_be_removed_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path)

    def denied(_folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(archive, "_remove", denied)
    with fails(QueueError, where=".deleted", found="Permission denied"):
        archive.delete(study, "demo")
    assert studies(tmp_path) == []


def test_deleting_a_symbolic_link_keeps_its_target(tmp_path: Path) -> None:
    study = make_study(tmp_path / "disk")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "demo").symlink_to(study.path)
    archive.delete(StudyDir(tmp_path / "c" / "demo"), "demo")
    assert studies(tmp_path / "c") == []
    assert len(study.runs()) == 12


def test_a_process_with_an_old_document_does_not_restore_a_deleted_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    document = study.study()
    archive.delete(study, "pilot")
    monkeypatch.setattr(StudyDir, "study", lambda _self: document)
    for act in (lambda: refresh(study), lambda: extend.extend(study, seeds=(1,))):
        with fails(UsageError, expected="'pilot'", found="none"):
            act()
    assert not study.path.exists()


@pytest.mark.parametrize("planted", ["deleted", "queue"])
def test_what_a_link_leads_to_is_not_deleted(tmp_path: Path, planted: str) -> None:
    root, home = tmp_path / "c", tmp_path / "home"
    (home / "thesis").mkdir(parents=True)
    study = make_study(root)
    if planted == "deleted":
        (root / ".deleted").symlink_to(home)
    else:
        (root / ".queue").symlink_to(home)
        (root / ".deleted" / "demo-00000000").mkdir(parents=True)
    home.chmod(0o755)
    archive.sweep(root)
    with fails(QueueError, found="symbolic link"):
        archive.delete(study, "demo")
    assert ([path.name for path in home.iterdir()], home.stat().st_mode & 0o777) == (["thesis"], 0o755)
    assert study.exists


def test_checkpoints_are_not_dropped_through_a_linked_run(tmp_path: Path) -> None:
    study, other = make_study(tmp_path, "demo"), make_study(tmp_path / "elsewhere", "other")
    kept = other.run("s01-audio").resume_file
    kept.write_bytes(b"r")
    (study.path / "s09-audio").symlink_to(kept.parent)
    assert archive.archive(study, drop_resume=True) == archive.resume_bytes(study) == 0
    assert kept.exists()
