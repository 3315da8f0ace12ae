"""The form for a new dataset: each error is one sentence, and nothing is written before "Add"."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from failing import fails
from streamlit.testing.v1 import AppTest
from test_pages import ROOT, checkpoints, open_page, page_text

from eavdash.data.table import open_table
from eavdash.errors import QueueError, UsageError
from eavdash.jobs import background
from eavdash.store import datasets
from eavdash.ui.data import candidate
from eavdash.ui.data.candidate import DatasetForm

__all__ = ["checkpoints"]
HEAD = "subject,trial,label,audio"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two subjects with two trials each; the sounds of anna can be read."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("anna_0", "anna_1", "bo_0"):
        soundfile.write(folder / f"{name}.wav", rng.normal(0, 0.1, 16000).astype(np.float32), 16000)
    (folder / "trials.csv").write_text(
        f"{HEAD}\nanna,0,calm,anna_0.wav\nanna,1,loud,anna_1.wav\nbo,0,calm,bo_0.wav\nbo,1,loud,gone.wav\n"
    )
    return folder


def written(root: Path) -> list[str]:
    """Return all files that the form could have written."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if ".datasets" in str(p)) if root.exists() else []


def entered(
    app: AppTest, name: str, path: str = "", upload: tuple[str, bytes] | None = None, base: str = ""
) -> AppTest:
    """Fill in the form and check it."""
    app.text_input(key="data_add_name").set_value(name)
    if upload is None:
        app.text_input(key="data_add_path").set_value(path)
    else:
        app.radio(key="data_add_source").set_value("Upload a trial table").run()
        app.file_uploader[0].upload(*upload)
        app.text_input(key="data_add_base").set_value(base)
    app.button(key="data_add_check").click().run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def can_be_added(app: AppTest) -> bool:
    return not app.button(key="data_add_add").disabled


def test_a_path_is_checked_shown_and_added(
    checkpoints: Path, sounds: Path, background_tasks: list[tuple[str, ...]]
) -> None:
    app = open_page("add")
    assert not can_be_added(app)
    entered(app, "Pilot in room 3", str(sounds))
    text = page_text(app)
    assert "4 trials of 2 subjects in 2 classes (calm, loud)" in text
    assert "gone.wav" in text  # problems are shown before the dataset is added
    assert "subject anna, trial 0 (calm)" in text
    counts = app.dataframe[0].value.set_index("Subject")
    assert counts["Audio"].to_dict() == {"anna": 2, "bo": 2}
    assert counts["Usable"].to_dict() == {"anna": True, "bo": False}
    assert len(app.get("plotly_chart")) == 1
    assert written(checkpoints) == []
    app.button(key="data_add_add").click().run()
    assert not app.exception
    assert [(d.name, d.path) for d in datasets.list_datasets(checkpoints)] == [("Pilot in room 3", str(sounds))]
    assert "Pilot in room 3 is in the list" in page_text(app)
    assert "data_add_name" not in [t.key for t in app.text_input]
    # Its recordings are checked in the background, its first trial is played, and the next steps are offered.
    assert background_tasks == [("check", "--", str(sounds))]
    assert "Subject anna, trial 0" in "".join(str(s.value) for s in app.subheader)
    assert "3 of 4 trials of 2 subjects are complete" in page_text(app)
    app.button(key="data_add_another").click().run()
    assert app.text_input(key="data_add_name").value == ""


@pytest.mark.parametrize(
    ("button", "title", "field"),
    [
        ("train", "Set up a study", "training_launch_dataset"),
        ("trials", "Trials", "data_trials_path"),
        ("health", "Health of the recordings", "data_health_path"),
    ],
)
def test_the_added_dataset_is_that_of_the_next_page(
    checkpoints: Path, sounds: Path, button: str, title: str, field: str
) -> None:
    app = open_page("launch", {"training_launch_dataset": str(sounds.parent)})  # another one was chosen before
    app.switch_page("pages/data/add.py").run()
    entered(app, "Pilot", str(sounds))
    app.button(key="data_add_add").click().run()
    app.button(key=f"data_add_{button}").click().run()
    assert not app.exception, app.exception[0].stack_trace
    assert app.title[0].value == title
    assert app.selectbox(key=field).value == str(sounds)


def test_a_reload_shows_the_added_dataset_again(
    checkpoints: Path, sounds: Path, background_tasks: list[tuple[str, ...]]
) -> None:
    datasets.add(checkpoints, "Pilot", sounds)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.query_params.update({"name": "Pilot", "path": str(sounds)})
    app.switch_page("pages/data/add.py").run()
    assert not app.exception, app.exception[0].stack_trace
    assert "Pilot is in the list" in "".join(str(s.value) for s in app.subheader)
    app.button(key="data_add_another").click().run()
    assert app.text_input(key="data_add_name").value == ""
    assert app.text_input(key="data_add_path").value == ""


def test_a_check_that_cannot_start_is_tried_once_and_says_so(
    checkpoints: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(*words: object, **_: object) -> None:
        tried.append(words)
        raise QueueError("no place in the queue.")

    monkeypatch.setattr(background, "submit_task", refuse)
    app = open_page("add")
    entered(app, "Pilot", str(sounds))
    app.button(key="data_add_add").click().run()
    for _ in range(2):
        assert "no place in the queue" in page_text(app)
        assert app.button(key="data_add_check_all")
        app.run()
    assert len(tried) == 1


def test_entries_that_change_after_the_check_cannot_be_added(checkpoints: Path, sounds: Path) -> None:
    app = entered(open_page("add"), "Pilot", str(sounds))
    assert can_be_added(app)
    app.text_input(key="data_add_name").set_value("Other").run()
    assert not can_be_added(app)
    assert "changed since they were checked" in page_text(app)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_uploaded_table_is_kept_with_absolute_paths(checkpoints: Path, sounds: Path, kind: str) -> None:
    frame = pd.read_csv(sounds / "trials.csv", dtype=str)
    content = io.BytesIO()
    if kind == "csv":
        content.write((sounds / "trials.csv").read_bytes())
    else:
        frame.assign(start=[0.0, None, 0.5, None]).to_parquet(content)
    app = entered(open_page("add"), "Pilot", upload=(f"mine.{kind}", content.getvalue()), base=str(sounds))
    assert can_be_added(app), page_text(app)
    assert written(checkpoints) == []
    app.button(key="data_add_add").click().run()
    (dataset,) = datasets.list_datasets(checkpoints)
    assert dataset.path == str(checkpoints / ".datasets" / "Pilot" / "trials.csv")
    table = open_table(dataset.path)
    assert set(table.frame["audio"]) == {str(sounds / entry) for entry in frame["audio"]}
    assert table.frame["start"].notna().sum() == (2 if kind == "parquet" else 0)
    # The field for the file is empty again.
    app.button(key="data_add_another").click().run()
    app.radio(key="data_add_source").set_value("Upload a trial table").run()
    assert app.file_uploader[0].value is None


NAMES = ("a/b", "../up", "", "x" * 61, "Taken", "taken")


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_name_is_one_sentence(checkpoints: Path, sounds: Path, name: str) -> None:
    datasets.add(checkpoints, "Taken", sounds.parent / "elsewhere")
    before = written(checkpoints)
    app = entered(open_page("add"), name, str(sounds))
    assert len(app.error) == 1
    assert app.error[0].value.startswith("dataset name")
    assert ("enter a name" in app.error[0].value) == (not name)
    assert not can_be_added(app)
    assert written(checkpoints) == before


def make_wrong(folder: Path, what: str) -> str:
    """Make a path that cannot be added, by its problem."""
    path = folder / "trials.csv"
    contents = {
        "empty file": "",
        "no trials": f"{HEAD}\n",
        "wrong columns": "person,clip\na,1\n",
        "a trial twice": f"{HEAD}\na,1,calm,x.wav\na,1,calm,x.wav\n",
        "no recording there": f"{HEAD}\na,1,calm,x.wav\n",
        "unreadable recording": f"{HEAD}\na,1,calm,bad.wav\n",
    }
    (folder / "bad.wav").write_bytes(b"no sound at all" * 100)
    if what in contents:
        path.write_text(contents[what])
        return str(path)
    if what == "nonsense parquet":
        (folder / "trials.parquet").write_bytes(b"PAR1 nonsense")
        return str(folder / "trials.parquet")
    return {"no path": "", "missing folder": str(folder / "none"), "folder of nothing": str(folder)}[what]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("no path", "dataset: expected"),
        ("missing folder", "expected a dataset folder or a trial table"),
        ("folder of nothing", "found neither"),
        ("empty file", "an empty file"),
        ("no trials", "at least one trial"),
        ("wrong columns", "no column subject"),
        ("a trial twice", "a second time"),
        ("no recording there", "no file"),
        ("unreadable recording", "bad.wav"),
        ("nonsense parquet", "a parquet file"),
    ],
)
def test_a_wrong_path_is_one_sentence(checkpoints: Path, tmp_path: Path, what: str, expected: str) -> None:
    app = entered(open_page("add"), "Pilot", make_wrong(tmp_path, what))
    assert len(app.error) == 1, page_text(app)
    assert expected in app.error[0].value.replace("\\", "")
    assert not can_be_added(app)
    assert written(checkpoints) == []


def test_the_error_of_a_listed_path_names_the_dataset(checkpoints: Path, sounds: Path) -> None:
    datasets.add(checkpoints, "Sounds", sounds)
    app = entered(open_page("add"), "Again", str(sounds))
    assert "'Sounds'" in page_text(app)


@pytest.mark.parametrize(
    ("file", "content", "base", "expected"),
    [
        ("t.csv", b"", "", "t.csv: expected a header and rows, found an empty file"),
        ("t.csv", b"\xff\xfe\x00", "", "t.csv: expected UTF-8 text"),
        ("t.parquet", b"nonsense", "", "t.parquet: expected a parquet file"),
        ("t.csv", f"{HEAD}\na,1,calm,x.wav\n".encode(), "", "x.wav: expected the folder"),
        ("t.csv", f"{HEAD}\na,1,calm,x.wav\n".encode(), "/no/such/folder", "no folder /no/such/folder"),
        ("t.csv", f"{HEAD}\na,1,calm,/no/such/x.wav\n".encode(), "", "/no/such/x.wav"),
        ("t.csv", b"0" * (6 * 2**20), "", "at most 5 MB, found 6.3 MB"),
    ],
)
def test_a_wrong_upload_is_one_sentence(checkpoints: Path, file: str, content: bytes, base: str, expected: str) -> None:
    app = entered(open_page("add"), "Pilot", upload=(file, content), base=base)
    assert len(app.error) == 1, page_text(app)
    assert expected in app.error[0].value.replace("\\", "")
    named = app.error[0].value.replace("\\", "").partition(" may read (")[0]
    assert "/tmp/" not in named.replace(str(checkpoints), "")
    assert not can_be_added(app)
    assert written(checkpoints) == []


def test_no_upload_is_one_sentence(checkpoints: Path) -> None:
    app = open_page("add")
    app.text_input(key="data_add_name").set_value("Pilot")
    app.radio(key="data_add_source").set_value("Upload a trial table").run()
    app.button(key="data_add_check").click().run()
    assert ".parquet, .xlsx, found no file" in page_text(app)


def test_200_megabytes_are_refused_before_they_are_read(checkpoints: Path) -> None:
    wish = DatasetForm("Pilot", file="huge.csv", size=200 * 2**20)
    with fails(UsageError, where="huge.csv", expected="5 MB", found="210 MB"):
        candidate.check(checkpoints, wish)


def test_a_name_taken_between_check_and_add_is_an_error(checkpoints: Path, sounds: Path) -> None:
    app = entered(open_page("add"), "Pilot", str(sounds))
    datasets.add(checkpoints, "pilot", sounds.parent)
    app.button(key="data_add_add").click().run()
    assert "dataset name" in page_text(app)
    assert [d.name for d in datasets.list_datasets(checkpoints)] == ["pilot"]


def test_removing_deletes_only_the_name(checkpoints: Path, sounds: Path) -> None:
    datasets.add(checkpoints, "Sounds", sounds)
    before = sorted((p, p.stat().st_mtime_ns) for p in sounds.rglob("*"))
    app = open_page("add")
    assert app.button(key="data_add_remove").disabled
    app.selectbox(key="data_add_remove_name").select("Sounds").run()
    app.button(key="data_add_remove").click().run()
    assert datasets.list_datasets(checkpoints) == []
    assert "Sounds was removed" in page_text(app)
    assert sorted((p, p.stat().st_mtime_ns) for p in sounds.rglob("*")) == before


def test_the_template_can_be_downloaded(checkpoints: Path) -> None:
    app = open_page("add")
    assert "Download a template" in [b.proto.label for b in app.get("download_button")]


def mapped(app: AppTest, columns: dict[str, str]) -> None:
    """Choose the file's names for these columns."""
    for name, own in columns.items():
        field = next(s for s in app.selectbox if s.label == name)
        field.set_value(own)


LAB = "Person;Clip;mood;Subject;Sound\nanna;0;calm;x;anna_0.wav\nanna;1;loud;y;anna_1.wav\n"
COLUMNS = {"subject": "Person", "trial": "Clip", "label": "mood", "audio": "Sound"}


@pytest.mark.parametrize("upload", [True, False])
def test_columns_of_other_names_are_chosen_on_the_page(checkpoints: Path, sounds: Path, upload: bool) -> None:
    app = open_page("add")
    app.text_input(key="data_add_name").set_value("Lab")
    if upload:
        app.radio(key="data_add_source").set_value("Upload a trial table").run()
        app.file_uploader[0].upload("lab.csv", LAB.encode("utf-16"))
        app.text_input(key="data_add_base").set_value(str(sounds))
    else:
        (sounds / "lab.csv").write_text(LAB.replace("Clip", "trial"))
        app.text_input(key="data_add_path").set_value(str(sounds / "lab.csv"))
    app.toggle(key="data_add_mapping").set_value(True).run()
    assert not app.exception
    fields = {s.label: s.value for s in app.selectbox}
    assert fields["subject"] == "Subject"  # its own name is the first choice
    assert fields["label"] is fields["eeg_offset"] is None
    mapped(app, COLUMNS if upload else {**COLUMNS, "trial": "trial"})
    app.button(key="data_add_check").click().run()
    assert can_be_added(app), page_text(app)
    app.button(key="data_add_add").click().run()
    assert not app.exception
    (dataset,) = datasets.list_datasets(checkpoints)
    assert dataset.path == str(checkpoints / ".datasets" / "Lab" / "trials.csv")
    frame = open_table(dataset.path).frame
    assert frame["audio"].tolist() == [str(sounds / "anna_0.wav"), str(sounds / "anna_1.wav")]
    assert frame[["subject", "label"]].to_numpy().tolist() == [["anna", "calm"], ["anna", "loud"]]


def test_the_first_line_of_any_file_is_not_offered_as_columns(checkpoints: Path, sounds: Path) -> None:
    secret = sounds / "notes.txt"
    secret.write_text("password;secret\n1;2\n")
    assert candidate.header(DatasetForm("x", path=str(secret))) == ()
    sent = DatasetForm("x", file="notes.csv", content=secret.read_bytes(), size=20)
    assert candidate.header(sent) == ("password", "secret")  # of a file that the user sent


def test_an_uploaded_workbook_is_kept_as_a_table(checkpoints: Path, sounds: Path) -> None:
    pytest.importorskip("openpyxl")
    content = io.BytesIO()
    pd.read_csv(sounds / "trials.csv").assign(start=[0.0, None, 0.5, None]).to_excel(content, index=False)
    app = entered(open_page("add"), "Book", upload=("Mine.XLSX", content.getvalue()), base=str(sounds))
    assert can_be_added(app), page_text(app)
    app.button(key="data_add_add").click().run()
    (dataset,) = datasets.list_datasets(checkpoints)
    assert open_table(dataset.path).frame["start"].notna().sum() == 2


def test_names_that_may_be_the_same_and_guesses_are_shown(checkpoints: Path, sounds: Path) -> None:
    table = f"{HEAD}\nanna,0,fröh,anna_0.wav\nanna,1,FRÖH,anna_1.wav\n".encode("cp1252")
    app = entered(open_page("add"), "Names", upload=("t.csv", table), base=str(sounds))
    assert can_be_added(app)
    text = page_text(app)
    assert "Windows-1252" in text
    assert "/tmp/" not in text.replace(str(sounds.parent), "")
    assert "one spelling of each label" in text
