"""Small noise on a window's inputs, scaled to each modality's own spread."""

from __future__ import annotations

import torch
from torch import Tensor

from eavdash.explain.receipts.cells import time_axis
from eavdash.models.fusion import Tensors

#: Standard deviation of the noise as a share of the spread of the recorded samples.
NOISE = 0.05


def with_noise(inputs: Tensors, masks: Tensors, random: torch.Generator, share: float = NOISE) -> dict[str, Tensor]:
    """Add normal noise to the recorded samples of a window: ``share`` of their standard deviation in this window.

    The deviation is that of each EEG channel, mel band or column over time; for vision that of all pixels.
    """
    found = {}
    for modality, x in inputs.items():
        axis = 1 + time_axis(modality, x.shape[1:], masks[modality].shape[1])
        recorded = masks[modality].reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        spread = _deviation(x, recorded, [axis] if x.ndim == 3 else list(range(1, x.ndim)))
        noise = torch.randn(x.shape, generator=random, dtype=torch.float32).to(x)
        noisy = torch.where(recorded, x + share * spread * noise, x)
        found[modality] = noisy.clamp(0, 1) if x.ndim == 5 else noisy
    return found


def _deviation(x: Tensor, recorded: Tensor, dims: list[int]) -> Tensor:
    """Return the standard deviation of the recorded samples over ``dims``, in a shape that multiplies ``x``."""
    weight = recorded.to(x.dtype).expand_as(x)
    count = weight.sum(dims, keepdim=True).clamp_min(1)
    centred = (x - (x * weight).sum(dims, keepdim=True) / count) * weight
    return (centred.square().sum(dims, keepdim=True) / count).sqrt()
