"""What the checks of a map are given: the model, its inputs, the maps, and how to compute a map again.

Shapes: tensors are batches of one window, as encoders take them (models/base.py); maps are the attributions of
:mod:`eavdash.explain.attributions`, vision (1, F, H, W) summed over the colours, others shaped like the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from eavdash.explain.attributions import Output
from eavdash.explain.check_record import Check
from eavdash.explain.explanation import NOTHING
from eavdash.explain.fused import FusedModel
from eavdash.explain.receipts.cells import Cells
from eavdash.explain.receipts.noise import with_noise
from eavdash.explain.receipts.registry import CHECKS
from eavdash.models.fusion import Tensors
from eavdash.models.seeds import Seeder, generator, seeder

#: Maximum number of a trial's windows that the model is asked about: those in which most is explained.
MOST_WINDOWS = 2
#: Noisy copies of a window whose maps are computed again.
NOISY_COPIES = 2
#: Maximum number of input values in one pass of the model, and of windows.
_PASS_NUMBERS, _PASS_WINDOWS = 4_000_000, 32

Attribute = Callable[[Tensors, Tensors], Mapping[str, Tensor]]

#: Seeds of the checks where a run gives none.
DRAWS = seeder(0, 0, "receipts")


@dataclass(frozen=True)
class ExplainedWindowInputs:
    """One window: inputs and masks of its modalities, its map, and what cells are replaced by."""

    inputs: Tensors
    masks: Tensors
    attributions: Tensors
    baselines: Tensors  # the method's baseline, or the mean of its baselines; shaped like the inputs
    output: float  # the explained number of the window
    baseline: float  # the same at the baseline, or its mean over the method's baselines
    training: Tensors | None = None  # a training window; None: the run has none

    @property
    def explained(self) -> float:
        """What the map distributes: |output - baseline|."""
        return abs(self.output - self.baseline)

    @cached_property
    def cells(self) -> Cells:
        """The cells of all modalities; masked ones are left out."""
        return Cells.of(self.attributions, self.masks)

    @cached_property
    def cell_values(self) -> Tensor:
        """The sum of the map in each cell, (cell,) float64."""
        return self.cells.sums(self.attributions)[0]


@dataclass(frozen=True)
class ExplainedInputs:
    """The explanation of one trial as a question to its model.

    ``attribute`` computes the map of a window again by the same method for the same question (inputs, masks → map).
    """

    model: FusedModel
    windows: Sequence[ExplainedWindowInputs]
    output: Output
    attribute: Attribute
    seed: Seeder = DRAWS
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def strongest(self) -> tuple[ExplainedWindowInputs, ...]:
        """The windows that the model is asked about; none if no window has anything to explain."""
        order = sorted(self.windows, key=lambda w: -w.explained)
        return tuple(w for w in order[:MOST_WINDOWS] if w.explained >= NOTHING)

    def nothing(self, name: str) -> Check:
        """Return the outcome of a check that cannot be made because no window has anything to explain."""
        return CHECKS[name].not_run(
            f"Nothing to explain: in no window is the output {NOTHING} or more away from that at the baseline."
        )

    def generator(self, purpose: str, window: int) -> torch.Generator:
        """Return a random generator that depends on the seed, the purpose and the window only."""
        return generator(self.seed("receipts", purpose, window))

    def kept(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return what ``compute`` returned the first time; two checks may share it."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def batch(self, window: ExplainedWindowInputs) -> int:
        """Return the number of variants of a window that the model takes at once."""
        numbers = sum(x.numel() for x in window.inputs.values())
        return max(1, min(_PASS_WINDOWS, _PASS_NUMBERS // max(1, numbers)))

    @contextmanager
    def asking(self, window: ExplainedWindowInputs) -> Iterator[None]:
        """Hold what the encoders' scaling takes from the window, as the method does, and compute no gradients."""
        with torch.no_grad(), self.model.holding(window.inputs, window.masks):
            yield

    def function(self, window: ExplainedWindowInputs, inputs: Tensors) -> Tensor:
        """Return the explained number (B,) float64 of one batch of variants; call it inside :meth:`asking`."""
        count = len(next(iter(inputs.values())))
        masks = {m: window.masks[m].expand(count, *window.masks[m].shape[1:]) for m in inputs}
        return self.output.of(self.model.predict(inputs, masks).fused.logits.double().cpu())

    def scores(self, window: ExplainedWindowInputs, removed: Tensor, by: Tensors) -> Tensor:
        """Return the explained number (B,) of a window with the cells ``removed`` (B, cell) bool taken from ``by``."""
        with self.asking(window):
            parts = [
                self.function(window, window.cells.replaced(window.inputs, by, part))
                for part in torch.split(removed, self.batch(window))
            ]
        return torch.cat(parts)

    @cached_property
    def noisy(self) -> tuple[tuple[Tensors, Tensors], ...]:
        """For each of the ``strongest`` windows :data:`NOISY_COPIES` of it, and their maps, as batches."""
        found = []
        for number, window in enumerate(self.strongest):
            random = self.generator("noise", number)
            copies = [with_noise(window.inputs, window.masks, random) for _ in range(NOISY_COPIES)]
            found.append((_together(copies), _together([self.attribute(copy, window.masks) for copy in copies])))
        return tuple(found)


def _together(parts: Sequence[Tensors]) -> Tensors:
    return {m: torch.cat([part[m] for part in parts]) for m in parts[0]}
