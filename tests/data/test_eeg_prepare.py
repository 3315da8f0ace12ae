"""Preprocessing of a trial: what each step does, their order, and that it is done by default as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eeg_fields import EAV, changed, field, prepare_eeg
from failing import fails
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_media import fif, sine, trials

from eavdash.config.schema import EegConfig, StudyConfig
from eavdash.data.eeg import reading as eeg
from eavdash.data.eeg.filters import harmonics, notch
from eavdash.data.eeg.prepare import clip, exceeding, prepare, reference_channels, rereference
from eavdash.data.eeg.signal import EegSignal
from eavdash.data.inputs import load_windows
from eavdash.data.readers import READERS
from eavdash.errors import ConfigError, DataError, RecordingError

PLAIN = EegConfig()


def middle(signal: EegSignal, seconds: float = 2.0) -> np.ndarray:
    """Without the ends, where a filter has little to go on."""
    cut = round(seconds * signal.rate)
    return signal.data[:, cut:-cut]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([250.0, 500.0, 512.0]), st.sampled_from([50.0, 60.0]), st.floats(0, 6), st.floats(5, 40))
def test_notch_removes_the_mains_and_leaves_the_rest(rate: float, mains: float, phase: float, kept: float) -> None:
    time = np.arange(round(20 * rate)) / rate
    hum = sum(5e-5 / k * np.sin(2 * np.pi * k * mains * time + phase) for k in (1, 2))
    wave = 1e-5 * np.sin(2 * np.pi * kept * time)
    config = EegConfig(rate=rate, low=0.5, high=0.45 * rate, notch=mains)
    signal = EegSignal(np.stack([wave + hum, wave]).astype(np.float32), rate, ("Fz", "Cz"))
    clean = middle(prepare_eeg(signal, config), 4.0)
    expected = wave[None, round(4 * rate) : -round(4 * rate)]
    np.testing.assert_allclose(clean, np.repeat(expected, 2, axis=0), atol=1e-7)  # 1 % of the wave
    humming = middle(prepare_eeg(signal, replace(config, notch=0.0)), 4.0)
    assert (humming[0] - expected[0]).std() > 3e-5


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 6), st.floats(-0.02, 0.02), st.sampled_from([2.0, 10.0]))
def test_hum_does_not_stay_at_the_ends_of_a_trial(phase: float, off: float, seconds: float) -> None:
    rate = 500.0
    wave = np.random.default_rng(0).normal(0, 1e-5, (1, round(seconds * rate)))
    hum = 5e-5 * np.sin(2 * np.pi * (50 + off) * np.arange(wave.shape[1]) / rate + phase)
    left = notch(wave + hum, rate, 50.0) - notch(wave, rate, 50.0)
    assert np.abs(left).max() < 0.15 * 5e-5


@given(st.floats(20, 70), st.floats(50, 1000))
def test_harmonics_lie_below_half_the_rate(frequency: float, rate: float) -> None:
    found = harmonics(frequency, rate)
    assert (found + 1 <= rate / 2).all()
    assert frequency * (len(found) + 1) + 1 > rate / 2 - 1e-6
    assert list(harmonics(50, 500)) == [50, 100, 150, 200]
    assert list(harmonics(50, 100)) == []


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(8, 30), st.sampled_from(["trial", "interpolate"]))
def test_average_reference_sums_to_zero(seed: int, count: int, bad: str) -> None:
    signal = field(seed, EAV[:count], seconds=4)
    config = EegConfig(reference="average", bad_channels="keep" if bad == "trial" else bad)
    ready = prepare_eeg(signal, config)
    assert np.abs(ready.data.sum(axis=0)).max() < 1e-9
    again = rereference(rereference(signal, "average"), "average")
    np.testing.assert_allclose(again.data, rereference(signal, "average").data, atol=1e-10)


def test_a_bad_channel_does_not_get_into_the_average() -> None:
    signal = field(1)
    loud = changed(signal, "T7", np.random.default_rng(0).normal(0, 1e-3, 2500))
    config = EegConfig(reference="average", bad_channels="interpolate")
    ready = prepare(loud, config)
    assert ready.interpolated == ("T7",)
    clean = prepare(signal, config)
    assert clean.interpolated == ()
    others = [row for row, name in enumerate(EAV) if name != "T7"]
    spoilt = prepare(loud, replace(config, bad_channels="keep"))
    error = (ready.signal.data - clean.signal.data)[others].std()
    assert error < 0.02 * clean.signal.data[others].std()
    assert (spoilt.signal.data - clean.signal.data)[others].std() > 10 * error


def test_reference_by_channels_beside_the_scalp(tmp_path: Path) -> None:
    wave = np.stack([sine(f, 10, 250, 1e-5) for f in (5, 8, 11, 17)])
    path = fif(tmp_path / "a_raw.fif", wave, ["Fz", "A1", "A2", "Cz"])
    got = eeg.read_prepared(path, None, None, EegConfig(reference="a1 + EEG A2", rate=250)).signal
    assert got.channels == ("Fz", "Cz")
    expected = wave[[0, 3]] - wave[[1, 2]].mean(axis=0)
    np.testing.assert_allclose(middle(got), expected[:, 500:-500], atol=3e-7)
    plain = eeg.read_prepared(path, None, None, EegConfig(rate=250)).signal
    np.testing.assert_allclose(middle(plain), wave[[0, 3], 500:-500], atol=3e-7)
    with fails(RecordingError, where="a_raw.fif", expected="M1+M2", found="M1, M2"):
        eeg.read_prepared(path, None, None, EegConfig(reference="M1+M2"))


def test_a_scalp_channel_as_the_reference_is_zero_afterwards() -> None:
    ready = prepare_eeg(field(1), EegConfig(reference="Cz"))
    assert not ready.data[EAV.index("Cz")].any()
    assert ready.data[EAV.index("O1")].any()
    with fails(DataError, expected="reference A1", found=("A1", "Fp1")):
        prepare_eeg(field(1), EegConfig(reference="A1"))


@pytest.mark.parametrize("reference", ["+", "A1+", " "])
def test_a_reference_without_a_name(reference: str) -> None:
    with fails(ConfigError, where="eeg.reference", expected="average"):
        reference_channels(reference)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(100, 1300), st.sampled_from([64, 100, 128, 250, 256, 500, 512, 1000]), st.sampled_from([50, 100, 128])
)
def test_length_after_resampling(samples: int, rate: int, target: int) -> None:
    assume(samples >= rate / 4)
    noise = np.random.default_rng(samples).normal(0, 1e-5, (2, samples)).astype(np.float32)
    ready = prepare_eeg(EegSignal(noise, float(rate), ("Fz", "Cz")), EegConfig(rate=target, low=1.0, high=20.0))
    assert ready.data.shape == (2, max(1, round(samples * target / rate)))
    assert ready.rate == target
    assert np.isfinite(ready.data).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.floats(1, 50))
def test_clipping_cuts_and_nothing_else(seed: int, limit: float) -> None:
    signal = prepare_eeg(field(seed, EAV[:8], seconds=2), PLAIN)
    cut = clip(signal, limit)
    assert np.abs(cut.data).max() <= limit * 1e-6 * (1 + 1e-6)
    inside = np.abs(signal.data) < limit * 1e-6
    assert np.array_equal(cut.data[inside], signal.data[inside])
    assert np.array_equal(np.sign(cut.data), np.sign(signal.data))
    assert clip(signal, 0) is signal


def test_windows_that_exceed() -> None:
    data = np.zeros((2, 1000), np.float32)
    data[0, 400:500] = 60e-6  # in the second of five windows, on the border of the third
    data[1, 900] = 101e-6
    signal = EegSignal(data, 100.0, ("Fz", "Cz"))
    spans = [(2.0 * k, 2.0 * k + 2) for k in range(5)]
    assert exceeding(signal, spans, 100) == [4]
    assert exceeding(signal, spans, 50) == [2, 4]
    assert exceeding(signal, spans, 0) == []
    assert exceeding(EegSignal(data + 1e-3, 100.0, ("Fz", "Cz")), spans, 100) == [4], "an offset is no amplitude"


def test_settings_that_are_off_change_nothing() -> None:
    signal = field(1)
    plain = prepare(signal, PLAIN)
    assert plain.interpolated == ()
    assert plain.left == {}
    odd = field(1, EAV[:3])
    renamed = EegSignal(odd.data, odd.rate, ("F3-C3", "left", "E129"))
    assert prepare(renamed, PLAIN).signal.channels == renamed.channels
    repaired = prepare(renamed, replace(PLAIN, bad_channels="interpolate"))
    assert np.array_equal(repaired.signal.data, prepare(renamed, PLAIN).signal.data)


def test_bad_channels_that_cannot_be_interpolated_are_reported() -> None:
    signal = field(1)
    dead = changed(EegSignal(signal.data, signal.rate, ("left", *EAV[1:])), "left", 0.0)
    ready = prepare(changed(dead, "Cz", 0.0), replace(PLAIN, bad_channels="interpolate"))
    assert ready.interpolated == ("Cz",)
    assert ready.left == {"left": "flat for 10.0 s"}
    # Channels that the study does not read are repaired for the reference, but not reported.
    assert prepare(changed(dead, "Cz", 0.0), replace(PLAIN, bad_channels="interpolate"), EAV[1:5]).interpolated == ()


def test_channels_that_no_recording_has() -> None:
    with fails(DataError, expected="Fz, AFz", found="AFz"):
        prepare(field(1), PLAIN, ("Fz", "AFz"))


def _table(folder: Path, count: int = 2) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for n in range(count):
        signal = field(n, seconds=4)
        if n == 1:
            signal = changed(signal, "Cz", 0.0).pick([name for name in EAV if name != "Pz"])
        volt = signal.data.astype(float)
        volt[0, 600:610] += 1e-3 * (n == 0)
        rows.append({"eeg": fif(folder / f"{n}_raw.fif", volt, signal.channels)})
    return rows


def test_windows_know_what_was_interpolated_and_rejected(tmp_path: Path) -> None:
    frame = trials(_table(tmp_path))
    config = StudyConfig(window=1.0, eeg=EegConfig(bad_channels="interpolate", reject=400, clip=50, channels=EAV))
    windows = load_windows(frame, "eeg", config, tmp_path / "cache")
    assert windows.meta["channels"] == list(EAV)
    assert windows.values.shape == (8, 30, 100)
    assert windows.meta["facts"] == [["1", "1", {"rejected": [2]}], ["1", "2", {"interpolated": ["Cz", "Pz"]}]]
    assert np.abs(windows.values).max() <= np.float32(50e-6)
    assert windows.mask.all(), "a rejected window is still there: it may be tested"
    with fails(RecordingError, where="1_raw.fif", found="Pz"):
        load_windows(frame, "eeg", StudyConfig(eeg=EegConfig(channels=EAV)), tmp_path / "cache")


def test_equal_settings_in_other_words_share_a_cache(tmp_path: Path) -> None:
    frame = trials(_table(tmp_path, 1))

    def key(**changes: object) -> str:
        config = StudyConfig(eeg=EegConfig(**changes))  # type: ignore[arg-type]
        return str(load_windows(frame, "eeg", config, tmp_path / "cache").meta["key"])

    assert key(reference="fz + cz") == key(reference="Fz+CZ")
    every = [{}, {"notch": 50}, {"reference": "average"}, {"reference": "Fz"}, {"bad_channels": "interpolate"}]
    every += [{"reject": 100}, {"clip": 100}, {"chain": "published"}, {"channels": ("Fz",)}, {"low": 1.0}, {"rate": 50}]
    assert len({key(**changes) for changes in every}) == len(every)  # type: ignore[arg-type]
    assert key(encoder="yin") == key()


def test_reading_states_its_memory(tmp_path: Path) -> None:
    rows = trials(_table(tmp_path, 1))
    reader = READERS["eeg"](StudyConfig())
    from eavdash.data.readers import TrialRow

    reader.prepare([TrialRow("1", "1", "g", "a", rows["eeg"].iloc[0], None, None)])
    # 30 channels at the file's 250 Hz, in float64, several times: more than the windows that come of it.
    assert reader.bytes_of(20) > 8 * 20 * 250 * 30 * 8
    assert reader.bytes_of(40) > reader.bytes_of(20)


def test_real_recordings_through_all_options(real_data: Path, tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.read_csv(real_data / "eeg" / "trials.csv", dtype=str, keep_default_na=False).iloc[::9]
    frame = frame.assign(eeg=[str(real_data / "eeg" / name) for name in frame["eeg"]])
    frame[["start", "stop"]] = frame[["start", "stop"]].astype(float)
    without = ("FC5", "FC6", "CP5", "CP6", "PO9", "PO10")
    montage = tuple(name for name in EAV if name not in without)
    options = EegConfig(
        notch=50, reference="average", bad_channels="interpolate", reject=150, clip=100, channels=montage
    )
    windows = load_windows(frame, "eeg", StudyConfig(eeg=options), tmp_path)
    assert windows.values.shape == (4 * len(frame), 24, 500)
    assert windows.meta["channels"] == list(montage)
    lacking = ["FC1", "FC2", "CP1", "CP2", "Oz"]
    assert all(facts["interpolated"] == lacking for _, _, facts in windows.meta["facts"])
    assert len(windows.meta["facts"]) == len(frame)
    # An interpolated electrode is like its neighbours; no electrode is another's copy.
    flat = np.concatenate(list(windows.values), axis=1)
    likeness = np.corrcoef(flat)
    row = {name: n for n, name in enumerate(montage)}
    assert likeness[row["Oz"], row["O1"]] > 0.7
    assert likeness[row["Oz"], row["O1"]] > likeness[row["Oz"], row["Fz"]]
    assert (likeness - np.eye(24)).max() < 0.999
