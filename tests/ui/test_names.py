"""Names from strangers, on every page, in every figure and every export: shown as they are, and read by nothing."""

from __future__ import annotations

import csv
import html
import io
from pathlib import Path

import hostile
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from eavdash.report.figures import health_tables, plain
from eavdash.ui import widgets

ROOT = Path(__file__).resolve().parents[2]
DATASET = ("training_launch_dataset", "data_health_path", "data_trials_path")
PAGES = {
    "pages/home/overview.py": {},
    "pages/data/add.py": {},
    "pages/results/subjects.py": {"results_subjects_subject": hostile.NAME},
    "pages/results/statistics.py": {"results_statistics_split": hostile.COLUMN},
    "pages/results/compare.py": {},
    "pages/explain/trial.py": {
        "explain_target": (hostile.NAME, f"{hostile.NAME} 2"),
    },
    "pages/explain/attention.py": {"explain_attention_heads": True},
    "pages/training/launch.py": {"training_launch_name": hostile.STUDY},
    "pages/training/monitor.py": {},
    "pages/training/studies.py": {"training_studies_choice": hostile.STUDY, "training_studies_grow": True},
    "pages/data/health.py": {"data_health_recordings_open": True, "data_health_findings_open": True},
    "pages/data/trials.py": {"data_trials_subject": hostile.NAME},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hostile")
    hostile.study(made / "checkpoints", hostile.dataset(made / "data"))
    return made


@pytest.fixture(autouse=True)
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(folder / "checkpoints"))


def opened(page: str, folder: Path) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.run()
    for key in DATASET:
        app.session_state[key] = str(folder / "data" / "trials.csv")
    for key, value in PAGES[page].items():
        app.session_state[key] = value
    app.switch_page(page).run()
    assert not app.exception, app.exception[0].stack_trace
    if page == "pages/training/monitor.py":
        run = next(run.name for run in widgets.StudyDir(folder / "checkpoints" / hostile.STUDY).runs())
        app.session_state["training_monitor_chosen"] = [run]
        app.run()
        assert not app.exception, app.exception[0].stack_trace
    return app


@pytest.mark.parametrize("page", PAGES)
def test_no_page_and_no_figure_reads_a_name(page: str, folder: Path) -> None:
    messages = hostile.elements(opened(page, folder)._tree)
    texts = hostile.markdown_texts(messages)
    read = [(part, text) for text in texts for part in hostile.IN_MARKDOWN if part in text.replace("\\" + part, "")]
    assert not read
    drawn = [found for figure in hostile.figures(messages) for found in hostile.figure_texts(figure)]
    assert not [found for found in drawn for part in hostile.IN_FIGURES if part in found[1].replace("%{customdata", "")]
    assert not [text for key, text in drawn if "template" in key and "evil" in text]
    shown = [hostile.as_read(text) for text in texts] + [html.unescape(text) for _, text in drawn]
    named = any(hostile.NAME in text or hostile.STUDY in text for text in shown)
    assert named or page in ("pages/training/launch.py", "pages/data/add.py"), (
        "the names are on the page, as they were written"
    )


def test_a_click_in_a_figure_selects_the_subject_of_that_name(folder: Path) -> None:
    app = opened("pages/results/subjects.py", folder)
    (figure, *_) = hostile.figures(hostile.elements(app._tree))
    drawn = next(x for x in figure["data"][0]["x"] if "&lt;" in x)
    event = {"selection": {"points": [{"x": drawn, "customdata": [drawn, "eeg"]}]}}
    assert widgets.selected_points(event) == [{"x": hostile.NAME, "customdata": [hostile.NAME, "eeg"]}]


def test_every_figure_passes_the_one_function() -> None:
    files = [*(ROOT / "eavdash").rglob("*.py"), *(ROOT / "pages").rglob("*.py"), ROOT / "app.py"]
    users = [file.name for file in files if "st.plotly_chart" in file.read_text(encoding="utf-8")]
    assert users == ["widgets.py"]


def test_a_figure_without_special_names_stays_as_it_is() -> None:
    figure = widgets.theme.figure(300, {}, {})
    figure.add_bar(x=["1", "2"], y=[1, 2], name="Vision", hovertemplate="%{x}<br>%{y}<extra></extra>")
    before = figure.to_json()
    assert plain.escape(figure).to_json() == before


def test_exports_hold_no_formula_and_keep_their_numbers(folder: Path) -> None:
    frame = pd.DataFrame(
        {
            "=evil": ["=1+1", "+evil", "-evil", "@evil", "\tevil", "\uff1devil", "evil", "-5", "+1.5e3"],
            "n": [-1.5, *range(-4, 4)],
        }
    )
    cells = list(csv.reader(io.StringIO(health_tables.csv_for_people(frame))))
    assert [row[0] for row in cells] == [
        *("'=evil", "'=1+1", "'+evil", "'-evil", "'@evil", "'\tevil", "'\uff1devil", "evil", "-5", "+1.5e3"),
    ]
    assert [float(row[1]) for row in cells[1:]] == frame["n"].tolist()
    app = opened("pages/results/subjects.py", folder)
    made = [m.label for m in hostile.elements(app._tree) if type(m).__name__ == "DownloadButton"]
    assert {"CSV", "JSON", "LaTeX"} <= set(made)  # those of figures are made once their menu is opened
