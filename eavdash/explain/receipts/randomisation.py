"""Weight randomisation (Adebayo et al. 2018): a model with other weights must have another map."""
from __future__ import annotations
import copy
import torch
from torch import nn


def redrawn(model: nn.Module, random: torch.Generator) -> nn.Module:
    """Return a copy whose weights are normal with each tensor's own mean and deviation; buffers stay as they are.

    The scale of every layer stays, so that the copy is another model of the same kind, not a degenerate one.
    """
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.numel() > 1:
                drawn = torch.randn(parameter.shape, generator=random).to(parameter)
                parameter.copy_(parameter.mean() + parameter.std() * drawn)
    return made
