"""Figures: positions, colours, notes, and empty figures without data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from fake_study import make_study

from eavdash.report import theme
from eavdash.report.figures import (
    attention,
    comparisons,
    data,
    explain,
    inference,
    results,
    scalps,
    training,
    window_maps,
)
from eavdash.report.figures.answer import interval
from eavdash.report.figures.baselines import baseline_means, means_note
from eavdash.report.figures.subjects import subject_bars
from eavdash.results import paper, subjects, tables
from eavdash.results.comparisons import question_of
from eavdash.results.paired import compare, mean_interval
from eavdash.results.statistics import chance_line, wilson
from eavdash.text import p_value


@pytest.fixture
def scores(tmp_path: Path) -> pd.DataFrame:
    return tables.scores(make_study(tmp_path, subjects=("1", "2", "10"), trials=20))


def bars(scores: pd.DataFrame, **more: object) -> go.Figure:
    return subject_bars(scores, scores, 5, {}, **more)  # type: ignore[arg-type]


def test_one_bar_per_subject_and_stage_and_the_average_last(scores: pd.DataFrame) -> None:
    fig = bars(scores)
    drawn = [t for t in fig.data if isinstance(t, go.Bar)]
    assert [t.name for t in drawn] == ["Vision", "Audio", "EEG", "Fusion"]
    assert [t.marker.color for t in drawn] == [theme.COLOURS[s] for s in ("vision", "audio", "eeg", "fusion")]
    assert list(drawn[0].x) == ["1", "2", "10", results.AVERAGE]
    assert drawn[0].y[-1] == pytest.approx(np.mean(drawn[0].y[:-1]))
    assert "n = 20" in drawn[0].customdata[0][2]
    told = bars(scores, spread={("2", "eeg"): "seeds 0: 40 %, 1: 60 %"})
    assert told.data[2].customdata[1][3].endswith("seeds 0: 40 %, 1: 60 %")
    assert "seeds" not in told.data[2].customdata[0][3]


def test_one_subject_is_no_average(scores: pd.DataFrame) -> None:
    alone = scores[scores["subject"] == "2"]
    fig = bars(alone)
    assert [list(t.x) for t in fig.data if isinstance(t, go.Bar)] == [["2"]] * 4
    assert fig.layout.xaxis.categoryarray == ("2",)
    assert results.score_table(alone)["subject"].tolist() == ["2"]
    assert "average" not in results.legend_note("trial", alone)
    assert "average" in results.legend_note("trial", scores)


@pytest.mark.parametrize("subjects", [3, 7])
def test_baselines_are_means_beside_their_stage_with_an_interval(tmp_path: Path, subjects: int) -> None:
    study = make_study(tmp_path, subjects=tuple(map(str, range(1, subjects + 1))), trials=20)
    scores = tables.scores(study, baselines=True)
    fig = baseline_means(scores, scores)
    names = [trace.name for trace in fig.data]
    assert names[:2] == ["Vision", "Vision: majority class"]
    assert names[names.index("Fusion") + 1] == "Best single modality"
    assert len(names) == len(set(names)) == scores["stage"].nunique()
    points = {trace.name: trace for trace in fig.data}
    values = scores.loc[scores["stage"] == "vision:crops", "accuracy"]
    point = points["Vision: crops"]
    assert point.x[0] == pytest.approx(100 * values.mean())
    low, high = mean_interval(values) if subjects > 5 else wilson(values.mean() * 20 * subjects, 20 * subjects)
    assert point.customdata[0][2:] == pytest.approx([100 * low, 100 * high])
    assert point.error_x.array[0] == pytest.approx(100 * (high - values.mean()))
    assert ("Student" in means_note(scores)) == (subjects > 5)


def test_the_chance_line_is_that_of_the_trials(scores: pd.DataFrame) -> None:
    fig = bars(scores)
    assert {s.y0 for s in fig.layout.shapes} == {100 * chance_line(20, 5)}
    unbalanced = subject_bars(scores, scores, 5, {"1": 0.6})
    assert unbalanced.layout.shapes[0].y0 > fig.layout.shapes[0].y0


def test_intervals_hold_the_accuracy_and_stay_within_bounds(scores: pd.DataFrame) -> None:
    for bar in (t for t in bars(scores).data if isinstance(t, go.Bar)):
        y, up, down = np.array(bar.y), np.array(bar.error_y.array), np.array(bar.error_y.arrayminus)
        assert (up[:-1] > 0).any()
        assert ((y + up)[:-1] <= 100 + 1e-9).all()
        assert ((y - down)[:-1] >= -1e-9).all()


def test_the_papers_values_are_hollow_and_over_the_same_bars(scores: pd.DataFrame) -> None:
    fig = bars(scores, paper=paper.table1())
    hollow = [t for t in fig.data if str(t.name).endswith("paper")]
    assert {t.marker.color for t in hollow} == {"rgba(0,0,0,0)"}
    assert list(hollow[0].x) == ["1", "2", "10"]
    assert hollow[0].offsetgroup == "vision"


def test_order_and_filter(scores: pd.DataFrame) -> None:
    best = subjects.order(scores, "fusion", "accuracy", scores["subject"].unique())
    values = scores[scores["stage"] == "fusion"].set_index("subject")["accuracy"]
    assert values[best].is_monotonic_decreasing
    assert subjects.order(scores, "subject", "accuracy", ["10", "2"]) == ["2", "10"]


def test_a_click_on_the_average_is_no_subject() -> None:
    assert results.clicked_subject([{"x": results.AVERAGE}]) is None
    assert results.clicked_subject([{"x": "7"}]) == "7"


def test_the_table_has_n_and_the_spread(scores: pd.DataFrame) -> None:
    table = results.score_table(scores)
    assert table["subject"].tolist() == ["1", "2", "10", results.AVERAGE]
    assert "(n = 20)" in table["EEG"][0]
    assert "± " in table["EEG"][3]
    assert "(3 subjects)" in table["EEG"][3]


def test_the_answer_names_numbers_and_what_is_left_out(tmp_path: Path) -> None:
    study = make_study(tmp_path, "seven", subjects=[str(n) for n in range(1, 8)], trials=20)
    asked = question_of(study)
    sentence = comparisons.verdict(asked)
    assert "n = 7 subjects, sign-flip permutation test, p" in sentence
    assert len(comparisons.primary_table(asked)) == 1
    notes = " ".join(comparisons.question_notes(asked, across=True))
    assert "described and not tested" in notes
    assert "share training data" in notes
    assert f"over {len(asked.secondary)} comparisons" in notes
    assert asked.primary is not None
    partly = replace(asked, primary=replace(asked.primary, trials_left_out=2, subjects_left_out=1))
    left_out = "2 trials and 1 subject that only one of both has been tested on are left out."
    assert comparisons.question_notes(partly, across=False)[0] == left_out
    few = question_of(make_study(tmp_path, "three", subjects=("1", "2", "3")))
    assert comparisons.verdict(few) == ""
    assert comparisons.primary_table(few)["p"].tolist() == ["–"]
    assert "so that none of them can pass with 3 subjects" in " ".join(comparisons.question_notes(few, across=False))


def test_trials_decided_alike_widen_intervals_and_raise_the_chance_line(scores: pd.DataFrame) -> None:
    alike = scores.assign(n=4.5)
    plain, wide = bars(scores), subject_bars(scores, alike, 5, {})
    assert wide.layout.shapes[0].y0 == 100 * chance_line(4, 5) > plain.layout.shapes[0].y0
    assert wide.data[0].error_y.array[0] > plain.data[0].error_y.array[0]
    assert "n = 20, counting as 4.5" in wide.data[0].customdata[0][2]
    corrected = subject_bars(scores, scores, 5, {}, corrected=True)
    assert corrected.layout.shapes[0].y0 == 100 * chance_line(20, 5, 0.05 / len(scores))
    timed = subject_bars(scores, scores, 5, {}, time_only={"1": 0.4, "9": 1.0})
    assert next(t for t in timed.data if t.name == "time alone").y == (40.0,)


def test_trials_view_has_one_row_per_trial(tmp_path: Path) -> None:
    trials = tables.trials(make_study(tmp_path, trials=10))
    view = results.trial_table(trials, "1")
    assert view["trial"].tolist() == [str(2 * i + 2) for i in range(10)]
    assert {"Vision", "Fusion", "attention EEG, %"} <= set(view.columns)
    assert not {"fold", "seed"} & set(view.columns)


def test_curves_leave_out_missing_values() -> None:
    fig = training.curves([{"epoch": 1, "loss": 1.0, "validation_loss": None}], "loss", "eeg")
    assert [t.name for t in fig.data] == ["training"]


def test_decisions_with_attention_are_those_of_fusion(tmp_path: Path) -> None:
    trials = tables.trials(make_study(tmp_path))
    fused = attention.decisions_with_attention(trials)
    assert len(fused) == 30
    assert sum(attention.mean_shares(fused).values()) == pytest.approx(1)
    assert attention.decisions_with_attention(trials[trials["stage"] == "eeg"]).empty


def test_overlay_marks_where_the_attribution_is() -> None:
    frames = np.full((1, 8, 8, 3), 100, np.uint8)  # smaller than the cells: drawn unchanged
    heat = np.zeros((1, 8, 8))
    heat[0, 2, 5], heat[0, 6, 1] = 1.0, -1.0
    (picture,) = explain.frame_overlays(frames, heat, 1.0, enlarge=16)
    assert picture.shape == (16, 16, 3)
    assert picture[4, 10, 0] > picture[4, 10, 2]
    assert picture[12, 2, 2] > picture[12, 2, 0]
    assert picture[0, 0].tolist() == [100, 100, 100]


def test_attributions_of_samples_are_a_line_whose_mean_is_their_sum() -> None:
    random = np.random.default_rng(0)
    wave, heat = random.normal(size=(16_050, 1)), random.normal(size=(16_050, 1))
    times = 2 + np.arange(16_050) / 16_050
    fig = explain.wave_heat(window_maps.WindowMap(heat * heat.size, wave, times, 0.0), 1.0, "logits per area")
    line = fig.data[1]
    assert len(line.x) == len(line.y) <= 100
    assert 2 < line.x[0] < line.x[-1] < 3
    assert np.mean(line.y) == pytest.approx(heat.sum(), abs=0.5)
    silent = window_maps.WindowMap(np.zeros((500, 1)), np.zeros((500, 1)), times[:500], 0.0)
    assert np.isfinite(explain.wave_heat(silent, 1.0, "").data[0].y).all()


def test_cells_are_means() -> None:
    values = np.arange(48.0).reshape(1, 6, 8)
    assert window_maps.cell_means(values, 3, 2).shape == (1, 3, 2)
    assert window_maps.cell_means(values, 3, 2)[0, 0, 0] == pytest.approx(values[0, :2, :4].mean())
    assert window_maps.cell_means(values, 5, 3)[0, 0, 0] == pytest.approx(values[0, 0, :2].mean())
    assert (window_maps.cell_means(values, 100, 100) == values).all()


def test_scalp_map_or_a_reason() -> None:
    names = ["Fp1", "Fp2", "C3", "C4", "O1", "O2", "EXG"]
    picture = scalps.scalp(np.arange(7.0), names, 6.0, "logits", False, "")
    assert isinstance(picture, bytes)
    assert picture.startswith(b"\x89PNG")
    assert "needs 4" in str(scalps.scalp(np.zeros(2), ["Cz", "EXG"], 1.0, "", True, ""))


def test_recordings() -> None:
    assert "missing" not in data.trial_facts({"label": "calm", "eeg": "x.mat", "start": 1.0, "place": ""})


@pytest.mark.parametrize(("p", "text"), [(0.00001, "p < 0.001"), (0.0314, "p = 0.031")])
def test_p_values_are_never_zero(p: float, text: str) -> None:
    assert p_value(p) == text


def test_legends_do_not_depend_on_labels() -> None:
    legend = theme.figure(360, {}, {}).layout.legend
    assert (legend.yref, legend.y) == ("container", 0)


def test_equal_values_of_all_subjects_have_no_interval() -> None:
    found = subjects.Standing("eeg", 1.0, 1.0, 1.0, 5, 10)
    assert interval(found) == "5 subjects alike: no interval over subjects"
    assert interval(replace(found, mean=0.6, low=0.5, high=0.7)) == "95 % interval 50–70 %, 5 subjects"


@pytest.mark.parametrize(("people", "known"), [(3, False), (8, True)])
def test_a_difference_has_an_interval_only_where_the_table_beside_it_has_one(people: int, known: bool) -> None:
    first, second = np.linspace(0.5, 0.8, people), np.linspace(0.45, 0.7, people)
    found = compare("fusion", [*first], "vision", [*second])
    fig = inference.paired_differences([found], {"fusion/vision": pd.Series(first - second)})
    mean = fig.data[1]
    assert (mean.error_x.array is not None) == known
    assert ("too few subjects" in mean.hovertemplate) != known
