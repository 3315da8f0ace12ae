"""Decimation by matrix products equals the given resampler for any length and factor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from torchaudio.functional import resample

from eavdash.data.polyphase import Decimator


@pytest.mark.parametrize("down", [2, 3, 5, 10])
@pytest.mark.parametrize("length", [1, 7, 99, 100, 101, 200, 1999, 2000, 2001, 10_000])
def test_it_is_scipys(length: int, down: int) -> None:
    signal = np.random.default_rng(length).normal(50, 10, length)
    expected = resample_poly(signal, 1, down)
    found = Decimator.like(lambda x: resample_poly(x, 1, down, axis=1), down, 10 * down, np.float64)(signal)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


@pytest.mark.parametrize("down", [2, 3, 6])
@pytest.mark.parametrize("length", [1, 10, 4000, 48_001])
def test_it_is_torchaudios(length: int, down: int) -> None:
    def convert(signals: np.ndarray) -> np.ndarray:
        return np.asarray(resample(torch.from_numpy(signals), down, 1).numpy())

    signal = np.random.default_rng(length).normal(0, 0.3, length).astype(np.float32)
    expected = convert(signal[None])[0]
    found = Decimator.like(convert, down, 7 * down, np.float32)(signal)
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
