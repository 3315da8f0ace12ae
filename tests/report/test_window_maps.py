"""Maps of windows: on the clock, cut to what is recorded, per area, on one scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from fake_study import make_explanation, make_study

from eavdash.explain.explanation import Explanation
from eavdash.report.figures import explain, modalities, scalps, window_maps
from eavdash.report.figures.window_maps import WindowMap, cell_means


@pytest.fixture
def made(tmp_path: Path) -> Explanation:
    """An explanation of two windows of 5 s; of the second, only the first second is recorded."""
    found = make_explanation(make_study(tmp_path), "s01-fusion", "1", "2")
    masks = {m: mask.copy() for m, mask in found.masks.items()}
    rates = {"vision": 1, "audio": 100, "eeg": 100}
    for modality, mask in masks.items():
        mask[1, rates[modality] :] = False
    heat = {m: a.copy() for m, a in found.attributions.items()}
    heat["vision"][1, 1:], heat["audio"][1, 100:], heat["eeg"][1, :, 100:] = 0, 0, 0
    spans = tuple(w.model_copy(update={"stop": w.start + (5 if w.window == 0 else 1)}) for w in found.windows)
    return replace(found, masks=masks, attributions=heat, windows=spans)


def on_clock(made: Explanation) -> Explanation:
    """Return it with times, as explanations have today."""
    rates = {"vision": 1, "audio": 100, "eeg": 100}
    starts = np.array([[w.start] for w in made.windows])
    times = {m: np.where(mask, starts + np.arange(mask.shape[1]) / rates[m], np.nan) for m, mask in made.masks.items()}
    return replace(made, times=times)


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("modality", ["vision", "audio", "eeg"])
def test_the_axis_of_a_short_window_is_not_stretched_over_its_padding(
    made: Explanation, modality: str, earlier: bool
) -> None:
    shown = window_maps.window_map(made if earlier else on_clock(made), modality, 1)
    recorded = int(made.masks[modality][1].sum())
    assert len(shown.times) == len(shown.heat) == len(shown.values) == recorded
    assert 5 <= shown.times[0] <= 5.5
    assert shown.times[-1] <= 6
    if modality != "vision":
        assert np.diff(shown.times) == pytest.approx(0.01, rel=1e-6)


def test_a_planted_event_is_drawn_at_its_time(made: Explanation) -> None:
    heat = {**made.attributions, "eeg": np.zeros_like(made.attributions["eeg"])}
    heat["eeg"][1, 3, 80] = 1.0
    shown = window_maps.window_map(on_clock(replace(made, attributions=heat)), "eeg", 1)
    drawn = explain.row_heat(shown, made.channels, 1.0, "logits per area").data[0]
    row, column = np.unravel_index(np.argmax(drawn.z), np.shape(drawn.z))
    assert drawn.y[row] == made.channels[3]
    assert drawn.x[column] == pytest.approx(5.8, abs=0.01)


def test_values_are_per_area_so_that_their_mean_is_the_sum_of_the_attributions(made: Explanation) -> None:
    for window in (0, 1):
        sums = window_maps.totals(made, window)
        assert list(map(abs, sums.values())) == sorted(map(abs, sums.values()), reverse=True)
        for modality, total in sums.items():
            shown = window_maps.window_map(made, modality, window)
            assert shown.heat.mean() == pytest.approx(total, rel=1e-4)
            assert shown.total == pytest.approx(total, rel=1e-4)


def test_resolution_does_not_change_the_colours() -> None:
    coarse = np.random.default_rng(0).normal(size=(20, 8))
    fine = coarse.repeat(10, axis=0) / 10  # the same map of the same total, sampled ten times as finely
    assert cell_means(fine * fine.size, 20, 8) == pytest.approx(coarse * coarse.size)


def test_a_scalp_that_adds_little_is_pale_on_the_common_scale(made: Explanation) -> None:
    weak = {**made.attributions, "eeg": 1e-4 * made.attributions["eeg"]}
    strong, pale = (window_maps.electrode_limits(e) for e in (made, replace(made, attributions=weak)))
    assert strong["common"] >= strong["own"]
    assert pale["common"] > 100 * pale["own"]
    assert window_maps.electrode_limits(replace(made, channels=())) == {}


def test_mel_bands_are_labelled_in_hertz() -> None:
    hertz = np.geomspace(50, 7900, 128)
    values = np.random.default_rng(0).normal(size=(300, 128))
    shown = WindowMap(values, values, 5 + np.arange(300) / 100, 0.0)
    fig = explain.logmel_overlay(shown, 1.0, "logits per area", hertz)
    assert fig.layout.yaxis.title.text == "Frequency, Hz"
    labels = dict(zip(fig.layout.yaxis.ticktext, fig.layout.yaxis.tickvals, strict=True))
    assert np.interp(labels["1,000"], np.arange(128), hertz) == pytest.approx(1000)
    assert fig.data[1].text[0][0].endswith(" Hz")
    assert (fig.data[1].x[0], fig.data[1].x[-1]) == pytest.approx((5, 8), abs=0.05)
    assert fig.data[1].colorbar.title.text == "logits per area"
    assert explain.logmel_overlay(shown, 1.0, "").layout.yaxis.title.text == "Mel band"


def test_long_spectrograms_are_thinned_and_keep_their_mean() -> None:
    values = np.arange(3000, dtype=float)[:, None] * np.ones((1, 4))
    fig = explain.logmel_overlay(WindowMap(values, values, np.arange(3000) / 100, 0.0), 1.0, "")
    assert np.shape(fig.data[0].z)[1] <= 600
    assert np.mean(fig.data[0].z) == pytest.approx(values.mean())


def test_a_failed_picture_says_so_itself() -> None:
    fig = explain.mark_failed(go.Figure(), "Not reliable: Deletion")
    assert fig.layout.title.text == "Not reliable: Deletion"
    assert fig.layout.shapes[0].line.color == "#8A8A8A"
    assert not explain.mark_failed(go.Figure(), "").layout.shapes
    frames, heat = np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 32, 32))
    assert not explain.frame_overlays(frames, heat, 1.0).any()
    framed = explain.frame_overlays(frames, heat, 1.0, framed=True)[0]
    assert framed[0].all()
    assert framed[:, -1].all()
    assert not framed[80, 80].any()
    channels = ("Fp1", "Fp2", "C3", "C4", "O1", "O2")
    values = np.arange(6.0)
    plain, marked = (scalps.scalp(values, channels, 5.0, "logits", False, note) for note in ("", "Not reliable"))
    assert isinstance(plain, bytes)
    assert isinstance(marked, bytes)
    assert plain != marked
    assert "4 channels" in str(scalps.scalp(values, list("abcdef"), 5.0, "logits", True, ""))


@pytest.mark.parametrize("kind", ["attention", "transformer"])
def test_a_disagreement_of_attention_and_shapley_is_explained_by_the_fusions_kind(kind: str) -> None:
    shapley, attention = {"vision": 0.62, "audio": -0.3, "eeg": 0.08}, {"vision": 0.93, "audio": 0.05, "eeg": 0.02}
    sentence = modalities.disagreement(shapley, attention, kind)
    assert sentence.startswith("Attention says 93\xa0% Vision, Shapley values say 62\xa0%.")
    assert ("opinion, its class probabilities" in sentence) == (kind == "attention")
    assert ("features" in sentence) == (kind == "transformer")
    assert modalities.disagreement(shapley, {"vision": 0.6, "audio": 0.3, "eeg": 0.1}, kind) == ""
    assert modalities.disagreement(shapley, {}, kind) == ""
    assert modalities.shares({"eeg": 0.0}) == {}


def test_a_waterfall_runs_from_the_training_share_to_the_decision() -> None:
    steps = [("base", -1.6), ("vision", 2.0), ("audio", -0.5), ("vision+audio", -0.2), ("decision", -0.3)]
    fig = modalities.waterfall(steps, "Anger")
    names = [bar.y[0] for bar in fig.data]
    assert names == ["Training share", "Vision", "Audio", "Vision × Audio", "Decision"]
    ends = [bar.base[0] + bar.x[0] for bar in fig.data]
    assert ends == pytest.approx([-1.6, 0.4, -0.1, -0.3, -0.3])
    assert fig.data[0].text[0] == "−1.60 (20\xa0%)"
    assert "× 0.61" in fig.data[2].customdata[0]
    low, high = fig.layout.xaxis.range
    assert low < -1.6
    assert high > 0.4
