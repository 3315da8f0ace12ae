"""A simulated voice: glottal pulses through formant filters, in syllables, phrases and pauses.

In: a trial's plan. Out: :func:`syllables`, with time and style (the drawn mouth follows them too), and
:func:`voice_trial`, (time,) float32 in [-1, 1]. Inside the planted segment, pitch, loudness, rate, formants and
brightness move from the speaker's own values towards those of the emotion (:data:`VOICES`), in proportion to its
strength.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import lfilter, sosfilt

from eavdash.demo.plan import DemoSize, TrialPlan, envelope, random


@dataclass(frozen=True)
class SpeakingStyle:
    """A style of speaking, relative to the speaker's own voice."""

    pitch: float = 0.0  # semitones
    melody: float = 1.0  # semitones between syllables, standard deviation
    loudness: float = 0.0  # dB
    rate: float = 1.0
    formants: float = 1.0
    brightness: float = 0.0  # -1 dull ... 1 bright


VOICES = {
    "Neutral": SpeakingStyle(),
    "Sadness": SpeakingStyle(pitch=-2.0, melody=0.5, loudness=-8.0, rate=0.7, formants=0.93, brightness=-0.9),
    "Anger": SpeakingStyle(pitch=3.0, melody=2.0, loudness=9.0, rate=1.3, formants=1.06, brightness=0.9),
    "Happiness": SpeakingStyle(pitch=7.0, melody=4.0, loudness=4.0, rate=1.15, formants=1.12, brightness=0.3),
    "Calmness": SpeakingStyle(pitch=-4.0, melody=0.3, loudness=-2.0, rate=0.8, formants=0.98, brightness=-0.4),
}
#: The cue (:data:`~eavdash.demo.plan.CUES`) to which a field of a style belongs, where it has another name.
_CUE = {"melody": "pitch", "brightness": "formants"}
#: First formants of five vowels (Hz), for a vocal tract of average length.
VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (300, 2250, 3000), (570, 840, 2410), (320, 870, 2240))
HIGHEST = 3500  # Hz, the formant above these, which moves as they do
LEVEL = 0.06  # root mean square of a syllable at 0 dB
FLOOR = 0.0006  # room noise


@dataclass(frozen=True)
class Speaker:
    """Properties of a subject's voice that are constant over trials."""

    pitch: float  # Hz
    tract: float  # factor on all formants
    breath: float


@dataclass(frozen=True)
class Syllable:
    """One syllable from ``start`` to ``stop`` seconds; pitch in Hz at both ends."""

    start: float
    stop: float
    vowel: int
    pitch: tuple[float, float]
    style: SpeakingStyle


def markers(emotion: str) -> dict[str, Any]:
    """The markers of an emotion: the properties of the voice that it changes ("place")."""
    own, plain = dataclasses.asdict(VOICES[emotion]), dataclasses.asdict(SpeakingStyle())
    changed = [_CUE.get(name, name) for name in own if own[name] != plain[name]]
    return {"place": list(dict.fromkeys(changed))}


def bands(speaker: Speaker) -> dict[str, list[float]]:
    """The bands (Hz) of a speaker's cues: of the fundamental, and of the formants. The others are everywhere."""
    tones = [style.pitch + side * (1 + style.melody) for style in VOICES.values() for side in (-1, 1)]
    low, high = (speaker.pitch * 2 ** (tone / 12) for tone in (min(tones), max(tones)))
    factors = [speaker.tract * style.formants for style in VOICES.values()]
    formants = [*(frequency for vowel in VOWELS for frequency in vowel), HIGHEST]
    return {
        "pitch": [round(low, 1), round(high, 1)],
        "formants": [round(min(formants) * min(factors), 1), round(max(formants) * max(factors), 1)],
    }


def speaker(seed: int, subject: int) -> Speaker:
    """Draw the subject's voice: high with a short vocal tract, or low with a long one."""
    rng = random(seed, subject, "voice")
    high = rng.uniform() < 0.5
    pitch = rng.uniform(180, 215) if high else rng.uniform(105, 135)
    return Speaker(float(pitch), float(rng.uniform(1.06, 1.16) if high else rng.uniform(0.92, 1.0)), rng.uniform(0, 1))


def syllables(plan: TrialPlan, speaker: Speaker, size: DemoSize) -> list[Syllable]:
    """Draw the syllables of a speaking trial, in order."""
    rng = plan.rng("speech")
    pitch = speaker.pitch * 2 ** (rng.normal(0, 0.4) / 12)
    loudness = float(rng.normal(0, 0.8))
    spoken: list[Syllable] = []
    time = 0.15 * rng.uniform(0.5, 1.5)
    end = size.seconds - 0.1
    while time < end:
        count = int(rng.integers(5, 10))
        for position in range(count):
            style = _style(plan, time + 0.1, loudness)
            length = rng.uniform(0.15, 0.24) / style.rate
            # A phrase falls by two semitones from its first syllable to its last.
            tone = style.pitch + rng.normal(0, style.melody) + 1.0 - 2.0 * position / count
            first = pitch * 2 ** (tone / 12)
            last = first * 2 ** (rng.normal(-0.2, 0.4 * style.melody) / 12)
            if time + length < end:
                spoken.append(
                    Syllable(time, time + length, int(rng.integers(len(VOWELS))), (float(first), float(last)), style)
                )
            time += length + rng.uniform(0.015, 0.05) / style.rate
        time += rng.uniform(0.2, 0.45) / style.rate
    return spoken


def voice_trial(speech: list[Syllable], plan: TrialPlan, speaker: Speaker, size: DemoSize) -> np.ndarray:
    """Synthesise the sound of :func:`syllables`: (time,) float32 in [-1, 1] at ``size.audio_rate``."""
    rng, rate = plan.rng("voice"), size.audio_rate
    wave = FLOOR * rng.standard_normal(round(size.seconds * rate), dtype=np.float32)
    for syllable in speech:
        begin = int(syllable.start * rate)
        sound = _synthesise(syllable, speaker, rng, rate)
        wave[begin : begin + len(sound)] += sound[: len(wave) - begin]
    np.clip(wave, -1, 1, out=wave)
    return wave


def _style(plan: TrialPlan, time: float, loudness: float) -> SpeakingStyle:
    """The style of speaking at a time, between neutral and the emotion's."""
    expression = plan.expressions.get("audio")
    share = float(envelope(expression, np.array([time]))[0]) * (expression.strength if expression else 0.0)
    plain, target = SpeakingStyle(), VOICES[expression.emotion if expression else "Neutral"]
    mixed = {
        field.name: (1 - share) * getattr(plain, field.name) + share * getattr(target, field.name)
        if _CUE.get(field.name, field.name) in plan.cues
        else getattr(plain, field.name)
        for field in dataclasses.fields(SpeakingStyle)
    }
    mixed["loudness"] += loudness
    return SpeakingStyle(**mixed)


def _synthesise(syllable: Syllable, speaker: Speaker, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Synthesise one syllable: source, vocal tract, loudness."""
    style = syllable.style
    samples = max(16, int((syllable.stop - syllable.start) * rate))
    along = np.linspace(0, 1, samples, dtype=np.float32)
    pitch = syllable.pitch[0] + (syllable.pitch[1] - syllable.pitch[0]) * along
    cycle = np.mod(np.cumsum(pitch, dtype=np.float64) / rate, 1.0)
    # Flow through the glottis: it opens over 40 % of a cycle and closes over 16 % (after Rosenberg 1971).
    opening = 0.5 - 0.5 * np.cos(np.pi * np.minimum(cycle / 0.4, 1))
    closing = np.cos(0.5 * np.pi * np.clip((cycle - 0.4) / 0.16, 0, 1))
    source = np.diff(np.where(cycle < 0.4, opening, closing), prepend=0.0)
    breath = 0.01 + 0.02 * speaker.breath + 0.02 * max(0.0, -style.brightness)
    source += breath * rng.standard_normal(samples)
    # The pole depends on the sampling rate, so that a voice sounds the same at 16 and 48 kHz.
    pole = np.exp(-2 * np.pi * 700 * 2 ** (1.2 * style.brightness) / rate)
    source = lfilter([1 - pole], [1, -pole], source)
    factor = speaker.tract * style.formants
    formants = [*(f * factor for f in VOWELS[syllable.vowel]), HIGHEST * factor]
    sections = [_resonance(f, 60 + 0.05 * f, rate) for f in formants if f < 0.45 * rate]
    sound = sosfilt(np.array(sections), source)
    attack, release = np.clip(along / 0.18, 0, 1), np.clip((1 - along) / 0.3, 0, 1)
    sound *= np.minimum(attack, release)
    level = LEVEL * 10 ** (style.loudness / 20)
    return np.asarray(sound * (level / (np.sqrt(np.mean(sound**2)) + 1e-9)), np.float32)


def _resonance(frequency: float, bandwidth: float, rate: int) -> list[float]:
    """One formant as a second-order section with unit gain at 0 Hz."""
    radius = np.exp(-np.pi * bandwidth / rate)
    a1, a2 = -2 * radius * np.cos(2 * np.pi * frequency / rate), radius**2
    return [1 + a1 + a2, 0.0, 0.0, 1.0, a1, a2]
