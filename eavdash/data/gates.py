"""Checks before training, which stop a study whose accuracy would be invalid.

In: the rows of a trial table that a study uses and its splits; in the worker, the windows of a run. Out: nothing, or an
error. Delegated to cache/digests.py: hashes of whole files, remembered.

* pairing: a trial has one row and one label, and no recording belongs to two trials of different labels;
* disjointness: no trial, and (except under ``paper``, whose notes count them) no group, is in two splits of a fold;
* duplicates: no recording, no segment of one and no copy of one is in two splits of a fold. Files of the same size are
  compared by a sample of 12 kB, and hashed whole only if the samples agree. Items of one array file (EAV's .mat) cannot
  be compared without reading it; their windows are compared when a run has read them (:func:`check_windows`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from eavdash.config.choices import ACROSS, COLUMN, TABLE
from eavdash.config.schema import ProtocolConfig
from eavdash.data.cache.digests import digests
from eavdash.data.recording import END_TOLERANCE, per_file, samples_file, split_item
from eavdash.data.segments import in_file
from eavdash.data.splits import check_splits
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, SplitError
from eavdash.store.readable import open_readable

_SAMPLE = 4096  # bytes compared at the beginning, in the middle and at the end of a file
_COMPARED = 1024  # values of a window that are compared first
_VALUES = 20  # different ones among these, below which windows of a table are equal by chance
_Trial = tuple[str, str]


def check_study(
    trials: pd.DataFrame, splits: pd.DataFrame, protocol: ProtocolConfig, modalities: Sequence[str], cache: Path | None
) -> None:
    """Run all checks that need no recording to be decoded.

    Args:
        trials: rows of a trial table. splits: subject, trial, group, fold, split.
        cache: the folder of remembered digests, if any; it is not created for them.

    Raises:
        DataError: recordings are paired wrongly.
        SplitError: a trial, a group or a recording is in two splits of a fold.
        RecordingError: a file cannot be read.
    """
    check_pairing(trials, modalities)
    check_disjoint(splits, protocol)
    alone = protocol.name not in ACROSS and not protocol.pooled
    check_duplicates(trials, splits, modalities, cache, alone)


def check_pairing(trials: pd.DataFrame, modalities: Sequence[str]) -> None:
    """Check that every trial occurs once, and that no recording belongs to two trials of different labels.

    Raises:
        DataError: a trial has two rows, or two trials of different labels name the same recording.
    """
    twice = trials[trials.duplicated(["subject", "trial"])]
    if len(twice):
        first = twice.iloc[0]
        raise DataError.at(
            f"subject {first['subject']}, trial {first['trial']}",
            expected="one row of the trial table",
            found=f"{int(((trials['subject'] == first['subject']) & (trials['trial'] == first['trial'])).sum())}",
            remedy="give each trial a unique name",
        )
    for modality in modalities:
        column = COLUMN[modality]
        rows = in_file(trials[trials[column] != ""], column)
        shared = rows[rows.duplicated([column, "start", "stop"], keep=False)]
        for (path, *_), same in shared.groupby([column, "start", "stop"], sort=False, dropna=False):
            if same["label"].nunique() > 1:
                pair = same.drop_duplicates("label").iloc[:2]
                one, other = zip(pair["subject"], pair["trial"], strict=True)
                raise DataError.at(
                    f"{modality} of {_trial_name(one)} and {_trial_name(other)}",
                    expected="different recordings for trials of different labels",
                    found=f"{path} for both ({' and '.join(pair['label'])})",
                    remedy="correct the pairing in the trial table",
                )


def check_disjoint(splits: pd.DataFrame, protocol: ProtocolConfig) -> None:
    """Check that no trial and, except under ``paper``, no group is in two splits of a fold.

    Raises:
        SplitError: one is.
    """
    by_trial = splits.assign(group=splits["subject"] + "\x1f" + splits["trial"])
    check_splits(by_trial if protocol.name == "paper" else splits)
    if protocol.name in ACROSS:
        used = splits[~splits["split"].isin(["unused", "calibration"])]
        counts = used.groupby(["fold", "subject"])["split"].nunique()
        if (counts > 1).any():
            fold, subject = counts[counts > 1].index[0]
            raise SplitError.at(
                f"subject {subject}, fold {fold}",
                expected="all trials of a subject in one split",
                found="several splits",
                remedy="make the splits again",
            )


def check_duplicates(
    trials: pd.DataFrame, splits: pd.DataFrame, modalities: Sequence[str], cache: Path | None, within: bool
) -> None:
    """Check that no recording's content is in two splits of a fold; ``within``: each run has one subject.

    Raises:
        SplitError: one is; the message names the two trials.
        RecordingError: a file cannot be read.
    """
    where = _splits_by_trial(splits)
    for modality in modalities:
        rows = in_file(trials[trials[COLUMN[modality]] != ""], COLUMN[modality])
        items: dict[str, list[tuple[_Trial, float, float]]] = {}
        files: dict[str, list[_Trial]] = {}
        columns = ("subject", "trial", COLUMN[modality], "start", "stop")
        for subject, trial, path, start, stop in zip(*(rows[c].tolist() for c in columns), strict=True):
            begin, end = (0.0 if start != start else start), (float("inf") if stop != stop else stop)
            items.setdefault(path, []).append(((subject, trial), begin, end))
            files.setdefault(split_item(path)[0], []).append((subject, trial))
        for path, segments in items.items():
            segments.sort(key=lambda s: s[1])
            for number, (one, _, until) in enumerate(segments):
                for other, begin, end in segments[number + 1 :]:
                    if begin >= until - END_TOLERANCE:
                        break
                    shared = f"{_stretch(begin, min(until, end))} of {path} in both"
                    _check_pair(modality, one, other, where, within, shared)
        _compare_files(modality, files, where, cache, within)


def check_windows(windows: WindowSet, index: pd.DataFrame) -> None:
    """Check that no two windows of a run in different splits have equal values, also from different files.

    Constant windows (silence, a black picture) are ignored, and those of tables with few different numbers: two faces
    may well blink at the same step.

    Args:
        index: the run's windows, with ``row`` of ``windows`` and ``split``.

    Raises:
        SplitError: two have; the message names the two trials.
    """
    seen: dict[bytes, list[int]] = {}
    size = int(np.prod(windows.values.shape[1:]))
    step = max(1, size // _COMPARED)
    rows, splits = index["row"].to_numpy(), index["split"].tolist()
    for position, row in enumerate(rows):
        sample = np.ascontiguousarray(np.asarray(windows.values[int(row)]).reshape(-1)[::step])
        if (sample == sample[0]).all() or (windows.kind == TABLE and len(np.unique(sample)) < _VALUES):
            continue
        alike = seen.setdefault(hashlib.sha256(sample.tobytes()).digest(), [])
        for other in alike:
            if splits[other] != splits[position] and np.array_equal(
                windows.values[int(rows[other])], windows.values[row]
            ):
                first, second = (index.iloc[n] for n in (other, position))
                _raise_duplicate(
                    windows.modality,
                    (first["subject"], first["trial"]),
                    (second["subject"], second["trial"]),
                    (splits[other], splits[position]),
                    "windows with the same samples",
                )
        alike.append(position)


def _compare_files(
    modality: str, files: dict[str, list[_Trial]], where: dict[_Trial, dict[int, str]], cache: Path | None, within: bool
) -> None:
    alike: dict[tuple[int, str], list[str]] = {}
    by_size: dict[int, list[str]] = {}
    for file in files:
        by_size.setdefault(samples_file(file).stat().st_size, []).append(file)
    for size, same in by_size.items():
        if len(same) > 1:
            for file in same:
                alike.setdefault((size, _sample(file, size)), []).append(file)
    doubtful = [same for same in alike.values() if len(same) > 1 and _meet(same, files, where, within)]
    if not doubtful:
        return
    found = digests([file for same in doubtful for file in same], cache if cache and cache.is_dir() else None)
    for same in doubtful:
        first: dict[str, list[str]] = {}
        for file in same:
            for other in first.setdefault(found[file], []):
                for one in files[other]:
                    for two in files[file]:
                        _check_pair(modality, one, two, where, within, f"the same content in {other} and {file}")
            first[found[file]].append(file)


@per_file(100_000)
def _sample(file: str, size: int) -> str:
    """Hash three pieces of a file."""
    found = hashlib.sha256()
    with open_readable(samples_file(file)) as opened:
        for position in (0, max(0, size // 2), max(0, size - _SAMPLE)):
            opened.seek(position)
            found.update(opened.read(_SAMPLE))
    return found.hexdigest()


def _meet(
    same: Iterable[str], files: dict[str, list[_Trial]], where: dict[_Trial, dict[int, str]], within: bool
) -> bool:
    """True if trials of these files are in different splits of a fold."""
    seen: dict[tuple[int, str], str] = {}
    for file in same:
        for trial in files[file]:
            for fold, split in where.get(trial, {}).items():
                if seen.setdefault((fold, trial[0] if within else ""), split) != split:
                    return True
    return False


def _check_pair(
    modality: str, one: _Trial, other: _Trial, where: dict[_Trial, dict[int, str]], within: bool, what: str
) -> None:
    if one == other or (within and one[0] != other[0]):
        return
    for fold, split in where.get(one, {}).items():
        second = where.get(other, {}).get(fold, split)
        if second != split:
            _raise_duplicate(modality, one, other, (split, second), what)


def _raise_duplicate(modality: str, one: _Trial, other: _Trial, splits: tuple[str, str], what: str) -> None:
    remedy = "find out which one the recording belongs to and remove the other"
    if one[0] == other[0]:  # a group is of one subject
        remedy = f"give both trials the same group, or {remedy}"
    raise SplitError.at(
        f"{modality} of {_trial_name(one)} ({splits[0]}) and {_trial_name(other)} ({splits[1]})",
        expected="different recordings in different splits",
        found=what,
        remedy=remedy,
    )


def _stretch(begin: float, end: float) -> str:
    """Name a segment of a recording: ``12.5 to 13 s``."""
    if end < float("inf"):
        return f"{begin:g} to {end:g} s"
    return f"all from {begin:g} s on" if begin else "the whole"


def _splits_by_trial(splits: pd.DataFrame) -> dict[_Trial, dict[int, str]]:
    """For each trial, its split by fold."""
    used = splits[splits["split"] != "unused"]
    found: dict[_Trial, dict[int, str]] = {}
    columns = (used[c].tolist() for c in ("subject", "trial", "fold", "split"))
    for subject, trial, fold, split in zip(*columns, strict=True):
        found.setdefault((subject, trial), {})[int(fold)] = split
    return found


def _trial_name(trial: _Trial) -> str:
    return f"trial {trial[1]} of subject {trial[0]}"
