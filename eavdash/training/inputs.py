"""From stored windows to the tensors that encoders take, with light augmentation of training batches.

Augmentation changes what a recording could have been, not what it says: a mirrored or slightly brighter face, a voice a
little louder with a short stretch and a few bands missing, EEG with some noise and an electrode that fell silent. All
choices come from the generator of the epoch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from eavdash.data.windows import WindowSet


def tensors(windows: WindowSet, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Windows ``rows`` as an encoder takes them (models/base.py), on the CPU, with their masks."""
    x, mask = raw(windows, rows)
    return ready(windows.modality, x), mask


def raw(windows: WindowSet, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Windows ``rows`` as they are stored, on the CPU: frames are bytes, a quarter of what they become."""
    index = rows.numpy()
    values, mask = np.array(windows.values[index]), np.array(windows.mask[index], dtype=bool)
    return torch.from_numpy(values), torch.from_numpy(mask)


def ready(modality: str, x: Tensor) -> Tensor:
    """Stored windows, on whichever device they are, as an encoder takes them; those that are ready stay as they are."""
    if modality == "vision" and x.dtype == torch.uint8:
        return x.permute(0, 1, 4, 2, 3).to(torch.float32) / 255  # (B, F, 3, H, W) in 0..1
    return x.to(torch.float32)


def augmented(
    modality: str, x: Tensor, mask: Tensor, model: nn.Module, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A changed copy of a training batch; amounts follow the input scaling that ``model`` holds."""
    shift = model.get_buffer("shift").detach().cpu().reshape(-1)
    scale = model.get_buffer("scale").detach().cpu().reshape(-1)
    if modality == "vision":
        return _vision(x, random), mask
    if modality == "audio":
        return _audio(x, mask, shift, random)
    return _eeg(x, mask, shift, scale, random)


def _vision(x: Tensor, random: torch.Generator) -> Tensor:
    """(B, F, 3, H, W): one mirroring and one brightness (up to 5 %) for all frames of a window.

    No moves: on small pictures a pixel or two is a good part of a patch, and training from scratch stalls.
    """
    flip = torch.rand(len(x), generator=random) < 0.5
    light = 0.95 + 0.1 * torch.rand(len(x), generator=random)
    mirrored = torch.where(flip[:, None, None, None, None], x.flip(-1), x)
    return (mirrored * light[:, None, None, None, None]).clamp_(0, 1)


def _audio(x: Tensor, mask: Tensor, shift: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, L, mel): gain up to 2 dB, one time stretch (up to 1/8) and one band (up to 1/8) set to the mean."""
    windows, length, mels = x.shape
    gain = (torch.rand(windows, generator=random) - 0.5) * 0.92  # natural log of power: 0.46 is 2 dB
    x = x + gain[:, None, None]
    quiet = shift.expand(mels)
    hidden = _stretch(windows, length, random)[:, :, None] | _stretch(windows, mels, random)[:, None, :]
    return torch.where(hidden & mask[:, :, None], quiet, x), mask


def _stretch(windows: int, length: int, random: torch.Generator) -> Tensor:
    """(window, length) bool: one random stretch of up to an eighth of each row."""
    width = torch.randint(0, length // 8 + 1, (windows, 1), generator=random)
    start = (torch.rand(windows, 1, generator=random) * (length - width + 1)).long()
    place = torch.arange(length)[None]
    return (place >= start) & (place < start + width)


def _eeg(x: Tensor, mask: Tensor, shift: Tensor, scale: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, channel, time): noise of a tenth of the spread, one electrode in twenty silent, up to 1/10 moved in time."""
    windows, channels, length = x.shape
    centre, spread = shift.expand(channels)[None, :, None], scale.expand(channels)[None, :, None]
    silent = torch.rand(windows, channels, 1, generator=random) < 0.05
    x = torch.where(silent, centre, x + 0.1 * spread * torch.randn(x.shape, generator=random))
    moves = torch.randint(-(length // 10), length // 10 + 1, (windows,), generator=random)
    place = (torch.arange(length)[None] + moves[:, None]) % length  # (B, time)
    return x.gather(2, place[:, None].expand_as(x)), mask.gather(1, place)
