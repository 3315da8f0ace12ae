"""The health page in each of its states, with a handmade report instead of a scan, in a task that runs at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from fake_health import empty_report, finding, make_report, with_odd_names
from fake_study import make_study
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest
from test_pages import ROOT, checkpoints, open_page, page_text

from eavdash.cli.main import main
from eavdash.errors import QueueError
from eavdash.health.report import HealthReport
from eavdash.jobs import background
from eavdash.store import datasets, locks
from eavdash.store.atomic import boot_clock, host
from eavdash.store.task import TaskDir, TaskStatus

__all__ = ["checkpoints"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A trial table; its recordings do not exist, as these tests replace the scan."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"RIFF")
    rows = [f"{s},{t},{'calm' if t else 'loud'},a.wav,a.wav" for s in (1, 2) for t in range(4)]
    (folder / "trials.csv").write_text("\n".join(["subject,trial,label,audio,video", *rows]))
    return folder


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch, background_tasks: list[tuple[str, ...]]):
    """A replaced scan; ``answer`` is its report, ``calls`` has the path of each call, ``asked`` the tasks."""

    class Scan:
        def __init__(self) -> None:
            self.answer: HealthReport = make_report()
            self.calls: list[str] = []
            self.asked = background_tasks

        def __call__(self, path: str, *settings: object, **more: object) -> HealthReport:
            self.calls.append(path)
            return self.answer

    made = Scan()
    monkeypatch.setattr("eavdash.health.check.check_dataset", made)
    return made


def health(table: Path, **session: object) -> AppTest:
    return open_page("health", {"data_health_path": str(table), **session})


def keys(app: AppTest) -> set[str]:
    return {str(element.key) for kind in (app.button, app.download_button, app.dataframe) for element in kind}


def test_ready_the_summary_comes_first(table: Path, scan) -> None:
    app = health(table)
    assert [e.value for e in app.error] == [
        "Some recordings cannot be used: 6 of 8 trials of 2 subjects are complete. 2 errors, 1 warning, 1 note."
    ]
    assert "20 files opened, 4 unchanged" in page_text(app)
    shown = app.dataframe[0].value
    assert shown["Audio"].tolist() == [2, 4]
    assert shown["Audio missing"].tolist() == [2, 0]
    assert {"data_health_labels", "data_health_durations", "data_health_faces"} <= {
        str(c.key) for c in app.get("plotly_chart")
    } or len(app.get("plotly_chart")) == 3


def test_whole_and_partly_usable_datasets_differ_in_colour_and_text(table: Path, scan) -> None:
    scan.answer = make_report(errors=0, warnings=0)
    assert [s.value for s in health(table).success] == ["All 8 trials of 2 subjects can be used. 1 note."]


def test_only_warnings_are_a_warning(table: Path, scan) -> None:
    scan.answer = make_report(errors=0)
    app = health(table)
    assert not app.error
    assert not app.success
    assert len(app.warning) == 1


def test_a_first_check_starts_by_itself_as_a_task_and_once(table: Path, scan) -> None:
    app = health(table)
    app.run()
    assert scan.asked == [("check", "--", str(table))]
    assert scan.calls == [str(table)]
    assert "s ago: 20 files opened" in page_text(app)
    scan.answer = make_report(errors=0, warnings=0)
    app.button(key="data_health_again").click().run()
    assert len(scan.calls) == 2
    assert app.success


def test_the_report_of_the_command_line_is_the_pages(table: Path, scan, checkpoints: Path) -> None:
    assert main(["check", str(table), "--checkpoints", str(checkpoints)]) == 1
    assert health(table).dataframe
    assert scan.asked == []
    main(["check", str(table), "--checkpoints", str(checkpoints), "--no-faces"])  # not what the page shows
    assert "The recordings have changed" not in page_text(health(table))


def test_a_report_of_other_recordings_says_so(table: Path, scan) -> None:
    health(table)
    (table / "a.wav").write_bytes(b"RIFF more")
    st.cache_data.clear()
    app = health(table)
    assert "The recordings have changed since this check" in page_text(app)
    app.button(key="data_health_again").click().run()
    assert "The recordings have changed" not in page_text(app)


def test_while_a_check_runs_its_progress_is_shown_and_it_can_be_cancelled(
    table: Path, scan, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TaskDir(checkpoints, "check-1")
    command = ("check", "--", str(table))
    fields = {"command": command, "title": "Check of set", "created": time.time(), "started": time.time() - 10}
    status = {"host": host(), "heartbeat": time.time(), "beat": boot_clock(), "pid": 1}
    task.create(TaskStatus(state="running", done=100, total=400, doing="checking files", **fields, **status))
    lock = locks.acquire(task.lock_file)
    assert lock is not None
    try:
        app = health(table)
        assert "Check of set: checking files, 100 of 400" in page_text(app)
        assert not app.dataframe
        assert "data_health_check_cancel" in keys(app)
        main(["check", str(table), "--checkpoints", str(checkpoints)])
        task.update({"state": "running"}, created=time.time(), heartbeat=time.time(), beat=boot_clock())
        app = health(table)  # a second check: the report of the first stays
        assert app.dataframe
        assert "100 of 400" in page_text(app)
        assert app.button(key="data_health_again").disabled
    finally:
        os.close(lock)
    task.transition("failed", reason="the disk is full")
    assert "the disk is full" in page_text(health(table))
    assert scan.asked == []


def test_the_check_of_a_large_dataset_is_confirmed(table: Path, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eavdash.ui.scanning.CHECK_AT_ONCE", 1)
    app = health(table)
    assert "2 files to check, in the background; that may take minutes." in page_text(app)
    assert not app.dataframe
    assert scan.asked == []
    app.button(key="data_health_start").click().run()
    assert app.dataframe
    assert "data_health_start" not in keys(app)


def test_a_check_that_cannot_start_is_a_message_and_a_button(
    table: Path, scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise QueueError("no place in the queue.")

    monkeypatch.setattr(background, "submit_task", refuse)
    app = health(table)
    for _ in range(2):  # also when another choice has run the page again
        assert "no place in the queue" in page_text(app)
        assert "data_health_start" in keys(app)
        app.run()


def test_a_second_check_that_cannot_start_says_so_until_it_starts(
    table: Path, scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = health(table)
    submit = background.submit_task

    def refuse(*_: object, **__: object) -> None:
        raise QueueError("no place in the queue.")

    monkeypatch.setattr(background, "submit_task", refuse)
    app.button(key="data_health_again").click().run()
    assert "no place in the queue" in page_text(app.run())
    assert app.dataframe, "the report of the first check stays"
    monkeypatch.setattr(background, "submit_task", submit)
    app.button(key="data_health_again").click().run()
    assert "no place in the queue" not in page_text(app)


def test_failed_a_dataset_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    app = health(tmp_path / "none")
    assert len(app.error) == 1
    assert "expected a dataset folder or a trial table" in page_text(app)


def test_failed_while_it_is_scanned(table: Path, scan) -> None:
    scan.answer = empty_report()
    app = health(table)
    assert "This dataset cannot be used as it is." in page_text(app)
    assert "record 1 again" in page_text(app)
    assert "data_health_table" not in keys(app)


def test_no_findings(table: Path, scan) -> None:
    scan.answer = make_report(errors=0, warnings=0, notes=0)
    assert "No problems found." in page_text(health(table))


def bullets(app: AppTest) -> list[str]:
    return [line for m in app.markdown for line in m.value.splitlines() if line.startswith("- :")]


def test_findings_are_filtered_by_severity_and_have_a_remedy(table: Path, scan) -> None:
    app = health(table)
    assert app.button_group(key="data_health_severity").value == ["error", "warning"]
    assert len(bullets(app)) == 3
    assert "record 0 again" in page_text(app)
    app.button_group(key="data_health_severity").set_value(["info"]).run()
    assert len(bullets(app)) == 1
    assert bullets(app)[0].startswith("- :gray-badge[note]")
    app.button_group(key="data_health_severity").set_value([]).run()
    assert bullets(app) == []


def test_another_report_shows_its_own_severities(table: Path, scan) -> None:
    app = health(table)
    app.button_group(key="data_health_severity").set_value(["warning"]).run()
    scan.answer = make_report(errors=0, warnings=0)
    app.button(key="data_health_again").click().run()
    assert app.button_group(key="data_health_severity").value == ["info"]
    assert len(bullets(app)) == 1


def test_markdown_in_findings_is_escaped(table: Path, scan) -> None:
    line = bullets(health(table))[0]
    assert r"0\_a\*b.wav" in line
    assert r"\$1 \[x\]" in line


def test_many_findings_are_a_table_on_request(table: Path, scan) -> None:
    scan.answer = make_report(errors=4, warnings=0)
    many = tuple(finding("error", str(n), number=n) for n in range(25))
    scan.answer = HealthReport(**{**vars(scan.answer), "findings": many})
    app = health(table)
    assert len(bullets(app)) == 10
    assert "All 25 as a table" in [e.label for e in app.expander]
    app = health(table, data_health_findings_open=True)
    (shown,) = [d.value for d in app.dataframe if "What to do" in d.value]
    assert len(shown) == 25
    assert shown["What to do"].tolist() == [f.remedy for f in many]


def test_recordings_are_shown_a_modality_and_a_subject_at_a_time(table: Path, scan) -> None:
    app = health(table, data_health_recordings_open=True)
    frames = [d.value for d in app.dataframe if "File" in d.value]
    assert len(frames[0]) == 8
    assert "Frames" in frames[0]
    app.button_group(key="data_health_recordings_modality").set_value("audio").run()
    app.selectbox(key="data_health_recordings_subject").select("2").run()
    (frame,) = [d.value for d in app.dataframe if "File" in d.value]
    assert len(frame) == 4
    assert "Clipped, %" in frame


def test_trials_per_protocol_and_the_problem_of_one(table: Path, scan) -> None:
    app = health(table, data_health_folds_open=True)
    (shown,) = [d.value for d in app.dataframe if "Protocol" in d.value]
    assert shown["Folds"].tolist() == [3, 0]
    assert "needs 3 subjects" in page_text(app)
    (folds,) = [d.value for d in app.dataframe if "Fold" in d.value]
    assert len(folds) == 3


def test_exports_are_made_of_the_report(table: Path, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}

    def download(label: str, data: Callable[[], bytes], file: str, mime: str, **options: object) -> bool:
        made[file] = data()
        return False

    monkeypatch.setattr("streamlit.download_button", download)
    health(table)
    assert set(made) == {"findings.csv", "recordings.csv", "health.json"}
    assert made["findings.csv"].count(b"\n") == 1 + len(scan.answer.findings)
    assert made["recordings.csv"].count(b"\n") == 1 + len(scan.answer.recordings)
    assert b'"findings"' in made["health.json"]


def test_names_that_are_not_utf8_do_not_stop_the_page(table: Path, scan) -> None:
    scan.answer = with_odd_names(make_report())
    app = health(table, data_health_recordings_open=True)
    assert "cafxe9.wav" in page_text(app)  # its backslash is removed too


def test_the_contact_sheet_is_made_on_request_and_once(
    table: Path, scan, monkeypatch: pytest.MonkeyPatch, checkpoints: Path
) -> None:
    from PIL import Image

    asked: list[pd.DataFrame] = []
    bars: list[str] = []
    whole = DeltaGenerator.progress
    monkeypatch.setattr(DeltaGenerator, "progress", lambda self, n, text: bars.append(text) or whole(self, n, text))

    def sheet(rows: pd.DataFrame, config: object, report: Callable[[int, int], object]) -> Image.Image:
        asked.append(rows)
        report(1, 2)
        return Image.new("RGB", (40, 30), "grey")

    monkeypatch.setattr("eavdash.data.video.contact_sheet.contact_sheet", sheet)
    app = health(table)
    assert not asked
    app.selectbox(key="data_health_sheet_subject").select("2")
    app.button(key="data_health_sheet_go").click().run()
    assert not app.exception
    assert [set(rows["subject"]) for rows in asked] == [{"2"}]
    assert len(app.image) == 1
    assert bars == ["Looking for faces: 1 of 2 trials"]
    assert app.query_params["sheet_subject"] == "2"
    app.run()
    assert len(asked) == 1


def test_a_contact_sheet_that_cannot_be_made_is_a_sentence(table: Path, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    from eavdash.errors import DataError

    def sheet(*arguments: object, **options: object) -> None:
        raise DataError("faces: expected the package, found none; pip install it.")

    monkeypatch.setattr("eavdash.data.video.contact_sheet.contact_sheet", sheet)
    app = health(table)
    app.button(key="data_health_sheet_go").click().run()
    assert "pip install it" in page_text(app)


@pytest.mark.parametrize(("page", "key"), [("health", "data_health_path"), ("launch", "training_launch_dataset")])
def test_the_dataset_field_offers_the_list_and_the_studys_dataset(
    page: str, key: str, table: Path, scan, checkpoints: Path
) -> None:
    make_study(checkpoints, "first", dataset=table)
    datasets.add(checkpoints, "Pilot", table.parent / "elsewhere")
    app = open_page(page)
    field = app.selectbox(key=key)
    assert field.value is None
    assert field.options == [f"Pilot · {table.parent / 'elsewhere'}", str(table)]
    field.select(str(table.parent / "elsewhere")).run()
    assert "elsewhere: expected a dataset folder" in page_text(app)
    app.switch_page(str(ROOT / "pages/training/monitor.py")).run()
    app.switch_page(str(ROOT / f"pages/{'data' if page == 'health' else 'training'}/{page}.py")).run()
    assert app.selectbox(key=key).value == str(table.parent / "elsewhere")


def test_a_typed_name_is_the_dataset_of_that_name(table: Path, scan, checkpoints: Path) -> None:
    datasets.add(checkpoints, "Pilot", table)
    app = open_page("health", {"data_health_path": " Pilot "})
    assert scan.calls == [str(table)]
    assert app.selectbox(key="data_health_path").value == str(table)


def test_a_damaged_list_is_reported_and_does_not_stop_the_page(table: Path, scan, checkpoints: Path) -> None:
    checkpoints.mkdir()
    datasets.list_file(checkpoints).write_text("{")
    app = health(table)
    assert ".datasets.json: expected JSON" in page_text(app)
    assert app.dataframe
