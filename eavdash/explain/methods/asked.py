"""The question that every method answers: which parts of one window the output of a model rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from eavdash.explain.attributions import Completeness, Output, Points, recurrent_gradients
from eavdash.explain.fused import FusedModel, FusedModelOutput
from eavdash.models.fusion import Tensors


@dataclass(frozen=True)
class Asked:
    """One window as a question: inputs and masks as batches of one, by modality.

    ``baselines``: D for each modality, (D, ...); ``points``: of each path; ``batch``: windows that the model takes at
    once; ``seed``: of methods that draw; ``rate``: of EEG samples in Hz, 0 if it is not known.
    """

    model: FusedModel
    inputs: Tensors
    masks: Tensors
    output: Output
    baselines: Mapping[str, Tensor]
    points: Points
    batch: int = 8
    seed: int = 0
    rate: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The present modalities in the model's order, which is that of :attr:`values` and :attr:`fixed`."""
        return tuple(m for m in self.model.modalities if m in self.inputs)

    @property
    def values(self) -> tuple[Tensor, ...]:
        return tuple(self.inputs[m] for m in self.names)

    @property
    def fixed(self) -> tuple[Tensor, ...]:
        return tuple(self.masks[m] for m in self.names)

    @property
    def starts(self) -> list[tuple[Tensor, ...]]:
        """The D baselines, each as :attr:`values`."""
        return list(zip(*(torch.split(self.baselines[m], 1) for m in self.names), strict=True))

    def function(self, *arguments: Tensor) -> Tensor:
        """Return the output (B,) of inputs and masks as :attr:`values` and :attr:`fixed`."""
        return self.output.of(self.model(self.names, *arguments))

    @contextmanager
    def gradients(self) -> Iterator[None]:
        """Hold what the encoders' scaling takes from the window, and let recurrent layers have gradients."""
        with self.model.holding(self.inputs, self.masks), recurrent_gradients(self.model):
            yield

    def ends(self, values: Mapping[str, Tensor]) -> tuple[Completeness, list[FusedModelOutput]]:
        """Return the sum of a map beside the outputs of the window and at the baselines, and the latter as a whole."""
        with torch.no_grad(), self.model.holding(self.inputs, self.masks):
            reached = float(self.function(*self.values, *self.fixed)[0])
            begun = [self.model.predict(dict(zip(self.names, s, strict=True)), self.masks) for s in self.starts]
        lower = sum(float(self.output.of(each.fused.logits)[0]) for each in begun) / len(begun)
        total = sum(float(each.double().sum()) for each in values.values())
        return Completeness(reached, lower, total), begun
