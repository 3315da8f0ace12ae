"""Measures of expressiveness on made recordings whose motion, range and power are known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from eavdash.data.windows import WindowSet
from eavdash.explain import expressiveness

RATE = expressiveness.RATE


def tone(hertz: float | np.ndarray, seconds: float = 2.0) -> np.ndarray:
    time = np.arange(int(RATE * seconds)) / RATE
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, time.shape)) / RATE
    return (0.3 * np.sin(phase)).astype(np.float32)


def test_motion_is_the_mean_change_of_grey_and_skips_masked_frames() -> None:
    values = np.zeros((1, 4, 8, 8, 3), np.uint8)
    values[0, 1] = 51  # 20 % of the grey scale
    values[0, 3] = 255
    mask = np.array([[True, True, True, False]])
    windows = WindowSet("vision", pd.DataFrame(index=range(1)), values, mask)
    assert expressiveness.face(windows, np.array([0]))["motion"] == pytest.approx(20)
    still = WindowSet("vision", pd.DataFrame(index=range(1)), values * 0, mask)
    assert expressiveness.face(still, np.array([0]))["motion"] == 0
    alone = WindowSet("vision", pd.DataFrame(index=range(1)), values, mask & (np.arange(4) == 0))
    assert math.isnan(expressiveness.face(alone, np.array([0]))["motion"])


def test_the_ranges_of_a_voice() -> None:
    flat = expressiveness.voice(tone(200))
    assert flat["pitch"] < 0.5
    assert flat["loudness"] < 0.5
    octave = expressiveness.voice(tone(np.linspace(150, 300, 2 * RATE)))
    assert octave["pitch"] == pytest.approx(12 * np.log2(285 / 165), abs=1.0)
    louder = expressiveness.voice(tone(200) * np.repeat([0.1, 1.0], RATE).astype(np.float32))
    assert louder["loudness"] == pytest.approx(20, abs=0.5)
    assert math.isnan(expressiveness.voice(np.zeros(RATE, np.float32))["pitch"])
    assert math.isnan(expressiveness.voice(tone(200)[:100])["loudness"])


def test_band_power_of_a_sine_is_half_its_squared_amplitude() -> None:
    rate = 100.0
    time = np.arange(500) / rate
    values = (20e-6 * np.sin(2 * np.pi * 10 * time)[None, None] * np.ones((2, 3, 1))).astype(np.float32)
    windows = WindowSet("eeg", pd.DataFrame(index=range(2)), values, np.ones((2, 500), bool), {"rate": rate})
    found = expressiveness.bands(windows, np.array([0, 1]))
    assert found["alpha"] == pytest.approx(10 * np.log10(20**2 / 2), abs=0.5)
    assert found["alpha"] > found["beta"] + 20
    slow = WindowSet("eeg", windows.index, values, windows.mask, {"rate": 20.0})
    assert math.isnan(expressiveness.bands(slow, np.array([0]))["beta"])
