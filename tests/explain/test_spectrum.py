"""EEG attributions by frequency: closed forms, sums per electrode, padding, several baselines, and a planted rhythm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_study import make_explanation, make_study
from torch import Tensor, nn

from eavdash.explain.attributions import Attributed, Output, Points, attribute
from eavdash.explain.explanation import load_explanation, save_explanation
from eavdash.explain.fused import FusedModel
from eavdash.explain.spectrum import BANDS, by_frequency, frequencies, in_bands
from eavdash.models.base import Encoder, EncoderOutput

RATE, SAMPLES, CHANNELS = 100.0, 200, 3
HERTZ = frequencies(SAMPLES, RATE)


class Rhythm(Encoder):
    """Logits that follow a rhythm of one electrode: its projection on a sine, to a power."""

    def __init__(self, hertz: float, electrode: int, power: int = 1) -> None:
        super().__init__(shift_shape=(1, CHANNELS, 1))
        self.feature_dim, self.head = 2, nn.Identity()
        self.electrode, self.power = electrode, power
        self.register_buffer("wave", torch.sin(2 * torch.pi * hertz * torch.arange(SAMPLES) / RATE))

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        kept = torch.where(mask[:, None], x, torch.zeros(()))[:, self.electrode]
        value = (kept @ self.get_buffer("wave") / 10) ** self.power
        logits = torch.stack([value, -value], dim=1)
        return EncoderOutput(logits[:, None], mask.any(1, keepdim=True), logits)


def window(seed: int = 0) -> Tensor:
    return torch.randn(1, CHANNELS, SAMPLES, generator=torch.Generator().manual_seed(seed))


def explained(encoder: Encoder, x: Tensor, baselines: Tensor, mask: Tensor | None = None, batch: int = 8) -> Attributed:
    mask = torch.ones(1, SAMPLES, dtype=torch.bool) if mask is None else mask
    return attribute(
        FusedModel({"eeg": encoder}, None),
        {"eeg": x},
        {"eeg": mask},
        Output(0),
        {"eeg": baselines},
        Points(8, 64),
        batch,
    )


def spectrum_of(made: Attributed) -> np.ndarray:
    assert made.spectrum is not None
    return made.spectrum


@pytest.mark.parametrize(("hertz", "electrode"), [(10.0, 1), (22.0, 2)])
def test_a_planted_rhythm_lights_its_bin_and_electrode_alone(hertz: float, electrode: int) -> None:
    encoder = Rhythm(hertz, electrode, power=2)
    x = window() + encoder.get_buffer("wave")  # in every electrode, but one decides
    made = explained(encoder, x, torch.zeros(1, CHANNELS, SAMPLES))
    found = spectrum_of(made)
    here = np.zeros_like(found, dtype=bool)
    here[electrode, np.isclose(HERTZ, hertz)] = True
    assert here.sum() == 1
    assert found[here] == pytest.approx(made.completeness.output, rel=1e-4)
    assert np.abs(found[~here]).max() < 1e-5 * abs(found[here][0])
    bands = in_bands(found, HERTZ)
    assert bands["alpha" if hertz == 10 else "beta"][electrode] == pytest.approx(found[here][0], rel=1e-4)


def test_a_linear_model_has_its_closed_form() -> None:
    encoder, x, base = Rhythm(7.3, 0), window(), window(1)
    found = spectrum_of(explained(encoder, x, base))
    wave = np.zeros((CHANNELS, SAMPLES))
    wave[0] = encoder.get_buffer("wave").numpy() / 10
    both = np.fft.fft((x - base)[0].double().numpy()) * np.fft.fft(wave).conj() / SAMPLES  # two-sided
    folded = both.real[:, : len(HERTZ)].copy()
    folded[:, 1:-1] += both.real[:, : SAMPLES // 2 : -1]
    assert found == pytest.approx(folded, abs=1e-5)
    assert not np.allclose(found[::-1], folded, atol=1e-2), "swapped electrodes would be seen"


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("recorded", [SAMPLES, 151])
def test_all_frequencies_sum_to_the_electrode(draws: int, recorded: int) -> None:
    mask = torch.arange(SAMPLES)[None] < recorded
    base = torch.cat([window(n) for n in range(1, draws + 1)])
    made = explained(Rhythm(9.1, 1, power=3), window(), base, mask, batch=3)
    sums = made.values["eeg"][0].double().sum(dim=1).numpy()
    scale = np.abs(sums).max()
    assert scale > 0.1
    assert spectrum_of(made).sum(axis=1) == pytest.approx(sums, abs=1e-5 * max(scale, 1))
    assert not np.allclose(spectrum_of(made)[:, :-1].sum(axis=1)[1], spectrum_of(made)[:, 5:].sum(axis=1)[1])


def test_padding_counts_as_no_difference_and_odd_windows_keep_their_sum() -> None:
    random = np.random.default_rng(0)
    for length in (1, 2, 75, 200):
        difference, gradient = random.normal(size=(2, length)), random.normal(size=(2, length))
        assert by_frequency(difference, gradient).sum(axis=1) == pytest.approx((difference * gradient).sum(axis=1))
    recorded = np.arange(200) < 120
    padded = by_frequency(difference, gradient, recorded)
    assert padded.sum(axis=1) == pytest.approx((difference * gradient)[:, :120].sum(axis=1))
    assert np.array_equal(padded, by_frequency(np.where(recorded, difference, 0), gradient, recorded))


def test_several_baselines_average_their_own_spectra() -> None:
    encoder, x = Rhythm(10.0, 1, power=2), window()
    one, two = window(1), window(2)
    both = spectrum_of(explained(encoder, x, torch.cat([one, two])))
    each = [spectrum_of(explained(encoder, x, base)) for base in (one, two)]
    assert both == pytest.approx((each[0] + each[1]) / 2, abs=1e-5)
    product = by_frequency(((x - one) + (x - two))[0].numpy() / 2, np.ones((CHANNELS, SAMPLES)))
    assert not np.allclose(both, product, atol=1e-2)


def test_bands_sum_to_the_whole_and_stop_where_the_rate_does() -> None:
    values = np.random.default_rng(1).normal(size=(2, CHANNELS, len(HERTZ)))
    bands = in_bands(values, HERTZ)
    assert list(bands) == list(BANDS)
    assert sum(bands.values()) == pytest.approx(values.sum(axis=2))
    assert bands["alpha"] == pytest.approx(values[..., (HERTZ >= 8) & (HERTZ < 13)].sum(axis=2))
    slow = frequencies(100, 20.0)
    assert slow.max() == 10
    assert list(in_bands(values[..., : len(slow)], slow)) == ["delta", "theta", "alpha"]


def test_the_spectrum_is_stored_and_older_files_have_none(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    made = replace(make_explanation(study, "s01-fusion", "1", "2"), target="Anger")
    run = study.run("s01-fusion")
    save_explanation(run, made)
    older = load_explanation(run, "2", *made.stored)
    assert older is not None
    assert older.spectrum is None
    assert older.spectrum_frequencies is None
    values = np.random.default_rng(2).normal(size=(2, len(made.channels), len(HERTZ))).astype(np.float32)
    save_explanation(run, replace(made, spectrum=values, spectrum_frequencies=HERTZ))
    with np.load(run.explain_files("2", *made.stored)[0]) as stored:
        assert np.array_equal(stored["spectrum_eeg"], values)
    found = load_explanation(run, "2", *made.stored)
    assert found is not None
    assert np.array_equal(found.spectrum, values)  # type: ignore[arg-type]  # not None
    assert np.array_equal(found.spectrum_frequencies, HERTZ)  # type: ignore[arg-type]  # not None
