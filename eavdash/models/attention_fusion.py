"""Default fusion: attention over the tokens of all modalities weights the encoders' probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.fusion import Fusion, FusionOutput, Tensors
from eavdash.models.layers import MaskedSoftmax, masked_mean, sinusoids

_NEGLIGIBLE = 1e-30


class ModalityAttention(nn.Module):
    """Self-attention over tokens with separate query, key and value per modality, each counting once as a key."""

    def __init__(self, modalities: Sequence[str], width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.modalities, self.heads = tuple(modalities), heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.ModuleDict({m: nn.Linear(width, 3 * width) for m in modalities})
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
        """Map ``x`` (B, T, D) of all modalities in order to the same shape and attention weights (B, heads, T, T)."""
        parts = torch.split(self.norm(x), list(lengths), dim=1)
        qkv = torch.cat([self.qkv[m](part) for m, part in zip(self.modalities, parts, strict=True)], dim=1)
        q, k, v = torch.unflatten(qkv, 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias[:, None, None, :]
        weights = self.softmax(scores, mask[:, None, None, :])
        x = x + self.dropout(self.proj((weights @ v).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feedforward(x)), weights


class AttentionFusion(Fusion):
    """A class token attends to the tokens of all modalities, after ``depth`` layers of self-attention over tokens.

    Every attention score has -log(number of valid tokens of its modality) added: uniform attention gives each of the
    m present modalities 1/m, however many tokens it has. The class query starts at zero, so attention starts uniform.

    The output is ``gain`` times the log of the encoders' probabilities (softmax of ``encoder_logits``) averaged with
    the attention shares as weights. A new fusion therefore equals the mean of softmaxes, and a share is the weight of
    that modality in the output. Two alternatives did worse (docs/evaluation.md): averaging log-probabilities, where one
    overconfident wrong encoder outweighs the others at any share, and values computed from the features, which
    memorised the few dozen trials of one subject. With every modality absent the output is uniform.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        width: int = 64,
        heads: int = 4,
        depth: int = 1,
        dropout: float = 0.2,
        modality_dropout: float = 0.2,
        calibrated: bool = False,
    ) -> None:
        super().__init__(dims, modality_dropout, calibrated)
        self.heads = heads
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in dims.items()})
        self.embedding = nn.Parameter(torch.randn(len(dims), width) * 0.02)
        self.position_gain = nn.Parameter(torch.full((len(dims),), 0.1))
        self.layers = nn.ModuleList(ModalityAttention(self.modalities, width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.class_query = nn.Parameter(torch.zeros(width))
        self.key = nn.Linear(width, width)
        self.softmax = MaskedSoftmax()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        if encoder_logits is None:
            raise ConfigError.at(
                "attention fusion", expected="the encoders' logits", found="none", remedy="pass encoder_logits"
            )
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
            x, weights = layer(x, lengths, mask, bias)
            maps.append(self._modality_map(weights, lengths, valid))  # (B, heads, M, M)
        query = self.class_query.view(1, self.heads, 1, -1)
        key = torch.unflatten(self.key(self.norm(x)), 2, (self.heads, -1)).transpose(1, 2)
        scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1]) + bias[:, None, None, :]
        weights = self.softmax(scores, mask[:, None, None, :])  # (B, heads, 1, T)
        shares = torch.stack([part.sum(dim=-1) for part in torch.split(weights[:, :, 0], lengths, dim=-1)], dim=-1)
        logits = (
            self.gain
            * self._pooled_log_probabilities(encoder_logits, shares.mean(dim=1))
            / self.get_buffer("temperature")
        )
        return FusionOutput(logits, shares, torch.stack(maps, dim=1) if maps else None)

    def _pooled_log_probabilities(self, encoder_logits: Tensors, shares: Tensor) -> Tensor:
        """Return the log (B, K) of the encoders' probabilities weighted by ``shares`` (B, M); 0 if all shares are 0.

        Logits without a share are not read. Summing in log space avoids underflow.
        """
        terms = []
        for i, name in enumerate(self.modalities):
            if name in encoder_logits:
                share = shares[:, i, None]
                logits = torch.where(share > 0, encoder_logits[name], share.new_zeros(()))
                # An absent modality gets a negligible weight instead of 0, so that the gradient stays finite.
                weight = torch.where(share > 0, share, torch.full_like(share, _NEGLIGIBLE)).log()
                terms.append(weight + logits.log_softmax(dim=1))
        pooled = torch.stack(terms).logsumexp(dim=0)
        return torch.where((shares > 0).any(dim=1, keepdim=True), pooled, torch.zeros_like(pooled))

    def _modality_map(self, weights: Tensor, lengths: list[int], valid: list[Tensor]) -> Tensor:
        """Reduce token weights (B, heads, T, T) to (B, heads, M, M): sum over key tokens, mean over query tokens."""
        columns = [part.sum(dim=-1) for part in torch.split(weights, lengths, dim=-1)]
        rows = torch.split(torch.stack(columns, dim=-1), lengths, dim=2)  # each (B, heads, T of the modality, M)
        means = [masked_mean(row.transpose(1, 2), mask) for row, mask in zip(rows, valid, strict=True)]
        return torch.stack(means, dim=2)
