"""The published fusion layer (Yin et al. 2025), for reproduction."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from eavdash.models.fusion import Fusion, FusionOutput, Tensors
from eavdash.models.layers import masked_mean, mean_log_softmax


class PaperFusion(Fusion):
    """The published layer: all features in one token, "attention" of that token to itself, and an MLP.

    A softmax over a single token is 1, so no modality is weighted against another: ``attention`` is None. Every frame
    is classified with its window's audio and EEG; the window's logits are the frames' mean log-probability. Published:
    768 + 768 + 60 numbers, 4 heads. Other sizes are zero-padded to a multiple of the heads; absent modalities are
    zeros.
    """

    def __init__(
        self, dims: Mapping[str, int], classes: int, heads: int = 4, dropout: float = 0.5, calibrated: bool = False
    ) -> None:
        super().__init__(dims, calibrated=calibrated)
        total = sum(dims.values())
        self.filling = -total % heads
        width = total + self.filling
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.reduce = nn.Linear(width, 512)
        self.head = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, classes))

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        values, valid = self._read(tokens, masks)
        batch, frames = len(values[0]), 1
        if "vision" in self.modalities:
            frames = values[self.modalities.index("vision")].shape[1]
        parts, frame_mask = [], None
        for name, x, mask in zip(self.modalities, values, valid, strict=True):
            if name == "vision":
                parts.append(x)
                frame_mask = mask
            else:
                parts.append(masked_mean(x, mask)[:, None].expand(-1, frames, -1))
        parts.append(values[0].new_zeros(batch, frames, self.filling))
        x = torch.cat(parts, dim=2).flatten(0, 1)[:, None]  # (B * F, 1, D)
        logits = self.head(self.reduce(self.attention(x, x, x, need_weights=False)[0][:, 0]))
        logits = (logits / self.get_buffer("temperature")).unflatten(0, (batch, -1))
        if frame_mask is None:
            return FusionOutput(logits[:, 0])
        # A window without frames is classified once, from audio and EEG.
        first = torch.arange(frames, device=x.device) == 0
        scored = torch.where(frame_mask.any(dim=1, keepdim=True), frame_mask, first)
        return FusionOutput(mean_log_softmax(logits, scored), frame_logits=logits)
