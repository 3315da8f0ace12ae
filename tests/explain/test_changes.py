"""Changes of windows: each does what it says, nothing else, and refuses what it cannot do in one sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eavdash.data.audio.reading import SILENCE, mel_hertz
from eavdash.data.axes import times_of
from eavdash.data.windows import WindowSet
from eavdash.errors import UsageError
from eavdash.explain.changes.cover import Cover
from eavdash.explain.changes.registry import change_of, changes_of

RATE = 100.0
CHANNELS = ("Fz", "Cz", "Pz")


def eeg() -> WindowSet:
    """Two windows of 2 s, the second of 1.5 s: 10 Hz and 30 Hz in Fz, noise elsewhere."""
    rng = np.random.default_rng(0)
    values = 1e-6 * rng.standard_normal((2, 3, 200))
    time = np.arange(200) / RATE
    values[:, 0] = 1e-5 * np.sin(2 * np.pi * 10 * time) + 2e-5 * np.sin(2 * np.pi * 30 * time)
    mask = np.ones((2, 200), bool)
    mask[1, 150:] = False
    values[1, :, 150:] = 0
    return made("eeg", values.astype(np.float32), mask, {"rate": RATE, "channels": list(CHANNELS)})


def audio() -> WindowSet:
    rng = np.random.default_rng(1)
    mask = np.ones((2, 198), bool)
    mask[1, 148:] = False
    values = rng.normal(-6, 1, (2, 198, 64)).astype(np.float32)
    values[1, 148:] = SILENCE
    return made("audio", values, mask, {"rate": 16000, "mels": 64})


def vision() -> WindowSet:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 256, (2, 4, 50, 50, 3)).astype(np.uint8)
    mask = np.ones((2, 4), bool)
    mask[1, 3:] = False
    return made("vision", values, mask, {"frames_per_second": 2.0})


def table() -> WindowSet:
    values = np.random.default_rng(3).normal(size=(2, 20, 5)).astype(np.float32)
    meta = {"kind": "table", "rate": 10.0, "columns": list("abcde")}
    return made("audio", values, np.ones((2, 20), bool), meta)


def made(modality: str, values: np.ndarray, mask: np.ndarray, meta: dict[str, object]) -> WindowSet:
    start, stop = np.array([0.0, 2.0]), np.array([2.0, 3.5])
    keys = {"subject": "1", "trial": "1", "group": "g", "label": "a"}
    return WindowSet(
        modality, pd.DataFrame({"window": [0, 1], "start": start, "stop": stop}).assign(**keys), values, mask, meta
    )


MADE = {"eeg": eeg, "audio": audio, "vision": vision}


def changed(windows: WindowSet, option: str, text: str, seed: int = 0) -> WindowSet:
    before = np.array(windows.values), np.array(windows.mask)
    found = change_of(option, text).apply(windows, np.random.default_rng(seed))
    assert np.array_equal(before[0], windows.values)
    assert np.array_equal(before[1], windows.mask)
    assert found.values.dtype == windows.values.dtype
    return found


def power(windows: WindowSet, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The spectrum (frequency, channel) of the recorded samples of a window, and its frequencies."""
    count = int(windows.mask[row].sum())
    return np.abs(np.fft.rfft(windows.values[row, :, :count].T.astype(float), axis=0)) ** 2, np.fft.rfftfreq(
        count, 1 / RATE
    )


def test_muting_a_band_of_eeg_removes_exactly_its_power() -> None:
    after = changed(eeg(), "mute", "eeg:8-12")
    for row in (0, 1):
        (old, hertz), (new, _) = power(eeg(), row), power(after, row)
        inside = (hertz >= 8) & (hertz <= 12)
        assert old[inside].max() > 1e-8
        assert new[inside].max() < 1e-12 * old.max()
        assert new[~inside] == pytest.approx(old[~inside], rel=1e-4, abs=1e-12 * old.max())
    assert np.array_equal(after.values[1, :, 150:], eeg().values[1, :, 150:])


def test_muting_a_band_of_sound_silences_the_mel_bands_in_it() -> None:
    after, hertz = changed(audio(), "mute", "audio:300-3000"), np.array(mel_hertz(16000, 64))
    inside = (hertz >= 300) & (hertz <= 3000)
    assert (after.values[:, :148][..., inside] == np.float32(SILENCE)).all()
    assert np.array_equal(after.values[..., ~inside], audio().values[..., ~inside])


def test_a_muted_electrode_is_flat_and_the_others_stay() -> None:
    for option, text in (("mute-electrode", "cz"), ("mute", "eeg:Cz")):
        after = changed(eeg(), option, text)
        assert np.ptp(after.values[0, 1]) == 0
        assert after.values[0, 1, 0] == after.values[1, 1, 149]
        assert np.array_equal(after.values[:, [0, 2]], eeg().values[:, [0, 2]])


@pytest.mark.parametrize("modality", ["eeg", "audio", "vision"])
def test_noise_has_the_chosen_ratio_and_follows_the_seed(modality: str) -> None:
    before = MADE[modality]()
    after = changed(before, "noise", f"{modality}:6")
    valid = before.mask
    old, new = (np.moveaxis(w.values, 2, 1) if modality == "eeg" else w.values for w in (before, after))
    old, new = old[valid].astype(float), new[valid].astype(float)
    if modality == "audio":
        ratio = np.exp(old).sum() / (np.exp(new) - np.exp(old)).sum()
    elif modality == "eeg":
        ratio = np.mean(old.var(axis=0) / (new - old).var(axis=0))
    else:
        mild = changed(before, "noise", "vision:30").values[valid].astype(float)  # little is clipped
        ratio = old.var() / (mild - old).var() / 10**2.4
    assert 10 * np.log10(ratio) == pytest.approx(6, abs=0.7)
    assert np.array_equal(after.values, changed(before, "noise", f"{modality}:6").values)
    assert not np.array_equal(after.values, changed(before, "noise", f"{modality}:6", seed=1).values)


@pytest.mark.parametrize(("modality", "seconds"), [("eeg", 0.5), ("eeg", -0.5), ("audio", 0.5), ("vision", 1.0)])
def test_a_shift_moves_values_along_the_time_of_the_trial(modality: str, seconds: float) -> None:
    before = MADE[modality]()
    times = times_of(before)
    where = np.nan_to_num(times, nan=-1.0)
    shape = [*where.shape, *(1,) * (before.values.ndim - 2)]
    place = (
        np.moveaxis(where[:, None] + 0 * before.values, 2, 2)
        if modality == "eeg"
        else where.reshape(shape) + 0.0 * before.values
    )
    # Values that are their own time tell where they come from.
    named = WindowSet(modality, before.index, place.astype(np.float32), before.mask, before.meta)
    after = change_of("shift", f"{modality}:{seconds}").apply(named, np.random.default_rng(0))
    values = after.values[:, 0] if modality == "eeg" else after.values.reshape(*after.mask.shape, -1)[..., 0]
    assert values[after.mask] == pytest.approx((times - seconds)[after.mask], abs=0.016)
    lost = before.mask & ~after.mask
    assert lost.sum() == pytest.approx(abs(seconds) * {"eeg": 100, "audio": 100, "vision": 2}[modality], abs=2)
    assert (times[lost] < seconds).all() if seconds > 0 else (times[lost] >= 3.5 + seconds - 0.01).all()


def test_a_shift_beyond_a_window_leaves_it_out() -> None:
    after = changed(eeg(), "shift", "eeg:2")
    assert after.index["window"].tolist() == [1]
    assert np.array_equal(after.values[0, :, :150], eeg().values[0, :, :150])


def test_covering_changes_the_box_alone_to_the_mean_colour() -> None:
    after = changed(vision(), "cover", "0.2,0.6,0.8,0.9")
    box = np.zeros((50, 50), bool)
    box[30:45, 10:40] = True
    assert np.array_equal(after.values[:, :, ~box], vision().values[:, :, ~box])
    assert after.values[0, 1, 35, 20] == pytest.approx(vision().values[0, 1].mean(axis=(0, 1)), abs=0.5)
    assert np.ptp(after.values[0, 1][box], axis=0).max() == 0
    assert np.array_equal(after.values[1, 3], vision().values[1, 3])


def test_parts_of_the_face_move_with_the_margin_of_the_crop() -> None:
    near, far = (Cover("vision", "mouth").placed("face", margin) for margin in (0.0, 0.2))
    assert near.box[3] > far.box[3] == 0.86
    assert near.box[0] < far.box[0]
    with pytest.raises(UsageError, match="crop"):
        Cover("vision", "mouth").placed("centre", 0.2)


def test_silence_is_silent_flat_or_blank() -> None:
    rows = np.nan_to_num(times_of(audio()), nan=-1)
    after = changed(audio(), "silence", "audio:1-2.5")
    here = (rows >= 1) & (rows < 2.5)
    assert (after.values[here] == np.float32(SILENCE)).all()
    assert np.array_equal(after.values[~here], audio().values[~here])
    assert np.ptp(changed(eeg(), "silence", "eeg:0-1").values[0, :, :100], axis=1).max() == 0
    assert np.ptp(changed(vision(), "silence", "vision:0-1").values[0, 0], axis=(0, 1)).max() == 0
    features = changed(table(), "silence", "audio:0-1").values
    assert features[0, 0] == pytest.approx(table().values.mean(axis=(0, 1)), abs=1e-6)


def test_dropping_leaves_no_window() -> None:
    assert len(changed(eeg(), "drop", "eeg")) == 0


@pytest.mark.parametrize(
    ("option", "text", "again"),
    [
        ("drop", "EEG", "eeg"),
        ("swap", "audio=12@3", ""),
        ("swap", "audio=a@b@3", ""),
        ("noise", "audio:10", ""),
        ("shift", "eeg:-0.5", ""),
        ("mute", "eeg:8-12", ""),
        ("mute", "audio: 300 - 3000", "audio:300-3000"),
        ("mute-electrode", "Fz, Cz", "Fz,Cz"),
        ("cover", "vision:Mouth", "mouth"),
        ("silence", "audio:1.5-2.5", ""),
    ],
)
def test_a_change_is_read_and_written(option: str, text: str, again: str) -> None:
    change = change_of(option, text)
    assert change.argument == (again or text)
    assert change_of(change.option, change.argument) == change


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("drop", "smell"),
        *(("swap", text) for text in ("audio", "audio=", "audio=1@", "smell=1")),
        *(("noise", text) for text in ("audio", "audio:x", "audio:nan", "audio:1e9")),
        *(("shift", text) for text in ("eeg:inf", "eeg:")),
        *(("mute", text) for text in ("eeg:,", "eeg:12-8", "vision:1-2", "audio:8", "audio:1-2-3")),
        ("mute-electrode", " , "),
        *(
            ("cover", text)
            for text in ("nose", "", "-1,0,1,1", "0,0,inf,1", "0,0,2,1", "0.5,0,0.5,1", "nan,0,1,1", "1,2,3")
        ),
        *(("silence", text) for text in ("audio:2-1", "audio", "1-2")),
        ("turn", "eeg"),
    ],
)
def test_wrong_text_is_refused_in_one_sentence(option: str, text: str) -> None:
    with pytest.raises(UsageError, match="expected") as caught:
        change_of(option, text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "option", "text"),
    [
        ("eeg", "mute", "eeg:60-70"),
        ("eeg", "mute", "eeg:8-900"),
        ("eeg", "mute", "eeg:8.1-8.2"),
        ("eeg", "mute-electrode", "Oz"),
        ("eeg", "shift", "eeg:9"),
        ("eeg", "shift", "eeg:0.001"),
        ("audio", "mute", "audio:9000-9999"),
        ("audio", "mute", "audio:300-9000"),
        ("audio", "mute", "audio:300-301"),
        ("eeg", "silence", "eeg:1-9"),
        ("vision", "silence", "vision:1-5"),
        ("audio", "silence", "audio:90-99"),
    ],
)
def test_what_does_not_fit_the_recordings_is_refused(kind: str, option: str, text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        changed(MADE[kind](), option, text)


def test_noise_needs_a_signal() -> None:
    flat = made("eeg", np.ones((2, 3, 200), np.float32), np.ones((2, 200), bool), {"rate": RATE, "channels": ["a"] * 3})
    with pytest.raises(UsageError, match="with a signal"):
        changed(flat, "noise", "eeg:10")


def test_tables_of_features_have_neither_frequencies_nor_pictures() -> None:
    for option, text in (("mute", "audio:1-2"), ("mute-electrode", "Fz"), ("cover", "0,0,1,1")):
        with pytest.raises(UsageError, match="a table of features"):
            changed(table(), option, text)


def test_changes_that_exclude_each_other_are_refused() -> None:
    assert len(changes_of([("swap", "audio=2"), ("noise", "audio:3"), ("drop", "eeg")])) == 3
    for asked in (
        [],
        [("drop", "eeg"), ("noise", "eeg:1")],
        [("noise", "eeg:1"), ("swap", "eeg=2")],
        [("drop", "eeg")] * 13,
    ):
        with pytest.raises(UsageError, match="what-if"):
            changes_of(asked)
