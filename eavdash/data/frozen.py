"""The rows of a trial table as they were when a study was planned: one parquet file.

In: a :class:`~eavdash.data.table.TrialTable` as returned by :func:`~eavdash.data.table.select`. Out: the content of the
file, and from the file the very same table, for all subjects or for some. The dataset's own table may change
afterwards; workers and explanations read the frozen rows and run no adapter. Delegated to pyarrow: the format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eavdash.data.segments import own_times
from eavdash.data.table import FILE_COLUMNS, TrialTable, natural_sort, open_table
from eavdash.errors import IntegrityError
from eavdash.store.regular import open_regular

#: Key of the parquet metadata: all of a trial table but its rows, as JSON.
_ABOUT = b"eavdash"


def frozen_bytes(table: TrialTable) -> bytes:
    """Return the content of the file; equal tables give equal bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    about = {
        "root": str(table.root),
        "kind": table.kind,
        "simulated": table.simulated,
        "notes": table.notes,
        "problems": table.problems,
    }
    rows = pa.Table.from_pandas(table.frame, preserve_index=False)
    rows = rows.replace_schema_metadata({**rows.schema.metadata, _ABOUT: json.dumps(about).encode()})
    sink = pa.BufferOutputStream()
    parquet.write_table(rows, sink, write_page_checksum=True)
    return bytes(sink.getvalue())


def read_frozen(file: Path, subjects: Sequence[str] = ()) -> TrialTable:
    """Read the rows of ``subjects`` (all if empty); those that the file does not have are left out.

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    from pyarrow import parquet

    chosen = [("subject", "in", list(subjects))] if subjects else None
    try:
        with open_regular(file) as source:  # as a path, its folders' names could be taken for partitions
            rows = parquet.read_table(source, filters=chosen, page_checksum_verification=True)
        about = json.loads(rows.schema.metadata[_ABOUT])
        frame = rows.to_pandas()
        needed = {"subject", "trial", "label", "group", "start", "stop", *FILE_COLUMNS}
        needed |= {"condition"} if about["kind"] == "eav" else set()
        if lost := needed - set(frame.columns):
            raise ValueError(f"no column {min(lost)}")
        root, kind, simulated = Path(about["root"]), str(about["kind"]), bool(about["simulated"])
        remedy = f"copy the file there, or if the dataset has moved: eavdash relocate {file.parent.name} FOLDER"
        notes, problems = tuple(about["notes"]), dict(about["problems"])
        return TrialTable(frame, root, kind, simulated, notes, problems, remedy=remedy)
    except Exception as error:  # pyarrow's errors share no base
        raise IntegrityError.at(
            file,
            expected="the trials that the study was planned with",
            found=" ".join(str(error).split()) or type(error).__name__,
            remedy="restore it, or remove it and run eavdash extend on the study, which reads the dataset again",
        ) from error


def planned_table(file: Path, dataset: str, subjects: Sequence[str]) -> TrialTable:
    """Return the frozen rows of ``subjects``, or the table of the dataset where the file lacks one of them.

    Studies made by earlier versions have no file.

    Raises:
        IntegrityError: the file is damaged. TableError: as :func:`~eavdash.data.table.open_table`.
    """
    if file.exists():
        table = read_frozen(file, subjects)
        if set(subjects) <= set(table.frame["subject"]):
            return table
    return open_table(dataset)


def merged(new: TrialTable, old: TrialTable | None, keep: Collection[str]) -> TrialTable:
    """Return ``new`` with the rows of the subjects ``keep`` taken from ``old``; without rows of those it lacks."""
    frame = new.frame[~new.frame["subject"].isin(list(keep))].reset_index(drop=True)
    problems = {s: text for s, text in new.problems.items() if s not in keep}
    if old is not None and len(kept := old.frame[old.frame["subject"].isin(list(keep))]):
        # Of an earlier version: text without a meaning, beside times now.
        kept = kept.assign(**{c: math.nan for c in own_times(frame) if c in kept and c not in own_times(kept)})
        frame = natural_sort(pd.concat([frame, kept]))
        # A further column that one of the tables lacks is empty there.
        frame = frame.fillna({c: "" for c in frame.columns if c not in ("start", "stop", *own_times(frame))})
    return replace(new, frame=frame, problems=problems)


def rerooted(table: TrialTable, root: Path) -> TrialTable:
    """Return the table with every path below its root moved below ``root``; other paths stay."""
    before = f"{table.root}/"
    frame = table.frame.copy()
    for column in FILE_COLUMNS:
        entries = [f"{root}/{e.removeprefix(before)}" if e.startswith(before) else e for e in frame[column]]
        frame[column] = pd.Series(entries, frame.index, "str")
    return replace(table, root=root, frame=frame)
