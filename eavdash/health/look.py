"""The look at every recording of a trial table, which the health check and the planning of a study share.

In: a trial table, a configuration, the folder of remembered measures. Out: the measures of every recording with the
reason why it cannot be used, if it cannot; and the same as records for a study. Delegated to scan.py: measuring each
file once; to pairing.py: segments outside their files; to rules.py: findings that a study may leave out on request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.choices import COLUMN
from eavdash.config.schema import StudyConfig
from eavdash.data.named_files import file_of
from eavdash.data.table import TrialTable, with_sound_tracks
from eavdash.data.unusable import kind_of
from eavdash.health import feature_tables, pairing, rules
from eavdash.health.measures.base import MeasureRequest
from eavdash.health.report import records
from eavdash.health.room import window_bytes
from eavdash.health.scan import Scan, measure_requests, measure_table, scan
from eavdash.store.documents import LeftOutRecording

Report = Callable[[int, int], None]
#: Kinds of findings whose recordings can be used but that a study may leave out, and the finding's name in rules.py.
FINDINGS = {
    "silent": "digital silence",
    "quiet": "very quiet sound",
    "clipped": "clipped sound",
    "flat": "no signal in any EEG channel",
    "amplitude": "EEG with an implausible amplitude",
    "black": "black video",
    "frozen": "frozen video",
    "gap": "a gap in the video",
    "short": "recordings much shorter than the subject's others",
}


@dataclass(frozen=True)
class Electrodes:
    """The system and the names of the channels that are read from an EEG file."""

    system: str
    names: tuple[str, ...]


def with_tracks(table: TrialTable, config: StudyConfig) -> TrialTable:
    """Return the table with the videos' sound tracks, if the configuration reads them."""
    return replace(table, frame=with_sound_tracks(table.frame)) if config.audio.from_video else table


def requests_of(
    table: TrialTable, config: StudyConfig, chosen: pd.DataFrame, modalities: Sequence[str]
) -> list[MeasureRequest]:
    """Return the requests for the files of ``chosen``, with all the parts that the table's trials use.

    The health check of the table makes the same requests, so that what one has measured the other need not.
    """
    frame = with_tracks(table, config).frame
    wanted = {(COLUMN[m], file_of(entry)) for m in modalities for entry in chosen[COLUMN[m]] if entry}
    return [r for r in measure_requests(frame, False, config) if (r.column, r.file) in wanted]


def measured(frame: pd.DataFrame, requests: Sequence[MeasureRequest], answers: Scan) -> pd.DataFrame:
    """Return the measures of the recordings of ``frame``; ``problem`` and ``kind`` say which cannot be used."""
    rows = measure_table(frame, requests, answers.answers)
    rows["problem"] = rows["problem"].where(rows["problem"] != "", pairing.outside(rows))
    rows.loc[(rows["problem"] != "") & (rows["kind"] == ""), "kind"] = "outside"
    return _with_problems(rows, feature_tables.differing(rows, answers))


def unusable(
    table: TrialTable,
    config: StudyConfig,
    chosen: pd.DataFrame,
    cache: Path | None,
    report: Report | None = None,
    findings: Collection[str] = (),
    electrodes: dict[str, Electrodes] | None = None,
    room: list[int] | None = None,
) -> list[LeftOutRecording]:
    """Return the recordings of the configured modalities that the trials ``chosen`` cannot use.

    ``findings``: kinds of :data:`FINDINGS` that count as unusable too. ``report(done, of)`` counts files.
    ``electrodes`` is filled with those of each EEG file that could be read, ``room`` with the bytes of the windows.

    Raises:
        ConfigError: all recordings of a modality are of another kind than its encoder reads, or a column of its tables
            of features never changes, or their rows are farther apart than a window is long.
    """
    requests = requests_of(table, config, chosen, config.modalities)
    answers = scan(requests, cache, report)
    rows = measured(chosen, requests, answers)
    for (column, file), answer in answers.answers.items():
        if electrodes is not None and column == COLUMN["eeg"] and answer.get("names"):
            electrodes[file] = Electrodes(answer["system"], tuple(answer["names"]))
    rows = _with_problems(rows, feature_tables.other_kind(rows, config))
    feature_tables.refuse_constant(rows, answers, config)
    feature_tables.refuse_sparse(rows, answers, config)
    if room is not None:
        room.append(window_bytes(rows, config, max((len(e.names) for e in (electrodes or {}).values()), default=0)))
    found = {(r.subject, r.trial, r.modality): r for r in broken(rows, config)}
    intact = rows[(rows["problem"] == "") & rows["modality"].isin(config.modalities)]
    for kind in findings:
        for rule in rules.rules(config):
            if rule.what != FINDINGS[kind]:
                continue
            of = intact[intact["modality"].isin(rule.modalities)]
            for r in records(of[rule.applies(of)]):
                text = f"subject {r['subject']}, trial {r['trial']}: {rule.what} ({rule.describe(r)})"
                new = _record(r, kind, text)
                found.setdefault((new.subject, new.trial, new.modality), new)
    return list(found.values())


def broken(rows: pd.DataFrame, config: StudyConfig) -> list[LeftOutRecording]:
    """Return the recordings of the configured modalities that have a problem, from the measures of every recording."""
    of = rows[(rows["problem"] != "") & rows["modality"].isin(config.modalities)]
    return [_record(r, kind_of(r["kind"]), r["problem"]) for r in records(of)]


def _with_problems(rows: pd.DataFrame, problems: pd.Series) -> pd.DataFrame:
    """Return the rows with the ``problems`` of tables of features; those that have one keep it."""
    new = (problems != "") & (rows["problem"] == "")
    return rows.assign(problem=rows["problem"].mask(new, problems), kind=rows["kind"].mask(new, "another table"))


def _record(row: dict[str, Any], kind: str, reason: str) -> LeftOutRecording:
    return LeftOutRecording(
        subject=row["subject"], trial=row["trial"], modality=row["modality"], kind=kind, reason=reason
    )
