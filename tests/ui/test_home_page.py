"""The home page: the doors of a first visit; what runs, what failed, the latest results, and what to look at next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_study import make_study
from streamlit.testing.v1 import AppTest
from test_pages import ROOT, checkpoints, open_page, page_text

from eavdash import __version__
from eavdash.cli import main as cli
from eavdash.jobs import background
from eavdash.store.task import TaskDir, TaskStatus
from eavdash.ui import edge
from eavdash.ui.home import documents

__all__ = ["checkpoints"]


def headings(app: AppTest) -> list[str]:
    return [str(s.value) for s in app.subheader]


@pytest.fixture
def demo_task(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that are submitted; each becomes a task that runs."""
    asked: list[tuple[str, ...]] = []

    def submit(root: Path, command: list[str], *, title: str, study: str = "") -> TaskDir:
        asked.append(background.checked_command(root, command))
        task = TaskDir(root, f"{command[0]}-{len(asked)}")
        task.create(TaskStatus(state="queued", command=tuple(command), title=title, study=study))
        return task

    monkeypatch.setattr(background, "submit_task", submit)
    return asked


def test_a_first_visit_shows_three_doors(checkpoints: Path) -> None:
    app = open_page("home")
    assert app.title[0].value == "eavdash"
    assert headings(app) == ["Try the demo", "Add your recordings", "Open existing studies"]
    assert str(checkpoints) in page_text(app)
    assert "Now" not in headings(app)


def test_the_demo_is_a_task_whose_command_the_command_line_knows(
    checkpoints: Path, demo_task: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EAVDASH_DATA", f'["{tmp_path}"]')
    app = open_page("home")
    app.button(key="home_overview_make").click().run()
    assert not app.exception
    assert demo_task == [("demo", "--no-serve", f"--out={tmp_path / 'demo-data'}")]
    options = cli.parser().parse_args(list(demo_task[0]))
    assert (options.serve, options.out) == (False, str(tmp_path / "demo-data"))
    assert "home_overview_make" not in [b.key for b in app.button]
    assert "Demo: queued" in page_text(app)
    TaskDir(checkpoints, "demo-1").transition("running")
    TaskDir(checkpoints, "demo-1").transition("failed", reason="the disk is full")
    text = page_text(app.run())
    assert "Demo: failed; the disk is full." in text
    assert "home_overview_demo_retry" in [b.key for b in app.button]


def test_without_a_folder_to_write_to_the_demo_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EAVDASH_DATA", f'["{tmp_path / "none"}"]')
    app = open_page("home")
    assert app.button(key="home_overview_make").disabled
    assert "start it with --data" in page_text(app)


@pytest.mark.parametrize(
    ("typed", "expected"), [("", "found nothing"), ("empty", "a folder without any"), ("gone", "no such folder")]
)
def test_a_folder_without_studies_is_not_opened(
    typed: str, expected: str, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "is_private", lambda: True)
    (tmp_path / "empty").mkdir()
    app = open_page("home")
    app.text_input(key="home_overview_folder").set_value(str(tmp_path / typed) if typed else "").run()
    app.button(key="home_overview_open").click().run()
    assert expected in app.error[0].value.replace("\\", "")
    assert os.environ["EAVDASH_CHECKPOINTS"] == str(checkpoints)


def test_the_owner_opens_another_checkpoints_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(tmp_path / "other", "theirs")
    assert "home_overview_folder" not in [t.key for t in open_page("home").text_input]  # others get the command
    monkeypatch.setattr(edge, "is_private", lambda: True)
    app = open_page("home")
    app.text_input(key="home_overview_folder").set_value(str(tmp_path / "other")).run()
    app.button(key="home_overview_open").click().run()
    assert not app.exception
    assert os.environ["EAVDASH_CHECKPOINTS"] == str(tmp_path / "other")
    assert app.selectbox(key="study").value == "theirs"
    assert "Latest results" in headings(app)


def test_with_results_there_are_bars_and_what_to_look_at_next(checkpoints: Path) -> None:
    make_study(checkpoints, "pilot")
    app = open_page("home")
    assert headings(app) == ["Now", "Latest results", "Look at next"]
    chart = next(c for c in app.get("plotly_chart") if c.key == "home_overview_bars_pilot")
    assert all(name in chart.proto.spec for name in ("Vision", "Audio", "EEG", "Fusion"))
    text = page_text(app)
    assert "Nothing is running." in text
    assert "its surest mistake" in text
    assert "have not been checked" in text


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("Explain this trial", "One trial"),
        ("See its trials", "Accuracy per subject"),
        ("See the statistics", "Statistics"),
        ("Check the recordings", "Health of the recordings"),
        ("Open", "Accuracy per subject"),
    ],
)
def test_each_suggestion_opens_its_page(label: str, title: str, checkpoints: Path) -> None:
    make_study(checkpoints, "older")
    make_study(checkpoints, "pilot")
    app = open_page("home", {"study": "older"})
    sentence = page_text(app)
    next(b for b in app.button if b.label == label and "older" not in b.key).click().run()
    assert not app.exception, app.exception[0].stack_trace
    assert app.title[0].value == title
    assert app.selectbox(key="study").value == "pilot"
    if label == "Explain this trial":
        trial, subject = (
            app.selectbox(key="explain_trial_trial").value,
            app.selectbox(key="explain_trial_subject").value,
        )
        assert f"in trial {trial} of subject {subject}," in sentence
    if label == "See its trials":
        assert f"Subject {app.selectbox(key='results_subjects_subject').value} is recognised worst" in sentence
    if label == "Check the recordings":
        assert app.selectbox(key="data_health_path").value == "/nowhere/EAV"


def test_what_runs_and_what_failed_is_shown_with_its_reason(checkpoints: Path) -> None:
    study = make_study(checkpoints, "pilot", states={"*": "queued", "s01-eeg": "failed"})
    study.run("s01-eeg").update(reason="no EEG file of trial 3")
    study.run("s01-audio").update(submission="asked")
    app = open_page("home")
    text = page_text(app)
    assert headings(app) == ["Now", "Needs attention"]
    assert "12 runs: 11 queued, 1 failed" in text
    assert "pilot: 1 of 12 runs failed." in text.replace("*", "")
    assert "s01-eeg: no EEG file of trial 3" in text
    assert "as soon as the first run is done" in text
    next(b for b in app.button if b.label == "See why").click().run()
    assert app.title[0].value == "Runs"
    assert app.session_state["training_monitor_chosen"] == ["s01-eeg"]


def test_a_damaged_study_needs_attention_and_stops_nothing(checkpoints: Path) -> None:
    make_study(checkpoints, "pilot")
    make_study(checkpoints, "torn").study_file.write_text("{")
    app = open_page("home", {"study": "pilot"})
    assert "torn: " in page_text(app)
    assert "Needs attention" in headings(app)
    assert "home_overview_bars_pilot" in [c.key for c in app.get("plotly_chart")]


@pytest.mark.parametrize("page", ["home", "subjects", "add", "launch"])
def test_name_version_and_documentation_are_on_every_page(page: str) -> None:
    app = open_page(page)
    assert f"eavdash {__version__}" in [c.value for c in app.sidebar.caption]
    assert "Docs" in [link.proto.label for link in app.sidebar.get("page_link")]


def test_every_document_is_shown_and_its_links_stay_in_the_app() -> None:
    names = documents.titles(ROOT / "docs")
    assert next(iter(names)) == "guide"
    assert set(names) == {file.stem for file in (ROOT / "docs").glob("*.md")}
    app = open_page("docs")
    app.selectbox(key="home_docs_document").set_value("receipts").run()
    assert "receipts" in app.query_params["document"]
    text = "See [data](data.md#x), [gone](gone.md), [help](../CONTRIBUTING.md)."
    assert documents.linked(text, names) == "See [data](docs?document=data), [gone](gone.md), help."


def test_without_documents_the_page_says_where_they_are(tmp_path: Path) -> None:
    assert documents.titles(tmp_path) == {}
