"""A health report with one of everything, made by hand: what the health page is shown in tests."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from eavdash.health.report import NUMBERS, TEXTS, Finding, HealthReport

PROTOCOLS = ("conversation", "loso")


def finding(severity: str, subject: str = "1", modality: str = "audio", number: int = 1) -> Finding:
    """One finding; its texts hold characters that markdown would take for its own."""
    return Finding(
        severity,
        subject,
        modality,
        f"/data/s_{subject}/{number}_a*b.wav",
        f"/data/s_{subject}/{number}_a*b.wav: expected sound, found {severity} $1 [x]",
        f"record {number} again",
    )


def make_report(errors: int = 2, warnings: int = 1, notes: int = 1, subjects: int = 2) -> HealthReport:
    """A report of ``subjects`` subjects with 4 trials of 3 modalities each; the first lacks ``errors`` sounds."""
    names = [str(n + 1) for n in range(subjects)]
    lacking = [errors, *[0] * (subjects - 1)]
    table = pd.DataFrame(
        {
            **{"subject": names, "trials": 4, "vision": 4, "audio": [4 - n for n in lacking], "eeg": 4},
            **{"missing_vision": 0, "missing_audio": lacking, "missing_eeg": 0, "complete": [4 - n for n in lacking]},
            **{"errors": lacking, "warnings": [warnings, *[0] * (subjects - 1)]},
        }
    )
    rows = []
    for name in names:
        for trial in range(4):
            common = {
                **dict.fromkeys(TEXTS, ""),
                "subject": name,
                "trial": str(trial),
                "label": "calm",
                "duration": 20.0,
                "bytes": 1000.0,
            }
            rows.append(common | {"modality": "vision", "frames": 600.0, "faces_found": 3.0, "faces_looked": 4.0})
            rows.append(common | {"modality": "audio", "clipped": 0.125, "peak": 1.0, "duration": 18.0 + trial})
            rows.append(common | {"modality": "eeg", "channels": 30.0, "flat_channels": "O1" if name == "1" else ""})
            for row in rows[-3:]:
                row["file"] = f"/data/s_{name}/{trial}.{row['modality']}"
    rows[1]["problem"] = "damaged"
    recordings = pd.DataFrame(rows).reindex(columns=[*TEXTS, *NUMBERS])
    recordings = recordings.astype({**dict.fromkeys(TEXTS, "str"), **dict.fromkeys(NUMBERS, "float64")})
    split_preview = pd.DataFrame(
        [
            *(("conversation", fold, subjects, 2 + fold, 1, 1, "") for fold in range(3)),
            ("loso", -1, 0, 0, 0, 0, "needs 3 subjects"),
        ],
        columns=["protocol", "fold", "subjects", "train", "validation", "test", "problem"],
    )
    findings = [
        *(finding("error", number=n) for n in range(errors)),
        *(finding("warning", "2", "eeg", n) for n in range(warnings)),
        *(finding("info", "", "", n) for n in range(notes)),
    ]
    labels = pd.DataFrame({"subject": names, "calm": 3, "loud": 1})
    return HealthReport(
        path="/data",
        kind="table",
        table=table,
        labels=labels,
        findings=tuple(findings),
        recordings=recordings,
        split_preview=split_preview,
        scanned=20,
        reused=4,
    )


def empty_report() -> HealthReport:
    """That of a dataset that could not be opened."""
    return HealthReport("/data", findings=(finding("error", "", ""),))


def with_odd_names(report: HealthReport) -> HealthReport:
    """The report of files whose names are not UTF-8: Python writes such bytes as lone surrogates."""
    odd = "/data/caf\udce9.wav"
    findings = tuple(replace(f, file=odd, message=f.message + odd) for f in report.findings)
    return replace(
        report,
        findings=findings,
        recordings=report.recordings.assign(file=pd.Series(odd, report.recordings.index, object)),
    )
