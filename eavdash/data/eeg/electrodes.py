"""Electrode names: one spelling for those of all recording software, positions and interpolation weights.

In: channel names from a file ("EEG Fp1", "FP1-Ref", "T3", "Fc5."). Out: names of the extended 10-20 system ("Fp1",
"T7", "FC5"), which of them are on the scalp, their positions, and weights to interpolate an electrode from others.
Delegated to MNE: the list of positions (its 10-05 montage) and spherical splines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_EAV = "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10"
#: EAV's 30 channels in the order of the array, which does not name them (BrainAmp, mastoid reference).
EAV_CHANNELS = tuple(_EAV.split())
#: MNE's 10-05 positions ("standard_1005" before MNE 1.13).
MONTAGE = "colin27_1005"
_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_EARS = frozenset({"A1", "A2", "M1", "M2"})  # in the montage, but references rather than scalp
_BETWEEN_EARS = re.compile(r"^[AM][12]-[AM][12]$", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:EEG|POL)[ _-]+", re.IGNORECASE)
_REFERENCE = re.compile(r"-(?:Ref|LE|RE|AR|AVG?|A1|A2|M1|M2|A1A2|M1M2)\d*$", re.IGNORECASE)


def canonical(name: str) -> str:
    """Return the standard spelling of a channel's name; a name that is not an electrode's only loses its prefix."""
    plain = _PREFIX.sub("", name.strip()).strip().rstrip(".")
    if _BETWEEN_EARS.match(plain):
        return plain.upper()  # a difference of both ears, not one ear against a reference
    plain = _REFERENCE.sub("", plain).strip().rstrip(".")
    known = _names().get(plain.lower(), plain)
    return _OLD_NAMES.get(known, known)


def on_scalp(name: str) -> bool:
    """True if a canonical name is an electrode on the scalp (ears and mastoids are not)."""
    return name not in _EARS and _names().get(name.lower()) == name


def directions(names: Sequence[str]) -> np.ndarray:
    """(electrode, 3) unit vectors from the head's centre to electrodes of the montage."""
    info, centre = _montage()
    positions = {channel["ch_name"]: channel["loc"][:3] - centre for channel in info["chs"]}
    vectors = np.array([positions[name] for name in names]).reshape(-1, 3)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@lru_cache(maxsize=512)
def spline_weights(wanted: tuple[str, ...], given: tuple[str, ...]) -> np.ndarray:
    """(wanted, given) weights that interpolate the signals of the ``wanted`` electrodes from those of the ``given``
    ones.

    Spherical splines (Perrin et al. 1989, https://doi.org/10.1016/0013-4694(89)90180-6) as MNE computes them; each row
    sums to 1. All names must be in the montage.
    """
    import mne

    _, centre = _montage()
    info = mne.create_info([*given, *wanted], 1.0, "eeg")
    info.set_montage(MONTAGE)
    info["bads"] = list(wanted)
    # MNE interpolates recordings: interpolating unit vectors gives the weights.
    single = mne.EvokedArray(np.eye(len(info["ch_names"])), info, verbose="ERROR")
    single.interpolate_bads(origin=tuple(centre), method={"eeg": "spline"}, verbose="ERROR")
    weights: np.ndarray = single.data[len(given) :, : len(given)].copy()
    weights.flags.writeable = False  # it is cached
    return weights


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    import mne

    return {name.lower(): name for name in mne.channels.make_standard_montage(MONTAGE).ch_names}


@lru_cache(maxsize=1)
def _montage() -> tuple[Any, np.ndarray]:
    """All electrodes of the montage, and the centre (metres) of the sphere fitted to them."""
    import mne

    info = mne.create_info(list(_names().values()), 1.0, "eeg")
    info.set_montage(MONTAGE)
    _, centre, _ = mne.bem.fit_sphere_to_headshape(info, dig_kinds="eeg", units="m", verbose="ERROR")
    return info, np.asarray(centre)
