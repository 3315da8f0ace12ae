"""Layers shared by several architectures: masked softmax, transformer blocks, sinusoidal positions.

``timm`` supplies the blocks of ViT and AST; the EEG encoders, the temporal layers and the fusion need masks and use
these.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedSoftmax(nn.Module):
    """Softmax over the last axis among the entries allowed by ``mask``; 0 elsewhere, and all 0 if none is allowed.

    It is a module so that a forward hook can read the attention weights.
    """

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        mask = mask.expand_as(scores)
        # A row without allowed entries would be NaN: compute it on zeros and mask it afterwards.
        some = mask.any(dim=-1, keepdim=True)
        scores = torch.where(mask, scores, torch.where(some, -torch.inf, 0.0).to(scores.dtype))
        return torch.where(mask, scores.softmax(dim=-1), torch.zeros((), dtype=scores.dtype, device=scores.device))


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``x`` (B, T, ...) over the T allowed by ``mask`` (B, T), 0 if none is.

    Masked values are never read, so they may be NaN.
    """
    mask = mask.reshape(*mask.shape, *([1] * (x.ndim - mask.ndim)))
    total = torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device)).sum(dim=1)
    return total / mask.sum(dim=1).clamp_min(1)


def softmax(logits: Tensor) -> np.ndarray:
    """Return probabilities (..., K) float64."""
    return np.asarray(logits.detach().double().softmax(-1).cpu().numpy())


def mean_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return window logits (B, K), the mean log-probability of frame logits (B, F, K) over ``mask`` (B, F).

    Their softmax is the normalised geometric mean of the frames' probabilities; uniform where no frame is valid.
    """
    return masked_mean(logits.log_softmax(dim=-1), mask)


class SelfAttention(nn.Module):
    """Multi-head self-attention over x (B, T, D); ``mask`` (B, T) is True for tokens that may be attended to."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if mask is not None:
            # A window without valid tokens attends everywhere to avoid NaN; its result is masked later.
            mask = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        x = self.proj(out.transpose(1, 2).reshape(batch, tokens, width))
        return x


class Block(nn.Module):
    """A transformer block: attention and a feed-forward network, each with a residual connection and LayerNorm.

    ``norm_first`` normalises before each part (pre-norm), otherwise after adding its residual (post-norm).
    ``layer_scale`` multiplies each residual by learned gates that start at that value (CaiT, Touvron et al. 2021).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        norm_first: bool = True,
        activation: type[nn.Module] = nn.GELU,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), activation(), nn.Dropout(dropout), nn.Linear(feedforward, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.gates = None if layer_scale is None else nn.Parameter(torch.full((2, width), layer_scale))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        first, second = (1.0, 1.0) if self.gates is None else self.gates
        if self.norm_first:
            x = x + first * self.dropout(self.attention(self.norm1(x), mask))
            x = x + second * self.dropout(self.feedforward(self.norm2(x)))
        else:
            x = self.norm1(x + first * self.dropout(self.attention(x, mask)))
            x = self.norm2(x + second * self.dropout(self.feedforward(x)))
        return x


def sinusoids(count: int, width: int) -> Tensor:
    """Return the sinusoidal positions (count, width) of Vaswani et al. (2017) for any number of frames."""
    time = torch.arange(count, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    table = torch.zeros(count, width)
    table[:, 0::2] = torch.sin(time * rate)
    table[:, 1::2] = torch.cos(time * rate[: width // 2])
    return table
