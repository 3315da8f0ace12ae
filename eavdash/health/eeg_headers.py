"""Findings about the headers of EEG files: channels that are not read, references, marks, gaps, companions.

In: per file its subject and what its header says (:class:`eavdash.data.eeg.signal.Remarks`, as the scan remembers it),
and the configuration. Out: findings, one per subject and kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eavdash.config.schema import EegConfig
from eavdash.health.report import Finding
from eavdash.health.rules import examples
from eavdash.text import natural_order, plural


@dataclass(frozen=True)
class Header:
    """One EEG file: its subject, the system and number of the channels that are read, and its remarks by name."""

    subject: str
    file: str
    channels: int
    system: str
    remarks: dict[str, Any] = field(default_factory=dict)


def findings(headers: Iterable[Header], config: EegConfig) -> list[Finding]:
    """The findings about all files of a dataset."""
    headers = list(headers)
    found = _systems(headers) + _references(headers, config)
    for subject in natural_order({header.subject for header in headers}):
        of = [header for header in headers if header.subject == subject]
        for name, (severity, what, remedy) in _kinds(config).items():
            with_it = [header for header in of if header.remarks.get(name)]
            if with_it:
                count = "" if len(with_it) == len(of) else f" in {len(with_it)} of {plural(len(of), 'file')}"
                texts = examples(list(dict.fromkeys(_text(name, header) for header in with_it)))
                found.append(Finding(severity, subject, "eeg", with_it[0].file, f"{what}{count} ({texts})", remedy))
    return found


def _kinds(config: EegConfig) -> dict[str, tuple[str, str, str]]:
    """For each remark its severity, what it is, and the remedy."""
    replaced = config.marked_channels and config.bad_channels == "interpolate"
    read = "the first of them is read" if config.repeated == "first" else "all of them are left out"
    first = "" if config.repeated == "first" else ", or set eeg.repeated=first to read the first"
    refused = config.gaps == "refuse"
    return {
        "passed": (
            "warning",
            "EEG channels passed over, as no electrode that is read has their name",
            "rename them, or set eeg.montage=file to read all that the file calls EEG",
        ),
        "skipped": (
            "info",
            "channels that are not read, as their names are of something else than EEG",
            "nothing, or set eeg.montage=file if they are EEG",
        ),
        "repeated": (
            "warning",
            f"a channel's name more than once, so that {read}",
            f"rename the channels{first}",
        ),
        "marked": (
            "info" if replaced else "warning",
            "EEG channels that the recording marks as bad",
            "nothing, as eeg.bad_channels=interpolate replaces them if half of the channels are good"
            if replaced
            else "set eeg.bad_channels=interpolate and eeg.marked_channels=true, or leave them out of eeg.channels",
        ),
        "gaps": (
            "info" if refused else "warning",
            "an interrupted recording",
            "nothing, as times are those of its records; trials with a gap are refused"
            if refused
            else "set eeg.gaps=refuse: times after the first gap are wrong",
        ),
        "companion": (
            "warning",
            "a header that names the samples of another recording, although there are samples of its own name",
            "check which one belongs to it; if its own, write that name into the header, or export it again",
        ),
    }


def _text(name: str, header: Header) -> str:
    value = header.remarks[name]
    if name == "gaps":
        return f"{Path(header.file).name}: {', '.join(f'{a:g} to {b:g} s' for a, b in value[:3])}"
    if name == "companion":
        return f"{Path(header.file).name} names {value}"
    of = f"{len(value)} of {header.channels + len(value)}: " if name == "passed" else ""
    return of + examples(list(value))


def _systems(headers: list[Header]) -> list[Finding]:
    counts = Counter(header.system for header in headers)
    if len(counts) < 2:
        return []
    texts = ", ".join(f"{system} in {plural(n, 'file')}" for system, n in counts.most_common())
    message = f"EEG channels of different systems ({texts}), in which equal names are different places"
    return [Finding("error", "", "eeg", "", message, "study these recordings separately")]


def _references(headers: list[Header], config: EegConfig) -> list[Finding]:
    counts = Counter(header.remarks.get("reference", "") for header in headers)
    named = [name for name in counts if name]
    if not named or len(counts) < 2:
        return []
    texts = ", ".join(f"{name or 'not named'} in {plural(n, 'file')}" for name, n in counts.most_common())
    message = f"EEG recorded against different references ({texts})"
    if config.reference:
        return [Finding("info", "", "eeg", "", message, f"nothing, as eeg.reference={config.reference} replaces them")]
    remedy = "set eeg.reference=average, so that all have the same, or study them separately"
    return [Finding("warning" if len(named) > 1 else "info", "", "eeg", "", message, remedy)]
