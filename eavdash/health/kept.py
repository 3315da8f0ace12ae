"""The health report that is kept for the app: the newest check of a dataset by the default settings.

In: a report, by ``eavdash check``. Out: the same report, when it was made, and whether the recordings have changed
since. A file that another version wrote, or that is damaged, counts as none: the next check writes it anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import ConfigDict, Field

from eavdash.data.table import TrialTable
from eavdash.errors import DataError, IntegrityError, TrainingError
from eavdash.health.measures import VERSION
from eavdash.health.report import NUMBERS, TEXTS, Finding, HealthReport, plain
from eavdash.health.scan import measure_requests, stamp_of
from eavdash.store.paths import HEALTH, health_report_file
from eavdash.store.private import private_folder
from eavdash.store.record import FIRST, FromList, Record, Whole, read_record, write_record
from eavdash.text import printable

#: Tables of a report.
_FRAMES = ("table", "labels", "recordings", "split_preview")


class ReportDocument(Record):
    """The content of a kept report."""

    model_config = ConfigDict(title="a health report")

    schema_version: Whole = FIRST
    measures: Whole  # version of the measures
    made: float  # seconds since the epoch
    state: str  # of the recordings when the check began
    path: str
    kind: str = ""
    simulated: bool = False
    scanned: Whole = 0
    reused: Whole = 0
    findings: Annotated[tuple[dict[str, str], ...], FromList] = ()
    frames: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class KeptReport:
    """A kept report, when it was made (seconds since the epoch), and the state of the recordings then."""

    report: HealthReport
    made: float
    state: str


def keep(cache: Path, dataset: str | Path, report: HealthReport, state: str) -> None:
    """Keep the report of a dataset in the cache folder, unless that cannot be written: a check does without it."""
    about = {name: getattr(report, name) for name in ("path", "kind", "simulated", "scanned", "reused")}
    frames = {
        name: {str(c): [plain(value) for value in column] for c, column in getattr(report, name).items()}
        for name in _FRAMES
    }
    findings = tuple({key: printable(text) for key, text in asdict(f).items()} for f in report.findings)
    document = ReportDocument(
        measures=VERSION, made=time.time(), state=state, findings=findings, frames=frames, **about
    )
    with contextlib.suppress(DataError, TrainingError, OSError):
        private_folder(cache, HEALTH)
        write_record(health_report_file(cache, dataset), document, private=True)


def kept(cache: Path, dataset: str | Path) -> KeptReport | None:
    """Return the kept report of a dataset, or None."""
    found: dict[str, Any]
    try:
        document = read_record(health_report_file(cache, dataset), ReportDocument, "check the dataset again")
        if document.measures != VERSION:
            return None
        found = {name: getattr(document, name) for name in ("path", "kind", "simulated", "scanned", "reused")}
        found |= {name: _frame(name, document.frames.get(name, {})) for name in _FRAMES}
        found["findings"] = tuple(Finding(**each) for each in document.findings)
    except (IntegrityError, TypeError, ValueError, KeyError):
        return None
    return KeptReport(HealthReport(**found), document.made, document.state)


def files_state(table: TrialTable) -> str:
    """Return a digest of the rows of a trial table, and of the sizes and times of the recordings that they name."""
    digest = hashlib.sha256(json.dumps(table.frame.to_csv(index=False)).encode())
    for request in measure_requests(table.frame, False):
        try:
            found: object = stamp_of(request)
        except Exception as error:  # a path can be invalid in many ways, and may become valid
            found = type(error).__name__
        digest.update(repr((request.column, request.file, found)).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _frame(name: str, columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    if name != "recordings":
        return frame
    return frame.astype({**dict.fromkeys(TEXTS, "str"), **dict.fromkeys(NUMBERS, "float64")})
