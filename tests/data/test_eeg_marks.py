"""What recordings and BIDS mark as bad: channels are interpolated, windows left out of training, both by settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from eeg_files import TEN20, edf, noise

from eavdash.config.presets import preset
from eavdash.config.schema import EegConfig, StudyConfig
from eavdash.data.eeg.prepare import touching
from eavdash.data.eeg.reading import eeg_info, read_eeg, read_prepared
from eavdash.data.inputs import load_windows

REPLACING = EegConfig(bad_channels="interpolate", marked_channels=True)


def marked(path: Path, first: int = 0) -> str:
    """8 s with Fz marked as bad, and 2.5 to 3.5 s; sample ``first`` of the recorder is the file's first."""
    info = mne.create_info([*TEN20], 100.0, "eeg")
    info["bads"] = ["Fz"]
    raw = mne.io.RawArray(noise(1, 8) * 1e-6 + noise(19, 8, seed=1) * 2e-7, info, first_samp=first, verbose="ERROR")
    raw.set_annotations(mne.Annotations([2.5, 6.0, 7.0], [1.0, 0.0, 0.5], ["BAD_movement", "bad moment", "happy"]))
    raw.save(path, overwrite=True, verbose="ERROR")
    return str(path)


def table(path: str, start: float = np.nan) -> pd.DataFrame:
    row = {"subject": "1", "trial": "1", "group": "g", "label": "a", "start": start, "stop": np.nan, "eeg": path}
    return pd.DataFrame([row])


@pytest.mark.parametrize("first", [0, 700])
def test_header_says_what_is_marked(tmp_path: Path, first: int) -> None:
    remarks = eeg_info(marked(tmp_path / "a_raw.fif", first)).remarks
    assert remarks.marked == ("Fz",)
    np.testing.assert_allclose(remarks.spans, [(2.5, 3.5), (6, 6)], atol=1e-9)


def test_marked_channels_are_interpolated(tmp_path: Path) -> None:
    path = marked(tmp_path / "a_raw.fif")
    assert read_eeg(path).marked == ("Fz",)
    assert "Fz" in read_prepared(path, None, None, REPLACING).interpolated
    assert "Fz" not in read_prepared(path, None, None, replace(REPLACING, marked_channels=False)).interpolated
    assert read_prepared(path, None, None, EegConfig(marked_channels=True)).interpolated == ()


@pytest.mark.parametrize(("start", "rejected"), [(np.nan, [1, 3]), (2.0, [0, 2]), (3.5, [1])])
def test_windows_under_a_mark_are_rejected(tmp_path: Path, start: float, rejected: list[int]) -> None:
    trials = table(marked(tmp_path / "a_raw.fif"), start)
    today = replace(preset("quick"), window=2.0)
    windows = load_windows(trials, "eeg", today, tmp_path / "cache")
    assert windows.meta["facts"] == [["1", "1", {"rejected": rejected}]]
    off = replace(today, eeg=replace(today.eeg, reject_marked=False))
    other = load_windows(trials, "eeg", off, tmp_path / "cache")
    assert other.meta["facts"] == []
    assert np.array_equal(other.values, windows.values)
    assert other.meta["key"] != windows.meta["key"]


def test_marks_touch_the_windows_that_they_overlap() -> None:
    spans = [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]
    assert touching(spans, [(12.0, 13.0)], 10.0) == [1]
    assert touching(spans, [(11.9, 14.1)], 10.0) == [0, 1, 2]
    assert touching(spans, [(14.0, 14.0)], 10.0) == [2]
    assert touching(spans, [(8.0, 10.0), (16.0, 20.0)], 10.0) == []


def bids(folder: Path, status: str = "bad", level: int = 0) -> str:
    """A recording whose channels.tsv is ``level`` folders above it, and whose last channel is of another type."""
    eeg = folder / "sub-01" / "eeg"
    eeg.mkdir(parents=True)
    (folder / "dataset_description.json").write_text("{}")
    names = [*TEN20[:-1], "left"]
    path = edf(eeg / "sub-01_task-x_run-1_eeg.edf", noise(19, 8), names)
    where = [
        eeg / "sub-01_task-x_run-1_channels.tsv",
        eeg.parent / "sub-01_task-x_channels.tsv",
        folder / "task-x_channels.tsv",
    ]
    rows = [f"{name}\tEEG\tuV\t{status if name == 'Cz' else 'good'}" for name in names[:-1]]
    where[level].write_text("name\ttype\tunits\tstatus\n" + "\n".join([*rows, "left\tMISC\tuV\tn/a"]), encoding="utf-8")
    (eeg / "sub-01_task-x_run-1_events.tsv").write_text("onset\tduration\ttrial_type\n3\t1\tBAD_muscle\n5\t1\thappy\n")
    return path


@pytest.mark.parametrize("level", [0, 1, 2])
def test_bids_status_and_bad_events(tmp_path: Path, level: int) -> None:
    info = eeg_info(bids(tmp_path, level=level))
    assert (info.remarks.marked, info.remarks.spans) == (("Cz",), ((3.0, 4.0),))
    assert (info.channels, info.others, info.remarks.passed) == (TEN20[:-1], ("left",), ())


def test_the_sidecar_is_part_of_the_key_where_arrays_depend_on_it(tmp_path: Path) -> None:
    today = replace(preset("quick"), window=2.0, eeg=replace(preset("quick").eeg, bad_channels="interpolate"))
    earlier = replace(today, eeg=EegConfig(bad_channels="interpolate"))
    good, bad = (bids(tmp_path / status, status) for status in ("good", "bad"))

    def key(path: str, config: StudyConfig) -> str:
        return str(load_windows(table(path), "eeg", config, tmp_path / "cache").meta["key"])

    assert key(good, today) != key(bad, today)
    assert key(good, earlier) == key(bad, earlier)
