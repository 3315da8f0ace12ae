"""A shift in time of one modality against the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from eavdash.data.axes import times_of
from eavdash.data.windows import WindowSet
from eavdash.explain.changes.base import Change, by_step, name_of, only, with_steps
from eavdash.explain.changes.parsing import number, of_modality

MOST = 3600.0  # seconds


@dataclass(frozen=True)
class Shift(Change):
    """A recording whose moment t comes at t + ``seconds``."""

    seconds: float

    option: ClassVar[str] = "shift"

    @classmethod
    def parse(cls, text: str) -> Self:
        modality, rest = of_modality(cls.option, text, "eeg:0.5 (seconds later; negative: earlier)")
        return cls(modality, number(cls.option, rest, -MOST, MOST, "s"))

    @property
    def argument(self) -> str:
        return f"{self.modality}:{self.seconds:g}"

    @property
    def words(self) -> str:
        return f"{name_of(self.modality)} {abs(self.seconds):g} s {'later' if self.seconds >= 0 else 'earlier'}"

    @property
    def definition(self) -> str:
        return (
            "Shifted: across the borders of windows, to the nearest frame, spectrogram row or sample; what comes from "
            "before the beginning or after the end of the trial is masked, as padding is."
        )

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        times = times_of(windows)  # (window, step), NaN where masked
        valid = ~np.isnan(times)
        known = np.sort(times[valid])
        step = float(np.median(np.diff(known))) if len(known) > 1 else 1.0
        reach = float(known[-1] - known[0]) + step
        if self.seconds and abs(self.seconds) < step / 2:
            raise self.refuse(f"a shift of at least {step / 2:g} s, half a step", "a smaller one", "choose more")
        if abs(self.seconds) >= reach:
            raise self.refuse(f"less than the trial's {reach:g} s", f"{self.seconds:g} s", "choose less")
        values = by_step(windows)
        order = np.argsort(times[valid], kind="stable")
        recorded = values[valid][order]
        wanted = times - self.seconds
        with np.errstate(invalid="ignore"):
            inside = valid & (wanted > known[0] - step / 2) & (wanted < known[-1] + step / 2)
        after = np.searchsorted(known, wanted[inside]).clip(1, len(known) - 1) if len(known) > 1 else np.array([0])
        nearer = np.abs(known[after - 1] - wanted[inside]) <= np.abs(known[after] - wanted[inside]) + 1e-9
        values[valid & ~inside] = 0
        values[inside] = recorded[np.where(nearer, after - 1, after)]
        moved = replace(with_steps(windows, values), mask=inside)
        return only(moved, inside.any(axis=1))
