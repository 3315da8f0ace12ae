"""Findings about several recordings: missing ones, different lengths, overlapping segments, copies, channels.

In: the measures of every recording (:func:`eavdash.health.scan.measure_table`) and the trial table. Out: findings, one
per subject and kind (and modality). Delegated to eavdash.data.cache.digests: comparing files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config.choices import COLUMN, MODALITIES
from eavdash.data.cache.window_set_spec import OWN_TIMES
from eavdash.data.recording import END_TOLERANCE
from eavdash.data.table import TrialTable
from eavdash.health.report import Finding, records
from eavdash.health.rules import examples
from eavdash.text import natural_order

#: Seconds by which the recordings of one trial may differ in length: EAV's 603 frames for 20 s exceed it by 0.1 s.
LENGTH_TOLERANCE = 1.0
_EAV_NAME = re.compile(r"(?i)^(\d+)_trial_(\d+)_")


def missing(table: TrialTable, expected: dict[str, pd.Series]) -> list[Finding]:
    """Trials that should have a recording of a modality and have none."""
    findings = []
    for modality in MODALITIES:
        lacking = expected[modality] & (table.frame[COLUMN[modality]] == "")
        for subject in natural_order(table.frame["subject"][lacking]):
            of = (table.frame["subject"] == subject) & expected[modality]
            trials = list(table.frame["trial"][of & lacking])
            named = "" if len(trials) == of.sum() else f" ({examples([f'trial {t}' for t in trials])})"
            message = f"no {modality} recording for {len(trials)} of {int(of.sum())} trials{named}"
            remedy = "add the files, or train without them, as missing modalities are masked"
            findings.append(Finding("warning", subject, modality, "", message, remedy))
    return findings


def outside(recordings: pd.DataFrame) -> pd.Series:
    """For each recording, a sentence if its segment is outside the file, else ""."""
    texts = pd.Series("", recordings.index, dtype="str")
    start, stop, length = (recordings[c].to_numpy(dtype=float) for c in ("start", "stop", "length"))
    beyond = (start >= length) | (stop > length + END_TOLERANCE)
    for n in np.flatnonzero(beyond & (recordings["problem"] == "").to_numpy() & (length > 0)):
        to = length[n] if np.isnan(stop[n]) else stop[n]
        row = recordings.iloc[int(n)]
        texts.iloc[int(n)] = (
            f"subject {row['subject']}, trial {row['trial']}: {start[n]:g} to {to:g} s is outside the "
            f"{length[n]:.2f} s of {row['path']}; {OWN_TIMES}."
        )
    return texts


def lengths(recordings: pd.DataFrame) -> list[Finding]:
    """Trials whose recordings differ in length."""
    known = recordings[(recordings["problem"] == "") & recordings["duration"].notna()]
    wide = known.pivot_table(index=["subject", "trial"], columns="modality", values="duration", sort=False)
    apart = wide[wide.max(axis=1) - wide.min(axis=1) > LENGTH_TOLERANCE]
    findings = []
    for subject, rows in apart.groupby(level="subject", sort=False):
        texts = []
        for trial, row in zip(rows.index.get_level_values("trial"), records(rows), strict=True):
            parts = [f"{m} {row[m]:.1f} s" for m in MODALITIES if m in row and not np.isnan(row[m])]
            texts.append(f"trial {trial}: {', '.join(parts)}")
        of = int((wide.index.get_level_values("subject") == subject).sum())
        message = f"recordings of different lengths in {len(rows)} of {of} trials ({examples(texts)})"
        remedy = "check that they belong to the same trial and begin together; missing windows are masked"
        findings.append(Finding("warning", str(subject), "", "", message, remedy))
    return findings


def overlaps(recordings: pd.DataFrame) -> list[Finding]:
    """Trials that use the same segment of the same file, on which a model could be both trained and tested."""
    found: dict[tuple[str, str, bool], list[tuple[str, str]]] = {}
    shared = recordings[recordings.duplicated(["path", "number", "modality"], keep=False)]
    for (path, number, modality), rows in shared.groupby(["path", "number", "modality"], sort=False):
        before: dict[str, Any] | None = None
        for row in records(rows.sort_values("start", kind="stable")):
            stop = row["stop"] if not np.isnan(row["stop"]) else np.inf
            if before and row["start"] < before["until"] - END_TOLERANCE:
                together = (row["subject"], row["group"]) == (before["subject"], before["group"])
                names = f"trial {before['trial']} and trial {row['trial']}"
                if row["subject"] != before["subject"]:
                    names = f"trial {before['trial']} of subject {before['subject']} and trial {row['trial']}"
                name = Path(str(path)).name + (f"#{number}" if number else "")
                found.setdefault((row["subject"], str(modality), together), []).append(
                    (row["file"], f"{names} in {name}")
                )
            if before is None or stop > before["until"]:
                before = {**row, "until": stop}
    findings = []
    for (subject, modality, together), pairs in found.items():
        texts = examples([text for _, text in pairs])
        overlap = "1 trial overlaps" if len(pairs) == 1 else f"{len(pairs)} trials overlap"
        message = f"{overlap} with another one in the same recording ({texts})"
        remedy = "correct start and stop, or give them the same group"
        if together:
            remedy = "nothing, as they belong to one group, which is never split"
        findings.append(Finding("info" if together else "warning", subject, modality, pairs[0][0], message, remedy))
    return findings


def copies(recordings: pd.DataFrame, digest: Callable[[str], str]) -> list[Finding]:
    """Recordings with the same content under two names; ``digest`` hashes the content of a file."""
    findings = []
    for modality in MODALITIES:
        of = recordings[(recordings["modality"] == modality) & (recordings["path"] != "")]
        same = _same_items(of) + _same_files(of, digest)
        by_subject: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        order = {file: n for n, file in enumerate(of["file"])}
        for row, other in sorted(same, key=lambda pair: order[pair[0]["file"]]):
            by_subject.setdefault(row["subject"], []).append((row, other))
        for subject, pairs in by_subject.items():
            total = of["file"][of["subject"] == subject].nunique()
            texts = examples([_pair(row, other) for row, other in pairs])
            message = f"the same content as another in {len(pairs)} of {total} recordings ({texts})"
            remedy = "find out which trial it belongs to, and replace the other or leave it out"
            findings.append(Finding("warning", subject, modality, pairs[0][0]["file"], message, remedy))
    return findings


def _pair(row: dict[str, Any], other: dict[str, Any]) -> str:
    whose = "" if row["subject"] == other["subject"] else f" of subject {other['subject']}"
    labels = "" if row["label"] == other["label"] else f", labelled {row['label']} and {other['label']}"
    return f"trial {row['trial']} as trial {other['trial']}{whose}{labels}: {other['file']}"


def _same_items(rows: pd.DataFrame) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of equal array items: each later one with the first."""
    items = rows[(rows["content"] != "") & rows.duplicated("content", keep=False)]
    pairs = []
    for _, alike in items.groupby("content", sort=False):
        first, *others = records(alike.drop_duplicates("file"))
        pairs += [(other, first) for other in others]
    return pairs


def _same_files(rows: pd.DataFrame, digest: Callable[[str], str]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of equal files; only files with the same size and the same middle are read completely."""
    files = rows[(rows["sample"] != "") & (rows["content"] == "")].drop_duplicates("path")
    pairs = []
    for _, alike in files[files.duplicated(["bytes", "sample"], keep=False)].groupby(["bytes", "sample"], sort=False):
        seen: dict[str, dict[str, Any]] = {}
        for row in records(alike):
            first = seen.setdefault(digest(row["path"]), row)
            if first is not row:
                pairs.append((row, first))
    return pairs


def channels(names: dict[str, tuple[str, list[str]]], rates: pd.Series) -> list[Finding]:
    """EEG files that differ in their channels or rates. ``names``: per file a subject and the channels' names."""
    findings = []
    sets = [set(found) for _, found in names.values()]
    common = set.intersection(*sets) if sets else set()
    every = set.union(*sets) if sets else set()
    if len(sets) > 1 and common != every:
        counts = Counter(name for found in sets for name in found)
        lacking = [f"{name} in {len(sets) - counts[name]}" for name in natural_order(every - common)]
        message = f"EEG files with different channels: {len(common)} of {len(every)} are in all {len(sets)} files"
        message += f", missing are {examples(lacking)} of them"
        remedy = (
            "only common channels are read, unless eeg.channels names others with eeg.bad_channels=interpolate"
            if common
            else "give equal channels the same name, or study the subjects separately"
        )
        findings.append(Finding("warning" if common else "error", "", "eeg", "", message, remedy))
    counted = Counter(float(rate) for rate in rates if rate == rate)
    if len(counted) > 1:
        texts = ", ".join(f"{rate:g} Hz in {n} trials" for rate, n in sorted(counted.items()))
        findings.append(
            Finding(
                "info", "", "eeg", "", f"EEG at different rates ({texts})", "nothing, as all are resampled to eeg.rate"
            )
        )
    return findings


def eav_numbers(recordings: pd.DataFrame) -> list[Finding]:
    """EAV's files whose second number contradicts the first by EAV's naming; only the first number pairs files."""
    findings = []
    rules: dict[str, Callable[[int], int]] = {"vision": lambda n: (n - 1) % 20 + 1, "audio": lambda n: 2 * -(-n // 40)}
    for modality, rule in rules.items():
        of = recordings[recordings["modality"] == modality]
        matches = of["path"].map(lambda path: _EAV_NAME.match(Path(path).name))
        wrong = of[[bool(m) and int(m[2]) != rule(int(m[1])) for m in matches]]
        for subject, rows in wrong.groupby("subject", sort=False):
            names = examples([Path(path).name for path in rows["path"]])
            total = int((of["subject"] == subject).sum())
            message = f"unexpected number after Trial by EAV's naming in {len(rows)} of {total} files ({names})"
            remedy = "nothing, if the first number is right, as only that pairs sound, video and EEG"
            findings.append(Finding("info", str(subject), modality, rows.iloc[0]["file"], message, remedy))
    return findings
