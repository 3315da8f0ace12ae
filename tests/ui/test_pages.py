"""Every page through AppTest, from app.py, in each of its states."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from fake_study import CLASSES, make_study, perfect_baselines
from streamlit.testing.v1 import AppTest

from eavdash.results import probes
from eavdash.store import StudyDir
from eavdash.store.record import write_record
from eavdash.ui import widgets

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "home": "pages/home/overview.py",
    "docs": "pages/home/docs.py",
    "add": "pages/data/add.py",
    "subjects": "pages/results/subjects.py",
    "statistics": "pages/results/statistics.py",
    "compare": "pages/results/compare.py",
    "trial": "pages/explain/trial.py",
    "attention": "pages/explain/attention.py",
    "maps": "pages/explain/maps.py",
    "representations": "pages/explain/representations.py",
    "launch": "pages/training/launch.py",
    "monitor": "pages/training/monitor.py",
    "studies": "pages/training/studies.py",
    "health": "pages/data/health.py",
    "trials": "pages/data/trials.py",
}
RESULTS = ("subjects", "statistics", "trial", "attention", "maps", "representations")


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkpoints folder; the working folder is the repository, as page paths are relative to it."""
    monkeypatch.chdir(ROOT)
    root = tmp_path / "checkpoints"
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(root))
    return root


def open_page(page: str, before: dict | None = None) -> AppTest:
    """Open the app at a page."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for key, value in (before or {}).items():
        app.session_state[key] = value
    app.run()
    if page != "home":
        app.query_params.clear()  # as a click in the navigation does
        app.switch_page(PAGES[page]).run()
    assert not app.exception, app.exception[0].stack_trace
    return app


def page_text(app: AppTest) -> str:
    """Return all texts of the page, with the helps of captions; spaces that do not break as spaces."""
    kinds = (app.title, app.markdown, app.caption, app.info, app.warning, app.error, app.success)
    text = "\n".join(str(element.value) for kind in kinds for element in kind)
    text += "\n".join(caption.proto.help for caption in app.caption)
    # Markdown removes the backslashes of text.markdown.
    return text.replace("\\", "").replace("\u2060", "").replace("\xa0", " ")


def test_a_missing_study_in_the_url_is_reported(checkpoints: Path) -> None:
    make_study(checkpoints, "mine")
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["study"] = "gone"
    app.run()
    assert "There is no study gone in" in "".join(str(each.value) for each in app.sidebar.warning).replace("\\", "")
    assert app.selectbox(key="study").value == "mine"


def test_no_page_is_directly_in_pages() -> None:
    assert list((ROOT / "pages").glob("*.py")) == []


@pytest.mark.parametrize("page", [*RESULTS, "monitor"])
def test_without_a_study_a_page_shows_the_first_step(page: str) -> None:
    assert "There is no study yet" in page_text(open_page(page))


@pytest.mark.parametrize("page", ["launch", "health", "trials"])
def test_without_a_dataset_a_page_asks_for_one(page: str) -> None:
    assert "Enter the folder of a dataset" in page_text(open_page(page))


@pytest.mark.parametrize("page", RESULTS)
def test_before_the_first_run_is_done(page: str, checkpoints: Path) -> None:
    make_study(checkpoints, states={"*": "queued"})
    text = page_text(open_page(page))
    assert "as soon as the first run is done" in text
    assert "12 queued" in text


@pytest.mark.parametrize("page", RESULTS)
def test_when_every_run_has_failed(page: str, checkpoints: Path) -> None:
    study = make_study(
        checkpoints, subjects=("1",), states={"*": "failed", "s01-eeg": "cancelled", "s01-fusion": "blocked"}
    )
    study.run("s01-fusion").update(blocked_by=["s01-audio"])  # only a retry changes this
    text = page_text(open_page(page))
    assert "No run of this study has finished" in text
    assert "press Retry" in text
    assert "as soon as" not in text


def test_a_paused_study_shows_that_it_is_paused(checkpoints: Path) -> None:
    study = make_study(checkpoints, subjects=("1",), states={"*": "queued"})
    study.set_control(paused=True)
    text = page_text(open_page("subjects"))
    assert "This study is paused: results appear here once it is resumed" in text


@pytest.mark.parametrize("page", RESULTS)
def test_partly_finished(page: str, checkpoints: Path) -> None:
    make_study(checkpoints, states={"s01-audio": "failed", "s02-fusion": "queued"})
    assert "only finished ones are shown" in page_text(open_page(page))


@pytest.mark.parametrize("page", RESULTS)
def test_ready_and_marked_as_simulated(page: str, checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_page(page)
    assert widgets.SIMULATED in [w.value for w in app.warning]
    assert not app.error


@pytest.mark.parametrize("page", RESULTS)
def test_a_damaged_file_is_named_and_the_rest_is_shown(page: str, checkpoints: Path) -> None:
    study = make_study(checkpoints)
    path = study.run("s01-audio").predictions_file
    path.write_bytes(b"x")
    app = open_page(page)
    assert any("s01" in e.value and "eavdash retry" in e.value for e in app.error)
    assert widgets.SIMULATED in page_text(app)


def test_only_simulated_studies_are_marked_as_simulated(checkpoints: Path) -> None:
    make_study(checkpoints, simulated=False)
    assert widgets.SIMULATED not in page_text(open_page("subjects"))


def test_the_published_protocol_is_marked(checkpoints: Path) -> None:
    make_study(checkpoints, protocol="paper")
    app = open_page("subjects")
    assert any("paper protocol: optimistic, see why" in e.label for e in app.expander)


def test_the_study_is_the_newest_and_can_be_chosen(checkpoints: Path) -> None:
    make_study(checkpoints, "first")
    make_study(checkpoints, "second")
    app = open_page("subjects")
    assert app.selectbox(key="study").value == "second"
    app.selectbox(key="study").select("first").run()
    app.switch_page(PAGES["statistics"]).run()
    assert app.selectbox(key="study").value == "first"


def test_accuracies_have_n_and_too_few_trials_are_noted(checkpoints: Path) -> None:
    make_study(checkpoints, trials=10)
    app = open_page("subjects")
    table = app.dataframe[0].value
    assert table["Vision"].iloc[:3].str.contains(r"\(n = 10\)").all()
    text = page_text(app)
    assert "Too few test trials" in text
    assert "Too few subjects" in text


def test_levels_baselines_and_the_papers_table(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_page("subjects")
    app.toggle(key="results_subjects_baselines").set_value(True)
    app.toggle(key="results_subjects_paper").set_value(True).run()
    assert "Mean of softmaxes" in app.dataframe[0].value.columns
    drawn = {chart.key: json.loads(chart.proto.spec)["data"] for chart in app.get("plotly_chart")}
    bars = [trace["name"] for trace in drawn["results_subjects_chart"] if trace["type"] == "bar"]
    assert not [name for name in bars if "Mean" in name or "majority" in name.casefold()]
    assert "Mean of softmaxes" in {trace["name"] for trace in drawn["results_subjects_baselines_chart"]}
    assert "not comparable" in page_text(app)
    app.button_group(key="results_subjects_level").set_value("frame").run()
    assert not app.exception
    assert app.dataframe[0].value.columns.tolist() == ["subject", "Vision"]


def test_encoders_behind_their_baselines_are_named_and_compared(checkpoints: Path) -> None:
    perfect_baselines(make_study(checkpoints, stages=("audio", "eeg")), "eeg")
    text = page_text(open_page("subjects"))
    assert "The EEG encoder" in text
    assert "The audio encoder" not in text
    app = open_page("statistics")
    assert "The EEG encoder" in page_text(app)
    table = app.dataframe[0].value  # without a fusion the only one
    assert {"Audio: log-mel", "EEG: tangent space", "EEG: majority class"} <= set(table["against"])
    assert set(table["95 % interval"]) == {"too few"}


def test_a_study_of_an_earlier_version_has_no_baselines_beside_its_encoders(checkpoints: Path) -> None:
    make_study(checkpoints, beside=False)
    app = open_page("subjects")
    app.toggle(key="results_subjects_baselines").set_value(True).run()
    assert not app.exception
    assert "Concatenation" in app.dataframe[0].value.columns
    assert not [c for c in app.dataframe[0].value.columns if c.startswith("EEG:")]
    assert "encoder (" not in page_text(app)
    tables = [d.value for d in open_page("statistics").dataframe]
    assert [set(t["stage"]) for t in tables if "stage" in t.columns] == [{"Fusion"}]


def test_a_clicked_bar_shows_that_subjects_trials_and_a_trial_leads_to_its_explanation(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_page("subjects")
    app.session_state["results_subjects_chart"] = {"selection": {"points": [{"x": "2"}]}}
    app.session_state["results_subjects_trials"] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    app.run()
    assert len(app.dataframe(key="results_subjects_trials").value) == 10
    (link,) = [e.proto for e in app.get("page_link") if e.proto.label.startswith("Explain")]
    trial = app.dataframe(key="results_subjects_trials").value["trial"].iloc[1]
    assert link.query_string == f"study=demo&subject=2&trial={trial}"
    for name, value in (("subject", "2"), ("trial", trial)):
        app.query_params[name] = value
    app.switch_page(PAGES["trial"]).run()
    assert app.title[0].value == "One trial"
    assert app.selectbox(key="explain_trial_subject").value == "2"
    assert app.selectbox(key="explain_trial_trial").value == "4"
    assert "Subject 2, trial 4, label" in app.subheader[0].value


def test_statistics_test_eight_subjects_but_not_three(checkpoints: Path) -> None:
    make_study(checkpoints)
    app = open_page("statistics")
    assert "Too few subjects" in page_text(app)
    assert set(app.dataframe[0].value["p"]) == {"–"}
    assert set(next(d.value["p (Holm)"] for d in app.dataframe if "p (Holm)" in d.value.columns)) == {"too few"}
    make_study(checkpoints, "larger", subjects=[str(i) for i in range(8)], trials=20)
    app = open_page("statistics", {"study": "larger"})
    assert "Too few" not in page_text(app)
    assert app.success


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("paper", "published fusion layer"), ("concat", "fusion concatenates the modalities")],
)
def test_a_fusion_without_attention_has_none_to_show(kind: str, sentence: str, checkpoints: Path) -> None:
    make_study(checkpoints, fusion=kind)
    for page in ("trial", "attention"):
        app = open_page(page)
        assert sentence in page_text(app)
        assert "Per layer and head" not in [e.label for e in app.expander]


def test_a_scheduler_that_cannot_start_is_reported(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eavdash.errors import QueueError

    def broken(root: Path) -> bool:
        raise QueueError(f"{root}: expected a running scheduler, found none; see its log.")

    make_study(checkpoints)
    monkeypatch.setattr("eavdash.jobs.obstacle.ensure_scheduler", broken)
    assert any("running scheduler" in e.value for e in open_page("subjects").error)


def test_a_damaged_study_is_one_sentence(checkpoints: Path) -> None:
    study: StudyDir = make_study(checkpoints)
    study.study_file.write_text("{")
    for page in PAGES:
        assert any("study" in e.value and "JSON" in e.value for e in open_page(page).error), page


def test_every_widget_is_keyed_by_its_page(checkpoints: Path) -> None:
    make_study(checkpoints)
    for page, path in PAGES.items():
        app = open_page(page)
        prefix = path.removeprefix("pages/").removesuffix(".py").replace("/", "_")
        for kind in (app.selectbox, app.button, app.toggle, app.text_input, app.multiselect, app.button_group):
            for widget in kind:
                assert widget.key == "study" or str(widget.key).startswith(prefix), (page, widget)


def test_remarks_on_accuracies_are_shown(checkpoints: Path) -> None:
    study = make_study(checkpoints, stages=("audio", "fusion"), trials=20)
    splits = pd.read_csv(study.splits_file, dtype=str).drop_duplicates(["subject", "trial"])
    labels = splits[["subject", "trial"]].assign(label=[CLASSES[int(t) % 5] for t in splits["trial"]])
    labels["condition"] = ["Speaking" if int(t) % 4 else "Listening" for t in labels["trial"]]
    labels.to_csv(study.trials_file, index=False)
    text = page_text(open_page("subjects"))
    assert probes.time_only(study).sentence in text
    assert "Not probed yet: shuffled, identity" in text
    probes.keep(study, {"shuffled": probes.finding("shuffled", 0.9, 30, 20, 5, 0.2, stage="audio")})
    for run in study.runs():
        run.update(honest_accuracy=float(run.status().accuracy) - 0.1)
    text = page_text(open_page("subjects"))
    assert probes.read(study)["shuffled"].sentence in text
    assert "10.0 points" in text
    page = open_page("statistics")
    page.selectbox(key="results_statistics_split").select("condition").run()
    assert not page.exception
    kinds = next(t.value for t in page.dataframe if "condition" in t.value.columns)
    assert kinds["condition"].tolist() == ["Listening", "Speaking"]
    assert kinds["Fusion"].str.contains("n = ").all()


def test_a_transductive_study_is_marked_wherever_accuracies_are_shown(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    document = study.study()
    document.config["protocol"]["subject_scaling"] = True
    write_record(study.study_file, document)
    for page in (*RESULTS[:2], "monitor"):
        assert "transductive" in " ".join(e.label for e in open_page(page).expander)


def test_an_archived_study_is_in_the_picker_only_while_selected(checkpoints: Path) -> None:
    make_study(checkpoints, "kept")
    make_study(checkpoints, "away").set_control(archived=True)
    picker = open_page("subjects").selectbox(key="study")
    assert (picker.value, picker.options) == ("kept", ["kept"])
    picker = open_page("subjects", {"study": "away"}).selectbox(key="study")
    assert (picker.value, picker.options) == ("away", ["away", "kept"])
    StudyDir(checkpoints / "kept").set_control(archived=True)
    app = open_page("subjects")
    assert any("All 2 studies are archived" in c.value for c in app.sidebar.caption)
    assert "There is no study yet" in page_text(app)
