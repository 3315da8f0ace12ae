"""EAV's EEG array: all trials of a subject in one file.

In: ``subjectN_eeg.mat`` (MATLAB v5) with one array (time, 30 channels, trials) at 500 Hz under any name (``seg`` and
``seg1`` occur). Out: its shape, or its trials; the last file is cached, so that reading 200 trials opens it once. The
file contains neither unit nor rate; its values are in the range of microvolt (https://zenodo.org/records/10205702).
"""

from __future__ import annotations

import numpy as np

from eavdash.data.eeg.arrays import ArrayInfo
from eavdash.data.eeg.electrodes import EAV_CHANNELS
from eavdash.data.formats.eav_mat import mat_arrays, read_array
from eavdash.data.recording import per_file
from eavdash.errors import EavdashError, RecordingError

EAV_RATE = 500.0  # Hz
EAV_UNIT = 1e-6  # volt


def info(file: str) -> ArrayInfo:
    """The file's properties, from its headers (see :class:`eavdash.data.eeg.arrays.ArraySource`)."""
    time, _, trials = mat_shape(file)[1]
    return ArrayInfo(time, EAV_RATE, EAV_CHANNELS, trials)


def trial(file: str, number: int) -> np.ndarray:
    """Read trial ``number`` (from 1): (30, time) float64 volt; the file stays in memory."""
    with np.errstate(invalid="ignore"):  # of NaN, which is rejected later
        return mat_array(file)[:, :, number - 1].T.astype(np.float64) * EAV_UNIT


@per_file(64)
def mat_shape(file: str) -> tuple[str, tuple[int, ...]]:
    """Name and shape of a file's only three-dimensional array, from its headers.

    Raises:
        RecordingError: it cannot be read, or has no such array, several, or one of another shape.
    """
    cubes = {name: shape for name, shape in mat_arrays(file).items() if len(shape) == 3}
    name = next(iter(cubes), "")
    time, channels, trials = cubes.get(name, (0, 0, 0))
    # No trial is shorter than a second: a shorter first axis means a different order of axes.
    if len(cubes) != 1 or channels != len(EAV_CHANNELS) or time < EAV_RATE or trials < 1:
        raise _wrong_layout(file, " and ".join(f"{name} {shape}" for name, shape in cubes.items()))
    return name, cubes[name]


def read_cube(file: str) -> np.ndarray:
    """Read the array of a file, (time, channel, trial) as stored, without the cache.

    Raises:
        RecordingError: as :func:`mat_shape`.
    """
    name, _ = mat_shape(file)
    array = read_array(file, name)
    if array.dtype.kind not in "iuf":
        raise _wrong_layout(file, f"{name}, which holds {array.dtype.name} values")
    return array


mat_array = per_file(1)(read_cube)


def _wrong_layout(file: str, found: str) -> EavdashError:
    return RecordingError.at(
        file,
        expected="one numeric array of shape (time at 500 Hz, 30 channels, trials)",
        found=found or "no three-dimensional array of numbers",
        remedy="copy the file from the dataset again, or put its axes in this order",
    )
