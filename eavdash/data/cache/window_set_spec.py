"""The specification of a window set: its trials, its key, its size.

In: rows of a trial table, a modality and a configuration. Out: a :class:`WindowSetSpec`. Only headers are read; digests
of the files and lengths of the recordings are remembered in the cache (digests.py).

The key (:attr:`WindowSetSpec.key`) covers all that the arrays depend on: the content of the files, the segments used,
and how they are read. Paths, names of subjects and trials, labels and groups are not part of it: a dataset that is
moved, relabelled or regrouped is not read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.limits import WINDOWS
from eavdash.config.schema import StudyConfig
from eavdash.data.audio import reading as audio
from eavdash.data.cache.digests import Digests
from eavdash.data.cache.folders import key_of
from eavdash.data.eeg import reading as eeg
from eavdash.data.eeg.signal import EegRules
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.formats.feature_table import feature_table_info
from eavdash.data.readers import Reader, Span, TrialRow, reader_of
from eavdash.data.recording import seconds, split_item
from eavdash.data.segments import in_file
from eavdash.data.video import reading as video
from eavdash.data.windows import tile
from eavdash.errors import DataError, RecordingError
from eavdash.text import natural_key

#: Increment it when the same recordings and settings give different arrays: old caches are then not used.
VERSION = 3
_PAST_END = 0.5  # seconds
#: Remedy for a trial outside of a recording.
OWN_TIMES = (
    "correct start and stop in the trial table (of BIDS, onset and duration in events.tsv); where only some of a "
    "trial's files are long, give those their own columns, such as eeg_start and eeg_stop"
)


@dataclass(frozen=True, eq=False)
class WindowSetSpec:
    """The windows of some trials in one modality, before they are read.

    ``rows`` are in natural order of (subject, trial). ``contents`` has the content of each row's file: digest, suffix
    (which selects the decoder) and item number.
    """

    modality: str
    rows: tuple[TrialRow, ...]
    contents: tuple[tuple[str, str, int | None], ...]
    reader: Reader
    window: float
    cache: Path

    @cached_property
    def key(self) -> str:
        """The key of the arrays; equal keys mean equal arrays."""
        segments = [(*content, row.start, row.stop) for content, row in zip(self.contents, self.rows, strict=True)]
        files = [split_item(row.path)[0] for row in self.rows]
        texts = {file: self.reader.beside(file) for file in dict.fromkeys(files)}
        beside = {n: texts[file] for n, file in enumerate(files) if texts[file]}
        return key_of(
            {
                **({"beside": beside} if beside else {}),
                "version": VERSION,
                "modality": self.modality,
                "window": self.window,
                "reading": self.reader.settings,
                "trials": segments,
            }
        )

    @property
    def folder(self) -> Path:
        """The folder of the arrays, which need not exist yet."""
        return self.cache / "windows" / self.key

    @cached_property
    def spans(self) -> tuple[list[Span], ...]:
        """The windows of each trial.

        Raises:
            RecordingError: a recording's header cannot be read, or it does not contain the trial.
        """
        found = []
        with Digests(self.cache) as known:
            for row, (digest, suffix, item) in zip(self.rows, self.contents, strict=True):
                with naming_trial(row):
                    name = f"{VERSION} seconds {self.modality} {digest}{suffix}#{item or ''}{self.reader.counting}"
                    whole = known.fact(name, partial(_recording_seconds, row.path, self.modality, self.reader.study))
                    length = _trial_seconds(row.path, whole, row.start, row.stop)
                    # A still image has no duration: it gives one window.
                    length = self.window if length == float("inf") else length
                    if length > WINDOWS * self.window:
                        raise RecordingError.at(
                            row.path,
                            expected=f"at most {WINDOWS:,} windows of a trial",
                            found=f"{length:,.0f} s in windows of {self.window:g} s",
                            remedy="set a longer window, or cut the trial with start and stop",
                        )
                found.append(tile(length, self.window))
        return tuple(found)

    @property
    def count(self) -> int:
        """The number of windows."""
        return sum(map(len, self.spans))

    @property
    def bytes(self) -> int:
        """Size of the arrays on disk; the reader must be prepared."""
        return self.count * self.window_bytes

    @property
    def window_bytes(self) -> int:
        """Size of one window's values, mask and index row."""
        return prod(self.reader.shape) * np.dtype(self.reader.dtype).itemsize + self.reader.steps + 24

    @property
    def longest(self) -> float:
        """Length of the longest trial in seconds."""
        return max(spans[-1][1] for spans in self.spans)

    def prepare(self) -> None:
        """Read the recordings' headers, from which the reader learns the shape of a window.

        Raises:
            DataError: the recordings do not match.
        """
        self.reader.prepare(list(self.rows))
        self.reader.check_size()


def window_set_spec(
    trials: pd.DataFrame, modality: str, config: StudyConfig, cache: Path, jobs: int = 1
) -> WindowSetSpec:
    """Specify the window set that :func:`eavdash.data.inputs.load_windows` returns for the same arguments.

    ``jobs``: threads that hash the files whose digest is not known.

    Raises:
        DataError: no trial has the modality.
        ConfigError: a window is too large.
        RecordingError: a file is missing, empty or cannot be read; the message names the trial.
    """
    reader = reader_of(modality, config)
    reader.check_size()
    rows = trial_rows(trials, modality)
    if not rows:
        raise DataError.at(
            f"column {COLUMN[modality]}",
            expected=f"at least one trial with {modality}",
            found=f"{len(trials)} trials without it",
            remedy="leave this stage out or choose other subjects",
        )
    items = [split_item(row.path) for row in rows]
    first: dict[str, TrialRow] = {}
    for (file, _), row in zip(items, rows, strict=True):
        first.setdefault(file, row)
    digests = {}
    with Digests(cache) as known:
        found = known.of_all(list(first), jobs)
        for file, row in first.items():
            with naming_trial(row):
                digests[file] = next(found)
    contents = tuple((digests[file], Path(file).suffix.lower(), item) for file, item in items)
    return WindowSetSpec(modality, tuple(rows), contents, reader, config.window, cache)


def trial_duration(
    path: str,
    modality: str,
    start: float | None = None,
    stop: float | None = None,
    config: StudyConfig | None = None,
) -> float:
    """Duration (seconds) of one trial in one modality: from ``start`` to ``stop``, or to the file's end if stop is
    empty.

    Raises:
        RecordingError: the file cannot be read, or does not contain the segment.
    """
    whole = _recording_seconds(path, modality, config or StudyConfig())
    return _trial_seconds(path, whole, seconds(start), seconds(stop))


@contextmanager
def naming_trial(row: TrialRow) -> Iterator[None]:
    """Prefix errors about a recording with subject and trial."""
    try:
        yield
    except RecordingError as error:
        trial = f"Subject {row.subject}, trial {row.trial}: "
        if not error.where:
            raise RecordingError(f"{trial}{error}") from error
        raise RecordingError.at(
            f"{trial}{error.where}", expected=error.expected, found=error.found, remedy=error.remedy
        ) from error


def _recording_seconds(path: str, modality: str, config: StudyConfig) -> float:
    """Seconds of the whole recording; infinite for a still image."""
    if modality != "eeg" and is_feature_table(path):
        part: Any = config.modality(modality)
        return feature_table_info(path, part.table).duration
    if modality == "vision":
        info = video.video_info(path)
        return float("inf") if info.still else info.duration
    if modality == "audio":
        return audio.audio_duration(path)
    return eeg.eeg_info(path, EegRules.of(config.eeg)).duration


def _trial_seconds(path: str, whole: float, start: float | None, stop: float | None) -> float:
    """Seconds from ``start`` to ``stop`` of a recording of ``whole`` seconds."""
    begin = start or 0.0
    end = whole if stop is None else stop
    # A small overrun is rounding, which the readers check at their own rates.
    if not 0 <= begin < min(end, whole) or end > whole + _PAST_END:
        raise RecordingError.at(
            path,
            expected=f"a segment from {begin:g} s to {end:g} s",
            found=f"a recording of {whole:g} s",
            remedy=OWN_TIMES,
        )
    return float(end - begin)


def trial_rows(trials: pd.DataFrame, modality: str) -> list[TrialRow]:
    """Return the trials that have a modality, in natural order of subject and trial."""
    column = COLUMN[modality]
    kept = in_file(trials[trials[column] != ""], column)
    columns: list[Any] = [kept[name] for name in ("subject", "trial", "group", "label", column, "start", "stop")]
    rows = [
        TrialRow(subject, trial, group, label, path, seconds(start), seconds(stop))
        for subject, trial, group, label, path, start, stop in zip(*columns, strict=True)
    ]
    # Natural order keeps the trials of one file together, so that it is opened once.
    return sorted(rows, key=lambda row: (natural_key(row.subject), natural_key(row.trial)))
