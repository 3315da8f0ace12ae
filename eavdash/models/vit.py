"""Vision encoder: a Vision Transformer (Dosovitskiy et al. 2021) that reads every frame of a window on its own.

In: frames (B, F, 3, H, W) in 0..1 and their mask. Out: one token per frame (the class token after the last norm),
a decision per frame, and the window's decision, which is the mean of the valid frames' log-probabilities.
The transformer is timm's; with size 224, patch 16, width 768, depth 12 and 12 heads it is ViT-B/16 with the
LayerNorm epsilon (1e-12) of the Hugging Face checkpoints.
"""

from __future__ import annotations

from functools import partial

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from eavdash.models.base import Encoded, Encoder
from eavdash.models.layers import mean_log_softmax


class FrameViT(Encoder):
    """ViT on frames; pixels are scaled with mean and standard deviation 0.5 unless told otherwise."""

    def __init__(
        self,
        classes: int,
        size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        dropout: float = 0.0,
        mlp_ratio: float = 4.0,
        eps: float = 1e-12,
    ) -> None:
        super().__init__(shift_shape=(1, 1, 3, 1, 1))
        self.feature_dim = width
        self.vit = VisionTransformer(
            img_size=size,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            num_classes=0,
            proj_drop_rate=dropout,
            norm_layer=partial(nn.LayerNorm, eps=eps),
        )
        self.head = nn.Linear(width, classes)
        self.set_scaling(torch.full((3,), 0.5), torch.full((3,), 0.5))

    def forward(self, x: Tensor, mask: Tensor) -> Encoded:
        """``x`` (B, F, 3, H, W) float32 in 0..1, ``mask`` (B, F) → tokens (B, F, D), frame logits, window logits."""
        batch, frames = x.shape[:2]
        x = torch.where(mask[:, :, None, None, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        features = self.vit(x.flatten(0, 1)).view(batch, frames, -1)  # (B, F, D)
        frame_logits = self.head(features)  # (B, F, K)
        return Encoded(features, mask, mean_log_softmax(frame_logits, mask), frame_logits)
