"""Electrodes: the systems that name them, their positions, and interpolation weights.

In: channel names from a file ("EEG Fp1", "FP1-Ref", "T3", "Fc5.") and the system that names them: the extended 10-20
system ("Fp1", "T7", "FC5"), BioSemi's (A1 to H32) or EGI's nets (E1 to E256 and Cz). Out: standard names, which of them
are on the scalp, their positions, and weights to interpolate an electrode from others. Delegated to MNE: the lists of
positions (its montages) and spherical splines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_EAV = "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10"
#: EAV's 30 channels in the order of the array, which does not name them (BrainAmp, mastoid reference).
EAV_CHANNELS = tuple(_EAV.split())
#: The extended 10-20 system, and MNE's 10-05 positions of its electrodes ("standard_1005" before MNE 1.13).
TEN, MONTAGE = "10-05", "colin27_1005"
#: References rather than scalp, also where they are in the montage.
EARS = frozenset({"A1", "A2", "M1", "M2"})
_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_BETWEEN_EARS = re.compile(r"^[AM][12]-[AM][12]$", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:EEG|POL)[ _-]+", re.IGNORECASE)
_REFERENCE = re.compile(r"-(?:Ref|LE|RE|AR|AVG?|A1|A2|M1|M2|A1A2|M1M2)\d*$", re.IGNORECASE)
#: The caps of a maker: the numbers of their electrodes and MNE's montages.
_BIOSEMI = {16: "biosemi16", 32: "biosemi32", 64: "biosemi64", 128: "biosemi128", 160: "biosemi160", 256: "biosemi256"}
_EGI = {32: "GSN-HydroCel-32", 64: "GSN-HydroCel-65_1.0", 128: "GSN-HydroCel-129", 256: "GSN-HydroCel-257"}
_BANK = 32  # electrodes of each of BioSemi's letters
#: Fewest names of a maker's system: E1 and E2 alone are eyes, A1 and A2 ears, C1 to C6 the 10-20 system's.
_ENOUGH = 16


def canonical(name: str) -> str:
    """Return the standard spelling of a channel's name; a name that is not an electrode's only loses its prefix.

    These are the rules of eeg.montage "10-05"; :mod:`eavdash.data.eeg.channels` has those of "auto".
    """
    plain = _PREFIX.sub("", name.strip()).strip().rstrip(".")
    if _BETWEEN_EARS.match(plain):
        return plain.upper()  # a difference of both ears, not one ear against a reference
    return standard(_REFERENCE.sub("", plain).strip().rstrip("."))


def standard(plain: str) -> str:
    """Return the 10-05 system's spelling of an electrode's name; another name stays as it is."""
    known = _names().get(plain.lower(), plain)
    return _OLD_NAMES.get(known, known)


def system_of(names: Iterable[str]) -> str:
    """Return the system that most of these names belong to: "10-05", or MNE's montage of a BioSemi cap or an EGI net.

    The cap or net is the smallest one that has all of the names.
    """
    upper = {name.upper() for name in names}
    numbers = {name: int(name[1:]) for name in upper if re.fullmatch(r"[A-H][0-9]{1,3}", name)}
    found = {TEN: sum(on_scalp(standard(name)) for name in upper)}
    banks = [_BANK * (ord(name[0]) - ord("A")) + n for name, n in numbers.items() if 1 <= n <= _BANK]
    if not any(name[0] == "A" for name in numbers):  # the first bank is never missing, and EGI's letter is the fifth
        banks = []
    nets = [n for name, n in numbers.items() if name[0] == "E" and n >= 1]
    for caps, electrodes, reference in ((_BIOSEMI, banks, 0), (_EGI, nets, 1)):
        fitting = [cap for count, cap in caps.items() if electrodes and max(electrodes) <= count + reference]
        if fitting and len(electrodes) >= _ENOUGH:
            found[fitting[0]] = len(electrodes)
    return max(found, key=lambda system: found[system])


def on_scalp(name: str, system: str = TEN) -> bool:
    """True if a standard name is an electrode of the system on the scalp (ears and mastoids are not)."""
    if system == TEN:
        return name not in EARS and _names().get(name.lower()) == name
    return name in _names(system).values()


def in_system(plain: str, system: str) -> str:
    """Return the system's spelling of an electrode's name; EGI's reference has a number and a name of its own."""
    if system == TEN:
        return standard(plain)
    if system in _EGI.values() and (plain.upper() == "VREF" or plain.upper() == f"E{len(_names(system))}"):
        return "Cz"
    return _names(system).get(plain.lower(), plain)


def directions(names: Sequence[str], system: str = TEN) -> np.ndarray:
    """(electrode, 3) unit vectors from the head's centre to electrodes of the system."""
    info, centre = _placed(system)
    positions = {channel["ch_name"]: channel["loc"][:3] - centre for channel in info["chs"]}
    vectors = np.array([positions[name] for name in names]).reshape(-1, 3)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@lru_cache(maxsize=512)
def spline_weights(wanted: tuple[str, ...], given: tuple[str, ...], system: str = TEN) -> np.ndarray:
    """(wanted, given) weights that interpolate the signals of the ``wanted`` electrodes from those of the ``given``
    ones.

    Spherical splines (Perrin et al. 1989, https://doi.org/10.1016/0013-4694(89)90180-6) as MNE computes them; each row
    sums to 1. All names must be in the system.
    """
    import mne

    _, centre = _placed(system)
    info = mne.create_info([*given, *wanted], 1.0, "eeg")
    info.set_montage(montage(system))
    info["bads"] = list(wanted)
    # MNE interpolates recordings: interpolating unit vectors gives the weights.
    single = mne.EvokedArray(np.eye(len(info["ch_names"])), info, verbose="ERROR")
    single.interpolate_bads(origin=tuple(centre), method={"eeg": "spline"}, verbose="ERROR")
    weights: np.ndarray = single.data[len(given) :, : len(given)].copy()
    weights.flags.writeable = False  # it is cached
    return weights


@lru_cache(maxsize=16)
def montage(system: str) -> Any:
    """Return MNE's montage of the system, its electrodes named as in recordings."""
    import mne

    found = mne.channels.make_standard_montage(MONTAGE if system == TEN else system)
    if system in ("biosemi16", "biosemi32", "biosemi64"):
        # MNE lists these caps in the order of the amplifier's inputs, but by their names in the 10-20 system.
        found.rename_channels({name: f"{'AB'[n // _BANK]}{n % _BANK + 1}" for n, name in enumerate(found.ch_names)})
    return found


@lru_cache(maxsize=16)
def _names(system: str = TEN) -> dict[str, str]:
    return {name.lower(): name for name in montage(system).ch_names}


@lru_cache(maxsize=16)
def _placed(system: str) -> tuple[Any, np.ndarray]:
    """All electrodes of the system, and the centre (metres) of the sphere fitted to them."""
    import mne

    info = mne.create_info(list(_names(system).values()), 1.0, "eeg")
    info.set_montage(montage(system))
    _, centre, _ = mne.bem.fit_sphere_to_headshape(info, dig_kinds="eeg", units="m", verbose="ERROR")
    return info, np.asarray(centre)
