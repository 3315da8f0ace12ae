"""A segment of EEG in memory, the properties in a recording's header, and the rules by which it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eavdash.config.schema import EegConfig
from eavdash.data.eeg.electrodes import TEN

#: Expectation in the sentence about a package that MNE needs for a format; once it is there, the file is fine.
PACKAGE = "a package that MNE needs for this format"


@dataclass(frozen=True)
class EegRules:
    """The settings that decide which channels and samples of a file are read; the defaults are the presets'."""

    montage: str = "auto"
    repeated: str = "leave-out"
    gaps: str = "refuse"

    @classmethod
    def of(cls, config: EegConfig) -> EegRules:
        """Return the rules in a study's settings."""
        return cls(config.montage, config.repeated, config.gaps)


def differing(config: EegConfig) -> tuple[tuple[str, str], ...]:
    """Return the rules in a study's settings that differ from the presets', by name."""
    rules, usual = vars(EegRules.of(config)), vars(EegRules())
    return tuple((name, value) for name, value in rules.items() if value != usual[name])


@dataclass(frozen=True)
class EegSignal:
    """A segment of EEG: ``data`` (channel, time) float32 volt at ``rate`` Hz, rows named by ``channels``.

    ``others``: further channels of the file, (time,) each, read only as references (ears, mastoids). ``system``: the
    one whose electrodes the channels are. ``marked``: channels that the recording marks as bad.
    """

    data: np.ndarray
    rate: float
    channels: tuple[str, ...]
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    system: str = TEN
    marked: tuple[str, ...] = ()

    def pick(self, channels: Sequence[str]) -> EegSignal:
        """The same segment with exactly these channels, in this order; all of them must exist."""
        rows = [self.channels.index(name) for name in channels]
        return replace(self, data=self.data[rows], channels=tuple(channels))


@dataclass(frozen=True)
class Remarks:
    """Remarks about a header, to be reported.

    ``passed``: EEG channels that are not read, as no system has an electrode of their name; ``skipped``: those whose
    name is of something else (ECG, accelerometer); ``repeated``: names that stand more than once; ``reference``: what
    the names say of it ("REF", "A1, A2"), ""; ``marked``: read channels that are marked as bad; ``spans``: start and
    stop (seconds) of each BAD annotation; ``gaps``: the same of each time without samples; ``companion``: the file with
    the samples, if it is named like another recording's.
    """

    passed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    reference: str = ""
    marked: tuple[str, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()
    companion: str = ""


@dataclass(frozen=True)
class EegInfo:
    """A recording's properties from its header; ``duration`` in seconds, ``rate`` in Hz, canonical ``channels``.

    ``others``: channels that are read only if they are named as a reference. ``system``: see :class:`EegSignal`.
    """

    duration: float
    rate: float
    channels: tuple[str, ...]
    others: tuple[str, ...] = ()
    system: str = TEN
    remarks: Remarks = field(default=Remarks(), compare=False)
