"""AdamW as the loop uses it; without weight decay it is Adam, which the published EEG encoder is trained with."""

from __future__ import annotations

import torch
from torch import nn

from eavdash.config.schema import TrainConfig
from eavdash.training.precision import device_of


def optimiser_of(model: nn.Module, settings: TrainConfig, decay_all: bool) -> torch.optim.Optimizer:
    """AdamW over the parameters that require gradients.

    Args:
        decay_all: weight decay also for biases, norms and other vectors (torch's default, as published); otherwise
            these are left out of it.

    On a GPU all of it is one fused kernel. On a CPU it is torch's plain loop, whose results are the reference.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1 or decay_all], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1 and not decay_all], "weight_decay": 0.0},
    ]
    fused = True if device_of(model).type == "cuda" else None
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=fused)
