"""Muting a band of frequencies: of EEG in its spectrum, of sound in its mel bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from eavdash.config.choices import MODALITIES
from eavdash.data.axes import frequencies_of
from eavdash.data.windows import WindowSet
from eavdash.explain.changes.base import Change, by_step, front_end_of, name_of, with_steps
from eavdash.explain.changes.parsing import of_modality, span
from eavdash.explain.changes.silence import silence_of


@dataclass(frozen=True)
class MuteBand(Change):
    """From ``low`` to ``high`` Hz, both included."""

    low: float
    high: float

    option: ClassVar[str] = "mute"

    @classmethod
    def parse(cls, text: str) -> Self:
        modality, rest = of_modality(cls.option, text, "eeg:8-12 or audio:300-3000 (Hz)", MODALITIES[1:])
        return cls(modality, *span(cls.option, rest, "Hz"))

    @property
    def argument(self) -> str:
        return f"{self.modality}:{self.low:g}-{self.high:g}"

    @property
    def words(self) -> str:
        return f"{self.low:g}–{self.high:g} Hz muted in {name_of(self.modality)}"

    @property
    def definition(self) -> str:
        if self.modality == "eeg":
            return (
                "Muted band: in the Fourier transform of each window's recorded samples the bins of the band are set "
                "to 0, and nothing else is changed."
            )
        return (
            "Muted band: mel bands whose centre lies in the range get the energy of digital silence (encoders of "
            "samples: bins of each window's Fourier transform are set to 0)."
        )

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        if windows.kind == "eeg" or front_end_of(windows) == "wave":
            return self._from_spectrum(windows)
        hertz = frequencies_of(windows)
        if hertz is None:
            raise self.refuse("recordings with frequencies", "a table of features", "leave this change out")
        here = (hertz >= self.low) & (hertz <= self.high)
        self._within(float(windows.meta["rate"]))
        if not here.any():
            raise self.refuse(
                f"a band with the centre of a mel band, {hertz[0]:.0f} to {hertz[-1]:.0f} Hz",
                "one between two",
                "widen it",
            )
        values = by_step(windows)
        valid = np.asarray(windows.mask, dtype=bool)
        values[valid[:, :, None] & here] = silence_of(windows)
        return with_steps(windows, values)

    def _from_spectrum(self, windows: WindowSet) -> WindowSet:
        values = by_step(windows).astype(np.float64)
        rate = float(windows.meta["rate"])
        self._within(rate)
        for row, mask in enumerate(np.asarray(windows.mask, dtype=bool)):
            count = int(mask.sum())
            if not count:
                continue
            spectrum = np.fft.rfft(values[row, mask], axis=0)
            hertz = np.fft.rfftfreq(count, 1 / rate)
            here = (hertz >= self.low - 1e-9) & (hertz <= self.high + 1e-9)
            if not here.any():
                raise self.refuse(f"a band with a multiple of {hertz[1]:g} Hz", "one between two", "widen it")
            spectrum[here] = 0
            values[row, mask] = np.fft.irfft(spectrum, count, axis=0)
        return with_steps(windows, values)

    def _within(self, rate: float) -> None:
        if self.high > rate / 2:
            expected = f"a band within 0 to {rate / 2:g} Hz, half the rate"
            raise self.refuse(expected, f"{self.low:g} to {self.high:g} Hz", "choose another band")
