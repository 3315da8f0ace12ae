"""The record of a cached window set, ``meta.json`` beside its arrays."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from eavdash.store.record import UNWRITTEN, Part, Record, Texts, Whole


class AboutWindows(Part):
    """Description of a window set for the listing of the cache; nothing else depends on it."""

    modality: str
    dataset: str
    subjects: Texts
    trials: Whole
    windows: Whole
    settings: dict[str, Any]
    made: float | None = UNWRITTEN  # seconds since the epoch


#: The number of a trial in the set, and what the reader found in its recording.
TrialFacts = Annotated[tuple[Whole, dict[str, Any]], Field(strict=False)]


class WindowSetRecord(Record):
    """The content of meta.json. Sets of earlier versions lack ``about``."""

    model_config = ConfigDict(title="a window set")

    axes: dict[str, Any]  # the reader's description of the arrays
    facts: Annotated[tuple[TrialFacts, ...], Field(strict=False)]
    about: AboutWindows | None = UNWRITTEN
