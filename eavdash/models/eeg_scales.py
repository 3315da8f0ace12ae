"""Input scales with which published EEG models were trained.

In: EEG (B, C, T) and its mask. Out: the same in the model's own unit. A scale is one of

* ``""``: each channel by the training windows (training/scaling.py), as for every encoder that is trained here;
* ``z``, ``z15``: the same, ``z15`` clipped at 15 standard deviations;
* ``uV``, ``uV/100``: microvolts, or hundreds of them, whatever the recordings' spread;
* ``percentile``: each channel of a window by the 95th percentile of its magnitude;
* ``range``: each window to -1..1 by its smallest and largest value.

The last two depend on the window: a window twice as large gives the same output. Attributions follow a path of such
windows, so they hold the numbers of the window that is explained (:meth:`WindowScale.held`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: Volts per unit of the scales that do not depend on the training windows; further steps use microvolts.
VOLTS = {"uV": 1e-6, "uV/100": 1e-4, "percentile": 1e-6, "range": 1e-6}
CLIP = {"z15": 15.0}
SHARE = 0.95
_SMALL = 1e-8  # of a silent channel, in microvolts


class WindowScale:
    """The scale ``percentile`` or ``range``, by each window's own numbers or by those that are held."""

    def __init__(self, scale: str) -> None:
        self.scale = scale
        self._numbers: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        """Scale ``x`` (B, C, T); padded samples (``mask`` (B, T)) are not counted."""
        shift, spread = self._numbers or self._of(x, mask)
        return (x - shift) / spread

    @contextmanager
    def held(self, x: Tensor, mask: Tensor) -> Iterator[None]:
        """Use the numbers of the window ``x`` (1, C, T) for all windows within the block."""
        self._numbers = self._of(x, mask)
        try:
            yield
        finally:
            self._numbers = None

    def _of(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return shift and spread, each (B, C or 1, 1)."""
        recorded = mask[:, None, :]
        zero = torch.zeros((), dtype=x.dtype, device=x.device)
        if self.scale == "percentile":
            return zero, share_of(x.abs(), mask) + _SMALL
        most = torch.where(recorded, x, -torch.inf).amax(dim=(1, 2), keepdim=True)
        least = torch.where(recorded, x, torch.inf).amin(dim=(1, 2), keepdim=True)
        some = recorded.any(dim=2, keepdim=True)
        shift, spread = (most + least) / 2, (most - least) / 2
        return torch.where(some, shift, zero), torch.where(some, spread, zero).clamp_min(_SMALL)


def share_of(x: Tensor, mask: Tensor, share: float = SHARE) -> Tensor:
    """Return the quantile ``share`` of recorded samples (B, C, 1), interpolated linearly as numpy's; 0 without any."""
    ordered = torch.where(mask[:, None], x, torch.inf).sort(dim=2).values
    count = mask.sum(dim=1)[:, None, None]
    at = share * (count - 1).clamp_min(0).to(x.dtype)
    low = at.floor().long().expand(-1, x.shape[1], -1)
    high = (low + 1).minimum((count - 1).clamp_min(0))
    first, second = ordered.gather(2, low), ordered.gather(2, high)
    # Without recorded samples both are infinite.
    value = first + (at - at.floor()) * torch.where(high > low, second - first, torch.zeros_like(first))
    return torch.where(count > 0, value, torch.zeros_like(value))
