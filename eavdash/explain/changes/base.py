"""The base of all changes: a modality, words for it, and windows in, windows out.

A change acts on windows as they are after preprocessing and before any scaling of people or models, in the units of
:class:`~eavdash.data.windows.WindowSet`: frames of the crop, log-mel energies (or what another front end gives), volt.
The windows given are those of one trial, in order, and are never written to. torch is not needed here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from eavdash.config.choices import LOGMEL, TABLE
from eavdash.data.windows import WindowSet
from eavdash.errors import UsageError

#: Modalities in a sentence.
NAMES = {"vision": "vision", "audio": "audio", "eeg": "EEG"}


@dataclass(frozen=True)
class Change(ABC):
    """One change of the windows of ``modality``; made from text by :meth:`parse`."""

    modality: str

    option: ClassVar[str]  # its name on the command line, without dashes

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Return the change that ``text``, the value of the option, asks for.

        Raises:
            UsageError: it asks for none.
        """

    @property
    @abstractmethod
    def argument(self) -> str:
        """The text from which :meth:`parse` makes this change."""

    @property
    @abstractmethod
    def words(self) -> str:
        """The change, as the part of a sentence after "with": ``the mouth covered``."""

    @property
    @abstractmethod
    def definition(self) -> str:
        """A sentence that says what exactly is done."""

    @abstractmethod
    def apply(self, windows: WindowSet, random: np.random.Generator) -> WindowSet:
        """Return the changed windows; a window in which nothing is left is missing from them.

        Raises:
            UsageError: these windows cannot be changed in this way.
        """

    def refuse(self, expected: str, found: str, remedy: str) -> UsageError:
        """Return the error that these windows cannot be changed like this."""
        return UsageError.at(f"--{self.option} {self.argument}", expected=expected, found=found, remedy=remedy)


def name_of(modality: str) -> str:
    """Return a modality's name in a sentence."""
    return NAMES.get(modality, modality)


def front_end_of(windows: WindowSet) -> str:
    """Return what windows of sound hold: ``logmel``, ``voice`` or ``wave``; empty for all others."""
    return str(windows.meta.get("front_end", LOGMEL)) if windows.kind == "audio" else ""


def is_table(windows: WindowSet) -> bool:
    """Return True for tables of features, which have no pictures, no sound and no electrodes."""
    return windows.kind == TABLE


def by_step(windows: WindowSet) -> np.ndarray:
    """Return a copy of the values as (window, step, ...): time is the second axis of every kind."""
    values = np.array(windows.values)
    return np.moveaxis(values, 2, 1) if windows.kind == "eeg" else values


def with_steps(windows: WindowSet, values: np.ndarray) -> WindowSet:
    """Return the windows with new values (window, step, ...), rounded where they are bytes."""
    if windows.kind == "eeg":
        values = np.moveaxis(values, 1, 2)
    if windows.values.dtype == np.uint8:
        values = np.rint(values).clip(0, 255)
    return replace(windows, values=np.ascontiguousarray(values, dtype=windows.values.dtype))


def only(windows: WindowSet, rows: np.ndarray) -> WindowSet:
    """Return the windows where ``rows`` (window,) is True."""
    return replace(
        windows,
        index=windows.index[rows].reset_index(drop=True),
        values=windows.values[rows],
        mask=np.asarray(windows.mask)[rows],
    )
