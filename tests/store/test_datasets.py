"""The list of datasets: whole or not there, one entry per name, and no recording is ever touched."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eavdash.data.table import open_table
from eavdash.errors import IntegrityError, TableError, UsageError
from eavdash.store import datasets

CSV = "subject,trial,label,audio\na,1,calm,x.wav\na,2,loud,/far/y.wav\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_what_was_added_is_known_by_name_until_it_is_removed(root: Path, tmp_path: Path) -> None:
    assert datasets.known(root) == []
    assert not root.exists()
    datasets.add(root, "pilot", tmp_path / "b")
    datasets.add(root, "EAV, whole", tmp_path / "a")
    assert [(d.name, d.path) for d in datasets.known(root)] == [
        ("EAV, whole", str(tmp_path / "a")),
        ("pilot", str(tmp_path / "b")),
    ]
    datasets.remove(root, "pilot")
    assert [d.name for d in datasets.known(root)] == ["EAV, whole"]


def test_a_relative_path_is_kept_absolute(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert datasets.add(root, "here", "data").path == str(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "found none"),
        ("a/b", "no slash"),
        ("a\\b", "no slash"),
        ("..", "no dot at its beginning"),
        (".hidden", "no dot at its beginning"),
        ("two\nlines", "printable"),
        (" padded", "printable"),
        ("x" * 61, "1 to 60"),
        ("Pilot", "not in the list"),
    ],
)
def test_a_name_that_cannot_be_used_is_one_sentence(root: Path, tmp_path: Path, name: str, said: str) -> None:
    datasets.add(root, "pilot", tmp_path)
    before = datasets.list_file(root).read_bytes()
    with pytest.raises(UsageError, match=said):
        datasets.add(root, name, tmp_path / "other")
    assert datasets.list_file(root).read_bytes() == before


def test_a_dataset_has_one_name(root: Path, tmp_path: Path) -> None:
    datasets.add(root, "pilot", tmp_path)
    with pytest.raises(UsageError, match="'pilot'; choose that one"):
        datasets.add(root, "again", tmp_path)


def test_removing_what_is_not_there_names_what_is(root: Path, tmp_path: Path) -> None:
    datasets.add(root, "pilot", tmp_path)
    with pytest.raises(UsageError, match="found pilot"):
        datasets.remove(root, "pilto")


def test_removing_touches_no_recording(root: Path, tmp_path: Path) -> None:
    table = datasets.save_table(root, "pilot", CSV.replace("x.wav", "/x.wav"), "")
    datasets.add(root, "pilot", table)
    datasets.remove(root, "pilot")
    assert table.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"datasets": [{"name": "a"}]}', '{"datasets": [{"name": 1, "path": ""}]}']
)
def test_a_damaged_list_is_named_and_left_as_it_is(root: Path, text: str) -> None:
    root.mkdir()
    file = datasets.list_file(root)
    file.write_text(text)
    for act in (
        lambda: datasets.known(root),
        lambda: datasets.add(root, "b", "/b"),
        lambda: datasets.remove(root, "a"),
    ):
        with pytest.raises(IntegrityError, match=r"\.datasets\.json: expected the list of datasets"):
            act()
    assert file.read_text() == text


def test_all_who_add_at_once_find_theirs(root: Path) -> None:
    def add(n: int) -> None:
        datasets.add(root, f"set {n}", f"/data/{n}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    code = "import sys; from pathlib import Path; from eavdash.store import datasets\n"
    code += "[datasets.add(Path(sys.argv[1]), f'p{sys.argv[2]} {n}', f'/p{sys.argv[2]}/{n}') for n in range(5)]"
    running = [subprocess.Popen([sys.executable, "-c", code, str(root), str(p)]) for p in range(2)]
    assert [p.wait() for p in running] == [0, 0]
    assert len(datasets.known(root)) == 34
    assert not list(root.glob("*.tmp"))


def test_one_of_two_who_want_the_same_name_is_told(root: Path) -> None:
    def add(n: int) -> str:
        try:
            datasets.add(root, "wanted", f"/data/{n}")
        except UsageError:
            return "told"
        return "added"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(add, range(8))) == ["added", *["told"] * 7]


def test_an_interrupted_write_leaves_the_list_that_was_there(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.add(root, "pilot", tmp_path)

    def die(path: Path, data: object) -> None:
        (path.parent / f".{path.name}.half.tmp").write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "write_json", die)
    with pytest.raises(KeyboardInterrupt):
        datasets.add(root, "next", tmp_path / "next")
    assert [d.name for d in datasets.known(root)] == ["pilot"]


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a checkpoints folder that can be written"):
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
def test_relative_paths_need_a_folder_that_is_there(root: Path, base: str) -> None:
    with pytest.raises(TableError, match=r"x\.wav: expected the folder"):
        datasets.save_table(root, "pilot", CSV, base)
    assert not root.exists()


def test_a_table_that_studies_may_have_used_is_not_overwritten(root: Path) -> None:
    first = datasets.save_table(root, "pilot", CSV.replace("x.wav", "/1.wav"), "")
    second = datasets.save_table(root, "pilot", CSV.replace("x.wav", "/2.wav"), "")
    assert first != second
    assert "/1.wav" in first.read_text()
    assert datasets.save_table(root, "pilot", CSV.replace("x.wav", "/2.wav"), "") == second
