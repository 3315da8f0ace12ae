"""The trial table: every dataset as one row per trial, the only form in which the rest of the program sees it.

In: a table (``trials.csv`` or ``.parquet``: subject, trial, label, and at least one of eeg, audio, video; group, start
and stop where needed; any further column), a folder with such a table, or a folder with EAV's subjects at any level.
Out: a :class:`TrialTable`. Everything but start and stop is text: trial "2" is "2" and subject "01" stays "01".

What is wrong with the table itself is an error. What is wrong with one subject's files is kept in
:attr:`TrialTable.problems`, so that the other subjects can be used; :func:`select` leaves such subjects out.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from eavdash.config import COLUMN, StudyConfig
from eavdash.data import eav
from eavdash.data.tablefile import read_table
from eavdash.errors import ConfigError, TableError, UsageError, sentence

FILE_COLUMNS = ("eeg", "audio", "video")
_FILES = ("trials.csv", "trials.parquet")


@dataclass(frozen=True, eq=False)
class TrialTable:
    """Trials of one dataset.

    ``frame``: one row per trial in natural order of (subject, trial); columns subject, trial, label, group (text; the
    trial's own name where the table gives no group), start, stop (seconds, NaN = whole file), eeg, audio, video
    (absolute path as text, "" = not recorded; ``x.mat#41`` is trial 41 of an EAV file), then further columns as text.
    ``kind``: "eav" or "table". ``problems``: for each subject that cannot be used, one sentence; its rows, as far as
    known, stay in ``frame`` until :func:`select`.
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
        return natural(self.frame["label"])

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects that have rows, in natural order."""
        return natural(self.frame["subject"])


@functools.lru_cache(maxsize=100_000)
def natural_key(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A sort key by which "2" comes before "10" and "s2" before "s10"; different texts never compare equal."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(p), "") if "0" <= p[0] <= "9" else (1, 0, p.casefold()) for p in parts), text


def natural(texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct texts in natural order."""
    return tuple(sorted({str(t) for t in texts}, key=natural_key))


def natural_sort(frame: pd.DataFrame, columns: Sequence[str] = ("subject", "trial")) -> pd.DataFrame:
    """The rows in natural order of ``columns``, numbered from 0."""
    keys = [tuple(map(natural_key, row)) for row in zip(*(frame[c] for c in columns), strict=True)]
    return frame.iloc[sorted(range(len(frame)), key=keys.__getitem__)].reset_index(drop=True)


def file_of(entry: str) -> str:
    """The file that an entry of a path column names: ``x.mat`` for ``x.mat#41``."""
    return re.sub(r"(?i)(\.mat)#\d+$", r"\1", entry)


def open_table(path: str | Path) -> TrialTable:
    """The trial table of a dataset folder or table file.

    Raises:
        TableError: nothing usable is there, or the table is unreadable, empty, incomplete or ambiguous.
    """
    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise TableError.at(path, expected="a dataset folder or a trial table", found="nothing", remedy="mend the path")
    source = path if path.is_file() else next((path / n for n in _FILES if (path / n).is_file()), None)
    if source is not None:
        return _finish(read_table(source), source.parent, "table", {}, [], (source.parent,))
    root = eav.eav_root(path)
    if root is None:
        raise TableError.at(
            path,
            expected=f"{_FILES[0]} or EAV's folders subject1, subject2, ... (at most {eav.DEPTH} levels down)",
            found="neither",
            remedy="point at the dataset's folder or at a trial table",
        )
    subjects = eav.scan(root)
    problems = {s.subject: str(eav.first_error(s.errors)) for s in subjects if s.errors}
    notes = [note for s in subjects for note in s.notes]
    return _finish(eav.frame_of(subjects), root, "eav", problems, notes, (root, path))


def select(table: TrialTable, config: StudyConfig, subjects: Sequence[str] = ()) -> TrialTable:
    """The trials that a study uses: ``config.where`` applied, ``subjects`` only (all when empty), usable ones only.

    ``problems`` of the result are those of the chosen subjects that concern the configured modalities: a missing video
    does not keep a subject out of a study of sounds.

    Raises:
        UsageError: a subject is not in the table, or a filter is not ``column=value`` of a column of the table.
        TableError: nothing is left.
    """
    known = natural([*table.subjects, *table.problems])
    unknown = [s for s in subjects if s not in known]
    if unknown:
        raise UsageError.at(
            table.root,
            expected=f"subjects among {', '.join(known)}",
            found=", ".join(unknown),
            remedy="choose from those",
        )
    frame = table.frame
    wanted = set(subjects or known)
    frame = frame[frame["subject"].isin(wanted)]
    for condition in config.where:
        frame = _filtered(frame, table, condition)
    everywhere = _missing_files(table.frame, FILE_COLUMNS)
    problems = {s: text for s, text in table.problems.items() if everywhere.get(s) != text}
    for subject, text in _missing_files(frame, [COLUMN[m] for m in config.modalities]).items():
        problems.setdefault(subject, text)
    problems = {s: problems[s] for s in natural(problems) if s in wanted}
    usable = frame[~frame["subject"].isin(list(problems))]
    if usable.empty and problems:
        subject, text = next(iter(problems.items()))
        raise TableError(text if len(problems) == 1 else f"{text} ({len(problems) - 1} more subjects have problems.)")
    if usable.empty:
        where = " and ".join(config.where) or "anything"
        raise TableError.at(
            table.root,
            expected=f"trials of subjects {', '.join(natural(wanted))} where {where}",
            found=f"none among {len(table.frame)} trials",
            remedy="relax the filter or choose other subjects",
        )
    return replace(table, frame=usable.reset_index(drop=True), problems=problems)


def fingerprint(table: TrialTable) -> dict[str, str]:
    """Per subject a hash of its rows (paths relative to the root) and its files' sizes, whenever they were changed."""
    sizes: dict[str, int] = {}
    prints = {}
    for subject, rows in table.frame.groupby("subject", sort=False):
        lines = []
        for row in rows.to_dict("records"):
            for column in FILE_COLUMNS:
                entry = row[column]
                if entry:
                    file = file_of(entry)
                    size = sizes.setdefault(file, _size(file))
                    row[column] = [_relative(entry, table.root), size]
            times = [None if pd.isna(row[c]) else row[c] for c in ("start", "stop")]
            lines.append([*(row[c] for c in ("trial", "label", "group", *FILE_COLUMNS)), *times])
        prints[str(subject)] = hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:16]
    return prints


def missing_file(path: str) -> str:
    """The sentence about a recording that the table names and the disk does not have."""
    return sentence(path, "the recording that the trial table names", "no file", "copy it there or mend the table")


def _finish(
    frame: pd.DataFrame, root: Path, kind: str, problems: dict[str, str], notes: list[str], marked: Iterable[Path]
) -> TrialTable:
    frame["group"] = frame["group"].where(frame["group"] != "", frame["trial"])
    for column in FILE_COLUMNS:
        frame[column] = [str((root / entry).absolute()) if entry else "" for entry in frame[column]]
    texts = [c for c in frame.columns if c not in ("start", "stop")]
    frame = natural_sort(frame.astype({**dict.fromkeys(texts, "str"), "start": "float64", "stop": "float64"}))
    empty = frame[(frame[list(FILE_COLUMNS)] == "").all(axis=1)]
    if len(empty):
        first = empty.iloc[0]
        notes = [*notes, f"{root}: {len(empty)} trials without a recording, first {first['subject']}/{first['trial']}"]
    for subject, text in _missing_files(frame, FILE_COLUMNS).items():
        problems.setdefault(subject, text)
    simulated = any(_simulated(folder) for folder in marked)
    return TrialTable(frame, root, kind, simulated, tuple(notes), {s: problems[s] for s in natural(problems)})


def _missing_files(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """Per subject, a sentence about the first file that is not there and how many more there are."""
    there: dict[str, bool] = {}
    missing: dict[str, list[str]] = {}
    for column in columns:
        for subject, entry in zip(frame["subject"], frame[column], strict=True):
            file = file_of(entry)
            if file and not there.setdefault(file, Path(file).is_file()):
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
    return frame[frame[column] == value]


def _simulated(folder: Path) -> bool:
    try:
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(truth, dict) and truth.get("simulated") is True


def _relative(entry: str, root: Path) -> str:
    path = Path(entry)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else entry


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return -1
