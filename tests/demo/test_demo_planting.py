"""What the demo plants: the first subjects unchanged, graded reliabilities after them, single cues and a control."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from failing import fails

from eavdash.demo import eeg, face, make_demo, voice
from eavdash.demo.plan import CUES, EMOTIONS, MODALITIES, NOISE, SMALL, DemoSize, Expression, Planting, TrialPlan
from eavdash.demo.plan import plan_subject as plan
from eavdash.errors import UsageError

TINY = DemoSize(seconds=1.0, eeg_rate=100, audio_rate=8000, width=48, height=32, fps=4)
GRADED = Planting("graded")
#: Of the first version: the plan's checksum, and a number each of the fourth trial's EEG, sound and first frame.
FIRST = {
    1: ("8b2aae23cf46096a", -187.11879638651703, -8.211950054103767, 1340.244899755263),
    2: ("9bfbdfed161662ec", 3496.529408446988, 8.57906675379912, -2738.2500872153546),
    3: ("466b5cde9e151b4b", -415.2694499022935, 4.483055119180509, 1466.4356865352156),
}


def number(signal: np.ndarray) -> float:
    flat = np.asarray(signal, dtype=np.float64).ravel()
    return float(flat @ np.cos(np.arange(len(flat))))


@pytest.mark.parametrize("subject", FIRST)
@pytest.mark.parametrize("planting", [Planting(), GRADED])
def test_the_first_subjects_of_seed_0_are_what_they_always_were(subject: int, planting: Planting) -> None:
    trials = plan(0, subject, SMALL, planting).trials
    content = [[t.number, t.label, {m: [*dataclasses.astuple(e)] for m, e in t.expressions.items()}] for t in trials]
    fourth, speaker = trials[3], voice.speaker(0, subject)
    speech = voice.syllables(fourth, speaker, SMALL)
    frame = next(face.face_frames(fourth, face.appearance(0, subject), speech, SMALL))
    signals = eeg.eeg_trial(fourth, eeg.head(0, subject), SMALL), voice.voice_trial(speech, fourth, speaker, SMALL)
    checksum, *numbers = FIRST[subject]
    assert hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16] == checksum
    assert [number(s) for s in (*signals, frame)] == pytest.approx(numbers, rel=1e-3)


def test_graded_reliabilities_differ_within_and_between_subjects() -> None:
    reliability = {subject: plan(0, subject, TINY, GRADED).reliability for subject in range(4, 10)}
    for subject, of in reliability.items():
        lowest, middle, highest = sorted(of.values())
        assert lowest == of[NOISE[(subject - 1) % 3]] == 0
        assert 0.35 <= middle <= 0.65 < 0.75 <= highest <= 1
    for modality in MODALITIES:  # each has every rank in every six subjects
        ranks = sorted(sorted(of.values()).index(of[modality]) for of in reliability.values())
        assert ranks == [0, 0, 1, 1, 2, 2]
    assert plan(0, 4, TINY).reliability != reliability[4]


def test_expressions_follow_the_label_as_often_as_the_truth_says() -> None:
    for subject in range(4, 7):
        of = plan(0, subject, TINY, GRADED).reliability
        trials = [t for t in plan(0, subject, TINY, GRADED).trials if t.speaking]
        for modality in MODALITIES:
            related = np.mean([t.expressions[modality].kind != "unrelated" for t in trials])
            assert abs(related - of[modality]) < 0.12


def said(emotion: str, cues: tuple[str, ...]) -> tuple[list[voice.Syllable], np.ndarray]:
    trial = TrialPlan(7, 1, 2, emotion, True, {"audio": Expression(emotion, 1.0, 0.5, 9.5, "clear")}, cues)
    speech = voice.syllables(trial, voice.speaker(7, 1), SMALL)
    return speech, voice.voice_trial(speech, trial, voice.speaker(7, 1), SMALL)


@pytest.mark.parametrize("cue", CUES)
def test_a_single_cue_moves_only_what_it_names(cue: str) -> None:
    own = {"pitch": {"pitch", "melody"}, "formants": {"formants", "brightness"}}.get(cue, {cue})
    for emotion in EMOTIONS[1:]:
        shown, plain = (next(s for s in said(e, (cue,))[0] if s.start > 1.5).style for e in (emotion, "Neutral"))
        differing = {f.name for f in dataclasses.fields(shown) if getattr(shown, f.name) != getattr(plain, f.name)}
        assert differing
        assert differing <= own


def test_a_voice_without_cues_carries_nothing() -> None:
    sounds = [said(emotion, ())[1] for emotion in EMOTIONS]
    assert all(np.array_equal(sounds[0], sound) for sound in sounds[1:])
    assert not np.array_equal(said("Neutral", CUES)[1], said("Anger", CUES)[1])


def test_truth_tells_what_was_planted_and_where(tmp_path: Path) -> None:
    root = make_demo(tmp_path, 4, size=TINY, workers=1, cues=("pitch",))
    truth = json.loads((root / "truth.json").read_text())
    assert truth["made_with"]["plant"] == "graded"
    assert truth["made_with"]["cues"] == ["pitch"]
    assert truth["reliability"]["4"] == plan(0, 4, TINY, GRADED).reliability
    spoken = [p for t in truth["trials"] for p in t["planted"] if p["modality"] == "audio"]
    assert {tuple(p["place"]) for p in spoken} == {(), ("pitch",)}
    low, high = truth["places"]["1"]["pitch"]
    assert low < voice.speaker(0, 1).pitch < high
    # Asked for nothing, it goes on as it was; asked for something else, it refuses.
    assert make_demo(tmp_path, 4, size=TINY, workers=1) == root
    with fails(UsageError, where="truth.json", expected="plant varied", found="plant graded"):
        make_demo(tmp_path, 4, size=TINY, workers=1, plant="varied")
    with fails(UsageError, where="truth.json", found="pitch"):
        make_demo(tmp_path, 4, size=TINY, workers=1, cues=CUES)


@pytest.mark.parametrize(("subjects", "reliability"), [(3, GRADED), (4, Planting())])
def test_recordings_of_before_are_continued(tmp_path: Path, subjects: int, reliability: Planting) -> None:
    """A truth.json that knows no plants: four subjects have the earlier reliabilities, three fit to any."""
    root = make_demo(tmp_path, subjects, size=TINY, workers=1, plant="varied")
    truth = json.loads((root / "truth.json").read_text())
    del truth["made_with"]["plant"], truth["made_with"]["cues"], truth["places"]
    (root / "truth.json").write_text(json.dumps(truth))
    make_demo(tmp_path, 5, size=TINY, workers=1)
    after = json.loads((root / "truth.json").read_text())
    assert after["reliability"]["5"] == plan(0, 5, TINY, reliability).reliability
    assert after["trials"][: len(truth["trials"])] == truth["trials"]
    assert "mouth" in after["places"]["1"]


@pytest.mark.parametrize("given", [{"plant": "steep"}, {"cues": ("pitch", "smell")}])
def test_unknown_plants_and_cues_are_refused(tmp_path: Path, given: dict) -> None:
    with fails(UsageError, where=next(iter(given)), expected="graded" if "plant" in given else "loudness"):
        make_demo(tmp_path, 1, size=TINY, workers=1, **given)
    assert list(tmp_path.iterdir()) == []


def test_the_face_changes_where_the_truth_says() -> None:
    person = face.appearance(7, 1)
    boxes = face.regions(person, SMALL)

    def frame(emotion: str) -> np.ndarray:
        shown = TrialPlan(7, 1, 2, emotion, True, {"vision": Expression(emotion, 1.0, 3.0, 7.0, "clear")})
        frames = list(face.face_frames(shown, person, [], dataclasses.replace(SMALL, seconds=5.0, fps=1)))
        return frames[4].astype(int)

    plain, touched = frame("Neutral"), set()
    for emotion in EMOTIONS[1:]:
        rows, columns = np.nonzero((np.abs(frame(emotion) - plain) > 40).any(axis=-1))
        inside = np.zeros(len(rows), bool)
        for part in face.markers(emotion)["place"]:
            for left, top, right, bottom in boxes[part]:
                here = (columns >= left * 320) & (columns < right * 320) & (rows >= top * 240) & (rows < bottom * 240)
                inside |= here
                touched |= {part} if here.any() else set()
        assert inside.mean() > 0.97
    assert touched == {"mouth", "brows", "eyes"}
    area = sum((r - a) * (b - t) for name in boxes for a, t, r, b in boxes[name])
    assert area < 0.2


def test_the_bands_hold_the_fundamental() -> None:
    for subject in range(1, 5):
        speaker = voice.speaker(0, subject)
        low, high = voice.bands(speaker)["pitch"]
        pitches = []
        for trial in plan(0, subject, SMALL).trials[1:60:6]:
            pitches += [p for s in voice.syllables(trial, speaker, SMALL) for p in s.pitch]
        inside = np.mean((np.array(pitches) >= low) & (np.array(pitches) <= high))
        assert inside > 0.9
        assert high < 450 < voice.bands(speaker)["formants"][1]
