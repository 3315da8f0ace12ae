"""Axes of windows: planted clicks, tones and short last windows are where the axes say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recordings import FAST, make_recordings

from eavdash.config.choices import MODALITIES
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.data.audio.front_ends import LogMel, VoiceMel
from eavdash.data.axes import frequencies_of, times_of
from eavdash.data.inputs import load_windows
from eavdash.data.table import open_table
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


def test_the_axes_of_a_recorded_short_window_end_with_the_recording(tmp_path: Path) -> None:
    trials = open_table(make_recordings(tmp_path / "data", subjects=1)).frame.iloc[[0]]
    config = with_settings(preset("quick"), (*FAST, "window=1.25", "vision.frames_per_second=4"))
    steps = {"vision": 0.25, "audio": 0.01, "eeg": 0.01}
    for modality in MODALITIES:  # 2 s: windows from 0 and from 1.25 s
        found = load_windows(trials, modality, config, tmp_path / "cache")
        times = times_of(found)
        assert times.shape == found.mask.shape
        assert np.array_equal(np.isnan(times), ~found.mask), modality
        last = times[1][found.mask[1]]
        assert last[0] == pytest.approx(1.375 if modality == "vision" else 1.25), modality
        assert np.diff(last) == pytest.approx(steps[modality]), modality
        assert 2 - 4 * steps[modality] < last[-1] < 2, modality
