"""The table of coalitions, as :mod:`eavdash.results.shapley` reads it: its rows, and their names.

In: which modalities each window has. Out: its coalitions, those of modalities that it has; once their probabilities are
known, the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eavdash.results.decision import log_probabilities


@dataclass(frozen=True)
class CoalitionRows:
    """A row per window and coalition: ``window`` (R,), its number, and ``coalition`` (R,), by bits of ``modalities``.

    ``members`` (2^M, M) bool: the modalities of each coalition.
    """

    modalities: tuple[str, ...]
    window: np.ndarray
    coalition: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, modalities: Sequence[str], present: np.ndarray) -> CoalitionRows:
        """Return the rows of windows that have the modalities ``present`` (W, M) bool, window by window."""
        count = len(modalities)
        members = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
        window, coalition = (present[:, None] | ~members).all(axis=2).nonzero()
        return cls(tuple(modalities), window, coalition, members)

    def table(self, index: pd.DataFrame, classes: Sequence[str], values: np.ndarray) -> pd.DataFrame:
        """Return the columns of the windows' ``index``, class, coalition and value, of probabilities (R, K)."""
        names = [coalition_name(self.modalities, bits) for bits in range(len(self.members))]
        table = index.iloc[np.repeat(self.window, len(classes))].reset_index(drop=True)
        table["class"] = np.tile(np.array(classes, dtype=object), len(self.window))
        table["coalition"] = np.repeat(np.array(names, dtype=object)[self.coalition], len(classes))
        return table.assign(value=log_probabilities(values).ravel())


def coalition_name(modalities: Sequence[str], coalition: int) -> str:
    """Return the modalities of a coalition, given by bits, joined by ``+``."""
    return "+".join(m for number, m in enumerate(modalities) if coalition >> number & 1)
