"""Band power: a known sine is where and as strong as it should be."""

from __future__ import annotations

import numpy as np
import pytest
from made_media import sine

from eavdash.data.eeg.bandpower import BANDS, FLOOR, STEPS, band_power

RATE = 250.0


@pytest.mark.parametrize(
    ("band", "frequency"), [("delta", 2), ("theta", 6), ("alpha", 10), ("beta", 20), ("gamma", 38)]
)
def test_a_sine_is_in_its_band_with_its_power(band: str, frequency: float) -> None:
    found = band_power(np.stack([sine(frequency, 4, RATE, 20), np.zeros(1000)]), RATE)
    assert found.bands == tuple(BANDS)
    assert found.decibel.shape == (5, 2, 4 * STEPS)
    at = found.bands.index(band)
    assert found.decibel[at, 0, 10:-10] == pytest.approx(10 * np.log10(20**2 / 2), abs=0.1)
    assert found.decibel[at, 0] == pytest.approx(10 * np.log10(20**2 / 2), abs=3), "where the signal is mirrored"
    others = found.decibel[np.arange(5) != at, 0, 10:-10]
    assert (others < found.decibel[at, 0, 10:-10] - 18).all()
    assert found.decibel[:, 1] == pytest.approx(10 * np.log10(FLOOR))


def test_a_burst_is_found_when_it_is() -> None:
    signal = sine(10, 10, RATE, 0.1)
    signal[5 * 250 : 6 * 250] *= 300
    alpha = band_power(signal[None], RATE).decibel[2, 0]
    assert alpha.argmax() / STEPS == pytest.approx(5.5, abs=0.1)
    assert alpha[int(4 * STEPS)] < alpha.max() - 40, "a second away there is nothing of it"


def test_bands_that_the_signal_cannot_carry_are_left_out() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 600))
    assert band_power(noise, 60.0).bands == ("delta", "theta", "alpha", "beta")
    assert band_power(noise, RATE, high=12.0).bands == ("delta", "theta", "alpha")


@pytest.mark.parametrize("samples", [1, 7, 100, 251])
def test_short_signals(samples: int) -> None:
    found = band_power(np.random.default_rng(0).normal(size=(3, samples)), RATE)
    assert found.decibel.shape[1:] == (3, max(1, int(samples / RATE * STEPS)))
    assert np.isfinite(found.decibel).all()
