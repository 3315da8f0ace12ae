"""From trials to the windows that an encoder reads, in one modality.

In: rows of a trial table, and what of the study's configuration says how recordings are read (never which encoder
reads them). Out: a :class:`WindowSet` whose arrays are memory-mapped from the cache; they are made trial by trial, so
that no more than one trial is ever in memory. Delegated to eeg.py, audio.py and video.py: reading; to cache.py: files.

Window k of a trial is the same stretch of time in every modality; each is tiled by its own recording's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from eavdash.config import COLUMN, StudyConfig
from eavdash.data import audio, eeg, video
from eavdash.data.cache import ArrayWriter, cached, key_of, open_array
from eavdash.data.readers import READERS, Reader, Span, TrialRow
from eavdash.data.recording import seconds, stamp
from eavdash.data.table import natural_key
from eavdash.data.windows import INDEX_COLUMNS, WindowSet, tile
from eavdash.errors import DataError, IntegrityError, RecordingError
from eavdash.files import read_json, write_json

#: Raise it when the same recordings and settings give other arrays than before: old caches are then not used.
VERSION = 1


def load_windows(
    trials: pd.DataFrame,
    modality: str,
    config: StudyConfig,
    cache: Path,
    report: Callable[[int, int], None] | None = None,
) -> WindowSet:
    """The windows of all trials that have this modality, in natural order of (subject, trial) whatever the rows' order.

    ``report(done, total)`` is called after each trial that is read; a set that is in the cache is not read again.
    ``meta["key"]`` names the content: equal keys, equal arrays.

    Raises:
        DataError: no trial has the modality, the recordings do not fit together, or the cache cannot be written.
        RecordingError: a recording cannot be read; the message names it.
    """
    rows = _rows(trials, COLUMN[modality])
    if not rows:
        raise DataError.at(
            f"column {COLUMN[modality]}",
            expected=f"at least one trial with {modality}",
            found=f"{len(trials)} trials, none with it",
            remedy="leave this stage out or choose other subjects",
        )
    reader = READERS[modality](config)
    description = {
        "version": VERSION,
        "modality": modality,
        "window": config.window,
        "reading": reader.settings,
        "trials": [[r.subject, r.trial, r.group, r.label, r.path, *_stamp(r), r.start, r.stop] for r in rows],
    }
    key = key_of(description)

    def write(folder: Path) -> None:
        try:
            _write(folder, rows, reader, config.window, report)
        finally:
            eeg.release()

    def read(folder: Path) -> WindowSet:
        try:
            index = pd.read_parquet(folder / "index.parquet")
        except (OSError, ValueError) as error:
            raise IntegrityError(str(error)) from error
        meta = {**read_json(folder / "meta.json"), "key": key}
        return WindowSet(modality, index, open_array(folder / "values.npy"), open_array(folder / "mask.npy"), meta)

    return cached(cache, "windows", key, write, read)


def trial_duration(path: str, modality: str, start: float | None = None, stop: float | None = None) -> float:
    """Seconds of one trial in one modality: from ``start`` to ``stop``, or to the file's end where stop is empty.

    Raises:
        RecordingError: the file cannot be read, or does not contain the stretch.
    """
    start, stop = seconds(start) or 0.0, seconds(stop)
    if modality == "vision":
        info = video.video_info(path)
        whole = float("inf") if info.still else info.duration
    else:
        whole = audio.audio_duration(path) if modality == "audio" else eeg.eeg_info(path).duration
    end = whole if stop is None else stop
    if not 0 <= start < min(end, whole):
        raise RecordingError.at(
            path,
            expected=f"a stretch from {start:g} s to {end:g} s",
            found=f"a recording of {whole:g} s",
            remedy="mend start and stop in the trial table",
        )
    return float(end - start)


def _rows(trials: pd.DataFrame, column: str) -> list[TrialRow]:
    kept = trials[trials[column] != ""]
    columns = [kept[name] for name in ("subject", "trial", "group", "label", column, "start", "stop")]
    rows = [
        TrialRow(subject, trial, group, label, path, seconds(start), seconds(stop))
        for subject, trial, group, label, path, start, stop in zip(*columns, strict=True)
    ]
    # Trials of one file stay together (natural order within the subject), so that it is opened once.
    return sorted(rows, key=lambda row: (natural_key(row.subject), natural_key(row.trial)))


def _write(
    folder: Path, rows: list[TrialRow], reader: Reader, window: float, report: Callable[[int, int], None] | None
) -> None:
    spans = [_spans(row, reader.modality, window) for row in rows]
    reader.prepare(rows)
    count = sum(map(len, spans))
    with (
        ArrayWriter(folder / "values.npy", (count, *reader.shape), reader.dtype) as all_values,
        ArrayWriter(folder / "mask.npy", (count, reader.steps), bool) as all_masks,
    ):
        for done, (row, tiles) in enumerate(zip(rows, spans, strict=True), start=1):
            values, mask = _read(reader, row, tiles)
            all_values.append(values)
            all_masks.append(mask)
            if report is not None:
                report(done, len(rows))
    index = pd.DataFrame(
        [
            (row.subject, row.trial, row.group, row.label, k, begin, end)
            for row, tiles in zip(rows, spans, strict=True)
            for k, (begin, end) in enumerate(tiles)
        ],
        columns=list(INDEX_COLUMNS),
    )
    index.to_parquet(folder / "index.parquet", index=False)
    write_json(folder / "meta.json", reader.meta)


def _stamp(row: TrialRow) -> tuple[int, int]:
    with _naming(row):
        return stamp(row.path)


def _spans(row: TrialRow, modality: str, window: float) -> list[Span]:
    with _naming(row):
        duration = trial_duration(row.path, modality, row.start, row.stop)
    # A still image has no end of its own: it stands for one window.
    return tile(window if duration == float("inf") else duration, window)


def _read(reader: Reader, row: TrialRow, spans: list[Span]) -> tuple[np.ndarray, np.ndarray]:
    with _naming(row):
        values, mask = reader.read(row, spans)
        if not mask.any(axis=1).all():
            raise RecordingError.at(
                row.path,
                expected=f"a recording long enough for one step of {reader.modality}",
                found=f"{spans[-1][1]:.3f} s",
                remedy="leave the trial out or mend its start and stop",
            )
    return values, mask


@contextmanager
def _naming(row: TrialRow) -> Iterator[None]:
    """Put subject and trial before the sentence about a recording."""
    try:
        yield
    except RecordingError as error:
        raise RecordingError(f"Subject {row.subject}, trial {row.trial}: {error}") from error
