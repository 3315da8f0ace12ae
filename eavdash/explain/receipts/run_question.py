"""What the checks of a run are given: its model, some test windows, and how to compute their maps with any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eavdash.explain.fused import FusedModel
from eavdash.explain.receipts.cells import Cells
from eavdash.explain.receipts.ranks import rank_correlation
from eavdash.models.fusion import Tensors
from eavdash.models.seeds import Seeder, seeder

#: Seeds of the checks where a run gives none.
DRAWS = seeder(0, 0, "receipts")


@dataclass(frozen=True)
class RunWindow:
    """One test window: inputs and masks of its modalities, and the class whose map is compared."""

    inputs: Tensors
    masks: Tensors
    target: int


@dataclass(frozen=True)
class RunQuestion:
    """A run as a question: do its maps depend on what they should depend on?

    ``attribute`` computes the map of a window with a model. ``others``: models of runs that differ in the seed alone.
    ``correct``, ``trials``, ``line``: its decided test trials, and the share that guessing rarely exceeds.
    """

    model: FusedModel
    windows: Sequence[RunWindow]
    attribute: Callable[[FusedModel, RunWindow], Tensors]
    others: Sequence[FusedModel] = ()
    correct: int = 0
    trials: int = 0
    line: float = 1.0
    seed: Seeder = DRAWS

    @cached_property
    def maps(self) -> tuple[Tensors, ...]:
        """The maps of the windows."""
        return tuple(self.attribute(self.model, window) for window in self.windows)

    def correlations(self, model: FusedModel, *, cells: bool) -> list[float]:
        """Return the rank correlation of each map with that of another model.

        ``cells``: of the cells' sums; otherwise of the magnitudes of all recorded elements.
        """
        found = []
        for window, own in zip(self.windows, self.maps, strict=True):
            other = self.attribute(model, window)
            made = Cells.of(own, window.masks)
            if cells:
                found.append(rank_correlation(made.sums(own)[0], made.sums(other)[0]))
            else:
                found.append(rank_correlation(_magnitudes(own, made), _magnitudes(other, made)))
        return found


def _magnitudes(maps: Tensors, cells: Cells) -> Tensor:
    recorded = {m: labels < cells.count for m, labels in cells.labels.items()}
    return torch.cat([maps[m][0].cpu()[there].abs() for m, there in recorded.items()])
