"""Tables and downloads of a dataset's health report.

In: an ``eavdash.health.HealthReport``. Out: frames with display columns, whose texts can be displayed (file names need
not be UTF-8), CSV for spreadsheets, and JSON with the unchanged values of the report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.health.report import counted_parts
from eavdash.report import theme
from eavdash.text import csv_for_people, plural, visible

if TYPE_CHECKING:
    from eavdash.health.report import Finding, HealthReport

#: Display names of severities in order, and the colours of their badges.
SEVERITIES = {"error": "error", "warning": "warning", "info": "note"}
BADGES = {"error": "red", "warning": "orange", "info": "gray"}
#: Measure of a recording → its heading, and True if it is a share to be shown in per cent.
MEASURES = {
    "duration": ("Duration, s", False),
    "rate": ("Rate, Hz", False),
    "start": ("Start, s", False),
    "channels": ("Channels", False),
    "samples": ("Samples", False),
    "frames": ("Frames", False),
    "width": ("Width", False),
    "height": ("Height", False),
    "faces_found": ("Faces found", False),
    "faces_looked": ("Frames searched", False),
    "peak": ("Peak, full scale", False),
    "rms": ("RMS, dB", False),
    "clipped": ("Clipped, %", True),
    "silent": ("Silent, %", True),
    "loudest": ("RMS of the loudest channel, dB", False),
    "second": ("Next channel lower by, dB", False),
    "likeness": ("Correlation of channels", False),
    "amplitude": ("Amplitude, µV", False),
    "flat": ("Flat channels", False),
    "flat_channels": ("Names of flat channels", False),
    "saturated": ("Saturated channels", False),
    "saturated_channels": ("Names of saturated channels", False),
    "noisy": ("Noisy channels", False),
    "noisy_channels": ("Names of noisy channels", False),
    "weak": ("Weak channels", False),
    "weak_channels": ("Names of weak channels", False),
    "uncorrelated": ("Uncorrelated channels", False),
    "uncorrelated_channels": ("Names of uncorrelated channels", False),
    "line_noise": ("Line noise, ratio", False),
    "line_frequency": ("Line, Hz", False),
    "not_finite": ("Non-finite values", False),
    "brightness": ("Brightness, 0 to 255", False),
    "black": ("Black, %", True),
    "frozen": ("Frozen, %", True),
    "longest_gap": ("Longest gap, s", False),
    "marked": ("Marked bad, s", False),
    "variable_rate": ("Variable rate", False),
    "sound_track": ("Sound track", False),
    "sound_offset": ("Audio delay, s", False),
    "rotation": ("Rotation, °", False),
    "mirrored": ("Mirrored", False),
    "rows": ("Rows", False),
    "row_rate": ("Rows per second", False),
    "columns": ("Columns", False),
    "recorded": ("Recorded, %", True),
    "bytes": ("Bytes", False),
}


def severities(findings: Sequence[Finding]) -> str:
    """Count the findings by severity, such as ``2 errors, 3 notes``; empty if there are none."""
    numbers = {word: sum(f.severity == severity for f in findings) for severity, word in SEVERITIES.items()}
    return ", ".join(plural(number, word) for word, number in numbers.items() if number)


def summary_sentence(report: HealthReport) -> str:
    """Return a sentence about the number of trials and subjects that can be used."""
    if report.table.empty:
        return "This dataset cannot be used as it is."
    trials, complete = int(report.table["trials"].sum()), int(report.table["complete"].sum())
    subjects = plural(len(report.table), "subject")
    if complete == trials and report.ok:
        return f"All {plural(trials, 'trial')} of {subjects} can be used."
    start = "Every recording can be used" if report.ok else "Some recordings cannot be used"
    return f"{start}: {complete:,} of {plural(trials, 'trial')} of {subjects} are complete."


def subject_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the report's counts with display columns; a modality that is never missing has no column for it."""
    names = {"subject": "Subject", "trials": "Trials", "complete": "Complete"}
    names |= {m: theme.label(m) for m in MODALITIES}
    names |= {f"missing_{m}": f"{theme.label(m)} missing" for m in MODALITIES}
    names |= {"errors": "Errors", "warnings": "Warnings"}
    columns = [c for c in names if c in table and not (c.startswith("missing_") and not table[c].any())]
    return _displayable_frame(table[columns]).rename(columns=names)


def highlight_gaps(table: pd.DataFrame) -> Any:
    """Highlight missing recordings and errors in a :func:`subject_table`."""
    columns = [c for c in table if str(c).endswith(" missing") or c == "Errors"]
    highlight = "background-color: rgba(213, 94, 0, 0.22)"
    return table.style.map(lambda n: highlight if n else "", subset=columns)


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Return the findings as a table with display columns, most severe first."""
    columns = {"severity": "Severity", "subject": "Subject", "modality": "Modality", "message": "Finding"}
    columns |= {"remedy": "What to do", "file": "File"}
    rows = [[SEVERITIES.get(f.severity, f.severity), *(getattr(f, c) for c in list(columns)[1:])] for f in findings]
    return pd.DataFrame([[visible(text) for text in row] for row in rows], columns=list(columns.values()))


def findings_csv(report: HealthReport) -> bytes:
    """Return the findings as CSV with all fields of the report."""
    names = ("severity", "subject", "modality", "file", "message", "remedy")
    return _csv(pd.DataFrame([asdict(f) for f in report.findings], columns=list(names), dtype=object))


def recordings_csv(report: HealthReport) -> bytes:
    """Return the measures of every recording as CSV with the values of the report."""
    return _csv(report.recordings)


def report_json(report: HealthReport) -> bytes:
    """Return the whole report as JSON."""
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def recordings_table(recordings: pd.DataFrame, modality: str, subject: str = "") -> pd.DataFrame:
    """Return the recordings of a modality with their measures, of one subject or of all ("")."""
    rows = recordings[recordings["modality"] == modality]
    rows = rows[rows["subject"] == subject] if subject else rows
    table = pd.DataFrame({"Subject": rows["subject"], "Trial": rows["trial"]})
    if (rows["problem"] != "").any():
        table["Problem"] = rows["problem"]
    for column, (heading, share) in MEASURES.items():
        if column not in rows:
            continue
        values = rows[column]
        if pd.api.types.is_numeric_dtype(values):
            if values.notna().any():
                table[heading] = (values.mul(100) if share else values).map(_rounded)
        elif (values != "").any():
            table[heading] = values
    table["File"] = _relative_paths([visible(file) for file in rows["file"]])
    return _displayable_frame(table).reset_index(drop=True)


def outlook_table(outlook: pd.DataFrame) -> pd.DataFrame:
    """Return one row per protocol: its folds, subjects, and the range of trials per fold for each split."""
    lines = []
    for protocol, rows in outlook.groupby("protocol", sort=False):
        folds = rows[rows["fold"] >= 0]
        line: dict[str, Any] = {"Protocol": protocol, "Folds": int(folds["fold"].nunique())}
        line |= {"Subjects": _range(folds["subjects"])}
        line |= {f"{part.capitalize()} trials": _range(folds[part]) for part in counted_parts(outlook)}
        lines.append(line)
    return _displayable_frame(pd.DataFrame(lines))


def outlook_problems(outlook: pd.DataFrame) -> list[str]:
    """Return the problems of protocols without repetitions, prefixed with the protocol's name."""
    rows = outlook[outlook["problem"] != ""]
    problems = zip(rows["protocol"], map(visible, rows["problem"]), strict=True)
    return list(dict.fromkeys(text if text.startswith("protocol ") else f"{name}: {text}" for name, text in problems))


def folds_table(outlook: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Return every fold of a protocol."""
    rows = outlook[(outlook["protocol"] == protocol) & (outlook["fold"] >= 0)]
    columns = ["fold", "subjects", *counted_parts(outlook), "problem"]
    if not (rows["problem"] != "").any():
        columns.remove("problem")
    return _displayable_frame(rows[columns]).rename(columns=str.capitalize).reset_index(drop=True)


def _rounded(value: float) -> float:
    """Round to four significant digits; whole numbers stay unchanged."""
    return value if value != value or float(value).is_integer() else float(f"{value:.4g}")


def _range(values: pd.Series) -> str:
    """Return a range such as ``60`` or ``60 to 64``; a dash if there are no values."""
    if values.empty:
        return "–"
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _relative_paths(files: Sequence[str]) -> list[str]:
    """Return the paths relative to their common folder."""
    folders = {file.rpartition("/")[0] or "/" for file in files}
    common = os.path.commonpath(folders) if all(folder.startswith("/") for folder in folders) and folders else ""
    return [file.removeprefix(common).lstrip("/") for file in files]


def _csv(frame: pd.DataFrame) -> bytes:
    return csv_for_people(frame).encode("utf-8", "surrogateescape")


def _displayable_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with all texts as they can be displayed."""
    texts = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    return frame.assign(**{str(c): [visible(v) for v in frame[c]] for c in texts})
