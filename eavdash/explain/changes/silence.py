"""Silencing a stretch of time: silent sound, flat EEG, blank frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from eavdash.data.axes import times_of
from eavdash.data.windows import WindowSet
from eavdash.explain.changes.base import Change, by_step, front_end_of, name_of, with_steps
from eavdash.explain.changes.parsing import of_modality, span

#: Seconds after the last step that a stretch may end: the last spectrogram row ends after its centre, and windows leave
#: out what is too short for one more step.
EDGE = 0.5
_HOW = {"vision": "blank", "audio": "silent", "eeg": "flat"}


@dataclass(frozen=True)
class Silence(Change):
    """From ``start`` to ``stop``, in seconds from the trial's start."""

    start: float
    stop: float

    option: ClassVar[str] = "silence"

    @classmethod
    def parse(cls, text: str) -> Self:
        modality, rest = of_modality(cls.option, text, "audio:1.5-2.5 (seconds from the trial's start)")
        return cls(modality, *span(cls.option, rest, "s"))

    @property
    def argument(self) -> str:
        return f"{self.modality}:{self.start:g}-{self.stop:g}"

    @property
    def words(self) -> str:
        return f"{name_of(self.modality)} {_HOW[self.modality]} from {self.start:g} to {self.stop:g} s"

    @property
    def definition(self) -> str:
        how = {
            "vision": "frames show their mean colour alone",
            "audio": "the energy is that of digital silence",
            "eeg": "every electrode is flat at its mean over the trial",
        }
        return f"Silenced: {how[self.modality]} (columns of feature tables: their mean); it still counts as recorded."

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        times = times_of(windows)
        with np.errstate(invalid="ignore"):
            here = (times >= self.start) & (times < self.stop)
        known = np.sort(times[~np.isnan(times)])
        end = float(known[-1] + np.median(np.diff(known))) if len(known) > 1 else float(known[-1])
        if not here.any() or self.stop > end + EDGE:
            found = f"{self.start:g} to {self.stop:g} s" if self.stop > end + EDGE else "one without any step"
            raise self.refuse(f"a stretch within the {end:.4g} s recorded", found, "choose another stretch")
        values, valid = by_step(windows), np.asarray(windows.mask, dtype=bool)
        if windows.kind == "vision":
            values[here] = np.rint(values[here].mean(axis=(1, 2), keepdims=True))
        elif windows.kind == "audio":
            values[here] = silence_of(windows)
        else:
            values[here] = values[valid].mean(axis=0, dtype=np.float64)
        return with_steps(windows, values)


def silence_of(windows: WindowSet) -> float:
    """Return the value of digital silence in windows of sound."""
    from eavdash.data.audio.front_ends import LogMel, VoiceMel, Wave

    fills = {"logmel": LogMel.fill, "voice": VoiceMel.fill, "wave": Wave.fill}
    return float(fills[front_end_of(windows)])
