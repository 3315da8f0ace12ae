"""Noise at a chosen ratio of signal to noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from eavdash.data.axes import times_of
from eavdash.data.windows import WindowSet
from eavdash.explain.changes.base import Change, by_step, front_end_of, name_of, with_steps
from eavdash.explain.changes.parsing import number, of_modality

LOWEST, HIGHEST = -40.0, 60.0  # dB


@dataclass(frozen=True)
class Noise(Change):
    """White Gaussian noise at ``ratio`` dB; seeded."""

    ratio: float

    option: ClassVar[str] = "noise"

    @classmethod
    def parse(cls, text: str) -> Self:
        modality, rest = of_modality(cls.option, text, "audio:10 (dB of signal over noise)")
        return cls(modality, number(cls.option, rest, LOWEST, HIGHEST, "dB"))

    @property
    def argument(self) -> str:
        return f"{self.modality}:{self.ratio:g}"

    @property
    def words(self) -> str:
        return f"noise in {name_of(self.modality)} at {self.ratio:g} dB"

    @property
    def definition(self) -> str:
        how = {
            "vision": "Gaussian noise is added to every pixel; the signal's power is the variance of all pixels",
            "audio": "the filter-bank energies of white noise are added to those of the sound (samples to samples for "
            "encoders of samples); the signal's power is their sum over the trial",
            "eeg": "Gaussian white noise is added to each electrode; the signal's power is its variance over the trial",
        }
        return f"Noise: {how[self.modality]}; columns of feature tables are treated as electrodes are."

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        values = by_step(windows).astype(np.float64)
        valid = np.asarray(windows.mask, dtype=bool)
        share = 10 ** (-self.ratio / 10)  # power of the noise over that of the signal
        signal = values[valid]
        if front_end_of(windows) in ("logmel", "voice"):
            noise = _energies(windows, random)
            gain = share * np.exp(signal).sum() / np.exp(noise[valid]).sum()
            changed = np.logaddexp(values, noise + np.log(gain))
        else:
            power = signal.var() if windows.kind == "vision" else signal.var(axis=0)
            if not np.any(power > 0):
                raise self.refuse("a recording with a signal", "a constant one", "leave this change out")
            changed = values + random.standard_normal(values.shape) * np.sqrt(share * power)
        values[valid] = changed[valid]
        return with_steps(windows, values)


def _energies(windows: WindowSet, random: np.random.Generator) -> np.ndarray:
    """Return logarithms of the filter-bank energies (window, step, band) of white noise, by the windows' front end."""
    from eavdash.data.audio.front_ends import LogMel, VoiceMel

    rate, bands = int(windows.meta["rate"]), int(windows.meta["mels"])
    front = LogMel(rate, bands) if front_end_of(windows) == "logmel" else VoiceMel()
    steps = times_of(windows).shape[1]
    samples = rate * (steps + 5) // 100  # a step every 10 ms, and a little more than the last one needs
    return np.stack(
        [front.values(0.1 * random.standard_normal(samples).astype(np.float32))[:steps] for _ in windows.index.index]
    )
