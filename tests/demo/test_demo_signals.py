"""The demo's signals: what the plan says is there, where and when it says so, and as unrelated as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import welch

from eavdash.demo import eeg, face, voice
from eavdash.demo.plan import EMOTIONS, FULL, MODALITIES, SMALL, Expression, TrialPlan, envelope, plan_subject


def expressing(modality: str, emotion: str, trial: int = 2, strength: float = 1.0) -> TrialPlan:
    """A speaking trial of 10 s that shows one emotion in one modality from 3 to 7 s and nothing elsewhere."""
    return TrialPlan(7, 1, trial, emotion, True, {modality: Expression(emotion, strength, 3.0, 7.0, "clear")})


def test_eeg_resembles_raw_recordings() -> None:
    plan = plan_subject(0, 2, SMALL)
    head = eeg.head(0, 2)
    signal = np.concatenate([eeg.eeg_trial(trial, head, SMALL) for trial in plan.trials[:10]])
    assert signal.shape == (50000, 30)
    assert 60 < signal.std(axis=0).mean() < 400
    assert np.abs(signal.mean(axis=0)).max() < 250


def test_every_window_of_five_seconds_carries_the_segment() -> None:
    for size in (SMALL, FULL):
        for trial in plan_subject(3, 1, size).trials:
            for shown in trial.expressions.values():
                for start in np.arange(0, size.seconds, 5):
                    assert min(shown.stop, start + 5) - max(shown.start, start) >= 2.5


def test_noise_is_uninformative_and_the_others_are_not() -> None:
    for subject, noise in ((1, "eeg"), (2, "audio"), (3, "vision"), (4, "eeg"), (5, "audio")):
        trials = [t for seed in range(5) for t in plan_subject(seed, subject, SMALL).trials if t.speaking]
        for modality in MODALITIES:
            agree = np.mean([t.expressions[modality].emotion == t.label for t in trials])
            if modality == noise:
                assert abs(agree - 0.2) < 0.05
            else:
                assert agree > 0.6


def test_modalities_err_independently() -> None:
    trials = [t for seed in range(10) for t in plan_subject(seed, 1, SMALL).trials if t.speaking]
    vision, audio = (
        np.array([t.expressions[m].kind == "clear" for t in trials], dtype=float) for m in ("vision", "audio")
    )
    assert abs(np.corrcoef(vision, audio)[0, 1]) < 0.1


def test_envelope_is_off_outside_and_on_inside() -> None:
    shown = Expression("Anger", 1.0, 2.0, 6.0, "clear")
    assert envelope(shown, np.array([0.0, 2.0, 4.0, 6.0, 9.0])) == pytest.approx([0, 0, 1, 0, 0])
    assert envelope(None, np.arange(3.0)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_band_power_rises_where_and_when_planted(emotion: str) -> None:
    head = eeg.head(7, 1)
    inside, outside, elsewhere = [], [], []
    for number in range(2, 18, 2):
        signal = eeg.eeg_trial(expressing("eeg", emotion, number), head, SMALL)
        for channel, (low, high) in eeg.BANDS[emotion].items():
            untouched = "P7" if channel != "P7" else "P8"
            column = [eeg.CHANNELS.index(channel), eeg.CHANNELS.index(untouched)]
            power = [_power(signal[a * 500 : b * 500, column], low, high) for a, b in ((4, 6), (0, 2), (8, 10))]
            inside.append(power[0][0])
            outside.append((power[1][0] + power[2][0]) / 2)
            elsewhere.append(power[0][1] / ((power[1][1] + power[2][1]) / 2))
    assert np.mean(inside) > 1.8 * np.mean(outside)
    assert np.median(elsewhere) < 1.8


def _power(signal: np.ndarray, low: float, high: float) -> np.ndarray:
    frequencies, power = welch(signal, 500, nperseg=500, axis=0)
    return power[(frequencies >= low) & (frequencies <= high)].mean(axis=0)


def test_voice_carries_the_emotion_only_in_its_segment() -> None:
    speaker = voice.speaker(7, 1)
    pitch, outside, level = {}, {}, {}
    for emotion in EMOTIONS:
        pitches, others, levels = [], [], []
        for number in range(2, 14, 2):
            plan = expressing("audio", emotion, number)
            speech = voice.syllables(plan, speaker, SMALL)
            wave = voice.voice_trial(speech, plan, speaker, SMALL)
            assert wave.dtype == np.float32
            assert len(wave) == 160000
            assert np.abs(wave).max() <= 1
            levels.append(np.sqrt(np.mean(wave[4 * 16000 : 6 * 16000] ** 2)))
            pitches += [_pitch(wave, s) for s in speech if s.start > 3.5 and s.stop < 6.5]
            others += [_pitch(wave, s) for s in speech if s.stop < 2.8 or s.start > 7.2]
        pitch[emotion], outside[emotion], level[emotion] = np.median(pitches), np.median(others), np.mean(levels)
    assert pitch["Happiness"] > 1.1 * pitch["Anger"] > 1.1**2 * pitch["Neutral"]
    assert pitch["Calmness"] < 0.9 * pitch["Neutral"]
    assert level["Anger"] > 2 * level["Neutral"] > 3 * level["Sadness"]
    assert max(outside.values()) < 1.1 * min(outside.values())


def _pitch(wave: np.ndarray, syllable: voice.Syllable) -> float:
    """Pitch (Hz) by the highest peak of the autocorrelation between 60 and 450 Hz."""
    piece = wave[int(syllable.start * 16000) : int(syllable.stop * 16000)]
    correlation = np.correlate(piece, piece, "full")[len(piece) - 1 :]
    low, high = 16000 // 450, min(16000 // 60, len(piece) - 1)
    return 16000 / (low + int(np.argmax(correlation[low:high])))


def test_mouth_brows_and_eyes_carry_the_emotion() -> None:
    def frames(emotion: str) -> list[np.ndarray]:
        plan = expressing("vision", emotion)
        return list(face.face_frames(plan, face.appearance(7, 1), [], SMALL))

    shown = {emotion: frames(emotion) for emotion in EMOTIONS}
    assert len(shown["Neutral"]) == 150
    for emotion in EMOTIONS[1:]:
        # The same trial: light, position and noise agree, so any difference is the expression.
        before = np.abs(shown[emotion][15].astype(int) - shown["Neutral"][15])
        during = np.abs(shown[emotion][75].astype(int) - shown["Neutral"][75])
        assert before.max() == 0
        assert during.max() > 60
        assert 200 < (during.max(axis=-1) > 30).sum() < 8000
        rows = np.flatnonzero((during.max(axis=-1) > 30).any(axis=1))
        assert rows.min() > 40
        assert rows.max() < 215
    # A smile's corners are above its middle, a sad mouth's below.
    assert _corners(shown["Happiness"][75]) > 5
    assert _corners(shown["Sadness"][75]) < -5


def _corners(frame: np.ndarray) -> float:
    """How many pixels the ends of the lips lie above their middle."""
    lower = frame[140:215, 80:240].astype(int)
    lips = (lower[..., 0] - lower[..., 1] > 70) & (lower[..., 1] < 90)
    rows, columns = np.nonzero(lips)
    left, right = columns.min(), columns.max()
    ends = rows[(columns < left + 6) | (columns > right - 6)].mean()
    middle = rows[np.abs(columns - (left + right) / 2) < 6].mean()
    return float(middle - ends)


def test_subjects_differ_in_appearance_and_voice() -> None:
    assert len({face.appearance(0, s).skin for s in range(1, 5)}) == 4
    assert len({voice.speaker(0, s).pitch for s in range(1, 5)}) == 4
    assert not np.allclose(eeg.head(0, 1).mixing, eeg.head(0, 2).mixing)


def test_another_seed_other_recordings() -> None:
    first, second = (plan_subject(seed, 1, SMALL).trials[1] for seed in (0, 1))
    assert not np.allclose(eeg.eeg_trial(first, eeg.head(0, 1), SMALL), eeg.eeg_trial(second, eeg.head(0, 1), SMALL))
