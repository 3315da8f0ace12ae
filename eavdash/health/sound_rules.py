"""Findings about sounds: level, clipping, rate, and what becomes of their channels.

In: the measures of every sound (:mod:`eavdash.health.measures.audio`). Out: rules.
"""

from __future__ import annotations

import pandas as pd

from eavdash.config.choices import MIX
from eavdash.config.schema import StudyConfig
from eavdash.health.rule import Rule, share

#: A thousandth of a sound's samples on a plateau at full scale is 20 ms of 20 s, audible as crackling.
CLIPPED = 0.001
#: Gated pauses are silent too, but pauses do not fill half of a recording.
SILENT = 0.5
#: dB relative to full scale. A calm voice reaches -53 in RAVDESS; below -60 16 bits resolve only 10 steps.
QUIET = -60.0
#: dB by which the loudest channel exceeds the mix: two channels of which one is silent differ by 6.
CANCELLED = 8.0
#: Channels with less correlation than this, and less difference in level (dB), hold different sounds.
UNLIKE, BESIDE = 0.3, 30.0


def sound_rules(config: StudyConfig) -> list[Rule]:
    """The rules for sounds in a study with this configuration."""
    sound, wanted, mixed = ("audio",), config.audio.rate, config.audio.channel == MIX
    one = "set audio.channel to loudest, or to the channel of the subject's microphone"

    def lost(frame: pd.DataFrame) -> pd.Series:
        return _cancelled(frame) & mixed

    return [
        Rule(
            sound,
            "digital silence",
            "warning",
            "check that the microphone was on",
            lambda f: _silent(f) & ~lost(f),
            share("silent", "of it"),
        ),
        Rule(
            sound,
            "very quiet sound",
            "warning",
            "check the microphone's level, or find a louder copy",
            lambda f: (f["rms"] < QUIET) & ~_silent(f) & ~lost(f),
            lambda r: f"{r['rms']:.0f} dB below full scale".replace("-", ""),
        ),
        Rule(
            sound,
            "clipped sound",
            "warning",
            "lower the microphone's level for further recordings, and leave badly clipped trials out",
            lambda f: (f["clipped"] >= CLIPPED) & ~_silent(f),
            share("clipped", "of its samples"),
        ),
        Rule(
            sound,
            f"sound sampled below {wanted} Hz",
            "info",
            f"nothing, but frequencies above half of the recorded rate stay empty at audio.rate {wanted}",
            lambda f: f["rate"] < wanted,
            lambda r: f"{r['rate']:g} Hz",
        ),
        Rule(
            sound,
            "channels that cancel each other, or are lost among silent ones,",
            "warning",
            one,
            lost,
            lambda r: (
                "their mix is silent"
                if not r["rms"] > r["loudest"] - 100  # NaN: of no power
                else f"their mix is {r['loudest'] - r['rms']:.0f} dB below the loudest"
            ),
        ),
        Rule(
            sound,
            "different sounds in the channels, which are mixed,",
            "warning",
            f"if each has a speaker of its own, {one}; a mix of spaced microphones needs nothing",
            lambda f: (f["likeness"].abs() < UNLIKE) & (f["second"] < BESIDE) & ~lost(f) & mixed,
            lambda r: f"correlation {r['likeness']:.2f}",
        ),
    ]


def _silent(frame: pd.DataFrame) -> pd.Series:
    return frame["silent"] >= SILENT


def _cancelled(frame: pd.DataFrame) -> pd.Series:
    return frame["loudest"].notna() & ~(frame["loudest"] - frame["rms"] < CANCELLED)
