"""AdamW for the training loop; without weight decay it equals Adam, as used for the published EEG encoder."""

from __future__ import annotations

import torch
from torch import nn

from eavdash.config.schema import TrainConfig
from eavdash.training.precision import device_of


def optimiser_of(model: nn.Module, settings: TrainConfig, decay_all: bool) -> torch.optim.Optimizer:
    """Return AdamW over the parameters that require gradients.

    Args:
        decay_all: apply weight decay to biases, norms and other vectors too (torch's default, as published).

    On a GPU it uses torch's fused kernel, on a CPU the plain loop, whose results are the reference.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1 or decay_all], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1 and not decay_all], "weight_decay": 0.0},
    ]
    fused = True if device_of(model).type == "cuda" else None
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=fused)
