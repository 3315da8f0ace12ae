"""The method that maps one window: its baselines, its points, and how many windows the model takes at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eavdash.explain.attributions import Attributed, Output, Points
from eavdash.explain.fused import FusedModel
from eavdash.explain.method_registry import METHODS
from eavdash.explain.methods.asked import Asked
from eavdash.explain.training_windows import TrainingWindows
from eavdash.models.base import Encoder
from eavdash.models.fusion import Tensors

log = logging.getLogger(__name__)

#: Points of the quadrature on a path from one baseline, and on each of several, whose errors partly cancel.
FIRST_STEPS, FIRST_STEPS_EACH = 32, 4
ADAPTIVE_STEPS = 512  # points that are not exceeded by doubling
#: Maximum number of input values processed by the model at a time.
_BATCH_NUMBERS = 4_000_000
#: Bytes of free memory on a GPU for each such number of values; where that is too few, the batch is halved.
_MEMORY = 8 * 2**30
#: How many input values of other encoders a sample of sound counts as: wide convolutions read it.
_PER_SAMPLE = 16


def _at_once(device: torch.device) -> int:
    """Return how many input values the model takes at once: on a GPU more, by its free memory."""
    if device.type != "cuda":
        return _BATCH_NUMBERS
    free, _ = torch.cuda.mem_get_info(device)
    return _BATCH_NUMBERS * max(1, free // _MEMORY)


@dataclass(frozen=True)
class WindowMethod:
    """Computation of the map of a window: from the mean input, in the modalities ``drawn`` from training windows.

    ``name``: of :data:`~eavdash.explain.method_registry.METHODS`; ``rate``: of EEG samples in Hz, ``seed``: of random
    points, where the method needs them.
    """

    model: FusedModel
    trained: TrainingWindows | None = None
    drawn: Sequence[str] = ()
    steps: int = 0  # 0: as many as completeness needs
    name: str = "integrated_gradients"
    rate: float = 0.0
    seed: int = 0

    def several(self, inputs: Tensors) -> bool:
        """Return True if the window's map is measured from training windows."""
        return self.trained is not None and bool(set(self.drawn) & set(inputs))

    def baselines(self, inputs: Tensors) -> dict[str, Tensor]:
        """Return the baselines (D, ...) of one window by modality; D is 1 if they are the mean input alone."""
        found = {m: self.model.baseline(m, x) for m, x in inputs.items()}
        if self.trained is None or not self.several(inputs):
            return found
        count = len(self.trained.names)
        return {
            m: self.trained.baseline(m, mean) if m in self.drawn else mean.expand(count, *mean.shape[1:])
            for m, mean in found.items()
        }

    def attribute(self, inputs: Tensors, masks: Tensors, output: Output) -> Attributed:
        """Attribute the output for one window, given as batches of one."""
        first = FIRST_STEPS_EACH if self.several(inputs) else FIRST_STEPS
        points = Points(self.steps, self.steps) if self.steps else Points(first, ADAPTIVE_STEPS)
        numbers = sum(x.numel() * (_PER_SAMPLE if self._wave(m) else 1) for m, x in inputs.items())
        baselines = self.baselines(inputs)
        batch = max(1, _at_once(next(iter(inputs.values())).device) // numbers)
        while True:
            try:
                asked = Asked(self.model, inputs, masks, output, baselines, points, batch, self.seed, self.rate)
                found: Attributed = METHODS[self.name].function(asked)
                return found
            except torch.OutOfMemoryError:
                if batch == 1:
                    raise
                torch.cuda.empty_cache()
                batch //= 2
                log.warning("out of memory; going on with %d windows at once", batch)

    def _wave(self, modality: str) -> bool:
        encoder = self.model.encoders[modality]
        return isinstance(encoder, Encoder) and encoder.domain == "wave"
