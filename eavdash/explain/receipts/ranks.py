"""Spearman's rank correlation of maps."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Return Spearman's correlation of two vectors; equal values share their mean rank; 0 if one is constant."""
    first, second = _ranks(a), _ranks(b)
    spread = first.std() * second.std()
    if len(first) < 2 or not float(spread):
        return 0.0
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    """Return ranks (float64) of a vector."""
    _, place, count = torch.unique(values.double(), return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    ranks: Tensor = (last - (count.double() - 1) / 2)[place]
    return ranks
