"""Dropping a modality: it is absent, as the fusion knows absence from its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from eavdash.data.windows import WindowSet
from eavdash.explain.changes.base import Change, name_of, only
from eavdash.explain.changes.parsing import modality_of


@dataclass(frozen=True)
class Drop(Change):
    """No window has the modality any more. ``modality`` is the whole argument."""

    option: ClassVar[str] = "drop"

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(modality_of(cls.option, text))

    @property
    def argument(self) -> str:
        return self.modality

    @property
    def words(self) -> str:
        return f"{name_of(self.modality)} dropped"

    @property
    def definition(self) -> str:
        return (
            f"Dropped: {name_of(self.modality)} is absent as in the coalitions of the Shapley values: masked, or the "
            "mean of the training windows' features for a fusion that was never trained with absent modalities."
        )

    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        return only(windows, np.zeros(len(windows), dtype=bool))
