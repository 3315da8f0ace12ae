"""Swapping a modality with that of another trial of the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from eavdash.data.windows import WindowSet
from eavdash.explain.changes.base import Change, name_of, only
from eavdash.explain.changes.parsing import modality_of, wrong


@dataclass(frozen=True)
class Swap(Change):
    """The windows of ``trial``, window by window; ``subject`` empty: that of the trial that is changed."""

    trial: str
    subject: str = ""

    option: ClassVar[str] = "swap"

    @classmethod
    def parse(cls, text: str) -> Self:
        name, equals, other = text.partition("=")
        trial, _, subject = other.rpartition("@") if "@" in other else (other, "", "")
        if not equals or not trial.strip() or ("@" in other and not subject.strip()):
            raise wrong(
                cls.option, text, "a modality and a trial, as in audio=12 or audio=12@3 (trial 12 of subject 3)"
            )
        return cls(modality_of(cls.option, name), trial.strip(), subject.strip())

    @property
    def argument(self) -> str:
        return f"{self.modality}={self.trial}" + (f"@{self.subject}" if self.subject else "")

    @property
    def words(self) -> str:
        of = f" of subject {self.subject}" if self.subject else ""
        return f"{name_of(self.modality)} of trial {self.trial}{of}"

    @property
    def definition(self) -> str:
        return (
            f"Swapped: each window has {name_of(self.modality)} of the other trial's window of the same number; where "
            "the other trial has no such window, the modality is absent."
        )

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        """Return ``windows``, which are those of the other trial: the reader of recordings has looked them up."""
        return windows

    def taken(self, other: WindowSet, numbers: set[int]) -> WindowSet:
        """Return the windows of the other trial that have one of the ``numbers``."""
        return only(other, other.index["window"].isin(numbers).to_numpy())
