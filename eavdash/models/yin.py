"""EEG encoder of Yin et al. (2025), the reference method. Its authors call it EEGformer; its name here is `yin`.

In: EEG (B, channel, time) in volt and its mask. Out: one token per window (the mean over the time tokens) and the
window's logits.

Conv1d(S → S, kernel 11), BatchNorm, ReLU, Dropout1d; Conv1d(S → width, kernel 11), BatchNorm, both padded by 5 and
without bias; no positions; post-norm transformer blocks over the time samples with 3 feed-forward units; mean over
time; MLP width → width/4 → ReLU → Dropout → classes. Published: S 30, width 60, depth 6, 4 heads, dropout 0.1.
Beyond the publication: padded samples are neither attended to nor averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.layers import Block, masked_mean

FEEDFORWARD = 3
KERNEL = 11


class YinEncoder(Encoder):
    """Two convolutions and post-norm transformer blocks over time samples."""

    def __init__(
        self, classes: int, channels: int, width: int = 60, depth: int = 6, heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__(shift_shape=(1, channels, 1))
        self.feature_dim = width
        self.stem = nn.Sequential(
            nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Dropout1d(dropout),
            nn.Conv1d(channels, width, KERNEL, padding=KERNEL // 2, bias=False),
            nn.BatchNorm1d(width),
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, FEEDFORWARD, dropout, norm_first=False, activation=nn.ReLU) for _ in range(depth)
        )
        hidden = max(1, width // 4)
        self.head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes))

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        """Map ``x`` (B, S, T) float32 volt, ``mask`` (B, T) to tokens (B, 1, width), logits (B, K)."""
        x = torch.where(mask[:, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        x = self.stem(x).transpose(1, 2)  # (B, T, width)
        keys = None if bool(mask.all()) else mask  # without a mask torch uses a faster attention kernel
        for block in self.blocks:
            x = block(x, keys)
        feature = masked_mean(x, mask)
        return EncoderOutput(feature[:, None], mask.any(dim=1, keepdim=True), self.head(feature))
