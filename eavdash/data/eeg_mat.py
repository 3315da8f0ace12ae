"""EAV's EEG array: one file for all trials of a subject.

In: ``subjectN_eeg.mat`` (MATLAB v5) with one array (time, 30 channels, trials) at 500 Hz under any name (``seg`` and
``seg1`` occur). Out: its shape, or the array, of which the last one opened is kept: reading 200 trials opens the file
once. Neither unit nor rate is in the file; the scale is that of microvolt (https://zenodo.org/records/10205702).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from eavdash.data.eav_mat import mat_arrays, read_array
from eavdash.data.electrodes import EAV_CHANNELS
from eavdash.errors import EavdashError, RecordingError

EAV_RATE = 500.0  # Hz
EAV_UNIT = 1e-6  # volt


@lru_cache(maxsize=64)
def mat_shape(file: str, _stamp: tuple[int, int]) -> tuple[str, tuple[int, ...]]:
    """Name and shape of the one three-dimensional array of a file, from its headers.

    Raises:
        RecordingError: it cannot be read, or has no such array, several, or one of another shape.
    """
    cubes = {name: shape for name, shape in mat_arrays(file).items() if len(shape) == 3}
    name = next(iter(cubes), "")
    time, channels, trials = cubes.get(name, (0, 0, 0))
    # A second is the least that a trial can be; a shorter first axis means that the axes are in another order.
    if len(cubes) != 1 or channels != len(EAV_CHANNELS) or time < EAV_RATE or trials < 1:
        raise _wrong(file, " and ".join(f"{name} {shape}" for name, shape in cubes.items()))
    return name, cubes[name]


@lru_cache(maxsize=1)
def mat_array(file: str, file_stamp: tuple[int, int]) -> np.ndarray:
    """The array of a file, (time, channel, trial) as stored.

    Raises:
        RecordingError: as :func:`mat_shape`.
    """
    name, _ = mat_shape(file, file_stamp)
    array = read_array(file, name)
    if array.dtype.kind not in "iuf":
        raise _wrong(file, f"{name}, which holds {array.dtype.name} values")
    return array


def check_trial(file: str, trial: int, shape: tuple[int, ...]) -> None:
    """Raise a RecordingError unless ``trial`` (from 1) lies on the last axis of ``shape``."""
    if not 1 <= trial <= shape[2]:
        raise RecordingError.at(
            f"{file}#{trial}",
            expected=f"a trial from 1 to {shape[2]}",
            found=f"trial {trial}",
            remedy="mend the number, or copy the file again if trials are missing from it",
        )


def _wrong(file: str, found: str) -> EavdashError:
    return RecordingError.at(
        file,
        expected="one numeric array of shape (time at 500 Hz, 30 channels, trials)",
        found=found or "no three-dimensional array",
        remedy="copy the file from the dataset again, or put its axes in this order",
    )
