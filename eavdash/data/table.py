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
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN, MODALITIES
from eavdash.config.schema import StudyConfig
from eavdash.data.adapters import KINDS, adapt
from eavdash.data.adapters.base import DEPTH, check_name, listing
from eavdash.data.formats.tablefile import check_frame, read_table
from eavdash.data.recording import split_item
from eavdash.errors import ConfigError, EavdashError, OutsideError, TableError, UsageError, sentence
from eavdash.limits import HEADER_BYTES
from eavdash.store.readable import check_readable, data_folders, is_readable, open_readable
from eavdash.text import natural_key, natural_order

FILE_COLUMNS = ("eeg", "audio", "video")
_FILES = ("trials.csv", "trials.parquet")
#: Expectation in the sentence of :func:`missing_file`.
NAMED_RECORDING = "the recording named in the trial table"


@dataclass(frozen=True, eq=False)
class TrialTable:
    """Trials of one dataset.

    ``frame``: one row per trial in natural order of (subject, trial); columns subject, trial, label, group (text; the
    trial's own name where the table gives no group), start, stop (seconds, NaN = whole file), eeg, audio, video
    (absolute path as text, "" = not recorded; ``x.mat#41`` is item 41 of a file with many), then further columns as
    text. ``kind``: "table", "eav", "eav-pickles", "bids", "deap" or the kind of an external adapter. ``problems``: for
    each unusable subject, one sentence; its known rows stay in ``frame`` until :func:`select`.
    """

    frame: pd.DataFrame
    root: Path
    kind: str
    simulated: bool = False
    notes: tuple[str, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)

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


def file_of(entry: str) -> str:
    """The file that an entry of a path column names: ``x.mat`` for ``x.mat#41``."""
    return split_item(entry)[0]


def open_table(path: str | Path) -> TrialTable:
    """Open the trial table of a dataset folder or table file; a table in the folder takes precedence over adapters.

    Raises:
        OutsideError: it may not be read.
        TableError: there is nothing usable, or the table is unreadable, empty, incomplete or ambiguous.
    """
    path = Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 -- Path.expanduser raises if there is no such user
    check_name(path)
    check_readable(path)
    with listing(path):
        source = next((p for p in (path, *(path / n for n in _FILES)) if p.is_file()), None)
        if source is None and path.exists():
            with os.scandir(path):  # a folder that cannot be listed is not an empty one
                pass
    if source is not None:
        return _finish(read_table(source), source.parent, "table", {}, [], (source.parent,))
    if not path.exists():
        raise TableError.at(path, expected="a dataset folder or a trial table", found="nothing", remedy="fix the path")
    if (adapted := adapt(path)) is None:
        raise TableError.at(
            path,
            expected=f"{_FILES[0]} or a dataset of a known kind ({KINDS}) at most {DEPTH} levels down",
            found="neither",
            remedy="give the folder of all subjects or a trial table (see docs/adapters.md)",
        )
    kind, root, content = adapted
    frame = check_frame(root, content.frame)
    if not len(frame) and not content.problems:
        raise TableError.at(root, expected=f"trials ({kind})", found="none", remedy="copy the dataset again")
    return _finish(frame, root, kind, dict(content.problems), list(content.notes), (root, path))


def expected_recordings(table: TrialTable) -> dict[str, pd.Series]:
    """For each modality, a bool per row: True if the trial should have it, which all should if any does.

    All of EAV's trials have EEG and video, and speaking trials have sound.
    """
    frame, eav = table.frame, table.kind == "eav"
    wanted = {m: pd.Series(eav or bool((frame[COLUMN[m]] != "").any()), frame.index, bool) for m in MODALITIES}
    if eav:
        wanted["audio"] = frame["condition"] == "Speaking"
    return wanted


def select(
    table: TrialTable, config: StudyConfig, subjects: Sequence[str] = (), unchecked: Collection[str] = ()
) -> TrialTable:
    """Select the trials of a study: those that match ``config.where``, of ``subjects`` (all if empty) that are usable.

    With ``audio.from_video``, a trial without a sound file uses its video's sound track.

    ``problems`` of the result are those of the chosen subjects in the configured modalities: a missing video does not
    exclude a subject from a study of sounds. The files of the subjects ``unchecked`` may be missing.

    Raises:
        UsageError: a subject is not in the table, or a filter is not ``column=value`` (or ``column=value|other``) of a
            column of the table.
        TableError: nothing is left.
    """
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
        frame = _filtered(frame, table, condition)
    if config.audio.from_video:
        frame = with_sound_tracks(frame)
    everywhere = _missing_files(table.frame[table.frame["subject"].isin(list(table.problems))], FILE_COLUMNS)
    problems = {s: text for s, text in table.problems.items() if everywhere.get(s) != text}
    present = frame[~frame["subject"].isin(list(unchecked))]
    for subject, text in _missing_files(present, [COLUMN[m] for m in config.modalities]).items():
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
    return replace(table, frame=usable.reset_index(drop=True), problems=problems)


def fingerprint(table: TrialTable) -> dict[str, str]:
    """Per subject a hash of its rows (paths relative to the root) and its files' sizes, without their time stamps."""
    sizes: dict[str, int] = {}
    lines: dict[str, list[list[Any]]] = {}
    names = ("subject", "trial", "label", "group", *FILE_COLUMNS, "start", "stop")
    prefix = f"{table.root}/"
    for subject, *cells in zip(*(table.frame[c].to_numpy(dtype=object) for c in names), strict=True):
        for n in (3, 4, 5):
            if entry := cells[n]:
                file = file_of(entry)
                if file not in sizes:
                    sizes[file] = _size(file)
                cells[n] = [entry.removeprefix(prefix), sizes[file]]
        lines.setdefault(subject, []).append([*cells[:6], *(None if pd.isna(time) else time for time in cells[6:])])
    return {s: hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] for s, rows in lines.items()}


def missing_file(path: str) -> str:
    """The sentence about a recording in the table that is missing on disk, not accessible, or that may not be read."""
    found = "no file"
    try:
        check_readable(path)
    except OutsideError as error:
        return str(error)
    try:
        found = found if S_ISREG(Path(path).stat().st_mode) else "a folder, a pipe or a device"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
    return sentence(path, NAMED_RECORDING, found, "copy the file there or correct the table")


def _finish(
    frame: pd.DataFrame, root: Path, kind: str, problems: dict[str, str], notes: list[str], marked: Iterable[Path]
) -> TrialTable:
    frame["group"] = frame["group"].where(frame["group"] != "", frame["trial"])
    for column in FILE_COLUMNS:
        frame[column] = [_absolute(root, entry) for entry in frame[column].to_numpy(dtype=object)]
    texts = [c for c in frame.columns if c not in ("start", "stop")]
    frame = natural_sort(frame.astype({**dict.fromkeys(texts, "str"), "start": "float64", "stop": "float64"}))
    empty = frame[(frame[list(FILE_COLUMNS)] == "").all(axis=1)]
    if len(empty):
        first = empty.iloc[0]
        notes = [*notes, f"{root}: {len(empty)} trials without a recording, first {first['subject']}/{first['trial']}"]
    for subject, text in _missing_files(frame, FILE_COLUMNS).items():
        problems.setdefault(subject, text)
    simulated = any(_simulated(folder) for folder in marked)
    return TrialTable(frame, root, kind, simulated, tuple(notes), {s: problems[s] for s in natural_order(problems)})


def _absolute(root: Path, entry: str) -> str:
    plain = (
        entry.startswith("/") and "//" not in entry and "/./" not in entry
    )  # fast path: a table of all of EAV has 20,000 paths
    return entry if plain or not entry else str(root / entry)


def with_sound_tracks(frame: pd.DataFrame) -> pd.DataFrame:
    """Use the video as sound where there is no sound file; items of an array file have no sound track."""
    silent = (frame["audio"] == "") & frame["video"].map(lambda entry: bool(entry) and split_item(entry)[1] is None)
    return frame.assign(audio=frame["audio"].where(~silent, frame["video"]))


def _missing_files(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """Per subject, a sentence about the first missing file and the number of further ones.

    A file that may not be read counts as missing.
    """
    there: dict[str, bool] = {}
    restricted, folders = data_folders() is not None, dict[str, bool]()
    missing: dict[str, list[str]] = {}
    for column in columns:
        cells = (frame[c].to_numpy(dtype=object) for c in ("subject", column))
        for subject, entry in zip(*cells, strict=True):
            file = file_of(entry)
            if file and file not in there:
                may = not restricted or is_readable(file, folders)
                there[file] = may and os.path.isfile(file)  # noqa: PTH113 -- returns False instead of raising
            if file and not there[file]:
                files = missing.setdefault(subject, [])
                if file not in files:
                    files.append(file)
    return {
        subject: missing_file(files[0]) + (f" ({len(files) - 1} more are missing.)" if len(files) > 1 else "")
        for subject, files in missing.items()
    }


def _filtered(frame: pd.DataFrame, table: TrialTable, condition: str) -> pd.DataFrame:
    if condition == "auto":
        return frame[frame["condition"] == "Speaking"] if table.kind == "eav" else frame
    column, equals, value = (part.strip() for part in condition.partition("="))
    columns = [c for c in frame.columns if c not in ("start", "stop", *FILE_COLUMNS)]
    if not equals or column not in columns:
        raise ConfigError.at(
            f"where {condition!r}",
            expected=f"column=value with a column among {', '.join(columns)}",
            found=repr(column),
            remedy="change the filter",
        )
    return frame[frame[column].isin({value, *(part.strip() for part in value.split("|"))})]


def _simulated(folder: Path) -> bool:
    try:
        with open_readable(folder / "truth.json") as file:
            truth = json.loads(file.read(HEADER_BYTES))
    except (OSError, ValueError, RecursionError, EavdashError):
        return False
    return isinstance(truth, dict) and truth.get("simulated") is True


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return -1
