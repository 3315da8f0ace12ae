"""A model that is linear in all modalities, with its windows, maps and closed forms, for checks of explanations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from eavdash.explain.attributions import Output, Points, attribute
from eavdash.explain.fused import FusedModel
from eavdash.explain.receipts.question import ExplainedInputs, ExplainedWindowInputs
from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.fusion import Fusion, FusionOutput, Tensors

SHAPES = {"vision": (4, 3, 16, 16), "audio": (40, 32), "eeg": (6, 50)}
LENGTHS = {"vision": 4, "audio": 40, "eeg": 50}
CLASSES = 3
TARGET = Output(1)


class LinearEncoder(Encoder):
    """Logits that are linear in the window; ``bend`` adds a term that is not."""

    def __init__(self, modality: str, seed: int = 0, bend: float = 0.0) -> None:
        super().__init__(shift_shape=tuple(1 for _ in SHAPES[modality]))
        self.feature_dim, self.head, self.bend = CLASSES, nn.Identity(), bend
        size = int(torch.tensor(SHAPES[modality]).prod())
        random = torch.Generator().manual_seed(1_000 * seed + size)
        # Large cells of a window count alike, as in recordings.
        self.weight = nn.Parameter(torch.randn(CLASSES, size, generator=random) / size**0.5)

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        time = 2 if x.shape[1:] == SHAPES["eeg"] else 1
        shape = [len(mask), *(mask.shape[1] if axis == time else 1 for axis in range(1, x.ndim))]
        logits = torch.where(mask.view(shape), x, torch.zeros(())).flatten(1) @ self.weight.T
        logits = logits + self.bend * logits.square()
        return EncoderOutput(logits[:, None], mask.any(1, keepdim=True), logits)


class WeightedSum(Fusion):
    """The sum of the encoders' logits by learned weights."""

    def __init__(self, modalities: Mapping[str, int], seed: int = 0) -> None:
        super().__init__(modalities)
        random = torch.Generator().manual_seed(seed)
        self.weights = nn.Parameter(1 + torch.rand(len(modalities), CLASSES, generator=random))

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        every = torch.stack([token[:, 0] for token in tokens.values()], dim=1)
        return FusionOutput((every * self.weights).sum(dim=1))


def linear_model(seed: int = 0, bend: float = 0.0) -> FusedModel:
    encoders = {m: LinearEncoder(m, seed, bend) for m in SHAPES}
    return FusedModel(encoders, WeightedSum(dict.fromkeys(SHAPES, CLASSES), seed))


def window(seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    inputs = {m: torch.randn(1, *shape, generator=random) for m, shape in SHAPES.items()}
    inputs["vision"] = torch.rand(1, *SHAPES["vision"], generator=random)
    return inputs, {m: torch.ones(1, n, dtype=torch.bool) for m, n in LENGTHS.items()}


def explained(model: FusedModel, seeds: tuple[int, ...] = (1, 2), output: Output = TARGET) -> ExplainedInputs:
    """The question of two windows by integrated gradients from the mean input."""
    points = Points(8, 8)

    def mapped(inputs: Tensors, masks: Tensors) -> dict[str, Tensor]:
        return attribute(model, inputs, masks, output, baselines(inputs), points).values

    def baselines(inputs: Tensors) -> dict[str, Tensor]:
        return {m: model.baseline(m, x) for m, x in inputs.items()}

    windows = []
    for seed in seeds:
        inputs, masks = window(seed)
        found = attribute(model, inputs, masks, output, baselines(inputs), points)
        gaps = found.completeness
        training = window(100 + seed)[0]
        windows.append(
            ExplainedWindowInputs(inputs, masks, found.values, baselines(inputs), gaps.output, gaps.baseline, training)
        )
    return ExplainedInputs(model, windows, output, mapped)


def with_maps(question: ExplainedInputs, maps: list[dict[str, Tensor]]) -> ExplainedInputs:
    """The same question with other maps of its windows."""
    changed = [replace(w, attributions=found) for w, found in zip(question.windows, maps, strict=True)]
    return replace(question, windows=changed)
