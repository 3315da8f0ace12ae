"""The report of a study: what it says, what it leaves out, that names in it are no code, and its figures as files."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import hostile
import pandas as pd
import plotly.graph_objects as go
import pytest
from fake_study import make_explanation, make_study
from PIL import Image

from eavdash.cli.main import main, parser
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.errors import IntegrityError
from eavdash.explain.check_record import Check
from eavdash.explain.explanation import save_explanation
from eavdash.report import static
from eavdash.report.document import contents, explained, methods, sections
from eavdash.report.document.figures import figures_of
from eavdash.report.document.render import page, write_figures
from eavdash.store import StudyDir

SCRIPT = "<script>evil()</script>"


def without_library(html: str) -> str:
    """Return a report without Plotly's own script."""
    return re.sub(r"<script>\s*/\*\*.*?</script>", "", html, flags=re.DOTALL)


def from_predictions(study: StudyDir, stage: str) -> dict[str, float]:
    """Return the accuracy per subject by pandas and numpy alone, from the prediction files."""
    import numpy as np

    found = {}
    for run in study.runs():
        if run.config().stage == stage:
            rows = pd.read_parquet(run.predictions_file)
            rows = rows[(rows["split"] == "test") & (rows["frame"] == -1)]
            p = [c for c in rows.columns if c.startswith("p_")]
            logs = np.log(rows[p]).groupby([rows["trial"], rows["label"]]).mean()
            decided = logs.idxmax(axis=1).str.removeprefix("p_")
            found[run.config().subject] = float((decided == decided.index.get_level_values("label")).mean())
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    """A study of two subjects with two explained trials, of which one fails a check."""
    made = make_study(tmp_path_factory.mktemp("c"), subjects=("1", "2"), trials=10, states={"s02-eeg": "failed"})
    run = made.run("s01-fusion")
    for trial, verdict in (("2", "pass"), ("4", "fail")):
        kept = make_explanation(made, run.name, "1", trial, windows=1)
        check = Check(name="deletion", value=0.5, threshold=1.0, verdict=verdict, reason="as random orders")  # type: ignore[arg-type]
        save_explanation(run, replace(kept, receipts=kept.receipts.replace(checks=(check,))))
    return made


@pytest.fixture(scope="module")
def html(study: StudyDir) -> str:
    return page(study)


def test_the_report_has_the_numbers_of_the_predictions_and_names_what_is_missing(study: StudyDir, html: str) -> None:
    exported = re.findall(r'href="data:text/csv;base64,([^"]+)"', html)
    tables = [pd.read_csv(io.BytesIO(base64.b64decode(each)), dtype={"subject": str}) for each in exported]
    scores = next(t for t in tables if {"subject", "accuracy", "macro_f1"} <= set(t.columns))
    for stage in ("vision", "fusion"):
        rows = scores[scores["stage"] == stage]
        assert dict(zip(rows["subject"], rows["accuracy"], strict=True)) == pytest.approx(
            from_predictions(study, stage)
        )
    for table in tables:
        assert set(table["simulated"]) == {True}
        assert set(table["protocol"]) == {"conversation"}
    text = without_library(html)
    assert "Not done yet: 1 of 2 runs of eeg" in text
    assert "Simulated recordings" in text
    for section in ("health", "protocol", "methods", "statistics", "attention", "explained", "environment", "commands"):
        assert f'<section id="{section}">' in text


def test_failed_maps_are_marked_and_others_are_not(study: StudyDir, html: str) -> None:
    assert html.count("<strong>NOT RELIABLE: Deletion</strong>") == 1
    every = explained.explained(contents.read(study))
    assert [(e.document.trial, e.verdict) for e in every] == [("2", "pass"), ("4", "fail")]
    opened = explained.opened(every[1])
    assert opened is not None
    marked, plain = (explained.maps_picture(opened, failed, True) for failed in (every[1].failed, ""))
    assert marked != plain


def test_faces_are_drawn_only_where_asked_for(study: StudyDir) -> None:
    opened = explained.opened(explained.explained(contents.read(study))[0])
    assert opened is not None
    assert explained.maps_picture(opened, "", True) != explained.maps_picture(opened, "", False)


def test_a_report_claims_only_what_was_run(tmp_path: Path) -> None:
    states = {"*": "queued", "s01-vision": "done", "s02-vision": "done"}
    found = contents.read(make_study(tmp_path, subjects=("1", "2"), states=states))
    said = " ".join(methods.paragraph(found))
    assert "Vision: encoder vit" in said
    assert not [word for word in ("Audio:", "EEG:", "Fusion:", "sign-flip") if word in said]
    text = without_library(page(found.study))
    assert "Planned, but without any finished run and not reported: Audio, EEG, Fusion." in text
    assert "No trial of this study has been explained" in text
    empty = without_library(page(make_study(tmp_path, "none", states={"*": "queued"})))
    assert "there are no results to report" in empty


def test_the_commands_plan_the_same_study_again(study: StudyDir) -> None:
    train = methods.commands(contents.read(study))[0]
    options = parser().parse_args(shlex.split(train)[1:])
    assert (options.subjects, options.protocol, options.preset) == ("1,2", "conversation", "quick")
    found = contents.read(study).config
    again = with_settings(preset(options.preset), options.settings)
    assert replace(again, stages=found.stages) == found


def test_names_in_a_report_are_no_code(tmp_path: Path) -> None:
    made = hostile.study(tmp_path, tmp_path / f"data{SCRIPT.replace('/', '')}")
    text = without_library(page(made))
    assert "<b>evil" not in text
    assert "&lt;b&gt;evil" in text
    assert "<script>evil" not in text
    assert not hostile.control_characters(text.replace("\n", "").replace("\t", ""))
    for spec in re.findall(r'<script type="application/json">(.*?)</script>', text, flags=re.DOTALL):
        read = hostile.figure_texts(json.loads(spec))
        assert not [t for key, t in read if "template" not in key and any(part in t for part in hostile.IN_FIGURES)]


def test_the_policy_of_the_page_allows_no_request(html: str) -> None:
    assert "default-src 'none'" in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', without_library(html))


def test_figures_are_written_with_their_caveats(study: StudyDir, tmp_path: Path) -> None:
    files = write_figures(study, tmp_path / "figures")
    names = {file.name for file in files}
    assert {"subjects.png", "subjects.svg", "subjects.csv", "confusion-fusion.csv", "comparison.svg"} <= names
    with Image.open(tmp_path / "figures" / "subjects.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
    root = ElementTree.fromstring((tmp_path / "figures" / "subjects.svg").read_text())
    texts = " ".join("".join(node.itertext()) for node in root.iter() if node.tag.endswith("text"))
    for part in ("SIMULATED", "protocol conversation", "Study demo", "Accuracy per subject", "not all runs are done"):
        assert part in texts
    table = pd.read_csv(tmp_path / "figures" / "subjects.csv", dtype={"x": str})
    bars = table[(table["trace"] == "Fusion") & (table["x"] != "average")]
    shown = {row.x: row.y / 100 for row in bars.itertuples()}
    assert shown == pytest.approx(from_predictions(study, "fusion"))


def test_names_in_the_files_of_figures_are_as_in_the_study(tmp_path: Path) -> None:
    write_figures(hostile.study(tmp_path, tmp_path / "data"), tmp_path / "figures")
    table = pd.read_csv(tmp_path / "figures" / "subjects.csv", dtype={"x": str})
    assert hostile.NAME in set(table["x"])


def test_every_figure_of_a_report_can_be_a_picture(study: StudyDir) -> None:
    for each in figures_of(contents.read(study)):
        assert static.picture(each.figure, "png", each.title, each.caption, "X").startswith(b"\x89PNG")


def test_the_command_writes_the_file_and_refuses_a_folder(
    study: StudyDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--checkpoints", str(study.path.parent)]
    assert main(["report", "demo", "--output", str(tmp_path / "r.html"), "--json", *folder]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == (tmp_path / "r.html").stat().st_size < 15_000_000
    assert main(["report", "demo", "--output", str(tmp_path), *folder]) == 2
    assert "eavdash: " in capsys.readouterr().err


def test_a_report_without_splits_fails_before_any_figure(tmp_path: Path) -> None:
    made = make_study(tmp_path, subjects=("1",), stages=("eeg",))
    made.splits_file.write_text("nothing\n")
    told: list[str] = []
    with pytest.raises(IntegrityError, match=r"splits\.csv"):
        page(made, lambda done, total, what: told.append(what))
    assert not told


def test_the_declared_question_has_the_interval_and_the_sentence_of_the_page(tmp_path: Path) -> None:
    made = make_study(tmp_path, subjects=[str(number) for number in range(7)], stages=("eeg", "fusion"), trials=20)
    found = contents.read(made)
    assert found.inferred is not None
    assert found.question.primary is not None
    assert (found.question.primary.low, found.question.primary.high) == (found.inferred.low, found.inferred.high)
    text = str(sections.statistics(found, []).blocks)
    assert "BCa bootstrap" in text
    assert "majority class" in text


def test_names_in_other_scripts_draw_without_a_warning() -> None:
    drawn = static.picture(go.Figure(go.Bar(x=["日本", "Zoé"], y=[1, 2])), "svg", "日本")
    assert "日本" in drawn.decode()
