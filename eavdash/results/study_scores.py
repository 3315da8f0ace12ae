"""The trials of a study's finished runs, read once per process and again only where a run has changed.

In: a :class:`~eavdash.store.StudyDir`. Out: a :class:`~eavdash.results.scored.Scored`. A run costs one small file
(:mod:`eavdash.results.trial_scores`) when it is new, and the times and sizes of its files otherwise.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from eavdash.errors import EavdashError
from eavdash.results.reading import problem_of
from eavdash.results.scored import Column, Scored
from eavdash.results.trial_scores import RunScores, read_scores
from eavdash.store import RunDir, StudyDir

#: Studies that a process remembers; the least recently used ones are read again.
REMEMBERED = 8

_SOME_RUN = RunDir(Path("run"))
#: Names of the files on which a run's scores depend.
_FILES = tuple(
    file.name
    for file in (
        _SOME_RUN.status_file,
        _SOME_RUN.config_file,
        _SOME_RUN.predictions_file,
        _SOME_RUN.baselines_file,
        _SOME_RUN.scores_file,
    )
)

Stamps = tuple[tuple[int, int, int], ...]


@dataclass
class _Memory:
    """The files of one study that this process has read."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    stamps: dict[str, Stamps] = field(default_factory=dict)
    verified: bool = False
    found: dict[str, RunScores | str] = field(default_factory=dict)  # a run's table, or why it cannot be used
    made: Scored | None = None


_memories: OrderedDict[str, _Memory] = OrderedDict()
_memories_lock = threading.Lock()


def read(study: StudyDir, verify: bool = True) -> Scored:
    """Return the trials of all finished runs; only runs whose files have changed are read again.

    ``verify``: compare the checksums of all prediction files, not only their sizes, as pages do.
    """
    with _memories_lock:
        memory = _memories.setdefault(str(study.path), _Memory())
        _memories.move_to_end(str(study.path))
        while len(_memories) > REMEMBERED:
            _memories.popitem(last=False)
    with memory.lock:
        runs = study.runs()
        stamps = {run.name: _stamps(run) for run in runs}
        if verify and not memory.verified:
            memory.stamps, memory.found, memory.made, memory.verified = {}, {}, None, True
        if memory.made is not None and stamps == memory.stamps:
            return memory.made
        for run in runs:
            if stamps[run.name] != memory.stamps.get(run.name):
                memory.found.pop(run.name, None)
                if (found := _read(run, memory.verified)) is not None:
                    memory.found[run.name] = found
        memory.found = {name: memory.found[name] for name in stamps if name in memory.found}
        memory.stamps = stamps
        memory.made = _joined(study.name, memory)
        return memory.made


def _stamps(run: RunDir) -> Stamps:
    folder = str(run.path)
    return tuple(_stamp(f"{folder}/{name}") for name in _FILES)


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        found = os.stat(file)  # noqa: PTH116 - called for each of thousands of files
    except OSError:
        return -1, -1, -1
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(run: RunDir, verify: bool) -> RunScores | str | None:
    """Return a run's table, or why it cannot be used; None while it is not done."""
    try:
        status = run.status()
        if status.state != "done":
            return None
        found = read_scores(run, status, verify)
        honest = status.honest_accuracy
        return found if honest is None else replace(found, epochs=(status.accuracy or 0.0, honest))
    except (EavdashError, KeyError) as error:
        return problem_of(run, error)


def _joined(study: str, memory: _Memory) -> Scored:
    """Join the runs' tables, and let the memory hold views of the whole instead of them."""
    tables = {name: found for name, found in memory.found.items() if isinstance(found, RunScores)}
    problems = {name: found for name, found in memory.found.items() if isinstance(found, str)}
    beside = {name: found.problem for name, found in tables.items() if found.problem}
    if not tables:
        return Scored(study, _EMPTY, Column(np.zeros(0, np.int64), ()), problems, beside)
    whole = pa.concat_tables([t.table.replace_schema_metadata() for t in tables.values()], promote_options="default")
    whole = whole.combine_chunks()
    sizes = [found.table.num_rows for found in tables.values()]
    for (name, found), start in zip(tables.items(), np.cumsum([0, *sizes]), strict=False):
        memory.found[name] = replace(found, table=whole.slice(int(start), found.table.num_rows))
    run = np.repeat(np.arange(len(tables)), sizes)
    unread = tuple(sorted({pair for found in tables.values() for pair in found.unread}))
    epochs = {name: (found.stage, *found.epochs) for name, found in tables.items() if found.epochs}
    scored = Scored(study, whole, Column(run, tuple(tables)), problems, beside, unread, epochs)
    keep = _majority_once(scored, tables) & ~_is_unread(scored, unread)
    if keep.all():
        return scored
    kept = whole.filter(pa.array(keep))
    return Scored(study, kept, Column(run[keep], tuple(tables)), problems, beside, unread, epochs)


def _majority_once(scored: Scored, tables: dict[str, RunScores]) -> np.ndarray:
    """Return the rows to keep: the majority baseline of a fusion, or else of the first encoder of its scope."""
    fused = {found.scope for found in tables.values() if found.stage == "fusion" and found.baselines}
    first: dict[tuple[str, int, int], str] = {}
    for name, found in tables.items():
        if found.stage != "fusion" and found.scope not in fused:
            first.setdefault(found.scope, name)
    its = [found.stage == "fusion" or first.get(found.scope) == name for name, found in tables.items()]
    is_majority = np.array([text == "majority" for text in scored.stage.texts], bool)[scored.stage.code]
    return np.asarray(~is_majority | np.array(its, bool)[scored.runs.code])


def _is_unread(scored: Scored, unread: Sequence[tuple[str, str]]) -> np.ndarray:
    gone = np.zeros(scored.table.num_rows, bool)
    subjects, trials = scored.subject.texts, scored.trial.texts
    for subject, trial in unread:  # all stages of a subject are compared on the same trials
        if subject in subjects and trial in trials:
            gone |= (scored.subject.code == subjects.index(subject)) & (scored.trial.code == trials.index(trial))
    return gone


_EMPTY = pa.table(
    {
        **{
            name: pa.array([], pa.string())
            for name in ("stage", "split", "subject", "trial", "group", "label", "predicted")
        },
        **{name: pa.array([], pa.int32()) for name in ("fold", "seed", "windows")},
        **{name: pa.array([], pa.list_(pa.int16())) for name in ("windows_predicted", "frames_predicted")},
    }
)
