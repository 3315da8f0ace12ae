"""Maps over the player's lanes: at their time, band, channel and place in the frame, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_study import make_explanation, make_study
from test_player import trial

from eavdash.data.audio.front_ends import voice_hertz
from eavdash.data.audio.reading import mel_hertz
from eavdash.data.preview import TrialPreview
from eavdash.explain.explanation import Explanation
from eavdash.ui.explain.overlays import NO_PLACES, overlays
from eavdash.ui.player import Overlay, packing

LIMITS = {"vision": 2.0, "audio": 2.0, "eeg": 2.0}
HERTZ = tuple(mel_hertz(16_000, 128))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    """Two windows of 5 s, the second one without sound; no attribution at all."""
    made: Explanation = make_explanation(
        make_study(tmp_path_factory.mktemp("study"), subjects=("1",)), "s01-fusion", "1", "2"
    )
    rates = {"vision": 1.0, "audio": 100.0, "eeg": 100.0}
    first = {"vision": 0.5, "audio": 0.0, "eeg": 0.0}
    times = {
        m: 5.0 * np.arange(2)[:, None] + (np.arange(mask.shape[1]) + first[m]) / rates[m]
        for m, mask in made.masks.items()
    }
    gap = {"gap": 0.0, "relative_gap": 0.0, "explained": 1.0}
    return replace(
        made,
        attributions={m: np.zeros_like(values) for m, values in made.attributions.items()},
        times=times,
        frequencies={"audio": np.array(HERTZ)},
        crops=np.tile(np.float32([0.25, 0.0, 0.75, 0.5]), (2, 5, 1)),
        receipts=made.receipts.model_copy(update={"completeness": [gap, gap]}),
    )


def planted(plain: Explanation, modality: str, where: Any, **changed: Any) -> Explanation:
    """Return an explanation with attributions at one place alone."""
    values = np.zeros_like(plain.attributions[modality])
    values[where] = 1.0
    return replace(plain, attributions={**plain.attributions, modality: values}, **changed)


def shown(explanation: Explanation, preview: TrialPreview | None = None, **more: Any) -> dict[str, Overlay]:
    made, _ = overlays(explanation, preview or trial(), LIMITS, "logits per area", **more)
    found = {f"{each.lane} {each.name}".strip(): each for each in made}
    packing.describe(preview or trial(), made)  # every overlay matches its lane
    return found


def hot(overlay: Overlay) -> tuple[tuple[int, ...], tuple[float, float]]:
    """Return the place of the largest value, and the time that its step covers."""
    values = overlay.values.T if overlay.lane == "eeg" else overlay.values
    place = tuple(int(n) for n in np.unravel_index(values.argmax(), values.shape))
    start, stop = overlay.times[place[0]]
    return place, (float(start), float(stop))


def test_a_hot_place_of_the_crop_is_at_its_place_in_the_frame_and_its_time(plain: Explanation) -> None:
    made = planted(plain, "vision", np.s_[1, 2, 48:52, 16:20])  # 75 to 81 % down, 25 to 31 % across the crop
    video = shown(made)["video"]
    (step, row, column), span = hot(video)
    assert span == (7.0, 8.0)
    assert video.boxes is not None
    left, top, right, bottom = video.boxes[step]
    x, y = left + (right - left) * (column + 0.5) / 16, top + (bottom - top) * (row + 0.5) / 16
    assert 0.375 < x < 0.406, "25 % of the way from 0.25 to 0.75"
    assert 0.375 < y < 0.406, "75 % of the way from 0 to 0.5"


def test_sound_and_eeg_are_at_their_band_channel_and_time(plain: Explanation) -> None:
    (_, band), span = hot(shown(planted(plain, "audio", np.s_[0, 200:210, 40]))["spectrogram"])
    assert band == 40
    assert span[0] == pytest.approx(2.0, abs=0.05)
    channel = plain.channels.index("Cz")
    found = shown(planted(plain, "eeg", np.s_[1, channel, 300:304]))
    preview = trial()
    assert preview.eeg is not None
    (step, row), span = hot(found["eeg"])
    assert preview.eeg.channels[row] == "Cz", "in the order of the traces"
    assert span == (pytest.approx(8.0), pytest.approx(8.04))
    assert hot(found["scalp at the playhead"]) == ((step, row), span)
    assert hot(found["scalp mean of the window"]) == ((1, row), (5.0, 10.0))
    assert {each.limit for each in found.values()} == {2.0}, "one scale"


def test_a_short_last_window_is_drawn_only_as_far_as_it_was_recorded(plain: Explanation) -> None:
    masks = {m: mask.copy() for m, mask in plain.masks.items()}
    for m, recorded in (("vision", 3), ("audio", 0), ("eeg", 260)):
        masks[m][1, recorded:] = False
    last = plain.windows[1].model_copy(update={"stop": 7.6})
    made = planted(plain, "eeg", np.s_[1, 0, :260], masks=masks, windows=(plain.windows[0], last))
    found = shown(made)
    assert found["eeg"].times.max() == pytest.approx(7.6, abs=0.011)
    assert found["video"].times.max() == pytest.approx(7.6)
    assert found["spectrogram"].times.max() == pytest.approx(4.98), "the second window has no sound"
    assert (np.diff(found["eeg"].times, axis=1) > 0).all()


def test_files_of_earlier_versions(plain: Explanation) -> None:
    old = planted(plain, "eeg", np.s_[0, 0, 250], times={}, frequencies={}, crops=None)
    made, notes = overlays(old, trial(), LIMITS, "logits per area")
    assert NO_PLACES in notes
    assert [each.lane for each in made] == ["spectrogram", "eeg", "scalp", "scalp"]
    start, stop = hot(made[1])[1]
    assert start < 2.52
    assert stop > 2.48
    video = shown(old, cropped=False)["video"]
    assert video.boxes is None, "the centre of each frame"
    assert video.times[0] == pytest.approx([0, 1])


def test_bands_of_another_front_end_are_placed_by_their_frequency(plain: Explanation) -> None:
    bands = np.array(voice_hertz())
    band = int(np.abs(bands - 1000).argmin())
    values = np.zeros((2, 498, len(bands)), np.float32)
    values[0, :, band] = 1
    made = replace(plain, attributions={"audio": values}, front_end="voice", frequencies={"audio": bands})
    preview = trial()
    assert preview.audio is not None
    overlay = shown(made, replace(preview, audio=replace(preview.audio, hertz=HERTZ)))["spectrogram"]
    found = np.array(HERTZ)[overlay.values[0] > 0]
    assert len(found)
    assert np.abs(found - bands[band]).max() < 60


def test_what_has_no_map_has_no_overlay(plain: Explanation) -> None:
    nothing = [{"explained": 1.0}, {"explained": 0.01}]
    quiet = replace(plain, receipts=plain.receipts.model_copy(update={"completeness": nothing}))
    assert all(each.times.max() <= 5.0 for each in shown(quiet).values()), "nothing to explain in the second window"
    table = replace(plain, columns={"audio": ("a",)})
    assert "spectrogram" not in shown(table)
    silent = replace(trial(), audio=None, vision=None)
    assert set(shown(plain, silent)) == {"eeg", "scalp at the playhead", "scalp mean of the window"}


def test_channels_without_a_place_or_a_map(plain: Explanation) -> None:
    made = planted(plain, "eeg", np.s_[0, 0, :])
    preview = trial(("X1", "Fp1", "X2"))
    found, notes = overlays(made, preview, LIMITS, "logits per area")
    assert [each.lane for each in found if each.label == "EEG"] == ["eeg"], "no scalp without positions"
    eeg = next(each for each in found if each.lane == "eeg")
    assert eeg.values[1].max() > 0
    assert not eeg.values[[0, 2]].any()
    assert any("2 channels of the recording were not used" in note for note in notes)
    assert any(note.startswith("Not among the traces, but in the map: Fp2") for note in notes)


def test_many_windows_stay_small(plain: Explanation) -> None:
    windows = 24
    made = replace(
        plain,
        windows=tuple(
            plain.windows[0].model_copy(update={"window": n, "start": 2.5 * n, "stop": 2.5 * n + 2.5})
            for n in range(windows)
        ),
        attributions={"eeg": np.ones((windows, 11, 250), np.float32)},
        inputs={"eeg": np.ones((windows, 11, 250), np.float32)},
        masks={"eeg": np.ones((windows, 250), bool)},
        times={"eeg": 2.5 * np.arange(windows)[:, None] + np.arange(250) / 100},
        receipts=plain.receipts.model_copy(update={"completeness": [{"explained": 1.0}] * windows}),
    )
    eeg = shown(made, trial(duration=60.0))["eeg"]
    assert eeg.times.shape == (600, 2)
    assert eeg.times[1:, 0] == pytest.approx(eeg.times[:-1, 1], abs=0.011), "without gaps"
