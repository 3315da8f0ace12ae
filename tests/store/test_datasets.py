"""The list of datasets: atomic writes, one entry per name, and recordings that are never touched."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from failing import fails

from eavdash.data.table import open_table
from eavdash.errors import IntegrityError, TableError, UsageError
from eavdash.store import datasets

CSV = "subject,trial,label,audio\na,1,calm,x.wav\na,2,loud,/far/y.wav\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_an_added_dataset_is_listed_until_it_is_removed(root: Path, tmp_path: Path) -> None:
    assert datasets.list_datasets(root) == []
    assert not root.exists()
    datasets.add(root, "pilot", tmp_path / "b")
    datasets.add(root, "EAV, whole", tmp_path / "a")
    assert [(d.name, d.path) for d in datasets.list_datasets(root)] == [
        ("EAV, whole", str(tmp_path / "a")),
        ("pilot", str(tmp_path / "b")),
    ]
    datasets.remove(root, "pilot")
    assert [d.name for d in datasets.list_datasets(root)] == ["EAV, whole"]


def test_a_path_that_is_not_utf_8_is_one_sentence(root: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"data\xff")
    with fails(UsageError, where=r"data\xff", expected="UTF-8"):
        datasets.add(root, "odd", odd)
    with fails(UsageError, where=r"data\xff", expected="UTF-8"):
        datasets.add(root, "odd", tmp_path / "table", [str(odd)])
    assert datasets.list_datasets(root) == []


def test_a_relative_path_is_kept_absolute(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert datasets.add(root, "here", "data").path == str(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "expected", "found"),
    [
        ("", "1 to 60", "none"),
        ("a/b", "slash", "'a/b'"),
        ("a\\b", "slash", repr("a\\b")),
        ("..", "dot", "'..'"),
        (".hidden", "dot", "'.hidden'"),
        ("two\nlines", "printable", repr("two\nlines")),
        (" padded", "printable", "' padded'"),
        ("x" * 61, "1 to 60", "x" * 61),
        ("Pilot", "list", "'pilot'"),
    ],
)
def test_an_invalid_name_is_refused(root: Path, tmp_path: Path, name: str, expected: str, found: str) -> None:
    datasets.add(root, "pilot", tmp_path)
    before = datasets.list_file(root).read_bytes()
    with fails(UsageError, where="dataset name", expected=expected, found=found):
        datasets.add(root, name, tmp_path / "other")
    assert datasets.list_file(root).read_bytes() == before


def test_a_dataset_has_one_name(root: Path, tmp_path: Path) -> None:
    datasets.add(root, "pilot", tmp_path)
    with fails(UsageError, where=str(tmp_path), found="'pilot'"):
        datasets.add(root, "again", tmp_path)


def test_removing_an_unknown_dataset_lists_the_known_ones(root: Path, tmp_path: Path) -> None:
    datasets.add(root, "pilot", tmp_path)
    with fails(UsageError, where=".datasets.json", expected="'pilto'", found="pilot"):
        datasets.remove(root, "pilto")


def test_removing_touches_no_recording(root: Path, tmp_path: Path) -> None:
    table = datasets.save_table(root, "pilot", CSV.replace("x.wav", "/x.wav"), "")
    datasets.add(root, "pilot", table)
    datasets.remove(root, "pilot")
    assert table.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"datasets": [{"name": "a"}]}', '{"datasets": [{"name": 1, "path": ""}]}']
)
def test_a_damaged_list_is_named_and_not_changed(root: Path, text: str) -> None:
    root.mkdir()
    file = datasets.list_file(root)
    file.write_text(text)
    for act in (
        lambda: datasets.list_datasets(root),
        lambda: datasets.add(root, "b", "/b"),
        lambda: datasets.remove(root, "a"),
    ):
        with fails(IntegrityError, where=".datasets.json", remedy="delete it"):
            act()
    assert file.read_text() == text


def test_concurrent_additions_are_all_kept(root: Path) -> None:
    def add(n: int) -> None:
        datasets.add(root, f"set {n}", f"/data/{n}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    code = "import sys; from pathlib import Path; from eavdash.store import datasets\n"
    code += "[datasets.add(Path(sys.argv[1]), f'p{sys.argv[2]} {n}', f'/p{sys.argv[2]}/{n}') for n in range(5)]"
    running = [subprocess.Popen([sys.executable, "-c", code, str(root), str(p)]) for p in range(2)]
    assert [p.wait() for p in running] == [0, 0]
    assert len(datasets.list_datasets(root)) == 34
    assert not list(root.glob("*.tmp"))


def test_of_concurrent_additions_under_one_name_only_one_succeeds(root: Path) -> None:
    def add(n: int) -> str:
        try:
            datasets.add(root, "wanted", f"/data/{n}")
        except UsageError:
            return "refused"
        return "added"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(add, range(8))) == ["added", *["refused"] * 7]


def test_an_interrupted_write_keeps_the_old_list(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets.add(root, "pilot", tmp_path)

    def die(path: Path, data: object, **_: object) -> None:
        (path.parent / f".{path.name}.half.tmp").write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "write_record", die)
    with pytest.raises(KeyboardInterrupt):
        datasets.add(root, "next", tmp_path / "next")
    assert [d.name for d in datasets.list_datasets(root)] == ["pilot"]


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with fails(UsageError, where=str(tmp_path / "file" / "checkpoints"), remedy="EAVDASH_CHECKPOINTS"):
        datasets.add(tmp_path / "file" / "checkpoints", "pilot", tmp_path)


def test_a_saved_table_has_absolute_paths_and_can_be_opened(root: Path, tmp_path: Path) -> None:
    base = tmp_path / "recordings"
    base.mkdir()
    (base / "x.wav").write_bytes(b"RIFF")
    path = datasets.save_table(root, "pilot, spring", CSV, base)
    assert path.name == "trials.csv"
    assert path.parent.parent == root / ".datasets"
    assert list(open_table(path).frame["audio"]) == [str(base / "x.wav"), "/far/y.wav"]


def test_entries_that_name_a_trial_keep_their_number(tmp_path: Path) -> None:
    text = datasets.absolute_paths('subject,trial,label,eeg\na,1,calm,"s 1/e,e.mat#41"\nb,1,calm,\n', tmp_path)
    assert text == f'subject,trial,label,eeg\na,1,calm,"{tmp_path}/s 1/e,e.mat#41"\nb,1,calm,\n'


@pytest.mark.parametrize("base", ["", "/no/such/folder"])
def test_relative_paths_need_an_existing_folder(root: Path, base: str) -> None:
    with fails(TableError, where="x.wav", found=base or "none"):
        datasets.save_table(root, "pilot", CSV, base)
    assert not root.exists()


def test_a_table_that_studies_may_have_used_is_not_overwritten(root: Path) -> None:
    first = datasets.save_table(root, "pilot", CSV.replace("x.wav", "/1.wav"), "")
    second = datasets.save_table(root, "pilot", CSV.replace("x.wav", "/2.wav"), "")
    assert first != second
    assert "/1.wav" in first.read_text()
    assert datasets.save_table(root, "pilot", CSV.replace("x.wav", "/2.wav"), "") == second
