"""What the checks of an explanation are given: the model, its inputs, the maps, and how to compute a map again.

Shapes: tensors are batches of one window, as encoders take them (models/base.py); maps are the attributions of
:mod:`eavdash.explain.attributions`, vision (1, F, H, W) summed over the colours, others shaped like the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from eavdash.explain.check_record import Check
from eavdash.explain.explanation import NOTHING
from eavdash.explain.fused import FusedModel
from eavdash.explain.receipts.cells import Cells
from eavdash.explain.receipts.noise import with_noise
from eavdash.models.fusion import Tensors

#: Maximum number of a trial's windows that the model is asked about: those in which most is explained.
MOST_WINDOWS = 2
#: Noisy copies of a window whose maps are computed again.
NOISY_COPIES = 2
#: Maximum number of input values in one pass of the model.
_PASS_NUMBERS = 4_000_000
_MOST_AT_ONCE = 32

Attribute = Callable[[Tensors, Tensors], Mapping[str, Tensor]]


@dataclass(frozen=True)
class ExplainedWindowInputs:
    """One window: inputs and masks of its modalities, its map, and what cells are replaced by."""

    inputs: Tensors
    masks: Tensors
    attributions: Tensors
    baselines: Tensors  # the method's baseline, or the mean of its baselines; shaped like the inputs
    training: Tensors  # a training window
    output: float  # the explained number of the window
    baseline: float  # the same at the baseline, or its mean over the method's baselines

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
    """The explanation of one trial as a question to its model: the class ``target``, or its lead over ``against``.

    ``attribute`` computes the map of a window again by the same method for the same question (inputs, masks → map).
    """

    model: FusedModel
    windows: tuple[ExplainedWindowInputs, ...]
    target: int
    attribute: Attribute
    against: int | None = None
    seed: int = 0
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def strongest(self) -> tuple[ExplainedWindowInputs, ...]:
        """The windows that the model is asked about; none if no window has anything to explain."""
        order = sorted(self.windows, key=lambda w: -w.explained)
        return tuple(w for w in order[:MOST_WINDOWS] if w.explained >= NOTHING)

    def nothing(self, name: str) -> Check:
        """Return the outcome of a check that cannot be made because no window has anything to explain."""
        reason = f"In no window does the output differ by {NOTHING} or more from that at the baseline."
        return Check(name=name, verdict="not run", reason=reason)

    def generator(self, *purpose: int) -> torch.Generator:
        """Return a random generator that depends on the seed and the purpose only."""
        seed = self.seed
        for number in purpose:
            seed = (seed * 1_000_003 + number + 1) % 2**31
        return torch.Generator().manual_seed(seed)

    def kept(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return what ``compute`` returned the first time; two checks may share it."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def batch(self, window: ExplainedWindowInputs) -> int:
        """Return the number of variants of a window that the model takes at once."""
        numbers = sum(x.numel() for x in window.inputs.values())
        return max(1, min(_MOST_AT_ONCE, _PASS_NUMBERS // max(1, numbers)))

    @contextmanager
    def asking(self, window: ExplainedWindowInputs) -> Iterator[None]:
        """Hold what the encoders' scaling takes from the window, as the method does, and compute no gradients."""
        with torch.no_grad(), self.model.holding(window.inputs, window.masks):
            yield

    def function(self, window: ExplainedWindowInputs, inputs: Tensors) -> Tensor:
        """Return the explained number (B,) float64 of one batch of variants; call it inside :meth:`asking`."""
        count = len(next(iter(inputs.values())))
        masks = {m: window.masks[m].expand(count, *window.masks[m].shape[1:]) for m in inputs}
        logits = self.model.predict(inputs, masks).fused.logits.double().cpu()
        return logits[:, self.target] - (0 if self.against is None else logits[:, self.against])

    def scores(self, window: ExplainedWindowInputs, removed: Tensor, by: Tensors) -> Tensor:
        """Return the explained number (B,) of a window with the cells ``removed`` (B, cell) bool taken from ``by``."""
        with self.asking(window):
            parts = [
                self.function(window, window.cells.replaced(window.inputs, by, part))
                for part in removed.split(self.batch(window))
            ]
        return torch.cat(parts)

    @cached_property
    def noisy(self) -> tuple[tuple[Tensors, Tensors], ...]:
        """For each of the ``strongest`` windows :data:`NOISY_COPIES` of it, and their maps, as batches."""
        found = []
        for number, window in enumerate(self.strongest):
            random = self.generator(1, number)
            copies = [with_noise(window.inputs, window.masks, random) for _ in range(NOISY_COPIES)]
            found.append((_together(copies), _together([self.attribute(copy, window.masks) for copy in copies])))
        return tuple(found)


def _together(parts: list[Any]) -> Tensors:
    return {m: torch.cat([part[m] for part in parts]) for m in parts[0]}
