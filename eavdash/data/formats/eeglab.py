"""EEGLAB's headers (.set): which file has the samples, and the epochs of an epoched one.

In: the path of a .set of MATLAB v5 (or v7.3, for the name alone). Out: names, or arrays. Delegated to SciPy and h5py.
MNE reads continuous files itself; its reader of epochs refuses files whose events or limits (xmin, xmax) are not as
EEGLAB writes them, although the samples are, so that they are read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.config.limits import EEG_VALUES
from eavdash.data.formats.eav_mat import storage_problem
from eavdash.data.recording import per_file
from eavdash.errors import RecordingError
from eavdash.store.readable import open_readable

#: A header without the samples is smaller.
_HEADER_ALONE = 2**28
_NAME = 4096  # characters of a file's name
_MICROVOLT = 1e-6


@dataclass(frozen=True)
class Epochs:
    """``data`` (epoch, channel, time) float64 volt at ``rate`` Hz; ``kinds`` in MNE's spelling."""

    data: np.ndarray
    rate: float
    channels: tuple[str, ...]
    kinds: tuple[str, ...]


@per_file(1024)
def samples_name(path: str) -> str:
    """Return the name of the file with the samples; "" if they are in the header itself.

    Errors of SciPy and h5py about damaged bytes are raised as they are.
    """
    if Path(path).stat().st_size > _HEADER_ALONE:
        return ""
    if is_hdf5(path):
        return _hdf5_samples(path)
    data = _fields(path).get("data")
    return data if isinstance(data, str) else ""


def read_epochs(path: str, samples: Path | None) -> Epochs:
    """Read an epoched file; ``samples``: the file that has its samples, None if it has them itself.

    Raises:
        RecordingError: it has no epochs.
        ValueError: it has other numbers of samples or channels than it states.
    """
    fields = _fields(path)
    shape = tuple(int(fields[name]) for name in ("nbchan", "pnts", "trials"))
    if shape[2] <= 1:
        raise RecordingError.at(
            path,
            expected="epochs, as an item number follows the file's name",
            found="a continuous recording",
            remedy="take the number away, and give start and stop in the trial table",
        )
    if samples is None:
        values = np.asarray(fields["data"], dtype=np.float64).reshape(shape)
    else:
        with open_readable(samples) as file:
            values = np.fromfile(file, dtype="<f4").astype(np.float64).reshape(shape, order="F")
    places = np.atleast_1d(fields.get("chanlocs", np.zeros(0)))
    names = tuple(str(getattr(place, "labels", "")) for place in places) or tuple(
        f"EEG {n + 1:03}" for n in range(shape[0])
    )
    types = [str(getattr(place, "type", "")).lower() for place in places] or [""] * shape[0]
    kinds = tuple("eeg" if kind in ("", "[]", "eeg") else "misc" for kind in types)
    if len(names) != shape[0]:
        raise ValueError(f"{len(names)} names for {shape[0]} channels")
    return Epochs(values.transpose(2, 0, 1) * _MICROVOLT, float(fields["srate"]), names, kinds)


def is_hdf5(path: str) -> bool:
    """True for a file of MATLAB v7.3."""
    with open_readable(path) as file:
        head = file.read(128)
    return head.startswith(b"\x89HDF") or b"MATLAB 7.3" in head


def _fields(path: str) -> dict[str, Any]:
    """The fields of the structure EEG, which EEGLAB also writes as variables of their own."""
    import scipy.io

    with open_readable(path) as file:
        if wrong := storage_problem(file, EEG_VALUES):
            raise ValueError(wrong)
        file.seek(0)
        found: dict[str, Any] = scipy.io.loadmat(file, squeeze_me=True, struct_as_record=False)  # type: ignore[arg-type]  # takes files too
    return dict(vars(found["EEG"])) if "EEG" in found else found


def _hdf5_samples(path: str) -> str:
    import h5py

    with h5py.File(path, "r") as file:
        where = file
        for name in ("EEG", "data") if "EEG" in file else ("data",):
            if not isinstance(where.get(name, getlink=True), h5py.HardLink):
                return ""  # content of another file, which is refused before MNE reads it
            where = where[name]
        elsewhere = bool(where.external) or where.is_virtual
        if elsewhere or where.dtype != np.uint16 or where.size > _NAME:
            return ""
        return "".join(map(chr, np.asarray(where).ravel()))
