"""Trials and subjects that a study leaves out, as their recordings, or too many of them, cannot be used.

In: a trial table, a configuration, and for a study that exists what it left out before. Out: the usable trials, and the
record for study.json. Delegated to health/look.py: which recordings cannot be used; to data/unusable.py: what is left.

A subject that has runs keeps its trials: what was left out stays so, and nothing else is. A study of a version that did
not check the recordings has no such record and is planned as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from eavdash.config.schema import StudyConfig
from eavdash.data.table import TrialTable, select
from eavdash.data.unusable import KINDS, kept, too_few, without
from eavdash.errors import DataError, StudyConflictError, UsageError
from eavdash.results.left_out import sentences
from eavdash.store.documents import LeftOut, LeftOutRecording, StudyDocument

if TYPE_CHECKING:
    from eavdash.health.look import Electrodes

Report = Callable[[int, int], None]


def kinds() -> dict[str, str]:
    """Return the kinds of recordings that a study may leave out or keep trials of, and what is found."""
    from eavdash.health.look import FINDINGS

    return {**KINDS, **FINDINGS}


@dataclass(frozen=True)
class Unusable:
    """The decision about recordings that cannot be used.

    ``strict``: planning is refused. ``leave_out``: kinds of findings whose trials are left out too. ``keep``: kinds
    whose trials are used without the recording.
    """

    strict: bool = False
    leave_out: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def check(self) -> None:
        """Check the kinds.

        Raises:
            UsageError: one is unknown.
        """
        known = kinds()
        for option, given in (("--leave-out", self.leave_out), ("--keep", self.keep)):
            if wrong := [kind for kind in given if kind not in known]:
                raise UsageError.at(
                    option, expected=f"some of {', '.join(known)}", found=", ".join(wrong), remedy="choose among them"
                )


@dataclass(frozen=True, eq=False)
class Usable:
    """``everyone`` and ``chosen``: the usable trials of all subjects and of the chosen ones; ``record``: the rest.

    ``electrodes``: of the EEG files that were looked at; ``window_bytes``: what the windows of new subjects take at
    most, None if none was looked at.
    """

    everyone: TrialTable
    chosen: TrialTable
    record: LeftOut | None
    new: tuple[LeftOutRecording, ...] = ()
    electrodes: dict[str, Electrodes] = field(default_factory=dict)
    window_bytes: int | None = None

    def of(self, table: TrialTable) -> TrialTable:
        """Return the rows of a frozen table that the study uses; a table without anything to leave out is the same."""
        gone = set(self.record.subjects if self.record else ()) & set(table.subjects)
        return without(table, self.new, dict.fromkeys(gone, "")) if self.new or gone else table


def usable_trials(
    table: TrialTable,
    config: StudyConfig,
    subjects: Sequence[str],
    cache: Path | None,
    wanted: Unusable | None = None,
    old: StudyDocument | None = None,
    report: Report | None = None,
) -> Usable:
    """Return the trials of ``subjects`` (all if empty) that a study can use; files are looked at only where needed.

    ``wanted``: kinds that are not given are those with which ``old``, the study as it is, was planned.
    ``report(done, of)`` counts files.

    Raises:
        UsageError: a kind is unknown; ``StudyConflictError`` if the study was planned with others.
        DataError: no subject is left, or with ``strict`` a recording cannot be used.
        As :func:`eavdash.data.table.select`.
    """
    from eavdash.health.look import unusable

    known = old.left_out if old else LeftOut()
    policy = _policy(wanted or Unusable(), old, known)
    if known is None:
        return Usable(select(table, config), select(table, config, subjects), None)
    settled = set(old.dataset.fingerprint) if old else set()
    before = [r for r in known.recordings if r.subject in settled]
    rest = without(table, before, {})
    new = set(rest.subjects) - settled
    everyone = select(rest, config, unchecked=new)
    chosen = select(rest, config, subjects, unchecked=new)
    frame = chosen.frame[chosen.frame["subject"].isin(list(new))]
    electrodes: dict[str, Electrodes] = {}
    room: list[int] = []
    found = unusable(table, config, frame, cache, report, policy.leave_out, electrodes, room) if len(frame) else []
    found = _kept(frame, found, config, policy.keep)
    problems = too_few(frame, found)
    record = _merged(known, frame, found, problems, policy)
    if found and policy.strict:
        raise DataError.at(
            table.root,
            expected="recordings that can all be used (--strict)",
            found=" ".join(sentences(record)),
            remedy="repair them, or train without --strict, which leaves them out by name",
        )
    chosen = without(chosen, found, problems)
    if chosen.frame.empty:
        more = f" ({len(problems) - 1} more subjects are left out.)" if len(problems) > 1 else ""
        raise DataError(f"{next(iter(problems.values()))}{more}")
    gone = {s: reason for s, reason in record.subjects.items() if s not in settled}
    return Usable(without(everyone, found, gone), chosen, record, tuple(found), electrodes, sum(room) or None)


def _kept(
    frame: pd.DataFrame, found: list[LeftOutRecording], config: StudyConfig, keep: Sequence[str]
) -> list[LeftOutRecording]:
    """Mark the recordings without which their trials are used."""
    if not keep:
        return found
    may = kept(frame, found, config.modalities)
    if config.audio.from_video:  # its path would be filled in again
        may = {cell for cell in may if cell[2] != "audio"}
    mine = [r.kind in keep and (r.subject, r.trial, r.modality) in may for r in found]
    return [r.replace(kept=True) if yes else r for r, yes in zip(found, mine, strict=True)]


def _merged(
    known: LeftOut,
    frame: pd.DataFrame,
    found: Sequence[LeftOutRecording],
    problems: dict[str, str],
    policy: Unusable,
) -> LeftOut:
    """Return the record with what was found now about the subjects of ``frame``."""
    counts = {str(s): len(rows) for s, rows in frame.groupby("subject", sort=False)}
    return known.replace(
        trials={**known.trials, **counts},
        recordings=(
            *(r for r in known.recordings if r.subject not in counts),
            *(r for r in found if r.subject not in problems),
        ),
        subjects={**{s: text for s, text in known.subjects.items() if s not in counts}, **problems},
        leave_out=policy.leave_out,
        keep=policy.keep,
    )


def _policy(wanted: Unusable, old: StudyDocument | None, known: LeftOut | None) -> Unusable:
    """Return what to do: as the study was planned, if it exists.

    Raises:
        UsageError: a kind is unknown; ``StudyConflictError`` if the study was planned with others.
    """
    wanted.check()
    if old is None:
        return wanted
    before = known or LeftOut()
    for option, then, now in (
        ("--leave-out", before.leave_out, wanted.leave_out),
        ("--keep", before.keep, wanted.keep),
    ):
        if now and set(now) != set(then):
            raise StudyConflictError.at(
                f"study.json of {old.name}",
                expected=f"{option} {' '.join(then) or 'with no kind'}, as the study was planned",
                found=" ".join(now),
                remedy="give the new study another name",
            )
    return Unusable(wanted.strict, before.leave_out, before.keep)
