"""Generated copies of EAV: in any order, spelling and with gaps, the same table or the right error."""

from __future__ import annotations

import os
import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import eav_files
import numpy as np
import pytest
import scipy.io
from eav_files import Plan
from failing import fails
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eavdash.config.presets import preset
from eavdash.data.adapters.eav import eav_root
from eavdash.data.table import TrialTable, fingerprint, open_table, select
from eavdash.errors import EavdashError, TableError, UsageError

ROOT_EXTRAS = (
    "subjects.tsv",
    "meta_data.csv",
    "questionnaire.xlsx",
    ".DS_Store",
    "Input_images/EEG/subject_01_eeg.pkl",
    "Input_images/Vision/subject_01_vis.pkl",
    "__MACOSX/subject1/EEG/._subject1_eeg.mat",
    "subjects/readme.txt",
    "subject/EEG/x.mat",
    "code/Dataload_eeg.py",
)
SUBJECT_EXTRAS = (
    "notes.txt",
    "{2}/thumbs.db",
    "{1}/._002_Trial_02_Speaking_Neutral_aud.wav",
    "{0}/raw.vhdr",
    "log/a",
)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _first(folder: Path, pattern: str) -> Path:
    return min(p for p in folder.rglob("*") if p.is_file() and pattern in p.name.lower() and p.name[0] != ".")


def _rename(folder: Path, old: str, new: str) -> None:
    path = _first(folder, old)
    path.rename(path.with_name(path.name.replace(path.name.split("_")[-1].split(".")[0], new, 1)))


#: What breaks a subject → (how, what it needs to be there, words of the problem).
FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "eeg cut": (lambda f: _truncate(_first(f, "_eeg.mat")), "eeg", "_eeg.mat: expected a complete file"),
    "labels cut": (lambda f: _truncate(_first(f, "_label.mat")), "labels", "_label.mat: expected a complete file"),
    "empty eeg": (lambda f: _first(f, "_eeg.mat").write_bytes(b""), "eeg", "expected a readable MATLAB"),
    "hdf": (
        lambda f: _first(f, "_eeg.mat").write_bytes(b"\x89HDF\r\n\x1a\n" * 99),
        "eeg",
        "expected a readable MATLAB",
    ),
    "other emotion": (lambda f: _rename(f, ".mp4", "Fear"), "video", "expected one of Neutral, .*found Fear"),
    "wrong emotion": (lambda f: _rename(f, ".mp4", "Sadness"), "labels video", "of the label file., found .* Sadness"),
    "text labels": (
        lambda f: scipy.io.savemat(_first(f, "_label.mat"), {"label": np.array([["a"] * 20] * 10)}),
        "labels",
        "label matrix of",
    ),
}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A subject as any copy might contain it."""
    trials = draw(st.sampled_from([10, 20, 40]))
    media = [f"{kind} {n}" for kind in ("audio", "video") for n in range(1, trials + 1)]
    lost = draw(st.one_of(st.just(frozenset()), st.frozensets(st.sampled_from(media), max_size=8)))
    for kind in draw(st.sets(st.sampled_from(["audio", "video"]), max_size=1)):
        lost |= {name for name in media if name.startswith(kind)}
    spelling = ["subject{n}", "subject{n:02d}", "subject{n:03d}_", "Subject_{n}", "SUBJECT{n}__", "subject_{n:02d}"]
    plan = Plan(
        number=draw(st.integers(1, 42)),
        folder=draw(st.sampled_from(spelling)),
        inner=draw(st.booleans()),
        trials=trials,
        key=draw(st.sampled_from(["seg", "seg1", "data"])),
        parts=draw(st.sampled_from([("EEG", "Audio", "Video"), ("eeg", "audio", "video"), ("Eeg", "AUDIO", "Video")])),
        digits=draw(st.sampled_from([1, 3, 4])),
        upper=draw(st.booleans()),
        eeg=draw(st.booleans()),
        labels=draw(st.booleans()),
        lost=lost,
        extra=draw(st.lists(st.sampled_from(SUBJECT_EXTRAS), unique=True, max_size=3).map(tuple)),
    )
    there = {name for name, is_there in {"eeg": plan.eeg, "labels": plan.labels, **plan.there}.items() if is_there}
    possible = [fault for fault, (_, needs, _) in FAULTS.items() if set(needs.split()) <= there]
    plan.fault = draw(st.sampled_from(["", "", *possible]))
    return plan


def found(table: TrialTable, subject: int) -> list[tuple[str, ...]]:
    """The rows of a subject in the form of :meth:`Plan.rows`."""
    frame = table.frame[table.frame["subject"] == str(subject)]
    rows = []
    for row in frame.to_dict("records"):
        numbers = [str(int(Path(row[kind]).name.split("_")[0])) if row[kind] else "" for kind in ("audio", "video")]
        names = (row[c] for c in ("subject", "trial", "label", "group", "condition"))
        rows.append((*names, row["eeg"].rpartition("#")[2], *numbers))
    return rows


# Not shrunk: an example is small enough to read, and making it smaller takes longer than a test may.
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    st.lists(plans(), min_size=1, max_size=3, unique_by=lambda plan: plan.number),
    st.lists(st.sampled_from(["EAV", "data (1)", "EAV", "x"]), max_size=5),
    st.sets(st.sampled_from(ROOT_EXTRAS), max_size=4),
    st.randoms(use_true_random=False),
)
def test_any_copy_gives_its_table_or_its_problems(
    subjects: list[Plan], nesting: list[str], extras: set[str], rng: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, *nesting)
        root.mkdir(parents=True, exist_ok=True)
        for name in extras:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
        for plan in subjects:
            made = eav_files.make_plan(root, plan, rng)
            if plan.fault:
                FAULTS[plan.fault][0](made)
        usable = [plan for plan in subjects if plan.eeg or plan.labels or any(plan.there.values())]
        if not any(_has_parts(root / p.name / p.name if p.inner else root / p.name) for p in usable):
            with fails(EavdashError, where=folder):
                open_table(folder)
            return
        table = open_table(folder)
        assert (table.kind, table.root) == ("eav", root)
        whole = []
        for plan in subjects:
            if plan.fault:
                text = table.problems[str(plan.number)]
                assert re.search(FAULTS[plan.fault][2], text), text
                assert str(root / plan.name) in text
            elif plan.rows():
                assert str(plan.number) not in table.problems
                assert found(table, plan.number) == plan.rows()
                whole += [row for row in plan.rows() if row[4] == "Speaking"]
            else:
                assert "recordings in EEG, Audio and Video" in table.problems[str(plan.number)]
        assert set(table.problems) <= {str(plan.number) for plan in subjects}
        if whole:
            chosen = select(table, preset("quick"))
            assert sorted(map(tuple, chosen.frame[["subject", "trial"]].to_numpy())) == sorted(r[:2] for r in whole)
            assert set(fingerprint(chosen)) == set(chosen.subjects)


def _has_parts(folder: Path) -> bool:
    return folder.is_dir() and any(p.name.lower() in ("eeg", "audio", "video") for p in folder.iterdir() if p.is_dir())


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    eav_files.make_subject(root, trials=10)
    for n in range(20):
        (tmp_path / f"loop{n}").symlink_to(tmp_path)
        (root / f"loop{n}").symlink_to(tmp_path, target_is_directory=True)
    (root / "subject1" / "Video" / "self").symlink_to("self")
    (root / "subject2").symlink_to("subject2")
    table = open_table(tmp_path)
    assert table.subjects == ("1",)
    assert [note for note in table.notes if "Video/self: not part of EAV, ignored" in note]
    (tmp_path / "elsewhere").symlink_to(root, target_is_directory=True)
    assert open_table(tmp_path).root in (root, tmp_path / "elsewhere")  # the same folder: no second dataset


def test_each_folder_is_listed_folders_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        (tmp_path / str(n)).mkdir()
        for m in range(5):
            (tmp_path / str(n) / f"up{m}").symlink_to(tmp_path, target_is_directory=True)
    listed_folders: list[Path] = []
    scandir = os.scandir
    monkeypatch.setattr("os.scandir", lambda path: (listed_folders.append(Path(path)), scandir(path))[1])
    with fails(TableError, found="neither"):
        open_table(tmp_path)
    assert len(listed_folders) < 200  # 5 to the power of 8 otherwise


def test_links_to_recordings_are_followed_and_broken_ones_are_named(tmp_path: Path) -> None:
    folder = eav_files.make_subject(tmp_path / "EAV", trials=10)
    sound = folder / "Audio" / eav_files.audio_name(2)
    sound.rename(tmp_path / "there.wav")
    sound.symlink_to(tmp_path / "there.wav")
    assert not open_table(tmp_path / "EAV").problems
    (tmp_path / "there.wav").unlink()
    table = open_table(tmp_path / "EAV")
    assert f"{sound}: " in table.problems["1"]
    assert "found no file" in table.problems["1"]


def test_deep_and_wide_trees_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    here = deep
    for _ in range(60):
        here = here / "folder"
        here.mkdir()
    eav_files.make_subject(here, trials=10)
    with fails(TableError, expected="8 levels", found="neither"):
        open_table(deep)
    monkeypatch.setattr("eavdash.data.adapters.base.FOLDERS", 50)
    for a in range(10):
        for b in range(10):
            (tmp_path / "wide" / str(a) / str(b)).mkdir(parents=True)
    with fails(TableError, found="neither"):
        open_table(tmp_path / "wide")


def test_folders_that_cannot_be_listed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eav_files.make_subject(tmp_path / "EAV", "subject1", trials=10)
    eav_files.make_subject(tmp_path / "EAV", "subject2", trials=10)
    closed: set[Path] = set()
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", guarded)
    closed.add(tmp_path / "EAV" / "subject1" / "Video")
    table = open_table(tmp_path)
    assert list(table.problems) == ["1"]
    assert "subject1/Video: expected a readable folder, found Permission denied" in table.problems["1"]
    closed.add(tmp_path / "EAV" / "subject1")
    assert "subject1: expected a readable folder" in open_table(tmp_path).problems["1"]
    closed.add(tmp_path / "EAV")
    with fails(TableError, where="EAV", found="Permission denied", remedy="permissions"):
        open_table(tmp_path / "EAV")
    with fails(TableError, found="neither"):
        open_table(tmp_path)


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    folder = eav_files.make_subject(tmp_path / "EAV", trials=10)
    odd = os.fsdecode(b"\xff\xfe")
    (folder / "Video" / f"{odd}.mp4").touch()
    (folder / odd).mkdir()
    table = open_table(tmp_path)
    assert not table.problems
    assert [note for note in table.notes if r"\xff\xfe.mp4: not part of EAV, ignored" in note]
    for note in table.notes:
        note.encode()
    fingerprint(table)
    for path in (tmp_path / odd, tmp_path / odd / "EAV"):
        path.mkdir(exist_ok=True)
    eav_files.make_subject(tmp_path / odd / "EAV", trials=10)
    for path in (tmp_path / odd, tmp_path / odd / "EAV"):
        with fails(UsageError, where=r"\xff\xfe", expected="UTF-8") as error:
            open_table(path)
        str(error.value).encode()
    (tmp_path / "EAV" / "subject1").rename(tmp_path / "EAV" / "gone")
    (tmp_path / "EAV" / "gone").rename(tmp_path / odd / "subject9")
    with fails(UsageError, expected="UTF-8"):
        open_table(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / odd)
    with fails(UsageError, where=r"\xff\xfe", expected="UTF-8"):
        open_table(tmp_path / "link")


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "~no-such-user/x", "\ud800"])
def test_paths_that_cannot_be(tmp_path: Path, path: str) -> None:
    with fails(
        UsageError if path == "\ud800" else TableError,
        where=("x" * 300 if path.startswith("x") else Path(path).name.encode("utf-8", "backslashreplace").decode()),
    ):
        open_table(path)


def test_everything_ignored_is_noted(tmp_path: Path) -> None:
    folder = eav_files.make_subject(tmp_path, trials=10)
    (folder / "Video" / "more").mkdir()
    (folder / "Audio" / "001_Trial_01_Listening_Neutral_aud.wav").touch()
    eav_files.make_subject(tmp_path / "second half", "subject7", trials=10)
    notes = "\n".join(open_table(tmp_path).notes)
    assert "Video/more: not part of EAV, ignored" in notes
    assert "a sound of a listening trial, ignored" in notes
    assert "second half: further EAV subjects, not read" in notes
    (folder / "audio").mkdir()
    (folder / "audio" / eav_files.audio_name(2)).touch()
    assert "expected one audio folder, found Audio, audio" in open_table(tmp_path).problems["1"]


def test_a_subject_folder_is_not_the_dataset(tmp_path: Path) -> None:
    eav_files.make_subject(tmp_path, trials=10)
    with fails(TableError, found="neither", remedy=("all subjects", "docs/adapters.md")):
        open_table(tmp_path / "subject1")


EVERYTHING = frozenset(f"{kind} {n}" for kind in ("audio", "video") for n in range(1, 201))


def test_a_full_size_tree_is_opened_quickly(tmp_path: Path) -> None:
    """42 subjects of 302 files; the time is printed, not asserted. The names of the media are the same for all."""
    first = eav_files.make_plan(tmp_path, Plan(1, trials=200), random.Random(1))
    for n in range(2, 43):
        folder = eav_files.make_plan(tmp_path, Plan(n, trials=200, lost=EVERYTHING), random.Random(n))
        for part in ("Audio", "Video"):
            (folder / part).symlink_to(first / part, target_is_directory=True)
    begin = time.perf_counter()
    table = open_table(tmp_path)
    print(f"open_table: {time.perf_counter() - begin:.2f} s")
    assert len(table.frame) == 42 * 200
    assert not table.problems
    assert eav_root(tmp_path) == tmp_path
