"""From trials to the windows that an encoder reads, in one modality.

In: rows of a trial table, and the settings that determine how recordings are read (never those of the encoder). Out: a
:class:`WindowSet` whose arrays are memory-mapped from the cache; they are made trial by trial, in one process or
several, so that memory does not grow with the dataset. Delegated to cache/window_set_spec.py: the key and size of the
set; to the readers: reading; to cache/folders.py: files.

Window k of a trial covers the same time in every modality; each modality is tiled by its own recording's length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.schema import StudyConfig
from eavdash.data.cache.content import AboutWindows, WindowSetRecord
from eavdash.data.cache.digests import Digests
from eavdash.data.cache.folders import ArrayWriter, cached, check_disk_space, open_array
from eavdash.data.cache.window_set_spec import WindowSetSpec, naming_trial, window_set_spec
from eavdash.data.readers import Reader, Reading, TrialRow
from eavdash.data.readers.pool import ReaderPool, jobs_within
from eavdash.data.recording import release, split_item
from eavdash.data.windows import INDEX_COLUMNS, WindowSet
from eavdash.errors import IntegrityError, OutsideError, RecordingError
from eavdash.store.record import read_record, write_record

Report = Callable[[int, int], None]
KIND = "windows"  # of cache entry


def load_windows(
    trials: pd.DataFrame,
    modality: str,
    config: StudyConfig,
    cache: Path,
    report: Report | None = None,
    jobs: int = 1,
) -> WindowSet:
    """Load the windows of all trials with this modality, in natural order of (subject, trial), not of the rows.

    ``report(done, total)`` is called after each trial that is read; a set that is in the cache is not read again. Up to
    ``jobs`` processes read, as many as fit into :data:`~eavdash.data.readers.pool.MEMORY`; the arrays are the same.
    ``meta["key"]`` identifies the content: equal keys mean equal arrays. ``meta["facts"]`` has the reader's facts about
    trials: [subject, trial, facts].

    Raises:
        DataError: no trial has the modality, the recordings do not match or changed while they were read, or the cache
            cannot be written or lacks disk space.
        RecordingError: a recording cannot be read; the message names it.
    """
    with ReaderPool(jobs) as pool:
        return make_windows(window_set_spec(trials, modality, config, cache, jobs), pool, report)


def unreadable_trials(
    trials: pd.DataFrame, modality: str, config: StudyConfig, cache: Path
) -> dict[tuple[str, str], RecordingError]:
    """Read each trial alone, and return those that cannot be read: (subject, trial) → why.

    For trials that :func:`load_windows` has refused together; nothing is written.

    Raises:
        OutsideError: a file may not be read.
    """
    found: dict[tuple[str, str], RecordingError] = {}
    recorded = trials[trials[COLUMN[modality]] != ""]
    for place in range(len(recorded)):
        row = recorded.iloc[[place]]
        try:
            spec = window_set_spec(row, modality, config, cache)
            with naming_trial(spec.rows[0]):
                spec.prepare()
                reading = spec.reader.read(spec.rows[0], spec.spans[0])
                _check(reading, spec.rows[0], spec.reader, spec.spans[0][-1][1])
        except OutsideError:
            raise
        except RecordingError as error:
            found[str(row["subject"].iloc[0]), str(row["trial"].iloc[0])] = error
    release()
    return found


def make_windows(spec: WindowSetSpec, pool: ReaderPool, report: Report | None = None) -> WindowSet:
    """Return the window set of ``spec``, read by ``pool`` if it is not in the cache.

    Raises:
        DataError, RecordingError: as :func:`load_windows`.
    """

    def write(folder: Path) -> None:
        try:
            _write(folder, spec, pool, report)
        finally:
            release()

    return cached(spec.cache, KIND, spec.key, write, lambda folder: _read(folder, spec))


def _read(folder: Path, spec: WindowSetSpec) -> WindowSet:
    """The arrays of ``folder`` with the names and labels of the requested trials."""
    made = read_record(folder / "meta.json", WindowSetRecord, "delete the folder, it will be made again")
    values, mask, spans = (open_array(folder / f"{name}.npy") for name in ("values", "mask", "spans"))
    try:
        meta = {**made.axes, "key": spec.key}
        meta["facts"] = [[spec.rows[n].subject, spec.rows[n].trial, facts] for n, facts in made.facts]
        index = _index(spec.rows, spans)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise IntegrityError.at(
            folder, expected="a window set", found=str(error), remedy="delete it, it will be made again"
        ) from error
    if not len(values) == len(mask) == len(index):
        raise IntegrityError.at(
            folder, expected=f"{len(index)} windows", found=f"{len(values)}", remedy="delete it, it will be made again"
        )
    return WindowSet(spec.modality, index, values, mask, meta)


def _index(rows: Sequence[TrialRow], spans: np.ndarray) -> pd.DataFrame:
    """One row per window; ``spans`` (window, 3): number of the trial in ``rows``, start, stop."""
    place = np.asarray(spans[:, 0], dtype=np.int64)
    first = np.searchsorted(place, place)  # of the trial's windows, which are consecutive
    names = {name: np.array([getattr(row, name) for row in rows], dtype=object)[place] for name in INDEX_COLUMNS[:4]}
    index = pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in names.items()})
    return index.assign(window=np.arange(len(place)) - first, start=spans[:, 1], stop=spans[:, 2])


def _write(folder: Path, spec: WindowSetSpec, pool: ReaderPool, report: Report | None) -> None:
    reader, rows, spans = spec.reader, spec.rows, spec.spans
    spec.prepare()
    check_disk_space(spec.cache, spec.bytes)
    facts: list[tuple[int, dict[str, Any]]] = []
    with ExitStack() as stack:

        def array(name: str, shape: tuple[int, ...], dtype: Any) -> ArrayWriter:
            return stack.enter_context(ArrayWriter(folder / f"{name}.npy", (spec.count, *shape), dtype))

        values, mask = array("values", reader.shape, reader.dtype), array("mask", (reader.steps,), bool)
        places = array("spans", (3,), np.float64)
        readings = stack.enter_context(closing(_readings(spec, pool)))
        for place, row in enumerate(rows):
            with naming_trial(row):
                reading = next(readings)
                _check(reading, row, reader, spans[place][-1][1])
            values.append(reading.values)
            mask.append(reading.mask)
            places.append(np.array([(place, *span) for span in spans[place]], dtype=np.float64))
            if reading.facts:
                facts.append((place, reading.facts))
            if report is not None:
                report(place + 1, len(rows))
    _check_unchanged(spec)
    write_record(folder / "meta.json", WindowSetRecord(axes=reader.meta, facts=tuple(facts), about=_about(spec)))


def _readings(spec: WindowSetSpec, pool: ReaderPool) -> Generator[Reading]:
    """The trials' readings in order, read in this process or by the pool, as memory allows."""
    reader, tasks = spec.reader, list(zip(spec.rows, spec.spans, strict=True))
    result = max(map(len, spec.spans)) * spec.window_bytes
    jobs = jobs_within(min(pool.jobs, len(tasks)), reader.bytes_of(spec.longest), result)
    if jobs > 1:
        yield from pool.read(reader, tasks, jobs)
    else:
        reader.threads = pool.jobs
        for row, tiles in tasks:
            yield reader.read(row, tiles)


def _check(reading: Reading, row: TrialRow, reader: Reader, stop: float) -> None:
    there = reading.mask.any(axis=1)
    if not (there.any() if reader.gaps else there.all()):
        raise RecordingError.at(
            row.path,
            expected=f"enough of a recording for one step of {reader.modality}",
            found=f"{stop:.3f} s",
            remedy="leave the trial out or correct its start and stop",
        )


def _check_unchanged(spec: WindowSetSpec) -> None:
    """Check that the files still have their digests: one may have been copied or modified during reading."""
    seen: set[str] = set()
    with Digests(spec.cache) as known:
        for row, (digest, _, _) in zip(spec.rows, spec.contents, strict=True):
            file = split_item(row.path)[0]
            if file in seen:
                continue
            seen.add(file)
            with naming_trial(row):
                if known.of(file) != digest:
                    raise RecordingError.at(
                        file,
                        expected="a file that does not change while it is read",
                        found="other content than before",
                        remedy="wait until it has been copied, then try again",
                    )


def _about(spec: WindowSetSpec) -> AboutWindows:
    rows = spec.rows
    return AboutWindows(
        modality=spec.modality,
        dataset=commonpath([Path(split_item(row.path)[0]).absolute().parent for row in rows]),
        subjects=tuple(dict.fromkeys(row.subject for row in rows)),
        trials=len(rows),
        windows=spec.count,
        settings={"window": spec.window, **spec.reader.settings},
        made=time.time(),
    )
