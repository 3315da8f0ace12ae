"""Where electrodes lie, and the field between them."""

from __future__ import annotations

import numpy as np
import pytest

from eavdash.data.eeg import scalp
from eavdash.data.eeg.electrodes import EAV_CHANNELS


def position(name: str) -> np.ndarray:
    found = scalp.scalp_map((name, "Cz", "Oz", "C3", "C4"))
    assert found is not None
    return found.positions[0]


def test_electrodes_are_where_the_head_has_them() -> None:
    assert np.hypot(*position("Cz")) < 0.1
    assert position("Fpz")[1] == pytest.approx(1, abs=0.1)
    assert position("Oz")[1] == pytest.approx(-1, abs=0.15)
    assert position("T7")[0] == pytest.approx(-1, abs=0.1)
    assert position("F4") == pytest.approx(position("F3") * [-1, 1], abs=0.05)


def field_at(channels: tuple[str, ...], values: np.ndarray, name: str) -> float:
    """The map's value in the cell over an electrode."""
    found = scalp.scalp_map(channels)
    assert found is not None
    right, nose = found.positions[found.electrodes.index(channels.index(name))]
    column = int((right / found.extent + 1) / 2 * scalp.GRID)
    row = int((1 - nose / found.extent) / 2 * scalp.GRID)
    cell = np.flatnonzero(found.cells == row * scalp.GRID + column)
    assert len(cell) == 1
    return float((found.weights @ values[list(found.electrodes)])[cell[0]])


def test_the_field_meets_the_electrodes() -> None:
    values = np.random.default_rng(0).normal(size=30)
    for n, name in enumerate(EAV_CHANNELS):
        assert field_at(EAV_CHANNELS, values, name) == pytest.approx(values[n], abs=0.35), name  # within a cell


def test_a_constant_stays_one_and_a_front_stays_in_front() -> None:
    found = scalp.scalp_map(EAV_CHANNELS)
    assert found is not None
    assert found.weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found.weights.shape == (len(found.cells), 30)
    front = np.array([1.0 if name.startswith("F") else 0.0 for name in EAV_CHANNELS])
    field = np.zeros(scalp.GRID**2)
    field[found.cells] = found.weights @ front
    field = field.reshape(scalp.GRID, scalp.GRID)
    assert field[: scalp.GRID // 3].sum() > 10 * abs(field[-scalp.GRID // 3 :].sum())


def test_channels_without_a_position() -> None:
    found = scalp.scalp_map(("Cz", "EXG1", "Oz", "C3", "C4"))
    assert found is not None
    assert found.electrodes == (0, 2, 3, 4)
    assert scalp.scalp_map(("Cz", "EXG1", "Oz", "C3")) is None


def test_channels_from_front_to_back() -> None:
    names = ("EXG", "Oz", "T7", "O1", "Fz", "PO7", "P8", "C3", "AF7", "F9", "Fpz", "TP9", "FT9", "Fp1", "CPz", "I1")
    expected = ["Fp1", "Fpz", "AF7", "F9", "Fz", "FT9", "T7", "C3", "TP9", "CPz", "P8", "PO7", "O1", "Oz", "I1", "EXG"]
    assert [names[n] for n in scalp.front_to_back(names)] == expected
