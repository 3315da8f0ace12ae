"""Fusion: the tokens of several modalities become one decision, and attention says which modality it rested on.

In: ``tokens`` {modality: (B, T, D)} and ``masks`` {modality: (B, T) bool}, and optionally ``evidence`` {modality:
(B, K)}, the logits of each encoder's own decision. A modality missing from the dictionaries, or wholly masked, is
absent: it gets no attention and its content is never read. Only attention reads the evidence.
Out: :class:`Fused`; its modality axis follows ``module.modalities``.

Three kinds: :class:`AttentionFusion` (the default), :class:`ConcatFusion` (the baseline) and :class:`PaperFusion`
(the single-token layer of Yin et al. 2025, which has no attention across modalities). Each can hold a ``temperature``
that divides its logits (Guo et al. 2017, arXiv:1706.04599), fitted after training (eavdash/training/calibration.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.layers import MaskedSoftmax, masked_mean, mean_log_softmax, sinusoids

_NOTHING = 1e-30


@dataclass
class Fused:
    """What fusion makes of a batch of windows."""

    logits: Tensor  # (B, K)
    attention: Tensor | None = None  # (B, heads, M): share of the decision's attention per modality
    #: (B, layers, heads, M, M): how much of the attention of the row's tokens goes to the column's, before the
    #: decision. A row sums to 1, that of an absent modality is 0.
    maps: Tensor | None = None
    frame_logits: Tensor | None = None  # (B, F, K), where every frame is decided with its window's audio and EEG

    @property
    def map(self) -> Tensor | None:
        """(B, M, M): the mean of ``maps`` over layers and heads; None where nothing attends."""
        return None if self.maps is None else self.maps.mean(dim=(1, 2))


class Fusion(nn.Module):
    """Base: reads the modalities in a fixed order, scales them, empties what is masked, hides some in training.

    With ``calibrated`` the state holds the temperature that divides the logits; it is 1 until it is set.
    """

    def __init__(self, dims: Mapping[str, int], modality_dropout: float = 0.0, calibrated: bool = False) -> None:
        super().__init__()
        if not dims:
            raise ConfigError.at("fusion", expected="at least one modality", found="none", remedy="train an encoder")
        self.modalities = tuple(dims)
        self.dims = dict(dims)
        self.modality_dropout = modality_dropout
        self.calibrated = calibrated
        # Not kept in the files of a fusion that is not calibrated: there, as in published files, is no such number.
        self.register_buffer("temperature", torch.ones(()), persistent=calibrated)
        for name, dim in dims.items():
            self.register_buffer(f"shift_{name}", torch.zeros(dim))
            self.register_buffer(f"scale_{name}", torch.ones(dim))

    def set_scaling(self, modality: str, shift: Tensor, scale: Tensor) -> None:
        """Fix the scaling ``(token - shift) / scale`` (D,) of a modality's tokens; fitted on training windows only."""
        self.get_buffer(f"shift_{modality}").copy_(shift)
        self.get_buffer(f"scale_{modality}").copy_(scale.clamp_min(1e-12))

    def set_temperature(self, temperature: float) -> None:
        """Divide the logits by ``temperature`` from now on.

        Raises:
            ConfigError: this fusion was not built as a calibrated one, or the temperature is not above 0.
        """
        if not self.calibrated or not temperature > 0:
            raise ConfigError.at(
                "fusion temperature",
                expected="a number above 0 for a fusion that was built with calibrated",
                found=str(temperature),
                remedy="set fusion.calibrate=true",
            )
        self.get_buffer("temperature").fill_(temperature)

    def forward(
        self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], evidence: Mapping[str, Tensor] | None = None
    ) -> Fused:
        raise NotImplementedError

    def _read(self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens (B, T, D) and masks (B, T) per modality, with zeros wherever nothing is to be read."""
        given = next((tokens[m] for m in self.modalities if m in tokens), None)
        if given is None:
            raise ConfigError.at(
                "fusion", expected=f"some of {', '.join(self.modalities)}", found="none", remedy="give their tokens"
            )
        values, valid = [], []
        for name in self.modalities:
            x = tokens[name] if name in tokens else given.new_zeros(len(given), 1, self.dims[name])
            x = (x - self.get_buffer(f"shift_{name}")) / self.get_buffer(f"scale_{name}")
            mask = masks[name] if name in tokens else torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
            values.append(x)
            valid.append(mask)
        if self.training and self.modality_dropout > 0:
            shown = self._shown(torch.stack([mask.any(dim=1) for mask in valid], dim=1))
            valid = [mask & shown[:, i, None] for i, mask in enumerate(valid)]
        zero = given.new_zeros(())
        return [torch.where(mask[:, :, None], x, zero) for x, mask in zip(values, valid, strict=True)], valid

    def _shown(self, present: Tensor) -> Tensor:
        """Which modalities (B, M) this training step shows; never hides all that a window has."""
        draw = torch.rand(present.shape, device=present.device)
        shown = present & (draw >= self.modality_dropout)
        last = torch.where(present, draw, -1.0).argmax(dim=1, keepdim=True)
        rescued = torch.zeros_like(present).scatter(1, last, True) & present
        return torch.where(shown.any(dim=1, keepdim=True), shown, rescued)


class ModalityAttention(nn.Module):
    """Tokens attend to tokens; each modality has its own query, key and value, and counts once as a key."""

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
        """``x`` (B, T, D) of all modalities in order → the same, and the attention weights (B, heads, T, T)."""
        parts = self.norm(x).split(list(lengths), dim=1)
        qkv = torch.cat([self.qkv[m](part) for m, part in zip(self.modalities, parts, strict=True)], dim=1)
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias[:, None, None, :]
        weights = self.softmax(scores, mask[:, None, None, :])
        x = x + self.dropout(self.proj((weights @ v).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feedforward(x)), weights


class AttentionFusion(Fusion):
    """A class token attends to the tokens of all modalities, after ``depth`` layers in which tokens attend to tokens.

    Every token's logit gets -log(number of valid tokens of its modality): an indifferent query gives each present
    modality 1/m, however many tokens it has. The class query starts at zero, that is, indifferent.

    What the class token takes from a token is its encoder's opinion: the decision is the mean of the encoders'
    probabilities (``evidence``) weighted by the attention shares, a linear opinion pool, and its log times ``gain``. A
    new fusion is thus the mean of softmaxes, and a share is what it seems to be: the weight of that modality's opinion
    in the decision. In a mean of log-probabilities one encoder that is sure of something wrong outvotes the others, at
    whatever share; it was measured to be worse, as were values read from the features themselves, which memorised the
    few dozen trials that one subject has (docs/evaluation.md). With every modality absent the decision is uniform.
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

    def forward(
        self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], evidence: Mapping[str, Tensor] | None = None
    ) -> Fused:
        if evidence is None:
            raise ConfigError.at(
                "attention fusion", expected="the encoders' logits", found="none", remedy="give them as evidence"
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
        key = self.key(self.norm(x)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1]) + bias[:, None, None, :]
        weights = self.softmax(scores, mask[:, None, None, :])  # (B, heads, 1, T)
        shares = torch.stack([part.sum(dim=-1) for part in weights[:, :, 0].split(lengths, dim=-1)], dim=-1)
        logits = self.gain * self._opinions(evidence, shares.mean(dim=1)) / self.get_buffer("temperature")
        return Fused(logits, shares, torch.stack(maps, dim=1) if maps else None)

    def _opinions(self, evidence: Mapping[str, Tensor], shares: Tensor) -> Tensor:
        """Log (B, K) of the encoders' probabilities weighted by ``shares`` (B, M); 0 where nobody has a share.

        Opinions without a share are not read. The sum is taken of logarithms, so that none is lost to rounding.
        """
        terms = []
        for i, name in enumerate(self.modalities):
            if name in evidence:
                share = shares[:, i, None]
                heard = torch.where(share > 0, evidence[name], share.new_zeros(()))
                # An absent one is given a weight that is nothing beside any other, and whose gradient is finite.
                weight = torch.where(share > 0, share, torch.full_like(share, _NOTHING)).log()
                terms.append(weight + heard.log_softmax(dim=1))
        pooled = torch.stack(terms).logsumexp(dim=0)
        return torch.where((shares > 0).any(dim=1, keepdim=True), pooled, torch.zeros_like(pooled))

    def _modality_map(self, weights: Tensor, lengths: list[int], valid: list[Tensor]) -> Tensor:
        """(B, heads, M, M) from token weights (B, heads, T, T): sum over the column's, mean over the row's tokens."""
        columns = [part.sum(dim=-1) for part in weights.split(lengths, dim=-1)]
        rows = torch.stack(columns, dim=-1).split(lengths, dim=2)  # each (B, heads, T of the modality, M)
        means = [masked_mean(row.transpose(1, 2), mask) for row, mask in zip(rows, valid, strict=True)]
        return torch.stack(means, dim=2)


class ConcatFusion(Fusion):
    """Baseline: each modality's mean token (zeros where absent) and a flag for its presence, through an MLP."""

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

    def forward(
        self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], evidence: Mapping[str, Tensor] | None = None
    ) -> Fused:
        values, valid = self._read(tokens, masks)
        present = torch.stack([mask.any(dim=1) for mask in valid], dim=1).to(values[0].dtype)  # (B, M)
        parts = [masked_mean(x, mask) for x, mask in zip(values, valid, strict=True)]
        return Fused(self.head(torch.cat([*parts, present], dim=1)) / self.get_buffer("temperature"))


class PaperFusion(Fusion):
    """The published layer: all features in one token, "attention" of that token to itself, and an MLP.

    A softmax over a single token is 1, so that nothing here weighs one modality against another: ``attention`` is
    None. Every frame is decided with its window's audio and EEG; the window takes the frames' mean log-probability.
    Published: 768 + 768 + 60 numbers, 4 heads. Other sizes are filled with zeros to a multiple of the heads; absent
    modalities are zeros.
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

    def forward(
        self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], evidence: Mapping[str, Tensor] | None = None
    ) -> Fused:
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
            return Fused(logits[:, 0])
        # Without any frame the window is decided on audio and EEG alone, once.
        first = torch.arange(frames, device=x.device) == 0
        scored = torch.where(frame_mask.any(dim=1, keepdim=True), frame_mask, first)
        return Fused(mean_log_softmax(logits, scored), frame_logits=logits)
