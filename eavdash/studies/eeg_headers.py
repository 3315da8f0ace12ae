"""Notes about EEG headers before a study is made: channels that are passed over, references, gaps, the pass band.

In: the trials of a plan and its configuration. Out: notes, and for each subject whose channels would be refused the
sentence about it. Of each subject only the first EEG file is opened here, as a subject's files come from one device;
whether the others have the same channels is known from the look at every recording (health/look.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from eavdash.config.choices import ACROSS
from eavdash.config.schema import StudyConfig
from eavdash.errors import ChannelsError, EavdashError
from eavdash.text import natural_order, plural

if TYPE_CHECKING:
    from eavdash.data.eeg.signal import EegInfo
    from eavdash.health.look import Electrodes

#: Arrays, whose channels are those of their dataset; some would have to be read as a whole.
_KNOWN = (".mat", ".pkl", ".dat")


def eeg_headers(trials: pd.DataFrame, config: StudyConfig) -> tuple[list[str], dict[str, str]]:
    """Return the notes of a plan about EEG headers, and by subject why its channels cannot be read.

    A file that cannot be read for another reason says nothing here.
    """
    from eavdash.data.eeg.reading import eeg_info
    from eavdash.data.eeg.signal import EegRules
    from eavdash.data.recording import split_item

    refused: dict[str, str] = {}
    found: dict[str, EegInfo] = {}
    rows = trials[trials["eeg"] != ""].drop_duplicates("subject") if "eeg" in config.modalities else trials.iloc[:0]
    for subject, path in zip(rows["subject"], rows["eeg"], strict=True):
        if split_item(path)[0].lower().endswith(_KNOWN):
            continue
        try:
            found[str(subject)] = eeg_info(path, EegRules.of(config.eeg))
        except ChannelsError as error:
            refused[str(subject)] = str(error)
        except EavdashError:
            continue
    return [*_notes(found, config), *_lowered(found, config)], refused


def differing_channels(
    trials: pd.DataFrame, config: StudyConfig, electrodes: Mapping[str, Electrodes]
) -> tuple[list[str], dict[str, str]]:
    """Return notes about EEG files with other channels than the rest, and by subject why they cannot be read together.

    Args:
        electrodes: of the files, as far as they were looked at; a subject with others says nothing.

    Raises:
        DataError: one encoder is trained on all subjects, whose files have no channel in common.
    """
    from eavdash.data.eeg.reading import common_channels
    from eavdash.data.eeg.signal import EegRules
    from eavdash.data.recording import split_item
    from eavdash.health.pairing import channels

    together = config.protocol.pooled or config.protocol.name in ACROSS
    rows = trials[trials["eeg"] != ""] if "eeg" in config.modalities and not config.eeg.channels else trials.iloc[:0]
    notes: list[str] = []
    refused: dict[str, str] = {}
    for scope, of in rows.groupby(pd.Series("", rows.index) if together else rows["subject"], sort=False):
        files = {split_item(path)[0]: str(subject) for path, subject in zip(of["eeg"], of["subject"], strict=True)}
        if not electrodes.keys() >= files.keys():
            continue
        try:
            systems = {electrodes[file].system for file in files}
            if len(systems) > 1 or not set.intersection(*(set(electrodes[file].names) for file in files)):
                common_channels(of["eeg"], rules=EegRules.of(config.eeg))
        except EavdashError as error:
            if together:
                raise
            refused |= dict.fromkeys(files.values(), str(error))
            continue
        named = {file: (subject, list(electrodes[file].names)) for file, subject in files.items()}
        whose = f"subject {scope}: " if scope else ""
        notes += [f"{whose}{f.message}; {f.remedy}" for f in channels(named, pd.Series(dtype=float))]
    return notes, refused


def _notes(found: Mapping[str, EegInfo], config: StudyConfig) -> list[str]:
    texts: dict[str, list[str]] = {}
    references: dict[str, list[str]] = {}
    how = "the first is read" if config.eeg.repeated == "first" else "left out (eeg.repeated)"
    for subject, info in found.items():
        remarks, left = info.remarks, len(info.remarks.passed)
        references.setdefault(remarks.reference, []).append(subject)
        every = plural(len(info.channels) + left, "EEG channel")
        said = {
            f"{left} of {every} passed over ({_some(remarks.passed)}), whose names are of no known electrode": left,
            f"names of EEG channels more than once ({_some(remarks.repeated)}), {how}": remarks.repeated,
            "an interrupted EEG recording, whose trials with a gap are refused": remarks.gaps,
            f"an EEG header that names the samples of another recording, {remarks.companion}": remarks.companion,
        }
        for text in (text for text, is_so in said.items() if is_so):
            texts.setdefault(text, []).append(subject)
    notes = [f"{_whose(subjects)}: {text}; see `eavdash check`" for text, subjects in texts.items()]
    if len([name for name in references if name]) > 1 and not config.eeg.reference:
        parts = "; ".join(f"{name or 'not named'}: {_whose(of)}" for name, of in references.items())
        notes.append(f"EEG recorded against different references ({parts}); eeg.reference=average gives all the same")
    return notes


def _lowered(found: Mapping[str, EegInfo], config: StudyConfig) -> list[str]:
    """Return notes about a pass band whose upper edge the sampling rates do not allow, which reading lowers."""
    from eavdash.data.eeg.filters import edges

    asked = config.eeg.high
    texts: dict[str, list[str]] = {}
    for subject, info in found.items():
        rate = min(info.rate, config.eeg.rate)
        try:
            high = edges(config.eeg.low, asked, rate)[1]
        except EavdashError:
            continue  # refused where windows are read
        if high < asked:
            what = "eeg.rate" if rate == config.eeg.rate else "the recording's rate"
            text = f"EEG up to {high:g} Hz instead of {asked:g} Hz (eeg.high), as {what} is {rate:g} Hz"
            texts.setdefault(text, []).append(subject)
    return [f"{_whose(subjects)}: {text}" for text, subjects in texts.items()]


def _whose(subjects: list[str]) -> str:
    names = natural_order(subjects)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"subject{'s' * (len(names) > 1)} {', '.join(names[:5])}{more}"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
