"""Fusion by concatenation: a baseline without attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from eavdash.models.fusion import Fusion, FusionOutput, Tensors
from eavdash.models.layers import masked_mean


class ConcatFusion(Fusion):
    """An MLP on each modality's mean token (zeros where absent) and a flag for its presence."""

    def __init__(
        self,
        dims: Mapping[str, int],
        classes: int,
        width: int = 64,
        dropout: float = 0.2,
        modality_dropout: float = 0.2,
        calibrated: bool = False,
    ) -> None:
        super().__init__(dims, modality_dropout, calibrated)
        self.head = nn.Sequential(
            nn.Linear(sum(dims.values()) + len(dims), width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes)
        )

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        values, valid = self._read(tokens, masks)
        present = torch.stack([mask.any(dim=1) for mask in valid], dim=1).to(values[0].dtype)  # (B, M)
        parts = [masked_mean(x, mask) for x, mask in zip(values, valid, strict=True)]
        return FusionOutput(self.head(torch.cat([*parts, present], dim=1)) / self.get_buffer("temperature"))
