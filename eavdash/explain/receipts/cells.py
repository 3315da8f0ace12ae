"""The cells that checks replace and rank: parts of a map that are large enough to matter and small enough to place.

Vision: patches (8 x 8 of a picture) in each of at most ten groups of frames; audio: 20 segments of time x 8 mel bands
(samples: 40 segments); EEG: each channel x 10 segments; tables of features: 10 segments x each column. Cells without
recorded samples are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eavdash.models.fusion import Tensors

_PATCHES = 8
_FRAMES = 10
_SEGMENTS = {"audio": 20, "samples": 40, "eeg": 10, "table": 10}
_BANDS = 8
#: Mel bands are joined from this number on; a table's columns below it are cells of their own.
_MANY_BANDS = 16


@dataclass(frozen=True)
class Cells:
    """The cells of one window, numbered over all modalities."""

    labels: dict[str, Tensor]  # modality → cell of each element of a map, int64; ``count`` where nothing is recorded
    modality: Tensor  # (count,) int64: position of each cell's modality among ``labels``

    @property
    def count(self) -> int:
        return len(self.modality)

    @classmethod
    def of(cls, maps: Tensors, masks: Tensors) -> Cells:
        """Return the cells of maps (1, ...) with masks (1, time)."""
        labels, modalities, first = {}, [], 0
        for place, (modality, found) in enumerate(maps.items()):
            mask = masks[modality][0].cpu()
            grid = _grid(modality, found.shape[1:], len(mask))
            recorded = _recorded(modality, found.shape[1:], mask)
            used = torch.unique(grid[recorded])
            number = torch.full((int(grid.max()) + 1,), -1)
            number[used] = torch.arange(len(used)) + first
            labels[modality] = torch.where(recorded, number[grid], -1)
            modalities.append(torch.full((len(used),), place))
            first += len(used)
        every = {m: torch.where(found < 0, first, found) for m, found in labels.items()}
        return cls(every, torch.cat(modalities) if modalities else torch.zeros(0, dtype=torch.int64))

    def sums(self, maps: Tensors) -> Tensor:
        """Return the sum (B, count) float64 of each map (B, ...) in each cell."""
        total = torch.zeros((), dtype=torch.float64)
        for modality, labels in self.labels.items():
            values = maps[modality].detach().double().cpu().flatten(1)
            bins = torch.zeros(len(values), self.count + 1, dtype=torch.float64)
            total = total + bins.index_add(1, labels.flatten(), values)[:, :-1]
        return total

    def replaced(self, inputs: Tensors, by: Mapping[str, Tensor], removed: Tensor) -> dict[str, Tensor]:
        """Return ``inputs`` (1, ...), as a batch of B, with the cells ``removed`` (B, count) bool taken from ``by``."""
        with_trash = torch.cat([removed, torch.zeros(len(removed), 1, dtype=torch.bool)], dim=1)
        found = {}
        for modality, x in inputs.items():
            gone = with_trash[:, self.labels[modality]].to(x.device)  # (B, ...) as the map
            if gone.ndim < x.ndim:
                gone = gone[:, :, None]  # the colours of vision, (B, F, 1, H, W)
            found[modality] = torch.where(gone, by[modality], x)
        return found


def time_axis(modality: str, shape: torch.Size, samples: int) -> int:
    """Return the axis of time in a map's ``shape`` (without batch): the last of EEG signals, the first of others."""
    return 1 if modality == "eeg" and len(shape) == 2 and shape[1] == samples else 0


def _recorded(modality: str, shape: torch.Size, mask: Tensor) -> Tensor:
    axis = time_axis(modality, shape, len(mask))
    return mask.reshape([-1 if i == axis else 1 for i in range(len(shape))]).expand(shape)


def _grid(modality: str, shape: torch.Size, samples: int) -> Tensor:
    """Return the number of the cell of each element, counted from 0 in this modality."""
    groups: tuple[int, ...]
    if len(shape) == 3:
        groups = (_FRAMES, _PATCHES, _PATCHES)
    elif time_axis(modality, shape, samples) == 1:
        groups = (shape[0], _SEGMENTS["eeg"])
    elif shape[1] == 1:
        groups = (_SEGMENTS["samples"], 1)
    elif modality == "audio" and shape[1] >= _MANY_BANDS:
        groups = (_SEGMENTS["audio"], _BANDS)
    else:
        groups = (_SEGMENTS["table"], shape[1])
    number = torch.zeros(shape, dtype=torch.int64)
    for axis, (size, most) in enumerate(zip(shape, groups, strict=True)):
        count = min(size, most)
        part = torch.arange(size) * count // max(size, 1)
        number = number * count + part.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return number


def recorded_elements(maps: Tensors, masks: Tensors) -> dict[str, Tensor]:
    """Return, by modality, which elements of a map (without batch) are recorded."""
    return {m: _recorded(m, found.shape[1:], masks[m][0].cpu()) for m, found in maps.items()}
