"""Input tensors of the encoders from stored windows, with light augmentation of training batches.

Augmentation keeps the emotion recognisable: a mirrored or slightly brighter face, a slightly louder voice with a short
segment and a few mel bands masked, EEG with some noise and a silent electrode, features with some noise and a short
segment that was not recorded. All random draws come from the
generator of the epoch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from eavdash.config.choices import TABLE
from eavdash.data.windows import WindowSet


def raw(windows: WindowSet, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return windows ``rows`` as stored, on the CPU; frames are bytes, a quarter of the size of float32."""
    index = rows.numpy()
    values, mask = np.array(windows.values[index]), np.array(windows.mask[index], dtype=bool)
    return torch.from_numpy(values), torch.from_numpy(mask)


def augment(kind: str, x: Tensor, mask: Tensor, model: nn.Module, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return an augmented copy of a training batch; amounts follow the input scaling of ``model``.

    ``kind``: as :attr:`eavdash.data.windows.WindowSet.kind`.
    """
    shift = model.get_buffer("shift").detach().cpu().reshape(-1)
    scale = model.get_buffer("scale").detach().cpu().reshape(-1)
    if kind == "vision":
        return _vision(x, random), mask
    if kind == "audio":
        return _audio(x, mask, shift, random, getattr(model, "domain", "log"))
    if kind == TABLE:
        return _table(x, mask, scale, random)
    return _eeg(x, mask, shift, scale, random)


def _vision(x: Tensor, random: torch.Generator) -> Tensor:
    """Mirror and change the brightness (up to 5 %) of all frames of a window alike; ``x`` is (B, F, 3, H, W).

    There are no shifts: on small images one or two pixels are a large part of a patch, and training from scratch
    stalls.
    """
    flip = torch.rand(len(x), generator=random) < 0.5
    light = 0.95 + 0.1 * torch.rand(len(x), generator=random)
    mirrored = torch.where(flip[:, None, None, None, None], x.flip(-1), x)
    return (mirrored * light[:, None, None, None, None]).clamp_(0, 1)


def _audio(
    x: Tensor, mask: Tensor, shift: Tensor, random: torch.Generator, domain: str = "log"
) -> tuple[Tensor, Tensor]:
    """Change the gain by up to 2 dB; set a time segment and a range of mel bands (up to 1/8 each) to the mean.

    ``x`` is (B, L, mel), logarithms of energy, or samples with the ``domain`` "wave".
    """
    windows, length, mels = x.shape
    gain = (torch.rand(windows, generator=random) - 0.5) * 0.92  # natural log of power: 0.46 is 2 dB
    x = x + gain[:, None, None] if domain == "log" else x * (gain / 2).exp()[:, None, None]
    quiet = shift.expand(mels)
    hidden = _segment(windows, length, random)[:, :, None] | _segment(windows, mels, random)[:, None, :]
    return torch.where(hidden & mask[:, :, None], quiet, x), mask


def _table(x: Tensor, mask: Tensor, scale: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add noise of a tenth of the scale, and mask a segment of up to 1/8 of the window; ``x`` is (B, L, column)."""
    x = x + 0.1 * scale * torch.randn(x.shape, generator=random)
    kept = mask & ~_segment(mask.shape[0], mask.shape[1], random)
    return x, torch.where(kept.any(dim=1, keepdim=True), kept, mask)


def _segment(windows: int, length: int, random: torch.Generator) -> Tensor:
    """Return (window, length) bool with one random segment of up to an eighth of each row."""
    width = torch.randint(0, length // 8 + 1, (windows, 1), generator=random)
    start = (torch.rand(windows, 1, generator=random) * (length - width + 1)).long()
    position = torch.arange(length)[None]
    return (position >= start) & (position < start + width)


def _eeg(x: Tensor, mask: Tensor, shift: Tensor, scale: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add noise of a tenth of the scale, silence one electrode in twenty, and roll by up to 1/10 of the window.

    ``x`` is (B, channel, time).
    """
    windows, channels, length = x.shape
    centre, spread = shift.expand(channels)[None, :, None], scale.expand(channels)[None, :, None]
    silent = torch.rand(windows, channels, 1, generator=random) < 0.05
    x = torch.where(silent, centre, x + 0.1 * spread * torch.randn(x.shape, generator=random))
    shifts = torch.randint(-(length // 10), length // 10 + 1, (windows,), generator=random)
    position = (torch.arange(length)[None] + shifts[:, None]) % length  # (B, time)
    return x.gather(2, position[:, None].expand_as(x)), mask.gather(1, position)
