"""The trial table: every dataset as one row per trial, the only form that the rest of the program uses.

In: a table (``trials.csv`` or ``.parquet``: subject, trial, label, and at least one of eeg, audio, video; group, start
and stop where needed; any further column), a folder with such a table, or a folder that an adapter recognises: EAV's
folders at any level, EAV's published pickles, BIDS, DEAP, and those of other packages (:mod:`eavdash.data.adapters`).
Out: a :class:`TrialTable`. Everything but start and stop is text: trial "2" is "2" and subject "01" stays "01".

Faults of the table itself raise errors. Faults of one subject's files are kept in :attr:`TrialTable.problems`, so that
the other subjects can be used; :func:`select` leaves such subjects out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN, MODALITIES
from eavdash.config.limits import HEADER_BYTES
from eavdash.config.schema import NamesConfig, StudyConfig
from eavdash.data.adapters import KINDS, adapt
from eavdash.data.adapters.base import DEPTH, check_name, listing
from eavdash.data.formats.columns import CLOCK_COLUMNS, CLOCKS
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.formats.tablefile import check_frame, read_table
from eavdash.data.named_files import COPY_OR_CORRECT, absolute, file_of, folders_with, missing_files, with_slashes
from eavdash.data.recording import samples_file, split_item
from eavdash.data.segments import own_times
from eavdash.data.spelling import respelled, spell, spellings
from eavdash.errors import ConfigError, EavdashError, TableError, UsageError
from eavdash.store.names import expanded
from eavdash.store.readable import check_readable, open_readable
from eavdash.text import natural_key, natural_order

FILE_COLUMNS = ("eeg", "audio", "video")
_FILES = ("trials.csv", "trials.parquet")
#: Tables that are read only where no adapter recognises their folder: earlier versions knew only :data:`_FILES`.
_FURTHER_FILES = ("trials.xlsx", "trials.tsv", "trials.txt")


@dataclass(frozen=True, eq=False)
class TrialTable:
    """Trials of one dataset.

    ``frame``: one row per trial in natural order of (subject, trial); columns subject, trial, label, group (text; the
    trial's own name where the table gives no group), start, stop (seconds, NaN = whole file), eeg, audio, video
    (absolute path as text, "" = not recorded; ``x.mat#41`` is item 41 of a file with many), then further columns as
    text, except recordings' own times (:mod:`eavdash.data.segments`). ``kind``: "table", "eav", "eav-pickles", "bids",
    "deap" or the kind of an external adapter. ``problems``: for each unusable subject, one sentence; its known rows
    stay in ``frame`` until :func:`select`. ``faults``: subject → modality → sentence, where only these modalities of a
    subject of ``problems`` are unusable. ``remedy``: what to do about a recording that is no longer there.
    """

    frame: pd.DataFrame
    root: Path
    kind: str
    simulated: bool = False
    notes: tuple[str, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)
    faults: dict[str, dict[str, str]] = field(default_factory=dict)
    remedy: str = COPY_OR_CORRECT

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in natural order."""
        return natural_order(self.frame["label"])

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects that have rows, in natural order."""
        return natural_order(self.frame["subject"])


def natural_sort(frame: pd.DataFrame, columns: Sequence[str] = ("subject", "trial")) -> pd.DataFrame:
    """The rows in natural order of ``columns``, numbered from 0."""
    cells = (frame[c].to_numpy(dtype=object) for c in columns)
    keys = [tuple(map(natural_key, row)) for row in zip(*cells, strict=True)]
    return frame.iloc[sorted(range(len(frame)), key=keys.__getitem__)].reset_index(drop=True)


def open_table(path: str | Path) -> TrialTable:
    """Open the trial table of a dataset folder or table file; a table in the folder takes precedence over adapters.

    Raises:
        OutsideError: it may not be read.
        TableError: there is nothing usable, or the table is unreadable, empty, incomplete or ambiguous.
    """
    path = expanded(path).absolute()
    check_name(path)
    check_readable(path)
    with listing(path):
        source = next((p for p in (path, *(path / n for n in _FILES)) if p.is_file()), None)
        if source is None and path.exists():
            with os.scandir(path):  # a folder that cannot be listed is not an empty one
                pass
    if source is None and not path.exists():
        raise TableError.at(path, expected="a dataset folder or a trial table", found="nothing", remedy="fix the path")
    adapted = adapt(path) if source is None else None
    if adapted is None and source is None:
        source = next((p for p in (path / n for n in _FURTHER_FILES) if p.is_file()), None)
    if source is not None:
        frame, notes = read_table(source)
        return _finish(frame, source.parent, "table", {}, list(notes), (source.parent,))
    if adapted is None:
        raise TableError.at(
            path,
            expected=f"{_FILES[0]} or a dataset of a known kind ({KINDS}) at most {DEPTH} levels down",
            found="neither",
            remedy=folders_with(path, _FILES) or "give the folder of all subjects or a trial table (docs/adapters.md)",
        )
    kind, root, content = adapted
    frame = check_frame(root, content.frame)
    if not len(frame) and not content.problems:
        raise TableError.at(root, expected=f"trials ({kind})", found="none", remedy="copy the dataset again")
    made = _finish(frame, root, kind, dict(content.problems), list(content.notes), (root, path))
    return replace(made, faults={s: dict(of) for s, of in content.faults.items()})


def expected_recordings(table: TrialTable) -> dict[str, pd.Series]:
    """For each modality, a bool per row: True if the trial should have it, which all should if any does.

    All of EAV's trials have EEG and video, and speaking trials have sound.
    """
    frame, eav = table.frame, table.kind == "eav"
    wanted = {m: pd.Series(eav or bool((frame[COLUMN[m]] != "").any()), frame.index, bool) for m in MODALITIES}
    if eav:
        wanted["audio"] = frame["condition"] == "Speaking"
    return wanted


def spelled(table: TrialTable, names: NamesConfig) -> TrialTable:
    """Return the table with labels, subjects and groups written as ``names`` demands.

    Raises:
        TableError: a trial of two subjects that become one has the same name.
    """
    frame = respelled(table.frame, names)
    subjects = {s: spell(s, names.subjects) for s in table.problems}
    if frame is table.frame and all(s == new for s, new in subjects.items()):
        return table
    missing = missing_files(table.frame, FILE_COLUMNS)
    problems = {subjects[s]: text for s, text in table.problems.items() if missing.get(s) != text}
    frame = natural_sort(frame)
    problems = missing_files(frame, FILE_COLUMNS) | problems
    return replace(table, frame=frame, problems={s: problems[s] for s in natural_order(problems)})


def select(
    table: TrialTable, config: StudyConfig, subjects: Sequence[str] = (), unchecked: Collection[str] = ()
) -> TrialTable:
    """Select the trials of a study: those that match ``config.where``, of ``subjects`` (all if empty) that are usable.

    Names are written as ``config.names`` demands, here and in the result. With ``audio.from_video``, a trial without a
    sound file uses its video's sound track.

    ``problems`` of the result are those of the chosen subjects in the configured modalities: a missing video or damaged
    EEG does not exclude a subject from a study of sounds. The files of the subjects ``unchecked`` may be missing.

    Raises:
        UsageError: a subject is not in the table, or a filter is not ``column=value`` (or ``column=value|other``) of a
            column of the table.
        TableError: nothing is left.
    """
    table = spelled(table, config.names)
    subjects = list(dict.fromkeys(spell(s, config.names.subjects) for s in subjects))
    known = natural_order([*table.subjects, *table.problems])
    unknown = [s for s in subjects if s not in known]
    if unknown:
        raise UsageError.at(
            table.root,
            expected=f"subjects among {', '.join(known)}",
            found=", ".join(unknown),
            remedy="choose from these",
        )
    frame = table.frame
    wanted = set(subjects or known)
    frame = frame[frame["subject"].isin(wanted)]
    for condition in config.where:
        frame = _filtered(frame, table, condition, config.names)
    if config.audio.from_video:
        frame = with_sound_tracks(frame)
    everywhere = missing_files(table.frame[table.frame["subject"].isin(list(table.problems))], FILE_COLUMNS)
    problems = {s: text for s, text in table.problems.items() if everywhere.get(s) != text and s not in table.faults}
    read = {"vision", *config.modalities} if config.audio.from_video else set(config.modalities)
    problems |= {s: next(f[m] for m in f if m in read) for s, f in table.faults.items() if read & set(f)}
    present = frame[~frame["subject"].isin(list(unchecked))]
    for subject, text in missing_files(present, [COLUMN[m] for m in config.modalities], table.remedy).items():
        problems.setdefault(subject, text)
    problems = {s: problems[s] for s in natural_order(problems) if s in wanted}
    usable = frame[~frame["subject"].isin(list(problems))]
    if usable.empty and problems:
        subject, text = next(iter(problems.items()))
        raise TableError(text if len(problems) == 1 else f"{text} ({len(problems) - 1} more subjects have problems.)")
    if usable.empty:
        where = " and ".join(config.where) or "anything"
        raise TableError.at(
            table.root,
            expected=f"trials of subjects {', '.join(natural_order(wanted))} where {where}",
            found=f"none among {len(table.frame)} trials",
            remedy="relax the filter or choose other subjects",
        )
    return replace(table, frame=usable.reset_index(drop=True), problems=problems, faults={})


def fingerprint(table: TrialTable) -> dict[str, str]:
    """Per subject a hash of its rows (paths relative to the root) and its files' sizes, without their time stamps."""
    sizes: dict[str, int] = {}
    lines: dict[str, list[list[Any]]] = {}
    names = ("subject", "trial", "label", "group", *FILE_COLUMNS, "start", "stop")
    prefix = f"{table.root}/"
    own = own_times(table.frame)
    for subject, *cells in zip(*(table.frame[c].to_numpy(dtype=object) for c in (*names, *own)), strict=True):
        for n in (3, 4, 5):
            if entry := cells[n]:
                file = file_of(entry)
                if file not in sizes:
                    sizes[file] = _size(file)
                cells[n] = [entry.removeprefix(prefix), sizes[file]]
        times = [None if pd.isna(time) else time for time in cells[6:]]
        further = {name: time for name, time in zip(own, times[2:], strict=True) if time is not None}
        lines.setdefault(subject, []).append([*cells[:6], *times[:2], *([further] if further else [])])
    return {s: hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] for s, rows in lines.items()}


def _finish(
    frame: pd.DataFrame, root: Path, kind: str, problems: dict[str, str], notes: list[str], marked: Iterable[Path]
) -> TrialTable:
    frame["group"] = frame["group"].where(frame["group"] != "", frame["trial"])
    for column in FILE_COLUMNS:
        frame[column] = [absolute(root, entry) for entry in frame[column].to_numpy(dtype=object)]
        if kind == "table":
            frame[column] = [with_slashes(entry) for entry in frame[column].to_numpy(dtype=object)]
    times = [c for c in frame.columns if c in ("start", "stop", *CLOCK_COLUMNS)]
    texts = [c for c in frame.columns if c not in times]
    frame = natural_sort(frame.astype({**dict.fromkeys(texts, "str"), **dict.fromkeys(times, "float64")}))
    empty = frame[(frame[list(FILE_COLUMNS)] == "").all(axis=1)]
    if len(empty):
        first = empty.iloc[0]
        notes = [*notes, f"{root}: {len(empty)} trials without a recording, first {first['subject']}/{first['trial']}"]
    for subject, text in missing_files(frame, FILE_COLUMNS).items():
        problems.setdefault(subject, text)
    simulated = any(_simulated(folder) for folder in marked)
    return TrialTable(frame, root, kind, simulated, tuple(notes), {s: problems[s] for s in natural_order(problems)})


def with_sound_tracks(frame: pd.DataFrame) -> pd.DataFrame:
    """Use the video as sound where there is no sound file; items of an array file and tables have no sound track."""
    silent = (frame["audio"] == "") & frame["video"].map(_has_track)
    columns = {"audio": frame["audio"].where(~silent, frame["video"])}
    own = own_times(frame)
    for name, of_video in zip(CLOCKS["audio"], CLOCKS["video"], strict=True):
        # The track has the clock of its video.
        if name in own or of_video in own:
            here, there = (frame[c] if c in own else pd.Series(math.nan, frame.index) for c in (name, of_video))
            columns[name] = here.where(~silent, there)
    return frame.assign(**columns)


def _has_track(entry: str) -> bool:
    return bool(entry) and split_item(entry)[1] is None and not is_feature_table(entry)


def _filtered(frame: pd.DataFrame, table: TrialTable, condition: str, names: NamesConfig) -> pd.DataFrame:
    if condition == "auto":
        return frame[frame["condition"] == "Speaking"] if table.kind == "eav" else frame
    column, equals, value = (part.strip() for part in condition.partition("="))
    columns = [c for c in frame.columns if c not in ("start", "stop", *own_times(frame), *FILE_COLUMNS)]
    if not equals or column not in columns:
        raise ConfigError.at(
            f"where {condition!r}",
            expected=f"column=value with a column among {', '.join(columns)}",
            found=repr(column),
            remedy="change the filter",
        )
    how = spellings(names).get(column, "written")
    return frame[frame[column].isin({spell(part.strip(), how) for part in (value, *value.split("|"))})]


def _simulated(folder: Path) -> bool:
    try:
        with open_readable(folder / "truth.json") as file:
            truth = json.loads(file.read(HEADER_BYTES))
    except (OSError, ValueError, RecursionError, EavdashError):
        return False
    return isinstance(truth, dict) and truth.get("simulated") is True


def _size(file: str) -> int:
    try:
        return samples_file(file).stat().st_size
    except OSError:
        return -1
