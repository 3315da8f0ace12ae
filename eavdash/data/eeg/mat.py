"""EAV's EEG array: all trials of a subject in one file.

In: ``subjectN_eeg.mat`` (MATLAB v5) with one array (time, 30 channels, trials) at 500 Hz under any name (``seg`` and
``seg1`` occur). Out: its shape, or its trials; the last file is cached, so that reading 200 trials opens it once. The
file contains neither unit nor rate; its values are in the range of microvolt (https://zenodo.org/records/10205702).
"""

from __future__ import annotations

import numpy as np

from eavdash.data.eeg.arrays import ArrayInfo
from eavdash.data.eeg.electrodes import EAV_CHANNELS
from eavdash.data.formats.eav_mat import is_numeric, mat_variables, read_array
from eavdash.data.recording import per_file
from eavdash.errors import EavdashError, RecordingError

EAV_RATE = 500.0  # Hz
EAV_UNIT = 1e-6  # volt
#: What to do with another dataset's matrices.
CONVERT = 'convert each trial to a .fif with its rate and names (docs/adapters.md, "Matrices without a header")'

Variables = dict[str, tuple[tuple[int, ...], str]]


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
    variables = mat_variables(file)
    cubes = {name: shape for name, (shape, kind) in variables.items() if len(shape) == 3 and is_numeric(kind)}
    name = next(iter(cubes), "")
    time, channels, trials = cubes.get(name, (0, 0, 0))
    # No trial is shorter than a second: a shorter first axis means a different order of axes.
    if len(cubes) != 1 or channels != len(EAV_CHANNELS) or time < EAV_RATE or trials < 1:
        found = " and ".join(f"{name} {shape}" for name, shape in cubes.items())
        raise _wrong_layout(file, found) if _is_eav(variables) else _other_layout(file, variables)
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


def _is_eav(variables: Variables) -> bool:
    """True if a file is meant to be EAV's: by the array's name, or 30 channels on some axis."""
    shapes = [shape for shape, _ in variables.values() if len(shape) == 3]
    return not variables or bool({"seg", "seg1"} & {*variables}) or any(len(EAV_CHANNELS) in shape for shape in shapes)


def _other_layout(file: str, variables: Variables) -> EavdashError:
    """The error for another dataset's .mat: what is in it, and what reads it."""
    found, remedy = f"{_listed(variables)}, without a sampling rate and names of channels", CONVERT
    stems: dict[tuple[str, int], list[str]] = {}
    for name, (shape, kind) in variables.items():
        if len(shape) == 2 and min(shape) > 1 and is_numeric(kind):
            stems.setdefault((name.rstrip("0123456789"), min(shape)), []).append(name)
    (_, channels), trials = max(stems.items(), key=lambda item: len(item[1]), default=(("", 0), []))
    if "EEG" in variables or {"nbchan", "srate", "chanlocs"} <= {*variables}:
        found, remedy = "EEGLAB's structure", "name the file .set, as EEGLAB does"
    elif {"data", "labels"} <= {*variables} and len(variables["data"][0]) == 3:
        found = f"data {variables['data'][0]} and labels {variables['labels'][0]}, as in DEAP's matrices"
        remedy = "use DEAP's data_preprocessed_python, which is read as it is, or convert it as docs/adapters.md shows"
    elif len(trials) > 1:
        first = " x ".join(map(str, variables[trials[0]][0]))
        found = (
            f"{len(trials)} matrices, {trials[0]} to {trials[-1]}, of {channels} channels (the first is {first}), "
            "one for each trial as in SEED, without a sampling rate and names of channels"
        )
    return RecordingError.at(file, expected="EEG with its sampling rate and channels", found=found, remedy=remedy)


def _listed(variables: Variables) -> str:
    texts = [f"{name} ({kind}, {' x '.join(map(str, shape))})" for name, (shape, kind) in variables.items()]
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def _wrong_layout(file: str, found: str) -> EavdashError:
    return RecordingError.at(
        file,
        expected="one numeric array of shape (time at 500 Hz, 30 channels, trials)",
        found=found or "no three-dimensional array of numbers",
        remedy="copy the file from the dataset again, or put its axes in this order",
    )
