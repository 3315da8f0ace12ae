"""The choice of the channels that are read from a recording, and their names.

In: the names and types of a file's channels. Out: a :class:`Chosen`. The name forms of recording software are
understood ("EEG.Fp1", "EEG Fp1-Ref", "Fp1 (uV)", "Fp1-Pz" where Pz is everyone's reference, "T3"), and the systems of
:mod:`eavdash.data.eeg.electrodes`. By ``eeg.montage``:

* auto: the electrodes of the system that most names belong to, and derivations between two electrodes (Fp1-F7). Other
  names beside them are passed over; if most are, the file is refused. Without any known name all channels of type EEG
  are read, except those whose name is of something else.
* file: all channels of type EEG.
* 10-05: the rules of earlier versions, which know the 10-05 system alone and do not count what they pass over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eavdash.data.eeg import electrodes
from eavdash.data.eeg.signal import EegRules
from eavdash.errors import ChannelsError, RecordingError

_PREFIX = re.compile(r"^(?:EEG|POL)(?:[ _.:-]+|(?=[A-Z]{1,3}[0-9zZ]))", re.IGNORECASE)
_UNIT = re.compile(r"\s*[(\[/]\s*(?:[munµμ]?V|microvolts?)\s*[)\]]?\s*$", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+)-[0-9]+")
#: Names of what is recorded beside EEG, at the beginning of a word.
_ELSEWHERE = re.compile(
    r"(?<![a-z])(?:[a-z]?(?:eog|emg|ecg|ekg)|[hv]eo[lrud]?(?![a-z])|[lr]oc(?![a-z])|[xyz]?acc|gyr|"
    r"mag(?:net|[ _.]?[xyz]|$)|"
    r"mot[ ._]|[ce]q[ ._]|pow[ ._]|pm[ ._]|gsr|eda(?![a-z])|scr(?![a-z])|erg[0-9]|resp|flow|thor|abd|snor|sp?o2|et?co2|"
    r"plet|ppg|bvp|pulse|heart|hr(?![a-z])|ibi|temp(?![a-z]*o)|photic|photo|light|audio|mic(?![a-z])|mark|trig|stat|stim|"
    r"sti[ _]|event|annot|time|count|sampl|packet|batt|interp|dc ?[0-9]|aux|ana[0-9]|bip[0-9]|burst|suppr|chin|leg|"
    r"position|quality|rawcq|ground)|^(?:ref(?:erence)?|gnd)$",
    re.IGNORECASE,
)
_BETWEEN_EARS = re.compile(r"[AM][12]-[AM][12]")
_EXTERNAL = re.compile(r"EXG? ?[0-9]+|EXT(?:ERNAL)? ?[0-9]+", re.IGNORECASE)
_SHOWN = 5
_RULES = EegRules()


@dataclass(frozen=True)
class Chosen:
    """Channels to ``read`` and ``others`` (canonical name → row), their ``system``, and file names of the rest.

    ``passed``, ``skipped``, ``repeated`` and ``reference`` as in :class:`~eavdash.data.eeg.signal.Remarks`.
    """

    read: dict[str, int]
    others: dict[str, int]
    system: str = electrodes.TEN
    passed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    reference: str = ""


@dataclass(frozen=True)
class _Label:
    """A channel's name without prefix and unit: an electrode (or any text), and what it was recorded against."""

    name: str
    against: str = ""
    known: bool = False

    @property
    def pair(self) -> bool:
        """True if both are electrodes on the scalp."""
        return self.known and electrodes.on_scalp(self.against)


def canonical(name: str, rules: EegRules) -> str:
    """Return the standard spelling of one channel's name, as users write it in a setting."""
    if rules.montage == "10-05":
        return electrodes.canonical(name)
    label = _parse(name)
    return f"{label.name}-{label.against}" if label.pair else label.name


def choose_channels(
    path: str, names: Sequence[str], kinds: Sequence[str] | None = None, rules: EegRules = _RULES
) -> Chosen:
    """Choose the channels to read from a recording; ``kinds``: their types in MNE's spelling (None: all EEG).

    Raises:
        RecordingError: there is none, or most EEG channels would be passed over.
    """
    names = [re.sub(r"[\0\s]+", " ", name) if rules.montage != "10-05" else name for name in names]
    eeg = [row for row, kind in enumerate(kinds or ["eeg"] * len(names)) if kind == "eeg"]
    chosen = _by_ten(names, eeg) if rules.montage == "10-05" else _by_system(path, names, eeg, rules)
    named, rows = chosen
    counts = Counter(named.names[row] for row in rows)
    twice = tuple(name for name, count in counts.items() if count > 1)
    kept = [row for row in rows if counts[named.names[row]] == 1 or rules.repeated == "first"]
    if not kept:
        raise RecordingError.at(
            path,
            expected="EEG channels, each name once",
            found=f"{', '.join(twice)} more than once" if twice else ", ".join(names) or "no channel",
            remedy="set eeg.repeated=first to read the first of them, or rename them"
            if twice
            else "rename the channels, set their types in the file, or set eeg.montage=file to read all of type EEG",
        )
    read: dict[str, int] = {}
    for row in kept:
        read.setdefault(named.names[row], row)
    beside = Counter(name for name in named.names if name not in read)
    others = {name: row for row, name in enumerate(named.names) if beside[name] == 1}
    references = sorted({named.references[row] for row in kept} - {""})
    return replace(named.chosen, read=read, others=others, repeated=twice, reference=", ".join(references))


@dataclass(frozen=True)
class _Named:
    names: list[str]
    references: list[str]
    chosen: Chosen = Chosen({}, {})


def _by_ten(names: Sequence[str], eeg: Sequence[int]) -> tuple[_Named, list[int]]:
    """Names and rows by the rules of earlier versions."""
    stems = _numbered(names)
    named = [
        electrodes.canonical(stem if electrodes.on_scalp(electrodes.canonical(stem)) else name)
        for name, stem in zip(names, stems, strict=True)
    ]
    rows = [row for row in eeg if electrodes.on_scalp(named[row])] or list(eeg)
    return _Named(named, [""] * len(named)), rows


def _by_system(path: str, names: Sequence[str], eeg: Sequence[int], rules: EegRules) -> tuple[_Named, list[int]]:
    """Names and rows by the system that most names belong to."""
    stems = _numbered(names)
    system = electrodes.system_of(_parse(stems[row]).name.partition("-")[0] for row in eeg)
    labels = [_parse(name, system) for name in names]
    for row, stem in enumerate(stems):
        if (single := _parse(stem, system)).known:
            labels[row] = single
    pairs = [labels[row] for row in eeg if labels[row].pair]
    common = {label.against for label in pairs}
    if len(common) == 1 and len(pairs) > 1:  # everyone's reference, not derivations
        pairs = []
    derived = {(label.name, label.against) for label in pairs}
    named = [
        f"{label.name}-{label.against}" if (label.name, label.against) in derived else label.name for label in labels
    ]
    references = [
        "" if (label.name, label.against) in derived or not label.known else label.against for label in labels
    ]
    known = [row for row in eeg if labels[row].known and (electrodes.on_scalp(labels[row].name, system))]
    if rules.montage == "file":
        return _Named(named, references, Chosen({}, {}, system)), list(eeg)
    other = [row for row in eeg if row not in set(known) and not labels[row].known]
    beside = [row for row in other if _is_elsewhere(named[row], bool(known))]
    passed = [row for row in other if row not in set(beside)]
    if len(passed) > len(known) > 0:
        raise ChannelsError.at(
            path,
            expected="electrodes of one system that MNE has positions of",
            found=f"{len(known)} of {len(known) + len(passed)} EEG channels with such a name "
            f"({_some([names[row] for row in known])}), but not {_some([names[row] for row in passed])}",
            remedy="rename the channels, or set eeg.montage=file to read all that the file calls EEG",
        )
    rows = known or passed or [row for row in eeg if row not in set(beside)]
    left = [names[row] for row in passed] if known else []
    skipped = tuple(names[row] for row in beside)
    return _Named(named, references, Chosen({}, {}, system, tuple(left), skipped)), rows


def _parse(name: str, system: str = electrodes.TEN) -> _Label:
    """The electrode in a channel's name, and what it was recorded against; else the name without prefix and unit."""
    plain = _UNIT.sub("", name.strip()).strip().rstrip(".").strip()
    plain = _PREFIX.sub("", plain).strip().rstrip(".").strip()
    first, dash, second = (part.strip() for part in plain.partition("-"))
    one, two = electrodes.in_system(first, system), electrodes.standard(second)
    if not dash:
        return _Label(one, known=_is_electrode(one, system))
    if one in electrodes.EARS and two in electrodes.EARS and system == electrodes.TEN:
        return _Label(plain.upper())  # a difference of both ears, not one ear against a reference
    if second.isdecimal() or not second or not _is_electrode(one, system):
        return _Label(plain)
    return _Label(one, two if _is_electrode(two, electrodes.TEN) else second.upper(), known=True)


def _is_electrode(name: str, system: str) -> bool:
    return electrodes.on_scalp(name, system) or (system == electrodes.TEN and name in electrodes.EARS)


def _is_elsewhere(name: str, beside_known: bool) -> bool:
    """True if a name is of something else than EEG, or of nothing; external inputs are only beside known ones."""
    nothing = not any(character.isalnum() for character in re.sub(r"-[0-9]+$", "", name))
    nothing = nothing or bool(_BETWEEN_EARS.fullmatch(name))
    return nothing or bool(_ELSEWHERE.search(name)) or (beside_known and bool(_EXTERNAL.fullmatch(name)))


def _numbered(names: Sequence[str]) -> list[str]:
    """The names without the numbers by which MNE tells equal ones apart (Fp1-0, Fp1-1)."""
    matches = [_NUMBERED.fullmatch(name) for name in names]
    counts = Counter(match[1] for match in matches if match)
    return [match[1] if match and counts[match[1]] > 1 else name for name, match in zip(names, matches, strict=True)]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
