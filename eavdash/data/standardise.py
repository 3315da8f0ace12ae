"""Windows of each subject brought to mean 0 and spread 1 by that subject's own windows, whose labels are not looked at.

In: a window set of EEG or sound, and statistics per subject. Out: a window set of the same shape, without unit, whose
values are computed when they are read. Pictures are left as they are: their colours say little about a person's range.

Statistics of a test subject's own windows are *transductive*: they could not be known before all of them are recorded.
What is scored with them carries that mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from eavdash.data.windows import WindowSet

MODALITIES = ("audio", "eeg")
_MAD_TO_STD = 1.4826
#: For each subject shift and scale per channel (eeg, volt) or mel band (audio), as JSON keeps them.
Statistics = dict[str, dict[str, list[float]]]


class StandardisedArray:
    """An array (window, ...) read as ``(values - shift) / scale``; shift and scale have length 1 along shared axes."""

    def __init__(self, values: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> None:
        self.values = values
        self.shape, self.dtype, self.ndim = values.shape, np.dtype(np.float32), values.ndim
        # Views without memory of their own: any index that fits the values fits them.
        self._shift, self._scale = (np.broadcast_to(each, values.shape) for each in (shift, scale))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray((self.values[index] - self._shift[index]) / self._scale[index], dtype=np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def subject_statistics(windows: WindowSet) -> Statistics:
    """Shift and scale of every subject over the recorded part of all of its windows; float32 values.

    eeg: mean and robust standard deviation per channel; audio: mean and standard deviation per mel band.
    """
    subjects = windows.index["subject"].to_numpy(dtype=object)
    found: Statistics = {}
    for subject in dict.fromkeys(subjects):
        rows = np.flatnonzero(subjects == subject)
        mask = np.asarray(windows.mask[rows], dtype=bool)
        eeg = windows.modality == "eeg"
        measure = mean_and_robust_std if eeg else mean_and_std
        parts = [
            measure(np.asarray(windows.values[rows, n] if eeg else windows.values[rows, :, n])[mask])
            for n in range(windows.values.shape[1 if eeg else 2])
        ]
        shift, scale = np.array(parts, dtype=np.float32).T
        found[str(subject)] = {"shift": shift.tolist(), "scale": scale.tolist()}
    return found


def standardise(windows: WindowSet, statistics: Mapping[str, Mapping[str, list[float]]]) -> WindowSet:
    """The windows by the statistics of their subjects; ``meta`` stays, with ``subject_scaling`` set."""
    subjects = windows.index["subject"].tolist()

    def rows(name: str) -> np.ndarray:
        values = np.array([statistics[s][name] for s in subjects], dtype=np.float32)  # (window, channel or mel)
        return values[:, :, None] if windows.modality == "eeg" else values[:, None, :]

    values = StandardisedArray(windows.values, rows("shift"), rows("scale"))
    return replace(windows, values=cast(np.ndarray, values), meta={**windows.meta, "subject_scaling": statistics})


def raw_values(windows: WindowSet) -> np.ndarray:
    """The values as they were recorded, in their unit."""
    values: Any = windows.values
    return cast(np.ndarray, values.values if isinstance(values, StandardisedArray) else values)


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; a constant is centred and left at that."""
    values = values.astype(np.float64)
    return float(values.mean()), float(values.std()) or 1.0


def mean_and_robust_std(values: np.ndarray) -> tuple[float, float]:
    """Mean, and 1.4826 times the median absolute deviation: a few large deflections do not shrink the rest."""
    values = values.astype(np.float64)
    spread = _MAD_TO_STD * float(np.median(np.abs(values - np.median(values))))
    return float(values.mean()), spread or float(values.std()) or 1.0
