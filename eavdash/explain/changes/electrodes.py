"""Muting electrodes of the EEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from eavdash.data.windows import WindowSet
from eavdash.explain.changes.base import Change, by_step, with_steps
from eavdash.explain.changes.parsing import wrong
from eavdash.text import parts


@dataclass(frozen=True)
class MuteElectrode(Change):
    """The electrodes ``names``, in any case, are flat."""

    names: tuple[str, ...]

    option: ClassVar[str] = "mute-electrode"

    @classmethod
    def parse(cls, text: str) -> Self:
        names = parts(text.strip().removeprefix("eeg:"))
        if not names:
            raise wrong(cls.option, text, "names of electrodes, as in Fz or Fz,Cz")
        return cls("eeg", tuple(dict.fromkeys(names)))

    @property
    def argument(self) -> str:
        return ",".join(self.names)

    @property
    def words(self) -> str:
        return f"{', '.join(self.names)} muted"

    @property
    def definition(self) -> str:
        return "Muted electrode: it is flat at its mean over the trial; the others are not referenced again."

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        channels = [str(name) for name in windows.meta.get("channels", ())] if windows.kind == "eeg" else []
        if not channels:
            raise self.refuse("EEG with electrodes", "a table of features", "leave this change out")
        places = {name.casefold(): n for n, name in enumerate(channels)}
        if lacking := [name for name in self.names if name.casefold() not in places]:
            raise self.refuse(f"electrodes of the run ({', '.join(channels)})", ", ".join(lacking), "choose among them")
        values, valid = by_step(windows), np.asarray(windows.mask, dtype=bool)
        for name in self.names:
            at = places[name.casefold()]
            values[..., at] = np.where(valid, values[..., at][valid].mean(dtype=np.float64), values[..., at])
        return with_steps(windows, values)
