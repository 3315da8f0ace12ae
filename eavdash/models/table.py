"""Encoder of tables of features by time (action units, acoustic descriptors): a small transformer over short steps.

In: rows at a fixed rate (B, L, C) with their mask. Out: a token per step of :data:`SECONDS` with temporal context, and
the window's logits. A step is the mean and the standard deviation over time of its recorded rows, after the input
scaling; outliers beyond :data:`LIMIT` times the scale are compressed. One linear layer makes a token of both
(models/temporal.py gives it its context), and the head reads mean and spread of the tokens over the window, so that
without any context it is a linear model of the statistics that such features are usually classified by.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.layers import masked_mean
from eavdash.models.temporal import TemporalTransformer

SECONDS = 0.2  # of a step
LIMIT = 10.0
_FLOOR = 1e-6  # of a variance: the root's gradient is infinite at 0


def step_of(rate: float) -> int:
    """Return the number of rows of a step at ``rate`` rows per second."""
    return max(1, round(SECONDS * rate))


class TableTransformer(Encoder):
    """Linear tokens of a table's steps, ``depth`` temporal layers, and a linear head."""

    def __init__(
        self, classes: int, columns: int, step: int, width: int, depth: int, heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__(shift_shape=(1, 1, columns))
        self.feature_dim = width
        self.step = step
        self.embed = nn.Linear(2 * columns, width)
        self.temporal = TemporalTransformer(width, heads, depth, dropout)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        """Map ``x`` (B, L, C) float32, ``mask`` (B, L) to tokens (B, T, width) and logits (B, K)."""
        return self.forward_head(self.forward_features(x, mask), mask)

    def forward_features(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the tokens (B, T, width) of the steps; those without a recorded row are not attended to."""
        x = torch.where(mask[:, :, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        x = LIMIT * torch.tanh(x / LIMIT)
        rows, valid = self._steps(x).flatten(0, 1), self._steps(mask).flatten(0, 1)  # (B * T, step, C), (B * T, step)
        statistics = torch.unflatten(torch.cat(_mean_and_spread(rows, valid), dim=1), 0, (len(x), -1))
        tokens: Tensor = self.temporal(self.embed(statistics), self._steps(mask).any(dim=2))
        return tokens

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Classify a window by mean and spread of its tokens (B, T, width)."""
        valid = self._steps(mask).any(dim=2)
        logits = self.head(torch.cat(_mean_and_spread(features, valid), dim=1))
        return EncoderOutput(features, valid, logits)

    def _steps(self, x: Tensor) -> Tensor:
        """Return ``x`` (B, L, ...) as (B, T, step, ...), the last step filled with zeros."""
        missing = -x.shape[1] % self.step
        padded = F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing)) if missing else x
        return torch.unflatten(padded, 1, (-1, self.step))


def _mean_and_spread(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (B, D) of ``x`` (B, T, D) over the T that ``mask`` allows; 0 if none is."""
    mean = masked_mean(x, mask)
    spread = (masked_mean((x - mean[:, None]) ** 2, mask) + _FLOOR).sqrt()
    return mean, torch.where(mask.any(dim=1, keepdim=True), spread, torch.zeros_like(spread))
