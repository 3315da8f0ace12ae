"""Recordings that cannot be used, by kind, and the trials and subjects that a study leaves out because of them.

In: rows of a trial table, and the recordings that cannot be used: found by the health check before planning, or by a
run while it reads. Out: the rows that are left, and which subjects have too few of them. A trial is left out as a
whole, so that all stages of a subject are trained and tested on the same trials, unless its kind is to be kept: then
the trial is used as if that recording had not been made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.data.table import TrialTable
from eavdash.errors import SplitError
from eavdash.store.documents import LeftOutRecording
from eavdash.text import natural_order

#: The kinds of recordings that cannot be used, and what is found.
KINDS = {
    "missing": "no file",
    "outside": "a segment outside the file",
    "not-finite": "samples that are not finite",
    "unreadable": "a file that cannot be read",
    "refused": "a file that may not be read",
}
_Cell = tuple[str, str, str]  # subject, trial, modality


def kind_of(found: str) -> str:
    """Return the kind (:data:`KINDS`) of a problem: of a health check's ``kind``, or of what an error expected."""
    if found in KINDS:
        return found
    if "finite samples" in found:
        return "not-finite"
    return "outside" if found.startswith(("the segment from", "a segment from")) else "unreadable"


def rows_without(frame: pd.DataFrame, gone: Collection[tuple[str, str]]) -> pd.DataFrame:
    """Return the rows without the trials ``gone`` (subject, trial), numbered from 0."""
    keys = zip(frame["subject"], frame["trial"], strict=True)
    return frame[pd.Series([key not in gone for key in keys], frame.index, bool)].reset_index(drop=True)


def usable_rows(frame: pd.DataFrame, recordings: Collection[LeftOutRecording]) -> pd.DataFrame:
    """Return the rows without the trials of ``recordings``; trials that are kept lose the recording's path."""
    frame = rows_without(frame, {(r.subject, r.trial) for r in recordings if not r.kept})
    keys = list(zip(frame["subject"], frame["trial"], strict=True))
    for modality in {r.modality for r in recordings if r.kept}:
        blank = {(r.subject, r.trial) for r in recordings if r.kept and r.modality == modality}
        hidden = pd.Series([key in blank for key in keys], frame.index, bool)
        frame[COLUMN[modality]] = frame[COLUMN[modality]].mask(hidden, "")
    return frame


def without(table: TrialTable, recordings: Collection[LeftOutRecording], problems: Mapping[str, str]) -> TrialTable:
    """Return the table without the trials of ``recordings`` and the subjects in ``problems``, which join its own."""
    frame = usable_rows(table.frame, recordings)
    frame = frame[~frame["subject"].isin(list(problems))].reset_index(drop=True)
    every = {**table.problems, **problems}
    return replace(table, frame=frame, problems={s: every[s] for s in natural_order(every)})


def kept(frame: pd.DataFrame, recordings: Sequence[LeftOutRecording], modalities: Sequence[str]) -> set[_Cell]:
    """Return which of ``recordings`` can be masked: those of trials that have another recording which can be used."""
    bad = {(r.subject, r.trial, r.modality) for r in recordings}
    found = set()
    for subject, trial, *paths in frame[["subject", "trial", *(COLUMN[m] for m in modalities)]].itertuples(index=False):
        there = [m for m, path in zip(modalities, paths, strict=True) if path]
        if any((subject, trial, m) not in bad for m in there):
            found |= {(subject, trial, m) for m in there}
    return found & bad


def too_few(frame: pd.DataFrame, recordings: Collection[LeftOutRecording]) -> dict[str, str]:
    """Return the subjects that lose more than half of their trials, or a class, with the reason."""
    left = usable_rows(frame, recordings)
    problems = {}
    for subject in natural_order(r.subject for r in recordings):
        mine, rest = frame[frame["subject"] == subject], left[left["subject"] == subject]
        lost = natural_order(set(mine["label"]) - set(rest["label"]))
        if 2 * len(rest) >= len(mine) and not lost:
            continue
        of = [r for r in recordings if r.subject == subject and not r.kept]
        kinds = Counter(f"{r.modality}, {r.kind}" for r in of)
        counts = ", ".join(f"{count} ({kind})" for kind, count in kinds.items())
        found = f"{len(mine) - len(rest)} of {len(mine)} that cannot be used: {counts}"
        found += f", and none of {' or '.join(lost)} is left" if lost else ""
        problems[subject] = str(
            SplitError.at(
                f"subject {subject}",
                expected="at least half of its trials and every class",
                found=f"{found}; the first is {of[0].reason.rstrip('.')}",
                remedy=f"repair the recordings, leave out the subject or {of[0].modality}, or use the trials without "
                f"that recording (--keep {of[0].kind})",
            )
        )
    return problems
