"""Simple features of windows: against direct computation, with padding, and their place in the cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails

from eavdash.data import summaries
from eavdash.data.cache.folders import discard
from eavdash.data.cache.listing import entries
from eavdash.data.standardise import standardise, subject_statistics
from eavdash.data.summaries import Band, bands_within, summary
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError

WIDE = Band(0.5, 45.0)


def window_set(modality: str, values: np.ndarray, mask: np.ndarray | None = None, **meta: object) -> WindowSet:
    long = {"vision": values.shape[1], "audio": values.shape[1], "eeg": values.shape[-1]}[modality]
    mask = np.ones((len(values), long), dtype=bool) if mask is None else mask
    index = pd.DataFrame({"subject": ["1"] * len(values)})
    return WindowSet(modality, index, values, mask, {"key": "k", "rate": 100.0, **meta})


def sines(frequency: float, amplitude: float, channels: int = 3, samples: int = 500) -> np.ndarray:
    """Make EEG (1, channel, time) in volt with a sine in the first channel, in microvolt, and faint noise elsewhere."""
    eeg = np.random.default_rng(0).normal(0, 0.01, (1, channels, samples))
    eeg[0, 0] += amplitude * np.sin(2 * np.pi * frequency * np.arange(samples) / 100)
    return (eeg * 1e-6).astype(np.float32)


@pytest.mark.parametrize(("frequency", "band"), [(2.0, 0), (6.0, 1), (10.0, 2), (20.0, 3), (40.0, 4)])
def test_the_power_of_a_sine_is_in_its_band(tmp_path: Path, frequency: float, band: int) -> None:
    windows = window_set("eeg", sines(frequency, 10))
    power = summary(windows, "bandpower", WIDE, tmp_path).reshape(5, 3)  # (band, channel)
    assert power[band, 0] == pytest.approx(np.log10(50), abs=0.05)  # A² / 2
    others = np.delete(power[:, 0], band)
    assert (others < -1).all()
    assert (power[:, 1:] < -1).all()


def test_covariances_are_those_of_the_band_and_positive_definite_without_enough_samples(tmp_path: Path) -> None:
    eeg = sines(10, 10, channels=40, samples=100)
    eeg[0, 1] = -0.5 * eeg[0, 0]
    eeg -= eeg.mean(axis=1, keepdims=True)  # a common average: the channels depend on each other
    matrices = summary(window_set("eeg", eeg), "covariances", WIDE, tmp_path)
    assert matrices.shape == (1, 5, 40, 40)
    assert (np.linalg.eigvalsh(matrices) > 0).all()
    assert matrices == pytest.approx(matrices.transpose(0, 1, 3, 2))
    alpha = matrices[0, 2]
    assert alpha[0, 1] / np.sqrt(alpha[0, 0] * alpha[1, 1]) < -0.8
    assert np.trace(alpha) == pytest.approx((1e12 * eeg[0].astype(float) ** 2).mean(axis=1).sum(), rel=0.1)
    flat = summary(window_set("eeg", np.zeros_like(eeg), key="flat"), "covariances", WIDE, tmp_path)
    assert (np.linalg.eigvalsh(flat) > 0).all()


def test_padding_changes_no_summary(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    mask = np.arange(500)[None] < 300
    short = random.normal(0, 1e-5, (1, 4, 500)).astype(np.float32)
    filled = np.where(mask[:, None], short, 7.0).astype(np.float32)
    for name in ("bandpower", "covariances"):
        pair = [
            summary(window_set("eeg", x, mask, key=f"{n}"), name, WIDE, tmp_path) for n, x in enumerate((short, filled))
        ]
        assert np.array_equal(*pair)
    mel = random.normal(size=(1, 500, 8)).astype(np.float32)
    found = summary(window_set("audio", np.where(mask[:, :, None], mel, 9.0), mask), "logmel", WIDE, tmp_path)
    spoken = mel[0, :300].astype(float)
    assert found[0] == pytest.approx(np.concatenate([spoken.mean(axis=0), spoken.std(axis=0)]), abs=1e-6)


@pytest.mark.parametrize("size", [6, 16, 21])
def test_crops_are_means_of_grey_values_and_of_their_changes(tmp_path: Path, size: int) -> None:
    frames = np.random.default_rng(2).integers(0, 256, (1, 4, size, size, 3)).astype(np.uint8)
    mask = np.array([[True, False, True, True]])
    found = summary(window_set("vision", frames, mask, key=f"{size}"), "crops", WIDE, tmp_path)[0]
    cells = min(size, 8) ** 2
    assert found.shape == (3 * cells,)
    grey = frames[0, mask[0]].mean(axis=-1)
    first = size // min(size, 8)
    corner = grey[:, :first, :first].mean(axis=(1, 2))
    expected = corner.mean(), corner.std(), np.abs(np.diff(corner)).mean()
    assert found[[0, cells, 2 * cells]] == pytest.approx(expected)
    alone = np.array([[True, False, False, False]])
    one = summary(window_set("vision", frames, alone, key=f"{size}-1"), "crops", WIDE, tmp_path)[0]
    assert (one[cells:] == 0).all()


def test_bands_end_where_the_filter_does() -> None:
    assert bands_within(WIDE, 100) == [(1, 4), (4, 8), (8, 13), (13, 30), (30, 45)]
    assert bands_within(Band(0.5, 45), 50) == [(1, 4), (4, 8), (8, 13), (13, 22.5)]
    assert bands_within(Band(7.5, 20), 100) == [(8, 13), (13, 20)]  # half a hertz of theta is none
    with fails(DataError, where="eeg.low", found="50 to 45 Hz", remedy="eeg.rate"):
        bands_within(Band(50, 60), 100)


def test_windows_of_another_kind_are_refused(tmp_path: Path) -> None:
    wave = window_set("audio", np.zeros((2, 16000), dtype=np.float32))
    with fails(DataError, where="audio", expected="log-mel", found="1 axes"):
        summary(wave, "logmel", WIDE, tmp_path)


def test_summaries_are_read_from_the_cache_by_key_and_band(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = window_set("eeg", sines(10, 10))
    first = np.array(summary(windows, "bandpower", WIDE, tmp_path))
    plain = summaries._maker

    def unread(*_: object) -> np.ndarray:
        raise AssertionError("the window is read again")

    monkeypatch.setattr(summaries, "_maker", lambda *_: unread)
    assert np.array_equal(summary(windows, "bandpower", WIDE, tmp_path), first)
    (entry,) = entries(tmp_path)
    assert (entry.kind, "baselines" in entry.description) == ("summaries", True)
    monkeypatch.setattr(summaries, "_maker", plain)
    assert summary(windows, "bandpower", Band(8, 13), tmp_path).shape == (1, 3)
    assert len(entries(tmp_path)) == 2
    # Of another number of windows it is damaged, and is made again.
    np.save(entry.path / "values.npy", np.zeros((5, 15)))
    assert np.array_equal(summary(windows, "bandpower", WIDE, tmp_path), first)
    discard(entry.path)


def test_summaries_are_of_the_raw_values(tmp_path: Path) -> None:
    """Standardised windows have no microvolts, and baselines scale their features themselves."""
    windows = window_set("eeg", sines(10, 10))
    scaled = standardise(windows, subject_statistics(windows, {"1": np.arange(len(windows))}))
    scaled = dataclasses.replace(scaled, meta={**scaled.meta, "key": "other"})
    pair = [summary(w, "bandpower", WIDE, tmp_path) for w in (windows, scaled)]
    assert np.array_equal(*pair)
