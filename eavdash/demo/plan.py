"""The plan of the demo recordings: the expressed emotions, their timing and their strength.

In: a seed, a subject's number and a size. Out: a :class:`SubjectPlan`, and :func:`truth`, the content of truth.json.
The order of trials is EAV's: 20 conversations of 10 trials, two Neutral ones and eight of one emotion, listening and
speaking in turn (https://doi.org/10.1038/s41597-024-03838-4).

The difficulty is set by :data:`DIFFICULTY` alone. Each modality is drawn independently, so errors are independent. A
:class:`Planting` says how reliable the modalities are from the fourth subject on, and by which properties the voice
expresses an emotion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Increment it when the same seed gives different recordings.
VERSION = 1
TRIALS = 200
#: In the order of the rows of EAV's label matrix: row 2k is listening, row 2k + 1 speaking.
EMOTIONS = ("Neutral", "Sadness", "Anger", "Happiness", "Calmness")
MODALITIES = ("vision", "audio", "eeg")
_LETTERS = {"A": "Anger", "C": "Calmness", "S": "Sadness", "H": "Happiness"}
CONVERSATIONS = tuple(_LETTERS[letter] for letter in "AACCSSHACHHSSAACCHHS")
#: The emotions that a misleading trial may express instead of its label.
NEIGHBOURS = {
    "Neutral": ("Calmness", "Sadness"),
    "Sadness": ("Calmness", "Neutral"),
    "Anger": ("Happiness", "Neutral"),
    "Happiness": ("Anger", "Calmness"),
    "Calmness": ("Neutral", "Sadness"),
}


@dataclass(frozen=True)
class Difficulty:
    """Frequency and strength with which a modality expresses the label weakly, or a neighbouring emotion instead."""

    weak: float  # share of trials
    misleading: float  # share of trials
    clear_strength: tuple[float, float]
    weak_strength: tuple[float, float]


DIFFICULTY = {
    "vision": Difficulty(weak=0.20, misleading=0.10, clear_strength=(0.75, 1.0), weak_strength=(0.15, 0.4)),
    "audio": Difficulty(weak=0.22, misleading=0.14, clear_strength=(0.7, 1.0), weak_strength=(0.15, 0.4)),
    "eeg": Difficulty(weak=0.25, misleading=0.18, clear_strength=(0.7, 1.0), weak_strength=(0.1, 0.35)),
}
#: The modality that is unrelated to the label, for subjects 1, 2, 3, 4 ... in turn.
NOISE = ("eeg", "audio", "vision")
#: How reliable the modalities are from the fourth subject on; the first three subjects are the same in each.
PLANTS = ("graded", "varied")
#: Ranges of the reliability by plant. The noise modality has 0; the other two take these, in an order that changes.
_RANGES = {"graded": ((0.35, 0.65), (0.75, 1.0)), "varied": ((0.7, 1.0), (0.7, 1.0))}
#: Properties of the voice that can express an emotion.
CUES = ("pitch", "loudness", "rate", "formants")


@dataclass(frozen=True)
class DemoSize:
    """Lengths and rates of the recordings."""

    seconds: float = 10.0  # of a trial
    eeg_rate: int = 500  # Hz
    audio_rate: int = 16000  # Hz
    width: int = 320  # pixels
    height: int = 240
    fps: int = 15
    extra_frames: int = 0  # maximum number of frames by which a clip exceeds its trial, as in EAV


SMALL = DemoSize()
FULL = DemoSize(seconds=20.0, audio_rate=48000, width=640, height=480, fps=30, extra_frames=3)


@dataclass(frozen=True)
class Planting:
    """The choices of what is planted. The default is that of recordings made before there was a choice.

    ``plant``: one of :data:`PLANTS`. ``cues``: the properties of the voice that express the emotion; without any, the
    voice is a control that carries nothing.
    """

    plant: str = "varied"
    cues: tuple[str, ...] = CUES


@dataclass(frozen=True)
class Expression:
    """One emotion expressed in one modality from ``start`` to ``stop`` seconds of a trial.

    ``kind``: clear, weak or misleading; "unrelated" if it does not depend on the label.
    """

    emotion: str
    strength: float
    start: float
    stop: float
    kind: str


@dataclass(frozen=True)
class TrialPlan:
    """One trial: NNN, its label, and what each recorded modality expresses."""

    seed: int
    subject: int
    number: int
    label: str
    speaking: bool
    expressions: dict[str, Expression]
    cues: tuple[str, ...] = CUES  # of the voice

    @property
    def condition(self) -> str:
        return "Speaking" if self.speaking else "Listening"

    def rng(self, stream: str) -> np.random.Generator:
        """The random generator for one purpose in this trial."""
        return random(self.seed, self.subject, stream, self.number)


@dataclass(frozen=True)
class SubjectPlan:
    """All trials of a subject, in order of NNN, and the reliability of each modality.

    Reliability is the probability that a trial's expression follows its label; 0: the modality is noise.
    """

    subject: int
    reliability: dict[str, float]
    trials: tuple[TrialPlan, ...]


def random(seed: int, subject: int, stream: str, trial: int = 0) -> np.random.Generator:
    """A generator that depends only on its arguments."""
    return np.random.default_rng(np.random.SeedSequence([seed, subject, *stream.encode(), trial]))


def label_of(number: int) -> str:
    """The emotion of trial NNN (1 to 200)."""
    conversation, position = divmod(number - 1, 10)
    return "Neutral" if position < 2 else CONVERSATIONS[conversation]


def plan_subject(seed: int, subject: int, size: DemoSize, planting: Planting = Planting()) -> SubjectPlan:
    """Plan one subject (counted from 1)."""
    reliability = _reliability(seed, subject, planting.plant)
    trials = []
    for number in range(1, TRIALS + 1):
        speaking = number % 2 == 0
        expressions = {
            modality: _express(random(seed, subject, f"plan {modality}", number), number, modality, reliability, size)
            for modality in MODALITIES
            if speaking or modality == "eeg"  # a listener's face is idle and the voice is not recorded
        }
        trials.append(TrialPlan(seed, subject, number, label_of(number), speaking, expressions, planting.cues))
    return SubjectPlan(subject, reliability, tuple(trials))


def envelope(expression: Expression | None, times: np.ndarray, ramp: float = 0.3) -> np.ndarray:
    """Level of the expression at each time (seconds): 0 outside its segment, 1 inside, with smooth ramps."""
    if expression is None:
        return np.zeros_like(times, dtype=float)
    ramp = min(ramp, (expression.stop - expression.start) / 3)
    rise = np.clip((times - expression.start) / ramp, 0, 1)
    fall = np.clip((expression.stop - times) / ramp, 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall))


def truth(
    seed: int,
    plans: list[SubjectPlan],
    size: DemoSize,
    planting: Planting,
    markers: dict[str, Any],
    places: Callable[[int, int, DemoSize], dict[str, Any]],
) -> dict[str, Any]:
    """The content of truth.json.

    ``markers[modality](emotion)`` describes an emotion's markers, ``places(seed, subject, size)`` where in the
    subject's recordings they are.
    """
    return {
        "simulated": True,
        "seed": seed,
        "made_with": made_with(seed, size, planting),
        "reliability": {str(p.subject): p.reliability for p in plans},
        "places": {str(p.subject): places(seed, p.subject, size) for p in plans},
        "trials": [
            {
                "subject": str(plan.subject),
                "trial": str(trial.number),
                "label": trial.label,
                "condition": trial.condition,
                "planted": [
                    {
                        "modality": modality,
                        **dataclasses.asdict(expression),
                        **_marked(modality, expression, trial, markers),
                    }
                    for modality, expression in trial.expressions.items()
                ],
            }
            for plan in plans
            for trial in plan.trials
        ],
    }


def _marked(modality: str, expression: Expression, trial: TrialPlan, markers: dict[str, Any]) -> dict[str, Any]:
    """Return the markers of an expression; the voice has those of its cues."""
    found: dict[str, Any] = markers[modality](expression.emotion)
    if modality == "audio":
        found["place"] = [cue for cue in found["place"] if cue in trial.cues]
    return found


def made_with(seed: int, size: DemoSize, planting: Planting) -> dict[str, Any]:
    """The settings that must agree to add subjects to existing recordings."""
    settings = {"plant": planting.plant, "cues": list(planting.cues)}
    return {"version": VERSION, "seed": seed, **dataclasses.asdict(size), **settings}


def _reliability(seed: int, subject: int, plant: str) -> dict[str, float]:
    noise = NOISE[(subject - 1) % len(NOISE)]
    # The first three subjects are fully reliable, so that each contrast with the noise modality is clear.
    if subject <= len(NOISE):
        return {m: float(m != noise) for m in MODALITIES}
    rng = random(seed, subject, "reliability")
    drawn = {m: float(rng.uniform()) for m in MODALITIES}
    others = [m for m in MODALITIES if m != noise]
    if (subject - 1) // len(NOISE) % 2 == 0:
        others.reverse()
    ranges = dict(zip(others, _RANGES[plant], strict=True))
    return {
        m: round(ranges[m][0] + (ranges[m][1] - ranges[m][0]) * drawn[m], 2) if m in ranges else 0.0 for m in MODALITIES
    }


def _express(
    rng: np.random.Generator, number: int, modality: str, reliability: dict[str, float], size: DemoSize
) -> Expression:
    """Draw what one modality expresses in one trial; all draws are made, used or not, so that streams stay aligned."""
    mix, label = DIFFICULTY[modality], label_of(number)
    follows, kind_draw = rng.uniform(size=2)
    strength_draw, start_draw, stop_draw = rng.uniform(size=3)
    neighbour = NEIGHBOURS[label][int(rng.integers(2))]
    anything = EMOTIONS[int(rng.integers(len(EMOTIONS)))]
    kind = "clear"
    if kind_draw < mix.weak:
        kind = "weak"
    elif kind_draw < mix.weak + mix.misleading:
        kind = "misleading"
    low, high = mix.weak_strength if kind == "weak" else mix.clear_strength
    emotion = neighbour if kind == "misleading" else label
    if follows >= reliability[modality]:
        kind, emotion = "unrelated", anything
    # It starts in the first window, stops in the last one, and covers more than half of each.
    margin = min(5.0, size.seconds / 2)
    return Expression(
        emotion=emotion,
        strength=round(low + (high - low) * strength_draw, 3),
        start=round(margin * (0.08 + 0.32 * start_draw), 3),
        stop=round(size.seconds - margin * (0.08 + 0.32 * stop_draw), 3),
        kind=kind,
    )
