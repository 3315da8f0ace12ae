"""Files that BIDS has beside a recording: the status and type of its channels, and its bad segments.

In: the path of ``sub-01_..._eeg.edf``. Out: a :class:`Sidecar` from ``..._channels.tsv`` and ``..._events.tsv``, found
by BIDS's inheritance: beside the recording or in a folder above, with no entity that the recording lacks. Files of
other names have none.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

from eavdash.errors import EavdashError

_LEVELS = 4  # folders from a recording up to the dataset's: eeg, ses-*, sub-*, and the root


@dataclass(frozen=True)
class Sidecar:
    """Names of the ``bad`` channels, the ``types`` of channels (EEG, EOG ...), and ``spans`` (s) of BAD events."""

    bad: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)
    spans: tuple[tuple[float, float], ...] = ()


def sidecar(path: str) -> Sidecar:
    """Read what is beside a recording; a table that cannot be read has nothing."""
    file = Path(path)
    if not file.stem.endswith("_eeg"):
        return Sidecar()
    channels, events = (_rows(_beside(file, suffix)) for suffix in ("channels", "events"))
    bad = tuple(row["name"] for row in channels if row.get("status", "").strip().lower() == "bad" and row.get("name"))
    types = {row["name"]: row["type"].strip().upper() for row in channels if row.get("name") and row.get("type")}
    marks = [row for row in events if row.get("trial_type", "").strip().lower().startswith(("bad_", "bad "))]
    onsets = [(_number(row.get("onset")), _number(row.get("duration"))) for row in marks]
    spans = tuple((onset, onset + max(0.0, long)) for onset, long in onsets if math.isfinite(onset + long))
    return Sidecar(bad, types, spans)


def _beside(file: Path, suffix: str) -> Path | None:
    own = set(file.stem.removesuffix("_eeg").split("_"))
    for folder in [*file.parents][:_LEVELS]:
        try:
            found = sorted(folder.glob(f"*_{suffix}.tsv")) + sorted(folder.glob(f"{suffix}.tsv"))
        except OSError:
            found = []
        fitting = [p for p in found if set(p.stem.removesuffix(suffix).rstrip("_").split("_")) - {""} <= own]
        if fitting:
            return max(fitting, key=lambda p: len(p.stem.split("_")))
        if (folder / "dataset_description.json").is_file():
            break
    return None


def _rows(path: Path | None) -> list[dict[str, str]]:
    if path is None:
        return []
    from eavdash.data.formats.delimited import csv_rows  # imports pandas, which measuring processes do without

    try:
        rows = [row for _, row in csv_rows(path, delimiter="\t", quoting=csv.QUOTE_NONE) if row] or [[]]
    except (EavdashError, UnicodeDecodeError, OSError):
        return []  # the adapter and the check report it
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
