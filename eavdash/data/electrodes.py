"""Names of electrodes: one spelling for the many that recording software writes.

In: channel names as a file has them ("EEG Fp1", "FP1-Ref", "T3", "Fc5."). Out: names of the extended 10-20 system
("Fp1", "T7", "FC5"), and which of them lie on the scalp. Delegated to MNE: the list of positions (its 10-05 montage).
"""

from __future__ import annotations

import re
from functools import lru_cache

_EAV = "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10"
#: EAV's 30 channels, in the order of the array, which does not name them (BrainAmp, mastoid reference).
EAV_CHANNELS = tuple(_EAV.split())
#: MNE's 10-05 positions ("standard_1005" before MNE 1.13).
MONTAGE = "colin27_1005"
_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_EARS = frozenset({"A1", "A2", "M1", "M2"})  # in the montage, but references rather than scalp
_PREFIX = re.compile(r"^(?:EEG|POL)[ _-]+", re.IGNORECASE)
_REFERENCE = re.compile(r"-(?:Ref|LE|RE|AR|AVG?|A1|A2|M1|M2|A1A2|M1M2)\d*$", re.IGNORECASE)


def canonical(name: str) -> str:
    """The usual spelling of a channel's name; a name that is no electrode's is returned without its prefix."""
    plain = _REFERENCE.sub("", _PREFIX.sub("", name.strip())).strip().rstrip(".")
    known = _positions().get(plain.lower(), plain)
    return _OLD_NAMES.get(known, known)


def on_scalp(name: str) -> bool:
    """Whether a canonical name is an electrode on the scalp (ears and mastoids are not)."""
    return name not in _EARS and _positions().get(name.lower()) == name


@lru_cache(maxsize=1)
def _positions() -> dict[str, str]:
    import mne

    return {name.lower(): name for name in mne.channels.make_standard_montage(MONTAGE).ch_names}
