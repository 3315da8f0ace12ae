"""EAV's published pickles: windows of 5 s that were cut, filtered and cropped before publication.

In: ``subject_NN_{eeg,aud,vis}.pkl``, each a list [tr_x, tr_y, te_x, te_y] (https://zenodo.org/records/10205702): EEG
(window, 30, 500) at 100 Hz, taken as microvolt; sound (window, 80000) at 16 kHz; pictures (window, 25, 56, 56, 3)
uint8, five per second, cropped to the face. y is the class as a number or one-hot. Out: one window; windows are
numbered from 1, training before testing. Reading is delegated to the restricted :mod:`unpickle`.

The last file is cached (up to 250 MB), so that reading all its windows opens it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eavdash.config.limits import ARRAY_VALUES
from eavdash.data.eeg.electrodes import EAV_CHANNELS
from eavdash.data.formats.unpickle import load_arrays
from eavdash.data.recording import check_item, per_file
from eavdash.errors import EavdashError, RecordingError

if TYPE_CHECKING:
    from eavdash.data.eeg.arrays import ArrayInfo

EEG_RATE = 100.0  # Hz
EEG_UNIT = 1e-6  # volt
SOUND_RATE = 16000  # Hz
FRAMES_PER_SECOND = 5.0
#: Classes in the order of the numbers in y.
EMOTIONS = ("Neutral", "Sadness", "Anger", "Happiness", "Calmness")
_EEG, _SOUND, _FRAMES = (30, 500), (80000,), (25, 56, 56, 3)
#: Shape of one window by the ending of the file's name.
SHAPES = {"eeg": _EEG, "aud": _SOUND, "vis": _FRAMES}
_REMEDY = "copy the file from the dataset again, or use the raw recordings"


@dataclass(frozen=True, eq=False)
class PickledWindows:
    """A file's windows: ``train`` and ``test`` (window, ...), and the class of each, 0 to 4, train before test."""

    train: np.ndarray
    test: np.ndarray
    classes: np.ndarray  # (train + test,) int64

    def __len__(self) -> int:
        return len(self.classes)


@per_file(64)
def windows_in(file: str, ending: str) -> int:
    """The number of windows in a file of this ``ending`` (:data:`SHAPES`), without reading them."""
    return len(outline(file, SHAPES[ending]))


def outline(file: str, shape: tuple[int, ...]) -> PickledWindows:
    """Read shapes and classes of a file whose windows have ``shape``; the windows themselves are not read and are
    zeros.

    Raises:
        RecordingError: it cannot be read, or is not a published pickle.
    """
    return _check_content(file, load_arrays(file, outline=True), shape)


@per_file(64)
def info(file: str) -> ArrayInfo:
    """The properties of an EEG file, without reading its samples.

    Raises:
        RecordingError: as :func:`outline`.
    """
    from eavdash.data.eeg.arrays import ArrayInfo  # which imports this module

    return ArrayInfo(_EEG[1], EEG_RATE, EAV_CHANNELS, len(outline(file, _EEG)))


def trial(file: str, number: int) -> np.ndarray:
    """Read the EEG of window ``number`` (from 1): (30 channels, 500) float64 volt at :data:`EEG_RATE`.

    Raises:
        RecordingError: as :func:`outline`, or there is no such window.
    """
    return _window(file, number, _EEG).astype(np.float64) * EEG_UNIT


def sound(file: str, number: int) -> np.ndarray:
    """Read the sound of window ``number`` (from 1): (80000,) float32 at :data:`SOUND_RATE`.

    Raises:
        RecordingError: as :func:`trial`.
    """
    return _window(file, number, _SOUND).astype(np.float32)


def frames(file: str, number: int) -> np.ndarray:
    """Read the pictures of window ``number`` (from 1): (25, 56, 56, 3) uint8 RGB, :data:`FRAMES_PER_SECOND`.

    Raises:
        RecordingError: as :func:`trial`.
    """
    return _window(file, number, _FRAMES).astype(np.uint8)


@per_file(1)
def _content(file: str, shape: tuple[int, ...]) -> PickledWindows:
    return _check_content(file, load_arrays(file), shape)


def _window(file: str, number: int, shape: tuple[int, ...]) -> np.ndarray:
    content = _content(file, shape)
    check_item(f"{file}#{number}", number, len(content), "window")
    before = len(content.train)
    return np.asarray(content.train[number - 1] if number <= before else content.test[number - 1 - before])


def _check_content(file: str, loaded: Any, shape: tuple[int, ...]) -> PickledWindows:
    if not isinstance(loaded, (list, tuple)) or len(loaded) != 4:
        size = f" of {len(loaded)}" if isinstance(loaded, (list, tuple, dict)) else ""
        raise _wrong_content(file, "a list of four: tr_x, tr_y, te_x, te_y", f"{_kind(loaded)}{size}")
    parts, classes = [], []
    for name, x, y in (("tr", loaded[0], loaded[1]), ("te", loaded[2], loaded[3])):
        values = _values(file, f"{name}_x", x, shape)
        numbers = _classes(file, f"{name}_y", y)
        if len(values) != len(numbers):
            raise _wrong_content(file, f"a class for each of the {len(values)} windows in {name}_x", f"{len(numbers)}")
        parts.append(values)
        classes.append(numbers)
    if not any(map(len, classes)):
        raise _wrong_content(file, "windows", "none")
    return PickledWindows(parts[0], parts[1], np.concatenate(classes))


def _values(file: str, name: str, x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The windows as one array of numbers, (window, *shape)."""
    values = _stacked(x)
    kind = "uint8" if shape == _FRAMES else "numbers"
    fits = values is not None and (values.dtype == np.uint8 if kind == "uint8" else values.dtype.kind in "iuf")
    if values is None or values.shape[1:] != shape or not fits:
        found = "something else" if values is None else f"shape {values.shape} of {values.dtype.name}"
        raise _wrong_content(file, f"{name} of shape (windows, {', '.join(map(str, shape))}) of {kind}", found)
    return values


def _stacked(x: Any) -> np.ndarray | None:
    """An array, a list of arrays of one shape, or an array of such objects, as one array; None for anything else."""
    if isinstance(x, np.ndarray) and x.dtype != object:
        return x
    try:
        items = [np.asarray(item) for item in x]
        if sum(item.size for item in items) > ARRAY_VALUES:  # the same one many times
            return None
        stacked = np.stack(items)
    except (TypeError, ValueError):
        return None
    return stacked if stacked.dtype != object else None


def _classes(file: str, name: str, y: Any) -> np.ndarray:
    """The class of each window, (window,) int64, from numbers or one-hot rows."""
    rows = _stacked(y)
    expected = f"{name} with a class from 0 to {len(EMOTIONS) - 1} for each window, as a number or one-hot"
    if rows is None or rows.dtype.kind not in "iufb" or rows.ndim not in (1, 2):
        raise _wrong_content(
            file, expected, "something else" if rows is None else f"shape {rows.shape} of {rows.dtype.name}"
        )
    if rows.ndim == 2 and rows.shape[1] == len(EMOTIONS):
        if not (np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()):
            raise _wrong_content(file, expected, "rows that are not one-hot")
        return np.asarray(rows.argmax(axis=1), np.int64)
    numbers = rows.reshape(-1) if rows.ndim == 1 or rows.shape[1] == 1 else None
    if numbers is None or not np.isin(numbers, range(len(EMOTIONS))).all():
        odd = f"shape {rows.shape}" if numbers is None else f"{numbers[~np.isin(numbers, range(len(EMOTIONS)))][0]}"
        raise _wrong_content(file, expected, odd)
    return numbers.astype(np.int64)


def _kind(loaded: Any) -> str:
    return {"ndarray": "an array", "dict": "a dictionary"}.get(type(loaded).__name__, f"a {type(loaded).__name__}")


def _wrong_content(file: str, expected: str, found: str) -> EavdashError:
    return RecordingError.at(file, expected=expected, found=found, remedy=_REMEDY)
