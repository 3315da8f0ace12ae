"""Standardisation of each subject's windows to mean 0 and spread 1, by some of its own windows without their labels.

In: a window set of EEG, sound or tables of features, and statistics per subject. Out: a window set of the same shape,
without unit, whose values are computed when they are read. Pictures are not standardised: their colours depend little
on the person.

Statistics of all of a test subject's windows are *transductive*: they are known only after all of them are recorded.
Those of trials that are kept for calibration are known before. Scores obtained with them are marked accordingly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from eavdash.config.choices import TABLE
from eavdash.config.scaling import OTHERS
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError
from eavdash.text import natural_order

#: Kinds of windows that are standardised.
KINDS = ("audio", "eeg", TABLE)
_MAD_TO_STD = 1.4826
#: For each subject shift and scale per channel (eeg, volt) or mel band (audio), as JSON keeps them.
Statistics = dict[str, dict[str, list[float]]]


class StandardisedArray:
    """An array (window, ...) read as ``(values - shift) / scale``, where both have length 1 along shared axes."""

    def __init__(self, values: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> None:
        self.values = values
        self.shape, self.dtype, self.ndim = values.shape, np.dtype(np.float32), values.ndim
        # Broadcast views need no memory and accept any index of the values.
        self._shift, self._scale = (np.broadcast_to(each, values.shape) for each in (shift, scale))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray((self.values[index] - self._shift[index]) / self._scale[index], dtype=np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def subject_statistics(
    windows: WindowSet, rows_of: Mapping[str, np.ndarray], trained: Collection[str] = ()
) -> Statistics:
    """Compute shift and scale of every subject over the unmasked part of its windows ``rows_of``; float32 values.

    Others get the mean of the statistics of the subjects ``trained``, under the name OTHERS of config/scaling.py.

    eeg: mean and robust standard deviation per channel; audio and tables: mean and standard deviation per mel band or
    column.
    """
    found: Statistics = {}
    for subject, rows in rows_of.items():
        mask = np.asarray(windows.mask[rows], dtype=bool)
        eeg = windows.kind == "eeg"
        measure = mean_and_robust_std if eeg else mean_and_std
        parts = [
            measure(np.asarray(windows.values[rows, n] if eeg else windows.values[rows, :, n])[mask])
            for n in range(windows.values.shape[1 if eeg else 2])
        ]
        shift, scale = np.array(parts, dtype=np.float32).T
        found[str(subject)] = {"shift": shift.tolist(), "scale": scale.tolist()}
    if known := [found[subject] for subject in found if subject in trained]:
        names = ("shift", "scale")
        found[OTHERS] = {name: list(np.mean([each[name] for each in known], axis=0).tolist()) for name in names}
    return found


def standardise(windows: WindowSet, statistics: Mapping[str, Mapping[str, list[float]]]) -> WindowSet:
    """Standardise the windows by their subjects' statistics; ``meta`` is kept, with ``subject_scaling`` set.

    Raises:
        DataError: there are none of a subject, and none for others.
    """
    subjects = [s if s in statistics else OTHERS for s in windows.index["subject"].tolist()]
    if OTHERS in subjects and OTHERS not in statistics:  # a run of an earlier version keeps none
        raise DataError.at(
            f"{windows.modality} windows",
            expected=f"people whose statistics the run has ({', '.join(statistics)})",
            found=", ".join(natural_order(set(windows.index["subject"]) - set(statistics))),
            remedy="choose trials of the run's own people, or train it again",
        )

    def rows(name: str) -> np.ndarray:
        values = np.array([statistics[s][name] for s in subjects], dtype=np.float32)  # (window, channel or mel)
        return values[:, :, None] if windows.kind == "eeg" else values[:, None, :]

    values = StandardisedArray(windows.values, rows("shift"), rows("scale"))
    return replace(windows, values=cast(np.ndarray, values), meta={**windows.meta, "subject_scaling": statistics})


def raw_values(windows: WindowSet) -> np.ndarray:
    """The values before standardisation, in their unit."""
    values: Any = windows.values
    return cast(np.ndarray, values.values if isinstance(values, StandardisedArray) else values)


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; 1 for a constant, which is then only centred."""
    values = values.astype(np.float64)
    return float(values.mean()), float(values.std()) or 1.0


def mean_and_robust_std(values: np.ndarray) -> tuple[float, float]:
    """Mean, and 1.4826 times the median absolute deviation, which is robust to a few large deflections."""
    values = values.astype(np.float64)
    spread = _MAD_TO_STD * float(np.median(np.abs(values - np.median(values))))
    return float(values.mean()), spread or float(values.std()) or 1.0
