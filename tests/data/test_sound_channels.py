"""``audio.channel``: which channel of a recording is heard, in training and in the health check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from failing import fails
from made_media import clip, sine, trials
from streams import RATE, channels

from eavdash.config.convert import from_dict, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.data.audio.reading import read_audio
from eavdash.data.inputs import load_windows
from eavdash.errors import ConfigError, RecordingError
from eavdash.health.check import check_dataset

VOICE, OTHER = (sine(f, 4, RATE, a).astype(np.float32) for f, a in ((200, 0.3), (410, 0.1)))
SILENCE = np.zeros_like(VOICE)


def test_each_choice_is_what_it_says(tmp_path: Path) -> None:
    path = channels(tmp_path / "a.wav", OTHER, VOICE, SILENCE)
    for choice, expected in {
        "left": OTHER,
        "1": OTHER,
        "right": VOICE,
        "2": VOICE,
        "loudest": VOICE,
        "3": SILENCE,
    }.items():
        np.testing.assert_array_equal(read_audio(path, channel=choice), expected, err_msg=choice)
    mixed = np.stack([OTHER, VOICE, SILENCE], axis=1).mean(axis=1)
    np.testing.assert_array_equal(read_audio(path), mixed)
    np.testing.assert_array_equal(read_audio(path, channel="mix"), mixed)


def test_the_loudest_is_that_of_the_trial(tmp_path: Path) -> None:
    """Two speakers, each at a microphone, who take turns: an offset is not loud."""
    half = len(VOICE) // 2
    left, right = VOICE.copy(), VOICE[::-1].copy()
    left[half:], right[:half] = 0.0, 0.9
    path = channels(tmp_path / "a.wav", left, right)
    np.testing.assert_array_equal(read_audio(path, 0, 2, channel="loudest"), left[:half])
    np.testing.assert_array_equal(read_audio(path, 2, 4, channel="loudest"), right[half:])


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    path = channels(tmp_path / "a.wav", VOICE)
    np.testing.assert_array_equal(read_audio(path, channel="left"), VOICE)
    with fails(RecordingError, where="a.wav", expected="channel 2", found="one channel"):
        read_audio(path, channel="right")
    with fails(ConfigError, where="audio.channel", expected="loudest", found="third"):
        with_settings(StudyConfig(), ["audio.channel=third"])
    for wrong in ("0", "-1", "9999", "1.5", ""):
        with fails(ConfigError, where="audio.channel"):
            with_settings(StudyConfig(), [f"audio.channel={wrong}"])


def test_a_bad_sample_in_another_channel_does_not_matter(tmp_path: Path) -> None:
    spoilt = OTHER.copy()
    spoilt[100] = np.nan
    path = channels(tmp_path / "a.wav", VOICE, spoilt)
    np.testing.assert_array_equal(read_audio(path, channel="left"), VOICE)
    with fails(RecordingError, expected="finite"):
        read_audio(path)


def test_a_study_without_the_setting_hears_the_mix() -> None:
    assert from_dict({"audio": {"rate": 16000}}).audio.channel == "mix"


def test_windows_of_another_channel_are_other_windows(tmp_path: Path) -> None:
    path = channels(tmp_path / "a.wav", VOICE, -VOICE)
    rows = trials([{"audio": path}])
    sets = {
        choice: load_windows(rows, "audio", with_settings(preset("quick"), [f"audio.channel={choice}"]), tmp_path / "c")
        for choice in ("mix", "left", "loudest")
    }
    np.testing.assert_array_equal(sets["left"].values, sets["loudest"].values)
    assert sets["left"].values.max() - sets["mix"].values.max() > 10
    assert len({windows.meta["key"] for windows in sets.values()}) == 3


def checked(folder: Path, *settings: str) -> dict[str, str]:
    """Messages of the warnings and errors about sound, and their remedies."""
    report = check_dataset(folder, config=with_settings(preset("quick"), list(settings)), faces=False)
    return {f.message: f.remedy for f in report.findings if f.modality == "audio" and f.severity != "info"}


def table(folder: Path, *waves: np.ndarray) -> Path:
    for trial in range(2):
        channels(folder / f"{trial}.wav", *(wave * (1 - 0.1 * trial) for wave in waves))
    rows = [f"1,{trial},{'ab'[trial]},{trial}.wav" for trial in range(2)]
    (folder / "trials.csv").write_text("\n".join(["subject,trial,label,audio", *rows]))
    return folder


def test_the_check_says_what_is_lost_in_the_mix(tmp_path: Path) -> None:
    folder = table(tmp_path, VOICE, -VOICE)
    (message, remedy), *others = checked(folder).items()
    assert ("cancel" in message, "2 of 2 trials" in message, not others) == (True, True, True)
    assert "audio.channel" in remedy
    assert checked(folder, "audio.channel=left") == {}


def test_the_check_measures_a_voice_in_one_of_six_channels(tmp_path: Path) -> None:
    folder = table(tmp_path, SILENCE, SILENCE, VOICE, SILENCE, SILENCE, SILENCE)
    report = check_dataset(folder, faces=False)
    alone = 20 * np.log10(0.3 / np.sqrt(2))
    assert report.recordings["loudest"][0] == pytest.approx(alone, abs=0.1)
    assert report.recordings["rms"][0] == pytest.approx(alone - 20 * np.log10(6), abs=0.1)
    assert "16 dB below" in " ".join(checked(folder))
    chosen = check_dataset(folder, config=with_settings(preset("quick"), ["audio.channel=3"]), faces=False)
    assert chosen.recordings["rms"][0] == pytest.approx(alone, abs=0.1)


def test_the_check_names_a_speaker_per_channel(tmp_path: Path) -> None:
    (message, _), *others = checked(table(tmp_path, VOICE, OTHER)).items()
    assert "different sounds in the channels" in message
    assert not others


def test_ordinary_stereo_is_no_finding(tmp_path: Path) -> None:
    assert checked(table(tmp_path, VOICE, 0.7 * VOICE)) == {}
    assert checked(table(tmp_path / "", VOICE, SILENCE)) == {}


def test_the_check_knows_which_trials_lack_the_channel(tmp_path: Path) -> None:
    (message, _), *_ = checked(table(tmp_path, VOICE), "audio.channel=right").items()
    assert "channel 2" in message


def test_a_channel_of_a_sound_track(tmp_path: Path) -> None:
    stereo = np.stack([sine(440, 2, 48000, 0.5), sine(440, 2, 48000, -0.5)], axis=1)
    path = clip(tmp_path / "a.mkv", stereo, pictures=[k / 25 for k in range(50)])
    assert np.abs(read_audio(path)).max() < 0.01
    assert np.abs(read_audio(path, channel="loudest")).max() == pytest.approx(0.5, abs=0.02)
