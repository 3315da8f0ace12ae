"""Tables and files of a dataset's health: what a report says, as people read it and as programs do.

In: an ``eavdash.health.HealthReport``. Out: frames with columns for people, whose texts hold no bytes that a
browser refuses (file names need not be UTF-8); CSV and JSON with everything as it is in the report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.ui import theme
from eavdash.ui.theme import plural

if TYPE_CHECKING:
    from eavdash.health.report import Finding, HealthReport

#: What people call a severity, in the order of severity, and the colour of its badge.
SEVERITIES = {"error": "error", "warning": "warning", "info": "note"}
BADGES = {"error": "red", "warning": "orange", "info": "gray"}
#: A measure of a recording: its heading, and whether it is a share that reads better in per cent.
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
    "amplitude": ("Amplitude, µV", False),
    "flat": ("Flat channels", False),
    "flat_channels": ("Which are flat", False),
    "saturated": ("Saturated channels", False),
    "saturated_channels": ("Which are saturated", False),
    "line_noise": ("Line noise, ratio", False),
    "line_frequency": ("Line, Hz", False),
    "not_finite": ("Not numbers", False),
    "brightness": ("Brightness, 0 to 255", False),
    "black": ("Black, %", True),
    "frozen": ("Frozen, %", True),
    "longest_gap": ("Longest gap, s", False),
    "variable_rate": ("Variable rate", False),
    "sound_track": ("Sound track", False),
    "sound_offset": ("Sound begins later by, s", False),
    "rotation": ("Rotation, °", False),
    "bytes": ("Bytes", False),
}


def displayable(text: object) -> str:
    """A text that can be sent to a browser: bytes of a file name that are not UTF-8 are shown as question marks."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def severities(findings: Sequence[Finding]) -> str:
    """``2 errors, 3 notes``; empty where nothing was found."""
    numbers = {word: sum(f.severity == severity for f in findings) for severity, word in SEVERITIES.items()}
    return ", ".join(plural(number, word) for word, number in numbers.items() if number)


def summary_sentence(report: HealthReport) -> str:
    """The answer in a sentence: how many trials of how many subjects have all that they should have."""
    if report.table.empty:
        return "This dataset cannot be used as it is."
    trials, complete = int(report.table["trials"].sum()), int(report.table["complete"].sum())
    subjects = plural(len(report.table), "subject")
    if complete == trials and report.ok:
        return f"All {plural(trials, 'trial')} of {subjects} can be used."
    start = "Every recording can be used" if report.ok else "Some recordings cannot be used"
    return f"{start}: {complete:,} of {plural(trials, 'trial')} of {subjects} are complete."


def subject_table(table: pd.DataFrame) -> pd.DataFrame:
    """The report's counts with columns that people read; what is missing nowhere has no column."""
    names = {"subject": "Subject", "trials": "Trials", "complete": "Complete"}
    names |= {m: theme.label(m) for m in MODALITIES}
    names |= {f"missing_{m}": f"{theme.label(m)} missing" for m in MODALITIES}
    names |= {"errors": "Errors", "warnings": "Warnings"}
    columns = [c for c in names if c in table and not (c.startswith("missing_") and not table[c].any())]
    return _displayable_frame(table[columns]).rename(columns=names)


def highlight_gaps(table: pd.DataFrame) -> Any:
    """A :func:`subject_table` with its gaps tinted: missing recordings and errors."""
    wrong = [c for c in table if str(c).endswith(" missing") or c == "Errors"]
    tint = "background-color: rgba(213, 94, 0, 0.22)"
    return table.style.map(lambda n: tint if n else "", subset=wrong)


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """The findings as a table, worst first, with columns that people read."""
    columns = {"severity": "Severity", "subject": "Subject", "modality": "Modality", "message": "Finding"}
    columns |= {"remedy": "What to do", "file": "File"}
    rows = [[SEVERITIES.get(f.severity, f.severity), *(getattr(f, c) for c in list(columns)[1:])] for f in findings]
    return pd.DataFrame([[displayable(text) for text in row] for row in rows], columns=list(columns.values()))


def findings_csv(report: HealthReport) -> bytes:
    """The findings as CSV, every field as it is in the report."""
    names = ("severity", "subject", "modality", "file", "message", "remedy")
    return _csv(pd.DataFrame([asdict(f) for f in report.findings], columns=list(names), dtype=object))


def recordings_csv(report: HealthReport) -> bytes:
    """The measures of every recording as CSV, as they are in the report."""
    return _csv(report.recordings)


def report_json(report: HealthReport) -> bytes:
    """The whole report as JSON."""
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def recordings_table(recordings: pd.DataFrame, modality: str, subject: str = "") -> pd.DataFrame:
    """The recordings of a modality with the measures that it has, those of one subject or of all ("")."""
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
    table["File"] = _relative_paths([displayable(file) for file in rows["file"]])
    return _displayable_frame(table).reset_index(drop=True)


def outlook_table(outlook: pd.DataFrame) -> pd.DataFrame:
    """One line per protocol: its folds, subjects, and the trials that a fold leaves for each part, least to most."""
    lines = []
    for protocol, rows in outlook.groupby("protocol", sort=False):
        folds = rows[rows["fold"] >= 0]
        line: dict[str, Any] = {"Protocol": protocol, "Folds": int(folds["fold"].nunique())}
        line |= {"Subjects": _range(folds["subjects"])}
        line |= {f"{part.capitalize()} trials": _range(folds[part]) for part in ("train", "validation", "test")}
        lines.append(line)
    return _displayable_frame(pd.DataFrame(lines))


def outlook_problems(outlook: pd.DataFrame) -> list[str]:
    """Why protocols cannot be carried out, each said once, with the protocol's name before it."""
    rows = outlook[outlook["problem"] != ""]
    said = zip(rows["protocol"], map(displayable, rows["problem"]), strict=True)
    return list(dict.fromkeys(text if text.startswith("protocol ") else f"{name}: {text}" for name, text in said))


def folds_table(outlook: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """Every fold of a protocol."""
    rows = outlook[(outlook["protocol"] == protocol) & (outlook["fold"] >= 0)]
    columns = ["fold", "subjects", "train", "validation", "test", "problem"]
    if not (rows["problem"] != "").any():
        columns.remove("problem")
    return _displayable_frame(rows[columns]).rename(columns=str.capitalize).reset_index(drop=True)


def _rounded(value: float) -> float:
    """Whole numbers as they are, others with four digits that count."""
    return value if value != value or float(value).is_integer() else float(f"{value:.4g}")


def _range(values: pd.Series) -> str:
    """``60`` or ``60 to 64``; a dash where there is none."""
    if values.empty:
        return "–"
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _relative_paths(files: Sequence[str]) -> list[str]:
    """Absolute paths without the folder that all of them lie in."""
    folders = {file.rpartition("/")[0] or "/" for file in files}
    common = os.path.commonpath(folders) if all(folder.startswith("/") for folder in folders) and folders else ""
    return [file.removeprefix(common).lstrip("/") for file in files]


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode("utf-8", "surrogateescape")


def _displayable_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with texts that a browser accepts."""
    texts = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    return frame.assign(**{str(c): [displayable(v) for v in frame[c]] for c in texts})
