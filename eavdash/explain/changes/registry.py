"""The kinds of changes by their option, and changes from text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eavdash.errors import UsageError
from eavdash.explain.changes.bands import MuteBand
from eavdash.explain.changes.base import Change, name_of
from eavdash.explain.changes.cover import Cover
from eavdash.explain.changes.drop import Drop
from eavdash.explain.changes.electrodes import MuteElectrode
from eavdash.explain.changes.noise import Noise
from eavdash.explain.changes.parsing import is_range
from eavdash.explain.changes.shift import Shift
from eavdash.explain.changes.silence import Silence
from eavdash.explain.changes.swap import Swap

#: Option → kind of change.
KINDS: dict[str, type[Change]] = {
    kind.option: kind for kind in (Drop, Swap, Noise, Shift, MuteBand, MuteElectrode, Cover, Silence)
}
MOST = 12  # changes at once


def change_of(option: str, text: str) -> Change:
    """Return the change that an option with a value asks for; ``mute`` takes electrodes (``eeg:Fz``) too.

    Raises:
        UsageError: there is no such option, or it has no such value.
    """
    if option not in KINDS:
        raise UsageError.at("change", expected=", ".join(KINDS), found=repr(option), remedy="choose one")
    modality, _, rest = text.partition(":")
    if option == MuteBand.option and modality.strip().casefold() == "eeg" and rest.strip() and not is_range(rest):
        return MuteElectrode.parse(rest)
    return KINDS[option].parse(text)


def changes_of(asked: Iterable[Sequence[str]]) -> tuple[Change, ...]:
    """Return the changes that pairs of option and value ask for, in their order.

    Raises:
        UsageError: as :func:`change_of`; or there are none or too many, or two of them exclude each other.
    """
    changes = tuple(change_of(option, text) for option, text in asked)
    if not 0 < len(changes) <= MOST:
        raise UsageError.at(
            "what-if",
            expected=f"1 to {MOST} changes",
            found=str(len(changes)) if changes else "none",
            remedy="name some, as in --drop audio",
        )
    for modality in dict.fromkeys(c.modality for c in changes):
        mine = [c for c in changes if c.modality == modality]
        first = mine[0]
        others = [c for c in mine[1:] if isinstance(c, (Drop, Swap))]
        if others or (isinstance(first, Drop) and len(mine) > 1):
            both = [first, others[0] if others else mine[1]]
            raise UsageError.at(
                "what-if",
                expected=f"for {name_of(modality)} a swap before other changes, or nothing beside dropping it",
                found=" and ".join(f"--{c.option} {c.argument}" for c in both),
                remedy="leave one out",
            )
    return changes
