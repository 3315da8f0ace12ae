"""Interrupted EDF: the samples of a time are those of its record, and a segment with a gap is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from eeg_files import TEN20, edf, noise
from failing import fails

from eavdash.config.presets import preset
from eavdash.config.schema import EegConfig
from eavdash.data.eeg.reading import eeg_info, read_eeg
from eavdash.data.eeg.signal import EegRules
from eavdash.data.inputs import load_windows
from eavdash.errors import RecordingError

ONSETS = [*range(12), *range(42, 54)]
IGNORING = EegRules(gaps="ignore")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """24 s of which the second half begins at 42 s, with Fp1 counting the seconds of the file."""
    data = noise(19, 24)
    data[0] = np.repeat(np.arange(24), 100)
    texts = ["+43\x152\x14BAD_cough", "+1\x14happy"]
    return edf(tmp_path / "a.edf", data, TEN20, kind="EDF+D", onsets=ONSETS, texts=texts)


@pytest.mark.parametrize(
    ("start", "stop", "first"), [(0, 2, 0), (10, 12, 10), (42, 44, 12), (51.5, 54, 21), (50, 54.04, 20)]
)
def test_times_are_those_of_the_records(path: str, start: float, stop: float, first: int) -> None:
    signal = read_eeg(path, start, stop)
    assert signal.data.shape == (19, round((min(stop, 54) - start) * 100))
    assert round(float(signal.data[0, 0]) * 1e6) == first


@pytest.mark.parametrize(("start", "stop"), [(17, 21), (11, 13), (41, 43), (12, 42), (None, None), (0, 54), (53, 60)])
def test_a_segment_with_a_gap_is_refused(path: str, start: float | None, stop: float | None) -> None:
    with fails(RecordingError, where="a.edf", expected=("without a gap", "0 to 12 s, 42 to 54 s"), found="EDF+D"):
        read_eeg(path, start, stop)


def test_header_has_the_gaps_and_the_marks_at_their_times(path: str) -> None:
    info = eeg_info(path)
    assert (info.duration, info.remarks.gaps, info.remarks.spans) == (54.0, ((12.0, 42.0),), ((43.0, 45.0),))


def test_earlier_studies_count_samples(path: str) -> None:
    assert eeg_info(path, IGNORING).duration == 24
    assert round(float(read_eeg(path, 17, 21, rules=IGNORING).data[0, 0]) * 1e6) == 17


def test_windows_and_their_lengths(path: str, tmp_path: Path) -> None:
    """The remembered length of a file is not that of other rules; a BAD annotation after the gap rejects its window."""
    row = {"subject": "1", "group": "g", "label": "a", "eeg": path}
    table = pd.DataFrame([{**row, "trial": "1", "start": 42.0, "stop": np.nan}])
    today = replace(preset("quick"), window=2.0)
    earlier = replace(today, eeg=EegConfig())
    before = pd.DataFrame([{**row, "trial": "1", "start": 14.0, "stop": np.nan}])
    assert len(load_windows(before, "eeg", earlier, tmp_path)) == 5
    windows = load_windows(table, "eeg", today, tmp_path)
    assert len(windows) == 6
    assert windows.meta["facts"] == [["1", "1", {"rejected": [0, 1]}]]


def test_a_file_that_only_says_it_is_interrupted_is_read_as_others(tmp_path: Path) -> None:
    data = noise(19, 5)
    path = edf(tmp_path / "a.edf", data, TEN20, kind="EDF+D", onsets=range(5))
    np.testing.assert_allclose(read_eeg(path, 1, 5).data, data[:, 100:] * 1e-6, atol=2e-8)
    assert eeg_info(path).remarks.gaps == ()


def test_a_later_first_record_is_second_zero(tmp_path: Path) -> None:
    data = noise(19, 4)
    path = edf(tmp_path / "a.edf", data, TEN20, kind="EDF+D", onsets=[7.5, 8.5, 20.5, 21.5])
    np.testing.assert_allclose(read_eeg(path, 13, 15).data, data[:, 200:] * 1e-6, atol=2e-8)


def test_records_that_go_back_in_time_are_refused(tmp_path: Path) -> None:
    path = edf(tmp_path / "a.edf", noise(19, 4), TEN20, kind="EDF+D", onsets=[0, 1, 0.5, 3])
    with fails(RecordingError, where="a.edf", found=("record 3 at 0.5 s", "ends at 2 s")):
        read_eeg(path, 0, 1)


def test_records_without_a_time_are_refused(tmp_path: Path) -> None:
    path = Path(edf(tmp_path / "a.edf", noise(19, 4), TEN20, kind="EDF+D", onsets=[0, 1, 20, 21]))
    path.write_bytes(path.read_bytes().replace(b"+20\x14\x14", bytes(5)))
    with fails(RecordingError, where="a.edf", found="1 of 4 records", remedy="eeg.gaps=ignore"):
        read_eeg(str(path), 0, 1)
    assert read_eeg(str(path), 0, 1, rules=IGNORING).data.shape == (19, 100)
    assert eeg_info(str(path), IGNORING).remarks.gaps == ()
