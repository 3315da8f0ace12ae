"""Standardising subjects by their own windows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from failing import fails

from eavdash.config.scaling import OTHERS
from eavdash.data.standardise import raw_values, standardise, subject_statistics
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError


def windows(modality: str) -> WindowSet:
    """Six windows of two people, of whom the second has another offset and twice the amplitude; a masked tail."""
    rng = np.random.default_rng(0)
    shape = (6, 4, 200) if modality == "eeg" else (6, 200, 4)
    values = rng.normal(size=shape).astype(np.float32)
    values[1::2] = 2 * values[1::2] + 5
    mask = np.ones((6, 200), bool)
    mask[:, 180:] = False
    hidden = (slice(None), slice(None), slice(180, None)) if modality == "eeg" else (slice(None), slice(180, None))
    values[hidden] = 1e6
    index = pd.DataFrame({"subject": ["a", "b"] * 3, "trial": list("123456"), "label": "x"})
    return WindowSet(modality, index, values, mask, {"key": "k"})


def everyone(given: WindowSet) -> dict[str, np.ndarray]:
    """All windows of each person."""
    return {name: np.flatnonzero(given.index["subject"] == name) for name in ("a", "b")}


@pytest.mark.parametrize("modality", ["eeg", "audio"])
def test_every_subject_has_mean_zero_and_spread_one(modality: str) -> None:
    given = windows(modality)
    statistics = json.loads(json.dumps(subject_statistics(given, everyone(given))))  # as config.json keeps them
    made = standardise(given, statistics)
    for subject in "ab":
        rows = np.flatnonzero(given.index["subject"] == subject)
        values = made.values[rows]
        kept = values[..., :180] if modality == "eeg" else values[:, :180]
        assert abs(kept.mean()) < 0.01
        assert kept.std() == pytest.approx(1, abs=0.1)
    assert np.array_equal(raw_values(made), given.values)
    assert raw_values(given) is given.values


def test_any_index_reads_what_the_whole_array_holds() -> None:
    made = standardise(windows("eeg"), subject_statistics(windows("eeg"), everyone(windows("eeg"))))
    whole = np.asarray(made.values)
    assert whole.dtype == np.float32
    assert (len(made.values), made.values.shape, made.values.ndim) == (6, (6, 4, 200), 3)
    rows = np.array([0, 3, 4])
    for index in (2, rows, slice(1, 3), (rows, 1), (2, 3, 7)):
        np.testing.assert_array_equal(made.values[index], whole[index])


def test_labels_play_no_part() -> None:
    given = windows("audio")
    before = subject_statistics(given, everyone(given))
    given.index["label"] = list("zyxwvu")
    assert subject_statistics(given, everyone(given)) == before


def test_statistics_come_from_the_given_windows_only() -> None:
    given = windows("eeg")
    rows = {"a": np.array([0]), "b": np.array([1, 3])}
    before = subject_statistics(given, rows)
    given.values[[2, 4, 5]] *= 3
    assert subject_statistics(given, rows) == before
    given.values[3] *= 3
    after = subject_statistics(given, rows)
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]


def test_a_person_without_statistics_gets_the_mean_of_those_trained_on() -> None:
    given = windows("audio")
    statistics = subject_statistics(given, everyone(given), trained=["b"])
    stranger = replace(given, index=given.index.replace({"subject": {"a": "c"}}))
    rows = np.flatnonzero(stranger.index["subject"] == "c")
    expected = (given.values[rows] - np.array(statistics["b"]["shift"])) / np.array(statistics["b"]["scale"])
    np.testing.assert_allclose(standardise(stranger, statistics).values[rows], expected, rtol=1e-5)
    del statistics[OTHERS]  # a run of an earlier version
    with fails(DataError, where="audio", expected="a, b", found="c"):
        standardise(stranger, statistics)
