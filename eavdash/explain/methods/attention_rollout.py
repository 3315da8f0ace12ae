"""Attention rollout (Abnar & Zuidema 2020) inside ViT and AST: where these encoders look. It is not an attribution.

The attention of each layer, averaged over its heads, is mixed with the identity in equal parts for the residual
connection, and the layers are multiplied. What is shown are the rows of the tokens that the encoder's feature comes
from (class token, class and distillation tokens, or all patches), as shares of the patches: all patches of a frame, or
of a spectrogram, sum to 1, and each recorded frame counts alike. Temporal layers and fusion are not in it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.errors import UsageError
from eavdash.explain.attributions import Attributed
from eavdash.explain.methods.asked import Asked
from eavdash.explain.methods.attention_weights import readable, timm_attention
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.frames import FrameEncoder


def attention_rollout(asked: Asked) -> Attributed:
    """Return the shares of attention of each pixel and each mel x time value, for the encoders that have any.

    Raises:
        UsageError: no encoder has attention of this kind.
    """
    found = {}
    encoders = {m: each for m, each in asked.model.encoders.items() if _readable(each)}
    if not encoders:
        raise UsageError.at(
            "attention_rollout",
            expected="an encoder of the kind ViT or AST",
            found=", ".join(type(each).__name__ for each in asked.model.encoders.values()),
            remedy="choose another method",
        )
    with torch.no_grad():
        for modality, encoder in encoders.items():
            if modality in asked.inputs:
                x, mask = asked.inputs[modality], asked.masks[modality]
                of = _of_frames if isinstance(encoder, FrameEncoder) else _of_spectrogram
                found[modality] = of(cast(Any, encoder), x, mask)
    return Attributed(found, None, [])


def rollout(layers: list[Tensor]) -> Tensor:
    """Return the product (B, N, N) of the layers' attention (B, N, N) with its residual connections; rows sum to 1."""
    total = torch.eye(layers[0].shape[-1], dtype=torch.float64).to(layers[0].device)
    for weights in layers:
        total = (weights.double() + torch.eye(weights.shape[-1], device=weights.device)) / 2 @ total
    return total


def _readable(encoder: nn.Module) -> bool:
    if isinstance(encoder, FrameEncoder):
        vit = encoder.vit
        return readable(getattr(vit, "blocks", None)) and getattr(vit, "global_pool", "") in ("token", "avg")
    return isinstance(encoder, AudioSpectrogramTransformer)


def _patches(rows: Tensor, prefix: int) -> Tensor:
    """Return the mean of some rows (B, R, N) as shares (B, patches) of the patches, which follow ``prefix`` tokens."""
    found = rows.mean(dim=1)[:, prefix:]
    return found / found.sum(dim=1, keepdim=True)


def _of_frames(encoder: FrameEncoder, x: Tensor, mask: Tensor) -> Tensor:
    """Return the shares (1, F, H, W) of a window of frames (1, F, 3, H, W); recorded frames sum to 1 together."""
    vit: Any = encoder.vit
    with timm_attention(vit.blocks) as layers:
        encoder.forward_features(x, mask)
    prefix, token = int(vit.num_prefix_tokens), vit.global_pool == "token"
    # Of the prefix the class token (and the distillation token) is the feature; registers are not.
    used = 2 if hasattr(vit, "dist_token") else 1
    rows = rollout(layers)
    row = _patches(rows[:, :used] if token else rows[:, prefix:], prefix) * mask[0][:, None] / mask.sum().clamp_min(1)
    grid, patch = vit.patch_embed.grid_size, vit.patch_embed.patch_size
    pixels = torch.kron(torch.unflatten(row, 1, grid), row.new_ones(patch) / (patch[0] * patch[1]))
    height, width = x.shape[-2:]
    return F.pad(pixels, (0, width - pixels.shape[2], 0, height - pixels.shape[1]))[None].to(x)


def _of_spectrogram(encoder: AudioSpectrogramTransformer, x: Tensor, mask: Tensor) -> Tensor:
    """Return the shares (1, L, mel) of a spectrogram, without attention to padding: its sum may be less than 1."""
    with timm_attention(encoder.ast.blocks) as layers:
        encoder.forward_features(x, mask)
    rows = rollout(layers)
    row = _patches(rows[:, :2] if encoder.pool == "class" else rows[:, 2:], 2)
    row = torch.unflatten(row, 1, (encoder.grid[0], -1))  # (1, frequency, time)
    projection = encoder.ast.patch_embed.proj
    kernel = row.new_ones(1, 1, *projection.kernel_size)
    spread = F.conv_transpose2d(row[:, None], kernel / kernel.numel(), stride=projection.stride)[0, 0].T  # (time, mel)
    lacking = x.shape[1] - spread.shape[0], x.shape[2] - spread.shape[1]
    found = F.pad(spread, (0, lacking[1], 0, max(0, lacking[0])))[: x.shape[1]]
    return torch.where(mask[0][:, None], found, torch.zeros_like(found))[None].to(x)
