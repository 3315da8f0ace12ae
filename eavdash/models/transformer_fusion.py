"""Fusion by a transformer: shared attention over the tokens of all modalities, and an MLP on what it gathers.

It is the fusion that Yin et al. (2025) describe: flattened features, projected to tokens of one width, multi-head
attention over all of them, and an MLP to the classes. Their published layer (paper_fusion.py) has one token only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from eavdash.models.fusion import FusionOutput, Tensors
from eavdash.models.token_attention import TokenAttention


class TransformerFusion(TokenAttention):
    """An MLP on the values that a class token gathers from the tokens of all modalities, after shared self-attention.

    It reads the features and not the encoders' opinions, so it also learns what only two modalities together tell. An
    attention share is the part of the gathered value that comes from the positions of a modality; it is no weight of
    an opinion, because the tokens have been mixed before and the MLP is not linear. With every modality absent the
    output does not depend on the window.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        classes: int,
        width: int = 64,
        heads: int = 4,
        depth: int = 1,
        dropout: float = 0.2,
        modality_dropout: float = 0.2,
        calibrated: bool = False,
    ) -> None:
        super().__init__(dims, width, heads, depth, dropout, modality_dropout, calibrated, shared=True)
        self.value = nn.Linear(width, width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes))

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        attended = self.attend(tokens, masks)
        value = torch.unflatten(self.value(attended.tokens), 2, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, D)
        pooled = (attended.weights[:, :, None] @ value).flatten(1)  # (B, width)
        return FusionOutput(self.head(pooled) / self.get_buffer("temperature"), attended.shares, attended.maps)
