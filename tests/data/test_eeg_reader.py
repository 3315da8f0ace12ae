"""Reading EEG: what a file holds, what is refused, and what filtering does to it."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
from eeg_fields import prepare_eeg
from failing import fails
from made_media import fif, mat, sine

from eavdash.config.schema import EegConfig
from eavdash.data.eeg import arrays as eeg_arrays
from eavdash.data.eeg import electrodes
from eavdash.data.eeg import mat as eeg_mat
from eavdash.data.eeg import reading as eeg
from eavdash.data.eeg.arrays import ArrayInfo
from eavdash.data.recording import release
from eavdash.errors import DataError, RecordingError

TIME, TRIALS = 1000, 3


@pytest.fixture(autouse=True)
def _release_files():
    release()
    yield
    release()


@pytest.fixture
def cube() -> np.ndarray:
    """(time, 30, trials) microvolt; each trial and channel has an offset of its own."""
    noise = np.random.default_rng(0).normal(0, 10, (TIME, 30, TRIALS))
    return noise + 100 * np.arange(TRIALS) + np.arange(30)[:, None]


def test_mat_trial_is_in_volt_and_named(tmp_path: Path, cube: np.ndarray) -> None:
    path = mat(tmp_path / "a.mat", cube, "seg")
    signal = eeg.read_eeg(f"{path}#2", 0.5, 1.5)
    assert signal.data.shape == (30, 500)
    assert signal.data.dtype == np.float32
    assert signal.rate == 500
    assert signal.channels == electrodes.EAV_CHANNELS
    np.testing.assert_allclose(signal.data, cube[250:750, :, 1].T * 1e-6, rtol=1e-6)
    assert eeg.eeg_info(f"{path}#2").duration == TIME / 500


def test_mat_is_opened_once_for_all_its_trials(tmp_path: Path, cube: np.ndarray, monkeypatch) -> None:
    path = mat(tmp_path / "a.mat", cube)
    opened = []
    whole = eeg_mat.read_array
    monkeypatch.setattr(eeg_mat, "read_array", lambda *a: opened.append(a) or whole(*a))
    for trial in (1, 2, 3):
        eeg.read_eeg(f"{path}#{trial}")
    assert len(opened) == 1


def test_a_changed_mat_is_read_again(tmp_path: Path, cube: np.ndarray) -> None:
    path = mat(tmp_path / "a.mat", cube)
    before = eeg.read_eeg(f"{path}#1").data
    mat(tmp_path / "a.mat", np.concatenate([cube, cube], axis=2) + 1)
    assert not np.array_equal(eeg.read_eeg(f"{path}#1").data, before)
    assert eeg.read_eeg(f"{path}#6").data.shape == before.shape


@pytest.mark.parametrize("trial", [0, 4])
def test_trial_outside_the_array(tmp_path: Path, cube: np.ndarray, trial: int) -> None:
    path = mat(tmp_path / "a.mat", cube)
    with fails(RecordingError, where=f"a.mat#{trial}", expected="1 to 3", found=f"trial {trial}"):
        eeg.read_eeg(f"{path}#{trial}")


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((200, 30, 10000), "float32"), "(200, 30, 10000)"),
        (np.zeros((30, 1000, 4)), "(30, 1000, 4)"),
        (np.zeros((1000, 31, 4)), "(1000, 31, 4)"),
        (np.zeros((1000, 30)), "no three-dimensional array"),
        (np.full((600, 30, 2), "a"), "no three-dimensional array of numbers"),
        (np.zeros((600, 30, 2), complex), "complex"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, array: np.ndarray, found: str) -> None:
    path = mat(tmp_path / "a.mat", array)
    with fails(RecordingError, where=path, found=found):
        eeg.read_eeg(f"{path}#1")


def test_two_arrays_are_refused(tmp_path: Path, cube: np.ndarray) -> None:
    path = mat(tmp_path / "a.mat", cube, "seg", seg1=cube)
    with fails(RecordingError, where="a.mat", found=("seg (", "seg1")):
        eeg.read_eeg(f"{path}#1")


def test_mat_without_a_trial_number(tmp_path: Path, cube: np.ndarray) -> None:
    path = mat(tmp_path / "a.mat", cube)
    with fails(RecordingError, where="a.mat", expected="x.mat#41"):
        eeg.read_eeg(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(tmp_path: Path, cube: np.ndarray, value: float) -> None:
    cube[700, 14, 1] = value
    path = mat(tmp_path / "a.mat", cube)
    with fails(RecordingError, where="a.mat#2", expected="finite", found=("1 ", "C4", "1.400 s")):
        eeg.read_eeg(f"{path}#2")
    assert eeg.read_eeg(f"{path}#1").data.shape == (30, TIME)
    assert eeg.read_eeg(f"{path}#2", 0, 1).data.shape == (30, 500)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"x" * 500, lambda b: b""])
def test_damaged_mat(tmp_path: Path, cube: np.ndarray, damage) -> None:
    path = Path(mat(tmp_path / "a.mat", cube))
    path.write_bytes(damage(path.read_bytes()))
    with fails(RecordingError, where="a.mat"):
        eeg.read_eeg(f"{path}#1")


def test_mne_file_keeps_the_scalp_under_canonical_names(tmp_path: Path) -> None:
    volt = np.random.default_rng(0).normal(0, 1e-5, (5, 1000))
    path = fif(tmp_path / "a_raw.fif", volt, ["EEG FP1-Ref", "T3", "EEG A2-A1", "ECG ECG", "fz"])
    signal = eeg.read_eeg(path, 1, 3)
    assert signal.channels == ("Fp1", "T7", "Fz")
    np.testing.assert_allclose(signal.data, volt[[0, 1, 4], 250:750], rtol=1e-5)
    assert eeg.eeg_info(path) == eeg.EegInfo(4.0, 250.0, ("Fp1", "T7", "Fz"), ("A2-A1", "ECG ECG"))


def test_channels_without_known_positions_are_kept_when_there_are_no_others(tmp_path: Path) -> None:
    path = fif(tmp_path / "a_raw.fif", np.ones((2, 500)), ["left", "right"])
    assert eeg.read_eeg(path).channels == ("left", "right")


def test_one_electrode_twice(tmp_path: Path) -> None:
    path = fif(tmp_path / "a_raw.fif", np.ones((2, 500)), ["T3", "T7"])
    with fails(RecordingError, where="a_raw.fif", found="T7"):
        eeg.read_eeg(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EEG Fp1", "Fp1"),
        ("FP2-LE", "Fp2"),
        ("T5", "P7"),
        ("Fc5.", "FC5"),
        ("eeg cz-A1A2", "Cz"),
        ("ECG", "ECG"),
        ("EEG A1", "A1"),
        ("EEG A2-A1", "A2-A1"),
        ("M1-Ref", "M1"),
    ],
)
def test_canonical_names(name: str, expected: str) -> None:
    assert electrodes.canonical(name) == expected


def test_scalp_has_no_ears() -> None:
    assert all(map(electrodes.on_scalp, electrodes.EAV_CHANNELS))
    assert not any(map(electrodes.on_scalp, ["A1", "M2", "ECG", "A2-A1"]))


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (4.5, 5), (-1, 2), (3, 3)])
def test_segment_outside_the_file(tmp_path: Path, start: float, stop: float) -> None:
    path = fif(tmp_path / "a_raw.fif", np.ones((1, 1000)), ["Cz"])
    with fails(RecordingError, where="a_raw.fif", found="4 s"):
        eeg.read_eeg(path, start, stop)


def test_a_stop_a_little_past_the_end_is_the_end(tmp_path: Path) -> None:
    path = fif(tmp_path / "a_raw.fif", np.ones((1, 1000)), ["Cz"])
    assert eeg.read_eeg(path, 2, 4.04).data.shape == (1, 500)


@pytest.mark.parametrize(("name", "content"), [("a.edf", b"nothing"), ("a.xyz", b"nothing"), ("a.edf", b"")])
def test_what_mne_does_not_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with fails(RecordingError, where=name):
        eeg.read_eeg(str(tmp_path / name))


def test_missing_file(tmp_path: Path) -> None:
    with fails(RecordingError, where="a.edf", found="No such file"):
        eeg.read_eeg(str(tmp_path / "a.edf"))


def test_sine_in_the_band_stays_and_mains_hum_goes() -> None:
    wave = np.stack([sine(10, 10, 500), sine(60, 10, 500), np.full(5000, 1.0)]) * 1e-5
    signal = eeg.EegSignal(wave.astype(np.float32), 500.0, ("Fz", "Cz", "Pz"))
    clean = prepare_eeg(signal, EegConfig())
    assert clean.data.shape == (3, 1000)
    middle = clean.data[:, 200:800]
    np.testing.assert_allclose(middle[0], sine(10, 10, 100)[200:800] * 1e-5, atol=2e-7)
    assert np.abs(middle[1:]).max() < 5e-7


@pytest.mark.parametrize(("rate", "target", "length"), [(500, 100, 501), (128, 100, 1957), (100, 100, 2505)])
def test_resampled_length(rate: float, target: float, length: int) -> None:
    signal = eeg.EegSignal(np.random.default_rng(0).normal(0, 1e-5, (1, 2505)).astype("float32"), rate, ("Cz",))
    assert prepare_eeg(signal, EegConfig(rate=target)).data.shape == (1, length)


def test_slow_recordings_lower_the_pass_band() -> None:
    signal = eeg.EegSignal(np.random.default_rng(0).normal(0, 1e-5, (1, 640)).astype("float32"), 64.0, ("Cz",))
    assert np.isfinite(prepare_eeg(signal, EegConfig()).data).all()
    with fails(DataError, expected="40 Hz", found="64 Hz", remedy="eeg.low"):
        prepare_eeg(signal, EegConfig(low=40))


def test_filtering_does_not_cross_a_trials_border(tmp_path: Path, cube: np.ndarray) -> None:
    def filtered(array: np.ndarray) -> np.ndarray:
        release()
        return prepare_eeg(eeg.read_eeg(mat(tmp_path / "a.mat", array) + "#2"), EegConfig()).data

    before = filtered(cube)
    cube[:, :, [0, 2]] = 1e6
    assert np.array_equal(filtered(cube), before)


def test_common_channels_follow_the_first_recording(tmp_path: Path) -> None:
    a = fif(tmp_path / "a_raw.fif", np.ones((3, 500)), ["Pz", "T3", "Fz"])
    b = fif(tmp_path / "b_raw.fif", np.ones((3, 500)), ["Fz", "Cz", "Pz"])
    c = fif(tmp_path / "c_raw.fif", np.ones((1, 500)), ["O1"])
    assert eeg.common_channels([a, b]) == ("Pz", "Fz")
    assert eeg.common_channels([a, b], ["EEG FZ"]) == ("Fz",)
    with fails(RecordingError, where="b_raw.fif", found=("no T7", "Fz, Cz, Pz")):
        eeg.common_channels([a, b], ["Fz", "T3"])
    with fails(DataError, where="c_raw.fif", found="O1"):
        eeg.common_channels([a, b, c])


def test_references_are_read_beside_the_scalp_and_missing_ones_are_named(tmp_path: Path) -> None:
    volt = np.random.default_rng(0).normal(0, 1e-5, (4, 1000))
    path = fif(tmp_path / "a_raw.fif", volt, ["EEG A1", "Fz", "m2", "Cz"])
    signal = eeg.read_eeg(path, 1, 3, ("A1", "M2", "Cz"))
    assert signal.channels == ("Fz", "Cz")
    assert set(signal.others) == {"A1", "M2"}
    np.testing.assert_allclose(signal.others["M2"], volt[2, 250:750], rtol=1e-5)
    np.testing.assert_allclose(signal.data, volt[[1, 3], 250:750], rtol=1e-5)
    assert eeg.read_eeg(path).others == {}
    with fails(RecordingError, where="a_raw.fif", expected="A1+A2", found=("no A2", "Fz, Cz")):
        eeg.read_eeg(path, references=("A1", "A2"))
    with fails(RecordingError, where="a_raw.fif", found="no A2"):
        eeg.common_channels([path], references=("A2",))


def test_a_reference_that_is_not_finite(tmp_path: Path) -> None:
    volt = np.ones((2, 1000))
    volt[1, 500] = np.nan
    path = fif(tmp_path / "a_raw.fif", volt, ["Fz", "A1"])
    assert eeg.read_eeg(path).data.shape == (1, 1000)
    with fails(RecordingError, where="a_raw.fif", found=("1 ", "A1", "2.000 s")):
        eeg.read_eeg(path, references=("A1",))


def test_wanted_electrodes_may_be_missing_where_they_can_be_interpolated(tmp_path: Path) -> None:
    wanted = ["Fz", "Cz", "Pz", "C3", "C4", "O1", "O2", "Oz"]

    def has(*names: str) -> str:
        return fif(tmp_path / f"{'-'.join(names)}_raw.fif", np.ones((len(names), 500)), names)

    some, few = has("Fz", "Cz", "Pz", "C3", "C4", "O1"), has("Fz", "Cz", "Pz", "C3", "C4")
    assert eeg.common_channels([some], wanted, interpolate=True) == tuple(wanted)
    with fails(RecordingError, where="O1_raw.fif", found="no O2, Oz", remedy="eeg.bad_channels"):
        eeg.common_channels([some], wanted)
    with fails(RecordingError, where="C4_raw.fif", expected="6 of the 8", found=("5", "O1, O2, Oz")):
        eeg.common_channels([few], wanted, interpolate=True)
    with fails(RecordingError, where="O1_raw.fif", found=("no left", "10-05")):
        eeg.common_channels([some], ["Fz", "Cz", "Pz", "left"], interpolate=True)


class _Source:
    """A third kind of file of arrays, as another module would read it."""

    def __init__(self, trials: int = 2) -> None:
        self.data = np.random.default_rng(0).normal(0, 1e-5, (trials, 4, 640))

    def info(self, file: str) -> ArrayInfo:
        return ArrayInfo(640, 128.0, ("Fp1", "Cz", "hEOG", "M1"), len(self.data))

    def trial(self, file: str, number: int) -> np.ndarray:
        return self.data[number - 1]


@pytest.mark.parametrize("suffix", ["pkl", "dat", "DAT"])
def test_arrays_of_any_source(tmp_path: Path, monkeypatch, suffix: str) -> None:
    source, file = _Source(), tmp_path / f"s01.{suffix}"
    file.write_bytes(b"never read")
    monkeypatch.setattr(eeg_arrays, "source_of", lambda _: source)
    assert eeg.eeg_info(f"{file}#2") == eeg.EegInfo(5.0, 128.0, ("Fp1", "Cz"), ("hEOG", "M1"))
    signal = eeg.read_eeg(f"{file}#2", 1, 2, ("M1",))
    np.testing.assert_allclose(signal.data, source.data[1, :2, 128:256], rtol=1e-6)
    np.testing.assert_allclose(signal.others["M1"], source.data[1, 3, 128:256], rtol=1e-6)
    with fails(RecordingError, where=f"{suffix}#3", expected="1 to 2", found="trial 3"):
        eeg.read_eeg(f"{file}#3")
    with fails(RecordingError, where=f"{suffix}#1", found="5 s"):
        eeg.read_eeg(f"{file}#1", 1, 6)


def test_a_pickle_needs_a_number_but_another_dat_is_left_to_mne(tmp_path: Path) -> None:
    for name, fact in (("a.pkl", "x.pkl#41"), ("a.dat", "MNE")):
        (tmp_path / name).write_bytes(b"nothing")
        with fails(RecordingError, where=name, expected=fact):
            eeg.read_eeg(str(tmp_path / name))


def test_every_source_has_what_a_source_needs() -> None:
    for name in eeg_arrays.SOURCES.values():
        module = importlib.import_module(name)
        assert callable(module.info)
        assert callable(module.trial)


def test_real_edf(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "eeg" / "Subject00_1.edf"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signal = eeg.read_eeg(str(path), 60, 80)
    assert signal.data.shape == (19, 10000)
    assert {"Fp1", "T7", "P8"} <= set(signal.channels)
    assert 1e-6 < signal.data.std() < 1e-4
    short = tmp_path / "short.edf"
    short.write_bytes(path.read_bytes()[:200_000])
    with fails(RecordingError, where="short.edf", found="bytes"):
        eeg.read_eeg(str(short), 0, 1)
