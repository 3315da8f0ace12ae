"""Axes of windows: planted clicks, tones and short last windows are where the axes say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from eavdash.data.audio.front_ends import LogMel, VoiceMel
from eavdash.data.axes import frequencies_of, times_of
from eavdash.data.windows import WindowSet, tile


def windows(modality: str, meta: dict[str, Any], steps: int, rate: float, duration: float = 10.0) -> WindowSet:
    """Windows of 4 s of one trial, with as many steps as the reader would give the last one."""
    spans = tile(duration, 4.0)
    index = pd.DataFrame({"start": [a for a, _ in spans], "stop": [b for _, b in spans]})
    counts = [min(steps, max(1, round((b - a) * rate))) for a, b in spans]
    mask = np.arange(steps) < np.array(counts)[:, None]
    return WindowSet(modality, index, np.zeros((len(spans), steps, 2), np.float32), mask, meta)


def test_a_short_last_window_keeps_its_times() -> None:
    times = times_of(windows("eeg", {"rate": 100.0}, 400, 100.0))
    assert times.shape == (3, 400)
    assert times[2, :200] == pytest.approx(8 + np.arange(200) / 100)  # not stretched over the padding
    assert np.isnan(times[2, 200:]).all()
    assert times[1] == pytest.approx(4 + np.arange(400) / 100)


def test_frames_have_the_times_at_which_they_are_read() -> None:
    times = times_of(windows("vision", {"frames_per_second": 5.0}, 20, 5.0))
    assert times[0, :2] == pytest.approx([0.1, 0.3])
    assert times[2, 9] == pytest.approx(9.9)
    assert np.isnan(times[2, 10:]).all()


def test_a_frame_of_a_very_short_window_is_at_its_middle() -> None:
    found = windows("vision", {"frames_per_second": 1.0}, 4, 1.0, duration=0.3)
    assert times_of(found)[0, 0] == pytest.approx(0.15)


def test_tables_and_samples() -> None:
    table = windows("vision", {"kind": "table", "rate": 25.0, "columns": ["AU01"]}, 100, 25.0)
    assert times_of(table)[1, :3] == pytest.approx([4.0, 4.04, 4.08])
    wave = windows("audio", {"rate": 16_000, "mels": 1, "front_end": "wave"}, 64_000, 16_000)
    assert times_of(wave)[2, 1] == pytest.approx(8 + 1 / 16_000)
    assert frequencies_of(wave) is None
    assert frequencies_of(table) is None


@pytest.mark.parametrize("front", [LogMel(16_000, 128), LogMel(44_100, 64), VoiceMel()])
def test_a_planted_tone_lights_the_band_and_the_rows_that_the_axes_name(front: LogMel | VoiceMel) -> None:
    time = np.arange(round(4 * front.rate)) / front.rate
    burst = ((time >= 2) & (time < 3)).astype(np.float32)
    wave = (0.3 * burst * np.sin(2 * np.pi * 1500 * time)).astype(np.float32)
    rows = front.values(wave)
    found = windows("audio", front.meta, len(rows), 100.0, duration=4.0)
    hertz = frequencies_of(found)
    assert hertz is not None
    band = int(np.abs(hertz - 1500).argmin())
    assert abs(int(rows.max(axis=0).argmax()) - band) <= 1
    loud = times_of(found)[0][rows[:, band] > rows[:, band].max() - 2]
    assert loud[0] == pytest.approx(2, abs=0.03)
    assert loud[-1] == pytest.approx(3, abs=0.03)
