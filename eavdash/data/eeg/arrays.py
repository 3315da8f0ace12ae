"""EEG in array files: many trials in one file, without a header that MNE could read.

In: ``file#n``, item n (from 1) of a file whose suffix selects its source: ``.mat`` is EAV's
(:mod:`eavdash.data.eeg.mat`), ``.pkl`` one of EAV's published pickles, ``.dat`` one of DEAP's, ``.set`` and ``.fif``
have epochs. Out: one trial,
(channel, time) float64 volt, and the properties common to all trials. A source is a module with the two functions of
:class:`ArraySource`, registered in :data:`SOURCES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from eavdash.data.recording import check_item
from eavdash.errors import RecordingError

#: Suffix (lower case) → module, imported when first needed: each imports its own reader.
SOURCES = {
    ".mat": "eavdash.data.eeg.mat",
    ".pkl": "eavdash.data.formats.eav_pickle",
    ".dat": "eavdash.data.formats.deap_pickle",
    ".set": "eavdash.data.eeg.epochs",
    ".fif": "eavdash.data.eeg.epochs",
}
#: Suffixes that MNE reads too, as one recording (also CURRY's and BCI2000's .dat), if there is no item number.
_ALSO_MNE = frozenset({".dat", ".set", ".fif"})


@dataclass(frozen=True)
class ArrayInfo:
    """The common properties of a file's ``trials``: ``samples`` each, at ``rate`` Hz, of ``channels``.

    ``kinds``: the channels' types in MNE's spelling (None: all are EEG). ``bad``: channels that are marked as bad.
    """

    samples: int
    rate: float
    channels: tuple[str, ...]
    trials: int
    kinds: tuple[str, ...] | None = None
    bad: tuple[str, ...] = ()


class ArraySource(Protocol):
    """Reads one kind of file; both functions raise a RecordingError if they cannot."""

    def info(self, file: str) -> ArrayInfo:
        """The file's properties, from as little of it as possible."""
        ...

    def trial(self, file: str, number: int) -> np.ndarray:
        """Trial ``number`` (from 1): (channel, time) float64 volt."""
        ...


def is_array(file: str, number: int | None) -> bool:
    """True if a source reads the file (with the item number after its ``#``).

    Raises:
        RecordingError: it is such a file but has no item number.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in SOURCES or (number is None and suffix in _ALSO_MNE):
        return False
    if number is None:
        if suffix == ".mat":
            source_of(file).info(file)  # a layout that no number selects from is named first
        raise RecordingError.at(
            file,
            expected=f"an item number, as in x{suffix}#41",
            found="none",
            remedy="add it in the trial table",
        )
    return True


def array_info(file: str, number: int) -> ArrayInfo:
    """Return the file's properties after checking that trial ``number`` is in it.

    Raises:
        RecordingError: it cannot be read, or has no such trial.
    """
    info = source_of(file).info(file)
    check_item(f"{file}#{number}", number, info.trials)
    return info


def source_of(file: str) -> ArraySource:
    """The module that reads this kind of file."""
    return cast(ArraySource, import_module(SOURCES[Path(file).suffix.lower()]))
