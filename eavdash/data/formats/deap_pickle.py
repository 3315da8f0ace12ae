"""DEAP's preprocessed files: 40 trials of one subject in a pickle of Python 2.

In: ``sNN.dat``, a dictionary with ``data`` (40 trials, 40 channels, 8064) at 128 Hz, of which the first 32 channels are
EEG in microvolt, and ``labels`` (40, 4): valence, arousal, dominance, liking from 1 to 9
(https://www.eecs.qmul.ac.uk/mmv/datasets/deap/readme.html). The first 3 s of a trial are baseline, 60 s of a music
video follow. Out: the EEG of one trial, or the ratings. Reading is delegated to the restricted :mod:`unpickle`.

The last file is cached (103 MB), so that reading all its trials opens it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eavdash.data.formats.unpickle import load_arrays
from eavdash.data.recording import check_item, per_file
from eavdash.errors import EavdashError, RecordingError

if TYPE_CHECKING:
    from eavdash.data.eeg.arrays import ArrayInfo

RATE = 128.0  # Hz
UNIT = 1e-6  # volt
BASELINE = 3.0  # seconds
RATINGS = ("valence", "arousal", "dominance", "liking")
_GENEVA = (
    "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
)
#: The first 32 channels, in the order of the files ("Geneva"); the other eight are not EEG.
CHANNELS = tuple(_GENEVA.split())
_ALL_CHANNELS = 40


def ratings(file: str) -> np.ndarray:
    """Read the ratings of each trial, (trial, 4) float64 in the order of :data:`RATINGS`; the EEG is not read.

    Raises:
        RecordingError: it cannot be read, or is not a DEAP file.
    """
    return _check_content(file, load_arrays(file, outline=True))[1]


@per_file(64)
def info(file: str) -> ArrayInfo:
    """The file's properties, without reading its samples.

    Raises:
        RecordingError: as :func:`ratings`.
    """
    from eavdash.data.eeg.arrays import ArrayInfo  # which imports this module

    data, _ = _check_content(file, load_arrays(file, outline=True))
    return ArrayInfo(data.shape[2], RATE, CHANNELS, len(data))


def trial(file: str, number: int) -> np.ndarray:
    """Read the EEG of trial ``number`` (from 1), baseline included: (32 channels, time) float64 volt at :data:`RATE`.

    Raises:
        RecordingError: as :func:`ratings`, or there is no such trial.
    """
    data = _data(file)
    check_item(f"{file}#{number}", number, len(data))
    return data[number - 1, : len(CHANNELS)].astype(np.float64) * UNIT


@per_file(1)
def _data(file: str) -> np.ndarray:
    return _check_content(file, load_arrays(file))[0]


def _check_content(file: str, loaded: Any) -> tuple[np.ndarray, np.ndarray]:
    """The arrays (trial, 40, time) and (trial, 4) of a file's dictionary."""
    if not isinstance(loaded, dict) or not {"data", "labels"} <= set(loaded):
        raise _wrong_content(file, "a dictionary with data and labels", _describe(loaded))
    data, labels = loaded["data"], loaded["labels"]
    fits = isinstance(data, np.ndarray) and data.ndim == 3 and data.dtype.kind in "iuf"
    if not fits or data.shape[1] != _ALL_CHANNELS or data.shape[2] <= BASELINE * RATE or not len(data):
        expected = f"data of shape (trials, {_ALL_CHANNELS} channels, more than {BASELINE * RATE:g} samples)"
        raise _wrong_content(file, expected, _describe(data))
    if (
        not isinstance(labels, np.ndarray)
        or labels.shape != (len(data), len(RATINGS))
        or labels.dtype.kind not in "iuf"
    ):
        raise _wrong_content(file, f"labels of shape ({len(data)}, {len(RATINGS)})", _describe(labels))
    if not np.isfinite(labels).all():
        raise _wrong_content(file, "ratings that are numbers", "some that are not")
    return data, labels.astype(np.float64)


def _describe(found: Any) -> str:
    if isinstance(found, np.ndarray):
        return f"shape {found.shape} of {found.dtype.name}"
    return f"keys {', '.join(map(str, found))}"[:200] if isinstance(found, dict) else f"a {type(found).__name__}"


def _wrong_content(file: str, expected: str, found: str) -> EavdashError:
    return RecordingError.at(file, expected=expected, found=found, remedy="copy the file from the dataset again")
