"""Vision encoder: a Vision Transformer (Dosovitskiy et al. 2021), applied to every frame of a window.

In: frames (B, F, 3, H, W) in 0..1 and their mask. Out: see eavdash/models/frames.py; a frame's feature is the class
token after the last norm. The transformer is timm's; with size 224, patch 16, width 768, depth 12 and 12 heads it is
ViT-B/16 with the LayerNorm epsilon (1e-12) of the Hugging Face checkpoints.
"""

from __future__ import annotations

from functools import partial

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from eavdash.models.frames import FrameEncoder


class FrameViT(FrameEncoder):
    """ViT on frames; pixels are scaled with mean and standard deviation 0.5 until training fits others."""

    def __init__(
        self,
        classes: int,
        size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        dropout: float = 0.0,
        temporal: int = 0,
        mlp_ratio: float = 4.0,
        eps: float = 1e-12,
        qkv_bias: bool = True,
        act: str = "",
    ) -> None:
        vit = VisionTransformer(
            img_size=size,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            num_classes=0,
            proj_drop_rate=dropout,
            norm_layer=partial(nn.LayerNorm, eps=eps),
            act_layer=act or None,
        )
        super().__init__(vit, classes, width, heads, temporal, dropout)
