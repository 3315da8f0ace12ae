"""The published chain: the same numbers as the published code's own calls, and the leak that they bring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from eeg_fields import field
from failing import fails
from made_media import fif, mat, trials
from scipy import signal as scipy_signal

from eavdash.config.schema import EegConfig, StudyConfig
from eavdash.data.eeg import arrays as eeg_arrays
from eavdash.data.eeg import published as eeg_published
from eavdash.data.eeg import reading as eeg
from eavdash.data.eeg.arrays import ArrayInfo
from eavdash.data.eeg.electrodes import EAV_CHANNELS
from eavdash.data.inputs import load_windows
from eavdash.data.readers import READERS, TrialRow
from eavdash.data.recording import release
from eavdash.errors import ConfigError, DataError, RecordingError

PUBLISHED = EegConfig(chain="published", low=0.5, high=45.0, rate=100.0)
TIME, TRIALS = 2500, 6


@pytest.fixture(autouse=True)
def _release_files():
    release()
    yield
    release()


@pytest.fixture
def cube() -> np.ndarray:
    """(time, 30, trials) microvolt, with EAV's offsets: each trial and channel has its own."""
    random = np.random.default_rng(0)
    return random.normal(0, 30, (TIME, 30, TRIALS)) + random.normal(0, 100, (1, 30, TRIALS))


def independent(cube: np.ndarray) -> np.ndarray:
    """(channel, time, trial) microvolt: what the published loader does, in its own words and order."""
    data = np.transpose(cube, [1, 0, 2])
    channels, time, count = data.shape
    joined = np.reshape(data, [channels, time * count], order="F")
    slow = scipy_signal.resample_poly(joined, up=1, down=5, axis=1)
    sections = scipy_signal.butter(5, [0.5, 45], btype="bandpass", fs=100, output="sos")
    filtered = np.array([scipy_signal.sosfilt(sections, row) for row in slow])
    return filtered.reshape((channels, time // 5, count), order="F")


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_the_numbers_are_the_published_ones(tmp_path: Path, cube: np.ndarray, dtype: str) -> None:
    stored = cube.astype(dtype)
    path = mat(tmp_path / "subject1_eeg.mat", stored, "seg")
    expected = independent(stored.astype(np.float64)) * 1e-6
    for number in range(1, TRIALS + 1):
        ready = eeg.read_prepared(f"{path}#{number}", None, None, PUBLISHED)
        assert ready.signal.rate == 100
        assert ready.signal.channels == EAV_CHANNELS
        assert ready.signal.data.dtype == np.float32
        assert relative(ready.signal.data, expected[:, :, number - 1]) < 1e-6


def test_windows_hold_the_published_numbers(tmp_path: Path, cube: np.ndarray) -> None:
    path = mat(tmp_path / "subject1_eeg.mat", cube)
    frame = trials([{"trial": str(n), "eeg": f"{path}#{n}"} for n in (2, 4, 6)])  # speaking alone, as in a study
    windows = load_windows(frame, "eeg", StudyConfig(window=2.5, eeg=PUBLISHED), tmp_path / "cache")
    expected = independent(cube)[:, :, 1::2] * 1e-6  # (channel, 500, 3)
    expected = expected.reshape(30, 2, 250, 3).transpose(3, 1, 0, 2).reshape(6, 30, 250)
    assert relative(np.asarray(windows.values), expected) < 1e-6
    assert windows.mask.all()
    assert eeg_published._filtered.cache_info().currsize == 0, "nothing of the file is kept"


def test_an_impulse_rings_into_the_next_trial_and_no_other_chain_lets_it(tmp_path: Path, cube: np.ndarray) -> None:
    struck = cube.copy()
    struck[-50:, :, 2] += 1000  # the last tenth of a second of trial 3
    paths = [mat(tmp_path / "a.mat", cube), mat(tmp_path / "b.mat", struck)]

    def change(number: int, config: EegConfig) -> float:
        one, other = (eeg.read_prepared(f"{path}#{number}", None, None, config).signal.data for path in paths)
        return float(np.abs(one - other).max())

    # Resampling reaches 20 samples ahead, but not back over a trial; the filter only runs forwards.
    assert change(2, PUBLISHED) == 0
    assert change(3, PUBLISHED) > 1e-4
    assert change(4, PUBLISHED) > 1e-5
    assert change(6, PUBLISHED) < 1e-3 * change(4, PUBLISHED)
    for number in (2, 4):
        assert change(number, EegConfig(chain="trial")) == 0
    assert change(3, EegConfig(chain="trial")) > 1e-4


def test_start_and_stop_are_cut_after_filtering(tmp_path: Path, cube: np.ndarray) -> None:
    path = mat(tmp_path / "a.mat", cube)
    whole = eeg.read_prepared(f"{path}#3", None, None, PUBLISHED).signal.data
    part = eeg.read_prepared(f"{path}#3", 1.0, 3.5, PUBLISHED, ("Cz", "Fp1")).signal
    assert part.channels == ("Cz", "Fp1")
    assert np.array_equal(part.data, whole[[EAV_CHANNELS.index("Cz"), 0], 100:350])
    with fails(RecordingError, where="a.mat#3", found="5 s"):
        eeg.read_prepared(f"{path}#3", 1.0, 6.0, PUBLISHED)
    with fails(RecordingError, where="a.mat#7", expected="1 to 6", found="7"):
        eeg.read_prepared(f"{path}#7", None, None, PUBLISHED)


def test_the_file_is_filtered_once_and_again_when_it_changes(tmp_path: Path, cube: np.ndarray, monkeypatch) -> None:
    path = mat(tmp_path / "a.mat", cube)
    opened = []
    read = eeg_published.read_cube
    monkeypatch.setattr(eeg_published, "read_cube", lambda *a: opened.append(a) or read(*a))
    before = [eeg.read_prepared(f"{path}#{n}", None, None, PUBLISHED).signal.data for n in (1, 2, 3)]
    assert len(opened) == 1
    mat(tmp_path / "a.mat", np.concatenate([cube[:, :, ::-1], cube], axis=2))
    after = eeg.read_prepared(f"{path}#3", None, None, PUBLISHED).signal.data
    assert not np.array_equal(before[2], after)
    assert len(opened) == 2


def test_one_bad_sample_spoils_the_file_and_is_named(tmp_path: Path, cube: np.ndarray) -> None:
    cube[700, 14, 4] = np.nan
    path = mat(tmp_path / "a.mat", cube)
    with fails(RecordingError, where="a.mat#5", expected="eeg.chain", found=("1 ", "C4", "1.400 s")):
        eeg.read_prepared(f"{path}#1", None, None, PUBLISHED)
    assert eeg.read_prepared(f"{path}#1", None, None, EegConfig()).signal.data.shape == (30, 500)


def test_a_rate_that_cannot_carry_the_band(tmp_path: Path, cube: np.ndarray) -> None:
    path = mat(tmp_path / "a.mat", cube)
    with fails(DataError, expected="45 Hz", found="80 Hz", remedy=("eeg.high", "eeg.rate")):
        eeg.read_prepared(f"{path}#1", None, None, EegConfig(chain="published", rate=80))


@pytest.mark.parametrize(
    "extra", [{"notch": 50}, {"reference": "average"}, {"bad_channels": "interpolate"}, {"clip": 100}]
)
def test_steps_that_were_not_published_are_refused(tmp_path: Path, cube: np.ndarray, extra: dict[str, object]) -> None:
    config = EegConfig(chain="published", **extra)  # type: ignore[arg-type]
    paths = [mat(tmp_path / "a.mat", cube) + "#1", fif(tmp_path / "a_raw.fif", np.ones((2, 1000)), ["Fz", "Cz"])]
    for path in paths:
        with fails(ConfigError, where="eeg.chain", found=f"eeg.{next(iter(extra))}"):
            eeg.read_prepared(path, None, None, config)


def test_other_formats_are_filtered_causally_from_rest(tmp_path: Path) -> None:
    made = field(1, seconds=6)
    path = fif(tmp_path / "a_raw.fif", made.data.astype(float), made.channels)
    found = eeg.read_prepared(path, 1.0, 5.0, PUBLISHED).signal
    slow = scipy_signal.resample_poly(made.data[:, 250:1250].astype(float), 2, 5, axis=1)
    sections = scipy_signal.butter(5, [0.5, 45], btype="bandpass", fs=100, output="sos")
    assert relative(found.data, scipy_signal.sosfilt(sections, slow, axis=1)) < 1e-6


def test_published_pickles_have_been_through_it(tmp_path: Path, monkeypatch) -> None:
    data = np.random.default_rng(0).normal(0, 1e-5, (30, 500))

    class Source:
        def info(self, file: str) -> ArrayInfo:
            return ArrayInfo(500, 100.0, EAV_CHANNELS, 1)

        def trial(self, file: str, number: int) -> np.ndarray:
            return data

    file = tmp_path / "subject_01_eeg.pkl"
    file.write_bytes(b"never read")
    monkeypatch.setattr(eeg_arrays, "source_of", lambda _: Source())
    found = eeg.read_prepared(f"{file}#1", None, None, PUBLISHED).signal.data
    assert np.array_equal(found, data.astype(np.float32))
    assert not np.allclose(eeg.read_prepared(f"{file}#1", None, None, EegConfig()).signal.data, data, atol=1e-8)


def test_the_reader_counts_the_whole_file(tmp_path: Path, cube: np.ndarray) -> None:
    reader = READERS["eeg"](StudyConfig(eeg=PUBLISHED))
    reader.prepare([TrialRow("1", "1", "g", "a", mat(tmp_path / "a.mat", cube) + "#1", None, None)])
    assert reader.bytes_of(5) > cube.nbytes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_subject_of_eav_stays_under_a_gigabyte(tmp_path: Path) -> None:
    """The largest file there is: 20 s at 500 Hz, 30 channels, 200 trials in float64, 480 MB."""
    block = np.random.default_rng(0).normal(0, 100, (10000, 30, 10))
    path = mat(tmp_path / "a.mat", np.tile(block, (1, 1, 20)))
    lines = [
        "import re, sys",
        "from eavdash.config.schema import EegConfig",
        "from eavdash.data.eeg import reading as eeg",
        "shape = eeg.read_prepared(sys.argv[1] + '#200', None, None, EegConfig(chain='published')).signal.data.shape",
        "print(shape[1], re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])",
    ]
    command = [sys.executable, "-c", "\n".join(lines), path]
    samples, peak = map(int, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    assert samples == 2000
    assert peak * 1024 < 1e9
