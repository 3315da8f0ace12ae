"""The page Attention in its states: with and without attention, Shapley values and attributions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fake_study import make_study, write_parquet
from shapley_files import add_attributions, add_shapley, remove_shapley
from streamlit.testing.v1 import AppTest
from test_heads import charts, numbers
from test_pages import checkpoints, open_page, page_text

from eavdash.report.figures import agreement as figures
from eavdash.report.figures import agreement_words as words
from eavdash.results import agreement, tables
from eavdash.store import StudyDir
from eavdash.ui import actions, tasks

__all__ = ["checkpoints"]


def fusions(study: StudyDir) -> list[str]:
    return [run.name for run in study.runs() if run.name.endswith("fusion")]


def shown(app: AppTest, column: str) -> pd.DataFrame:
    """Return the table of the page whose first column has that name."""
    (found,) = (d.value for d in app.dataframe if d.value.columns[0] == column)
    return pd.DataFrame(found)


def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Record which tasks the page's buttons start."""
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(tasks, "start", lambda *args: found.append(args))
    return found


def test_without_shapley_values_they_can_be_computed(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = started(monkeypatch)
    study = make_study(checkpoints)
    remove_shapley(study)
    app = open_page("attention")
    assert [m.label for m in app.metric] == ["Vision, Attention", "Audio, Attention", "EEG, Attention"]
    assert "Without Shapley values: s01-fusion, s02-fusion, s03-fusion." in page_text(app)
    assert "Agreement" not in [s.value for s in app.subheader]
    assert len(charts(app, "explain_attention_shares")) == 1
    app.button(key="explain_attention_shapley").click().run()
    app.button(key="explain_attention_explain").click().run()
    assert [args[0] for args in asked] == [["shapley", "demo"], ["explain", "demo", "--trials", "all"]]


def test_partly_computed_and_damaged_files_are_named(checkpoints: Path) -> None:
    study = make_study(checkpoints)
    remove_shapley(study)
    add_shapley(study.run("s01-fusion"))
    add_shapley(study.run("s02-fusion"))
    study.run("s02-fusion").shapley_file.write_bytes(b"x")
    app = open_page("attention")
    assert "Without Shapley values: s03-fusion." in page_text(app)
    assert any("s02-fusion/shapley.parquet" in e.value for e in app.error)
    assert "Attention n = 30, Shapley n = 10" in page_text(app)
    assert set(shown(app, "correlation")["n"]) == {"10 trials, 1 subject"}
    assert "they say nothing about other subjects" in page_text(app)


def test_ready_it_compares_every_pair_and_group(checkpoints: Path) -> None:
    study = make_study(checkpoints, subjects=[str(n + 1) for n in range(6)])
    for name in fusions(study):
        add_shapley(study.run(name), follow=0.9)
    add_attributions(study, "s01-fusion", "1", ["2", "4", "6", "8", "10", "12"])
    app = open_page("attention")
    text = page_text(app)
    assert "By Shapley values the fused decisions rest most on Vision" in text
    assert "Attention n = 60, Shapley n = 60, Attributions n = 6" in text
    assert "Intervals: 95 %, bootstrap over subjects." in text
    assert "baseline mean" in text
    assert "explain_attention_shapley" not in [b.key for b in app.button]
    expected = agreement.agreements(decisions(study), "attention", "shapley")
    (drawn,) = charts(app, "explain_attention_intervals")
    assert [numbers(t["x"])[0] for t in drawn] == pytest.approx(expected["rho"].tolist())
    (points,) = charts(app, "explain_attention_scatter")
    assert [len(t["x"]) if isinstance(t["x"], list) else len(numbers(t["x"])) for t in points] == [60, 60, 60]
    app.selectbox(key="explain_attention_subject").select("2").run()
    (points,) = charts(app, "explain_attention_scatter")
    assert {row[0] for t in points for row in t["customdata"]} == {"2"}
    for pair in ("Attention and attributions", "Shapley and attributions"):
        app.button_group(key="explain_attention_pair").set_value(pair).run()
        assert not app.exception
        assert set(shown(app, "correlation")["n"]) == {"6 trials, 1 subject"}
    for by in ("label", "outcome", "confidence"):
        app.button_group(key="explain_attention_by").set_value(by).run()
        groups = shown(app, "group")["group"]
        assert set(groups) == set(decisions(study)[by])
    app.button_group(key="explain_attention_by").set_value("subject").run()
    app.selectbox(key="explain_attention_sort").select("difference").run()
    assert not app.exception


def decisions(study: StudyDir) -> pd.DataFrame:
    """Return what the page compares, computed from the files."""
    from eavdash.results import shapley

    table = shapley.coalitions(study).table
    values = shapley.by_trial(shapley.shapley_values(table), table)
    return agreement.decisions(tables.trials(study), values, values.head(0))


@pytest.mark.parametrize(("kind", "sentence"), [("paper", "published fusion layer"), ("concat", "concatenates")])
def test_a_fusion_without_attention_has_shapley_values(kind: str, sentence: str, checkpoints: Path) -> None:
    study = make_study(checkpoints, fusion=kind)
    for name in fusions(study):
        add_shapley(study.run(name))
    app = open_page("attention")
    assert sentence in page_text(app)
    assert "By Shapley values the fused decisions rest most on" in page_text(app)
    assert "Attention says" not in page_text(app)
    assert [m.label.split(", ")[1] for m in app.metric] == ["Shapley"] * 3
    assert len(charts(app, "explain_attention_shares")) == 1
    assert "Agreement" not in [s.value for s in app.subheader]


def test_an_absent_modality_has_no_share(checkpoints: Path) -> None:
    study = make_study(checkpoints, subjects=("1",))
    run = study.run("s01-fusion")
    frame = pd.read_parquet(run.predictions_file)
    frame["attention_audio"] = 0.0
    write_parquet(run.predictions_file, frame)
    add_shapley(run)
    app = open_page("attention")
    (drawn,) = charts(app, "explain_attention_scatter")
    assert [t["name"] for t in drawn] == ["Vision", "EEG"]
    assert "Not recorded, and therefore without a share: Audio in 10 of 10" in page_text(app)


def test_a_click_names_a_trial_that_the_page_one_trial_opens(checkpoints: Path) -> None:
    study = make_study(checkpoints, subjects=("1", "2"))
    for name in fusions(study):
        add_shapley(study.run(name))
    (trace, *_) = figures.share_scatter(decisions(study), "attention", "shapley").data
    subject, trial, outcome = trace.customdata[-1]
    assert outcome in ("right", "wrong")
    app = open_page("trial", {actions.TARGET: (subject, trial)})
    assert (app.selectbox(key="explain_trial_subject").value, app.selectbox(key="explain_trial_trial").value) == (
        subject,
        trial,
    )


def means(attention: tuple[float, ...], shapley: tuple[float, ...]) -> pd.DataFrame:
    names = ["vision", "audio", "eeg"]
    parts = [
        pd.DataFrame({"group": "", "measure": measure, "modality": names, "share": shares, "n": 9})
        for measure, shares in (("attention", attention), ("shapley", shapley))
    ]
    return pd.concat(parts, ignore_index=True)


def said(*subjects: pd.DataFrame, kind: str = "attention") -> list[str]:
    """Return the page's sentences about subjects with as many decisions each."""
    table = pd.concat([rows.assign(group=str(n + 1)) for n, rows in enumerate(subjects)])
    overall = table.groupby(["measure", "modality"], sort=False)["share"].mean().reset_index().assign(group="", n=9)
    return words.answer(overall, table, kind)


def test_disagreement_is_said_and_explained_by_the_kind_of_fusion() -> None:
    for kind, reason in (("attention", "weight of a modality's opinion"), ("transformer", "cancel each other")):
        first, second = said(means((0.93, 0.05, 0.02), (0.62, 0.3, 0.08)), kind=kind)
        assert first.endswith("rest most on Vision (62\xa0%), then Audio (30\xa0%) and EEG (8\xa0%).")
        assert second.startswith("Attention says Vision 93\xa0%, Shapley 62\xa0%.")
        assert reason in second
    _, second = said(means((0.6, 0.3, 0.1), (0.62, 0.3, 0.08)))
    assert second == "On average attention says much the same: no share differs by more than 2 points."
    _, second = said(means((0.4, 0.41, 0.19), (0.42, 0.39, 0.19)))
    assert second.startswith("Attention says Vision 40\xa0%, Shapley 42\xa0%.")  # another modality comes first


def test_a_mean_over_subjects_does_not_hide_their_disagreement() -> None:
    first, second = means((0.8, 0.1, 0.1), (0.5, 0.4, 0.1)), means((0.5, 0.4, 0.1), (0.75, 0.15, 0.1))
    sentence = said(first, second, means((0.6, 0.2, 0.2), (0.6, 0.2, 0.2)))[1]
    assert sentence.startswith("On average attention says much the same: no share differs by more than 2 points.")
    assert "In 2 of 3 subjects a share differs by 10 points or more, most for subject 1" in sentence
    assert "attention says Vision 80\xa0%, Shapley 50\xa0%." in sentence
    assert "weight of a modality's opinion" in sentence


def test_forty_two_subjects_are_one_row_each_and_sorted() -> None:
    names = [str(n + 1) for n in range(42)]
    parts = [means((0.5, 0.3, 0.2), (0.01 * n, 0.3, 0.7 - 0.01 * n)).assign(group=names[n]) for n in range(42)]
    table = pd.concat(parts, ignore_index=True)
    assert figures.group_order(table, "subject") == names
    assert figures.group_order(table, "subject", "vision") == names[::-1]
    assert figures.group_order(table, "subject", "difference")[0] == "1"
    fig = figures.share_dots(table, names)
    assert list(fig.layout.yaxis.ticktext) == names
    assert fig.layout.height / 42 < 22  # the rows of one screen and a half
    assert fig.layout.height / 42 > 11  # and no label overlaps the next
