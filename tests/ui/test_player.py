"""The player's data: complete, small, and readable only by its session."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from test_pages import checkpoints, open_page, page_text

from eavdash.config.schema import StudyConfig
from eavdash.data.eeg.bandpower import band_power
from eavdash.data.eeg.electrodes import EAV_CHANNELS
from eavdash.data.eeg.scalp import scalp_map
from eavdash.data.preview import AudioPreview, EegPreview, TrialPreview, VideoPreview
from eavdash.data.video.reading import VideoInfo
from eavdash.ui import cached_data
from eavdash.ui import player as component
from eavdash.ui.player import Overlay, PlayerTrial, packing, player

__all__ = ["checkpoints"]


def trial(channels: tuple[str, ...] = EAV_CHANNELS, duration: float = 20.0) -> TrialPreview:
    """A trial of noise with all three modalities."""
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 10, (len(channels), round(250 * duration))).astype(np.float32)
    return TrialPreview(
        subject="1",
        trial="2",
        label="calm",
        duration=duration,
        length=duration,
        vision=VideoPreview("a.mp4", 0.0, duration, VideoInfo(duration, 30.0, 640, 480, 600)),
        audio=AudioPreview(
            *("a.wav", 0.0, duration, -np.full(2400, 0.5, np.float32), np.linspace(0, 0.25, 2400, dtype=np.float32)),
            rng.normal(0, 3, (800, 128)).astype(np.float32),
        ),
        eeg=EegPreview(duration, channels, 250.0, signal, band_power(signal, 250.0), scalp_map(channels), ""),
    )


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Unpack the data as the browser does."""
    assert data[:4] == packing.MAGIC
    length = int.from_bytes(data[4:8], "little")
    header = json.loads(data[8 : 8 + length], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    arrays = {}
    for name, entry in header["arrays"].items():
        at = 8 + length + entry["at"]
        assert at % 4 == 0
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(data, np.dtype(entry["type"]).newbyteorder("<"), count, at)
        arrays[name] = values.reshape(entry["shape"])
    return header, arrays


def test_all_values_arrive_nearly_unchanged() -> None:
    shown = trial()
    data = packing.pack(*packing.describe(shown))
    assert len(data) < 1_000_000, "20 s of 30 channels"
    header, arrays = unpacked(data)
    eeg, sound = shown.eeg, shown.audio
    assert eeg is not None
    assert sound is not None
    assert eeg.scalp is not None
    assert arrays["eeg"] * np.array(header["eeg"]["scale"])[:, None] == pytest.approx(eeg.microvolt, abs=0.01)
    low, high = np.array(header["eeg"]["ranges"])[:, :, None, None].transpose(1, 0, 2, 3)
    power = low + (high - low) * arrays["power"] / 255
    assert np.abs(power - eeg.power.decibel).max() < (high - low).max() / 500
    assert arrays["weights"] * header["eeg"]["scalp"]["weight"] == pytest.approx(eeg.scalp.weights, abs=1e-4)
    assert arrays["low"].min() == -32767
    assert arrays["high"].max() * header["audio"]["peak"] / 32767 == pytest.approx(0.25, abs=1e-4)
    assert arrays["logmel"].shape == (800, 128)
    assert header["duration"] == 20
    assert packing.describe(shown)[0]["id"] == header["id"]
    assert packing.describe(trial(duration=19.0))[0]["id"] != header["id"]


def test_a_minute_of_many_channels_is_small() -> None:
    assert len(packing.pack(*packing.describe(trial(duration=60.0)))) < 1_500_000


def test_flat_and_unplaced_channels() -> None:
    shown = trial(("X1", "X2"))
    assert shown.eeg is not None
    shown.eeg.microvolt[0] = 0
    header, arrays = unpacked(packing.pack(*packing.describe(shown)))
    assert header["eeg"]["scalp"] is None
    assert "weights" not in arrays
    assert not arrays["eeg"][0].any()
    empty = packing.describe(TrialPreview("1", "2", "calm"))[0]
    assert (empty["audio"], empty["eeg"]) == (None, None)


def test_overlays_are_scaled_and_bounded() -> None:
    time = np.linspace(0, 20, 3000)
    values = np.zeros((3000, 64, 48))
    values[1500:, 10:20] = -4.0
    boxes = np.tile([0.1, 0.2, 0.3, 0.4], (3000, 1))
    overlays = [
        Overlay("video", values, time, "face", 0.5, boxes),
        Overlay("eeg", np.ones((30, 3000)), time, "channels"),
        Overlay("waveform", np.sin(time), time, "sound"),
        Overlay("spectrogram", np.ones((3000, 128)), time, "bands"),
        Overlay("scalp", np.ones((3000, 30)), time, "head"),
    ]
    header, arrays = unpacked(packing.pack(*packing.describe(trial(), overlays)))
    assert [o["lane"] for o in header["overlays"]] == ["video", "eeg", "waveform", "spectrogram", "scalp"]
    assert header["overlays"][0]["opacity"] == 0.5
    shapes = [arrays[f"overlay{n}"].shape for n in range(5)]
    assert shapes == [(600, 32, 32), (600, 30), (600,), (600, 32), (600, 30)]
    assert (arrays["overlay0"].min(), arrays["overlay0"].max()) == (-127, 0)
    assert arrays["overlay0boxes"][3] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert arrays["overlay0spans"][-1] == pytest.approx([20, 20], abs=0.01)
    assert [o["limit"] for o in header["overlays"]] == pytest.approx([4, 1, 1, 1, 1], rel=1e-3)


@pytest.mark.parametrize(
    ("lane", "shape", "times"),
    [
        ("face", (5,), 5),
        ("waveform", (5, 2), 5),
        ("video", (5, 8), 5),
        ("eeg", (5, 30), 5),
        ("scalp", (5, 29), 5),
        ("spectrogram", (5, 128), 4),
        ("waveform", (0,), 0),
    ],
)
def test_an_overlay_that_does_not_match_is_named(lane: str, shape: tuple[int, ...], times: int) -> None:
    with pytest.raises(ValueError, match="overlay 'mine': expected"):
        packing.describe(trial(), [Overlay(lane, np.zeros(shape), np.arange(times), "mine")])


def test_only_a_time_in_this_trial_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = trial()
    result: dict[str, Any] = {}
    monkeypatch.setattr(component, "_component", lambda **given: result)
    assert player(PlayerTrial(shown), "key") is None
    result["moment"] = {"id": packing.describe(shown)[0]["id"], "time": 3.25}
    assert player(PlayerTrial(shown), "key") == 3.25
    assert player(PlayerTrial(trial(duration=19.0)), "key") is None, "the moment of another trial"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Four trials of two labels and conditions, one of them a minute and a half long, one broken."""
    lines = ["subject,trial,label,condition,audio"]
    for n in range(4):
        soundfile.write(tmp_path / f"{n}.wav", np.zeros(16000 * (90 if n == 2 else 1)), 16000)
        lines.append(f"anna,{n},{'calm' if n % 2 else 'loud'},{'in' if n < 2 else 'out'},{n}.wav")
    (tmp_path / "3.wav").write_bytes(b"nothing")
    (tmp_path / "trials.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_without_our_server_recordings_go_through_streamlits_store(
    sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    usual = component._component
    monkeypatch.setattr(component, "_component", lambda **given: sent.append(given["data"]) or usual(**given))
    app = open_page("trials", {"data_trials_path": str(sounds)})
    assert not app.exception
    header, _ = unpacked(sent[-1])
    assert header["media"]["moving"] is False
    assert "/media/" in header["media"]["url"]
    assert header["media"]["url"].endswith(".wav")
    assert header["title"] == "subject anna, trial 0"


def test_a_recording_that_was_replaced_is_read_again(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    usual = component._component
    monkeypatch.setattr(component, "_component", lambda **given: sent.append(given["data"]) or usual(**given))
    app = open_page("trials", {"data_trials_path": str(sounds)})
    soundfile.write(sounds / "0.wav", np.zeros(16000 * 3), 16000)
    app.run()
    assert [unpacked(data)[0]["duration"] for data in (sent[0], sent[-1])] == [1, 3]


def test_names_of_files_need_not_be_utf8(sounds: Path) -> None:
    odd = sounds / "\udce9t\udce9.wav"
    try:
        (sounds / "0.wav").rename(odd)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    row = {"subject": "anna", "trial": "0", "label": "loud", "start": np.nan, "stop": np.nan}
    row |= {"eeg": "", "audio": str(odd), "video": ""}
    shown = cached_data.preview(row, StudyConfig())
    assert shown.audio is not None
    assert cached_data.playable(shown, sounds / "cache").media is not None


def test_previous_next_and_filters(sounds: Path) -> None:
    app = open_page("trials", {"data_trials_path": str(sounds)})
    trial = app.selectbox(key="data_trials_trial")
    assert trial.value == "0"
    assert app.button(key="data_trials_previous").disabled
    app.button(key="data_trials_next").click().run()
    assert app.selectbox(key="data_trials_trial").value == "1"
    app.multiselect(key="data_trials_label").set_value(["loud"]).run()
    assert app.selectbox(key="data_trials_trial").value == "0"
    app.button(key="data_trials_next").click().run()
    assert app.selectbox(key="data_trials_trial").value == "2"
    assert app.button(key="data_trials_next").disabled
    app.multiselect(key="data_trials_condition").set_value(["in"]).run()
    assert app.selectbox(key="data_trials_trial").options == ["0 (loud)"]
    app.multiselect(key="data_trials_label").set_value(["calm"]).run()
    app.multiselect(key="data_trials_condition").set_value(["out"]).run()
    assert app.selectbox(key="data_trials_trial").value == "3"
    assert any("3.wav" in e.value.replace("\\", "") for e in app.error)
    assert not app.exception


def test_a_long_trial_is_shown_in_parts(sounds: Path) -> None:
    app = open_page("trials", {"data_trials_path": str(sounds), "data_trials_trial": "2"})
    choice = app.selectbox(key="data_trials_part-anna-2")
    assert "90 s" in choice.label
    assert choice.options == ["0–60 s", "60–90 s"]
    choice.select(1).run()
    assert not app.exception
    app.button(key="data_trials_previous").click().run()
    assert not app.exception
    assert "not recorded in this trial" in page_text(app)


def test_maps_change_without_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, sent = trial(), []
    monkeypatch.setattr(component, "_component", lambda **given: sent.append(unpacked(given["data"])) or {})
    steps = np.array([[0.0, 1.0], [3.0, 3.5]])
    for value in (1.0, -1.0):
        overlay = Overlay("waveform", np.array([value, 0.5]), steps, "sound", limit=2.0, unit="logits")
        player(PlayerTrial(shown), "key", component.Maps((overlay,), "Not reliable: x"), seek=(1, 3.0))
    (first, arrays), (second, _) = sent
    assert (first["id"], first["failed"], first["seek"]) == (second["id"], "Not reliable: x", [1, 3.0])
    assert first["maps"] != second["maps"]
    assert arrays["overlay0spans"].tolist() == steps.tolist()
    assert arrays["overlay0"].tolist() == [64, 32], "the limit has the full colour"
    assert [o["signed"] for h in (first, second) for o in h["overlays"]] == [False, True]
    player(PlayerTrial(shown), "beside", component.Maps((overlay,), follows="key"))
    assert set(sent[-1][1]) == {"overlay0", "overlay0spans"}, "the recording is sent once"


def test_a_spectrogram_has_frequencies_on_its_axis() -> None:
    shown = trial()
    assert shown.audio is not None
    hertz = tuple(np.geomspace(20, 7900, 128))
    header, _ = packing.describe(replace(shown, audio=replace(shown.audio, hertz=hertz)))
    assert [name for _, name in header["audio"]["hertz"]] == ["250 Hz", "1 kHz", "4 kHz"]
    assert header["audio"]["hertz"][0][0] == pytest.approx(np.log(250 / 20) / np.log(7900 / 20), abs=0.01)
