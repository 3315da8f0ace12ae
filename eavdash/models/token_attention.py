"""Attention over the tokens of all modalities, for the fusions with attention shares.

In: tokens and masks as in fusion.py. Out: per window, the attention of a class token to each token and, before it, of
the tokens to each other. Dropout never touches attention weights: the shares shown are those that were used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.fusion import Fusion, Tensors
from eavdash.models.layers import MaskedSoftmax, masked_mean, sinusoids


@dataclass
class Attended:
    """Tokens of a batch of windows after self-attention, and the class token's attention to them."""

    tokens: Tensor  # (B, T, D), normalised
    weights: Tensor  # (B, heads, T): sums to 1 over the tokens, 0 without any
    shares: Tensor  # (B, heads, M): the same, summed over the tokens of a modality
    maps: Tensor | None  # (B, layers, heads, M, M) of the self-attention


class ModalityAttention(nn.Module):
    """Self-attention over tokens with separate query, key and value per group: a modality, or all tokens as one."""

    def __init__(self, groups: Sequence[str], width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.groups, self.heads = tuple(groups), heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.ModuleDict({m: nn.Linear(width, 3 * width) for m in groups})
        self.softmax = MaskedSoftmax()
        self.proj = nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Sequence[int], mask: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x`` (B, T, D) of all groups in order to the same shape and attention weights (B, heads, T, T)."""
        parts = torch.split(self.norm(x), list(lengths), dim=1)
        qkv = torch.cat([self.qkv[m](part) for m, part in zip(self.groups, parts, strict=True)], dim=1)
        q, k, v = torch.unflatten(qkv, 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias[:, None, None, :]
        weights = self.softmax(scores, mask[:, None, None, :])
        x = x + self.dropout(self.proj((weights @ v).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feedforward(x)), weights


class TokenAttention(Fusion):
    """Base: ``depth`` layers of self-attention over the tokens of all modalities, then a class token's attention.

    Every attention score has -log(number of valid tokens of its modality) added: uniform attention gives each of the
    m present modalities 1/m, however many tokens it has. The class query starts at zero, so attention starts uniform.
    With ``shared`` all modalities have the same query, key and value; otherwise each has its own.
    """

    kind: str  # as fusion.kind names it

    def __init__(
        self,
        dims: Mapping[str, int],
        width: int,
        heads: int,
        depth: int,
        dropout: float,
        modality_dropout: float,
        calibrated: bool,
        shared: bool,
    ) -> None:
        super().__init__(dims, modality_dropout, calibrated)
        self.heads, self.shared = heads, shared
        groups = ("all",) if shared else self.modalities
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in dims.items()})
        self.embedding = nn.Parameter(torch.randn(len(dims), width) * 0.02)
        self.position_gain = nn.Parameter(torch.full((len(dims),), 0.1))
        self.layers = nn.ModuleList(ModalityAttention(groups, width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.class_query = nn.Parameter(torch.zeros(width))
        self.key = nn.Linear(width, width)
        self.softmax = MaskedSoftmax()

    def attend(self, tokens: Tensors, masks: Tensors) -> Attended:
        """Scale, project and mix the tokens, and let the class token attend to them."""
        values, valid = self._read(tokens, masks)
        lengths = [x.shape[1] for x in values]
        embedded = []
        for i, (name, x) in enumerate(zip(self.modalities, values, strict=True)):
            x = self.project[name](x) + self.embedding[i]
            if x.shape[1] > 1:
                x = x + self.position_gain[i] * sinusoids(x.shape[1], x.shape[2]).to(x)
            embedded.append(x)
        x, mask = torch.cat(embedded, dim=1), torch.cat(valid, dim=1)  # (B, T, D), (B, T)
        counts = [m.sum(dim=1, keepdim=True).clamp_min(1).expand_as(m) for m in valid]
        bias = -torch.cat(counts, dim=1).to(x.dtype).log()
        maps = []
        for layer in self.layers:
            x, weights = layer(x, [sum(lengths)] if self.shared else lengths, mask, bias)
            maps.append(self._modality_map(weights, lengths, valid))  # (B, heads, M, M)
        query = self.class_query.view(1, self.heads, 1, -1)
        x = self.norm(x)
        key = torch.unflatten(self.key(x), 2, (self.heads, -1)).transpose(1, 2)
        scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1]) + bias[:, None, None, :]
        weights = self.softmax(scores, mask[:, None, None, :])[:, :, 0]  # (B, heads, T)
        shares = torch.stack([part.sum(dim=-1) for part in torch.split(weights, lengths, dim=-1)], dim=-1)
        return Attended(x, weights, shares, torch.stack(maps, dim=1) if maps else None)

    def opinions(self, encoder_logits: Tensors | None, shares: Tensor) -> list[tuple[int, Tensor, Tensor]]:
        """Return place, share (B, 1) and encoder's logits (B, K) of each modality; those without a share are not read.

        ``shares``: (B, M), the mean over the heads.

        Raises:
            ConfigError: the encoders' logits are missing.
        """
        if encoder_logits is None:
            raise ConfigError.at(
                f"{self.kind} fusion", expected="the encoders' logits", found="none", remedy="pass encoder_logits"
            )
        zero = shares.new_zeros(())
        given = [(i, shares[:, i, None], encoder_logits.get(name)) for i, name in enumerate(self.modalities)]
        return [(i, share, torch.where(share > 0, x, zero)) for i, share, x in given if x is not None]

    def _modality_map(self, weights: Tensor, lengths: list[int], valid: list[Tensor]) -> Tensor:
        """Reduce token weights (B, heads, T, T) to (B, heads, M, M): sum over key tokens, mean over query tokens."""
        columns = [part.sum(dim=-1) for part in torch.split(weights, lengths, dim=-1)]
        rows = torch.split(torch.stack(columns, dim=-1), lengths, dim=2)  # each (B, heads, T of the modality, M)
        means = [masked_mean(row.transpose(1, 2), mask) for row, mask in zip(rows, valid, strict=True)]
        return torch.stack(means, dim=2)
