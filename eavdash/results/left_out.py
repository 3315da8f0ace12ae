"""Sentences about what a study leaves out: trials whose recordings cannot be used, and whole subjects.

In: the record in study.json, and what single runs found while reading. Out: sentences, a mark, counts by subject, and
how two studies differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from eavdash.store.documents import LeftOut, LeftOutRecording, RunConfig
from eavdash.text import natural_order, plural

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3  # examples in a sentence


def left_out_trials(record: LeftOut | None, subject: str = "") -> dict[tuple[str, str], LeftOutRecording]:
    """Return the trials that are left out (of one subject), each with the first recording that is the reason."""
    found: dict[tuple[str, str], LeftOutRecording] = {}
    for r in record.recordings if record else ():
        if not r.kept and subject in ("", r.subject):
            found.setdefault((r.subject, r.trial), r)
    return found


def count(record: LeftOut | None) -> str:
    """Return ``2 of 180 trials left out``; empty if none is."""
    gone = left_out_trials(record)
    if record is None or not gone:
        return ""
    return f"{len(gone)} of {plural(sum(_used(record).values()), 'trial')} left out"


def sentences(record: LeftOut | None) -> list[str]:
    """Return what is left out: trials by kind, recordings without which trials are used, and subjects."""
    if record is None:
        return []
    lines = []
    if gone := left_out_trials(record):
        lines.append(f"{count(record)}: {_by_kind(gone.values())}.")
    if used := [r for r in record.recordings if r.kept and (r.subject, r.trial) not in gone]:
        trials = len({(r.subject, r.trial) for r in used})
        of = sum(_used(record).values())
        lines.append(f"{trials} of {plural(of, 'trial')} used without a recording: {_by_kind(used)}.")
    lines += [f"Left out: {reason}" for reason in record.subjects.values()]
    return lines


def differences(one: LeftOut | None, other: LeftOut | None) -> list[str]:
    """Return how two studies differ in what they leave out, such as ``left out: now trial 3 of subject 1``."""
    lines = []
    for what, masked in (("left out", False), ("used without a recording", True)):
        before, after = ({(r.subject, r.trial) for r in _all(x) if r.kept == masked} for x in (one, other))
        lines.append(_change(what, before - after, after - before))
    people = [set(x.subjects) if x else set() for x in (one, other)]
    if people[0] != people[1]:
        texts = (", ".join(natural_order(p)) or "none" for p in people)
        lines.append(f"subjects left out: {' → '.join(texts)}")
    return [line for line in lines if line]


def found_by(run: RunConfig) -> set[tuple[str, str]]:
    """Return the trials that a run left out because it could not read a recording; only runs record a kind."""
    return {(entry["subject"], entry["trial"]) for entry in run.left_out or () if entry.get("kind")}


def found_sentence(run: RunConfig) -> str:
    """Return what a run left out because it could not read it; empty if nothing."""
    entries = [entry for entry in run.left_out or () if entry.get("kind")]
    if not entries:
        return ""
    names = examples(f"trial {e['trial']} of subject {e['subject']}, {e['kind']}" for e in entries)
    return f"{plural(len(entries), 'trial')} left out while reading: {names}"


def unread_sentence(frame: pd.DataFrame) -> str:
    """Return which trials are in no run's rows because a run could not read them (``results.tables``); else empty."""
    unread = frame.attrs.get("unread", [])
    names = examples(f"trial {t} of subject {s}" for s, t in unread)
    return (
        f"{plural(len(unread), 'trial')} left out of all stages, as a run could not read them: {names}"
        if unread
        else ""
    )


def with_counts(scores: pd.DataFrame, record: LeftOut | None) -> pd.DataFrame:
    """Return the scores with a column ``left_out``, the subject's trials that are left out; unchanged if none is."""
    gone = {*left_out_trials(record), *map(tuple, scores.attrs.get("unread", []))}
    counts = Counter(subject for subject, _ in gone)
    return scores.assign(left_out=[counts[s] for s in scores["subject"]]) if gone else scores


def examples(texts: Iterable[str]) -> str:
    """Return the first texts and the number of others."""
    every = list(texts)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def _used(record: LeftOut) -> dict[str, int]:
    return {s: n for s, n in record.trials.items() if s not in record.subjects}


def _all(record: LeftOut | None) -> Sequence[LeftOutRecording]:
    return record.recordings if record else ()


def _by_kind(recordings: Iterable[LeftOutRecording]) -> str:
    every = list(recordings)
    parts = []
    for (modality, kind), number in Counter((r.modality, r.kind) for r in every).items():
        trials = examples(
            f"trial {r.trial} of subject {r.subject}" for r in every if (r.modality, r.kind) == (modality, kind)
        )
        parts.append(f"{number} {kind} in {modality} ({trials})")
    return "; ".join(parts)


def _change(what: str, only_before: set[tuple[str, str]], only_after: set[tuple[str, str]]) -> str:
    parts = []
    for word, keys in (("no longer", only_before), ("now", only_after)):
        if keys:
            parts.append(f"{word} {examples(f'trial {t} of subject {s}' for s, t in sorted(keys))}")
    return f"{what}: {'; '.join(parts)}" if parts else ""
