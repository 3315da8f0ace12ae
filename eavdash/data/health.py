"""The health report of a dataset: what is there, what is wrong with it, and what to do about it.

In: a dataset folder or a trial table. Out: a :class:`HealthReport`: counts per subject and modality, label counts, and
findings. Every recording is looked at once (:mod:`eavdash.data.probe`); whatever is wrong becomes a finding, and
nothing is raised: neither for one bad file nor for a dataset that cannot be opened.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config import COLUMN, MODALITIES
from eavdash.data import eav
from eavdash.data.probe import Probe, probe
from eavdash.data.recording import END_TOLERANCE
from eavdash.data.table import TrialTable, file_of, missing_file, natural, open_table
from eavdash.errors import EavdashError
from eavdash.files import sha256

SEVERITIES = ("error", "warning", "info")
#: Seconds by which the recordings of one trial may differ in length.
LENGTH_TOLERANCE = 1.0
_THREADS = 4
_SAMPLE = 2**16  # bytes compared before two files are compared whole


@dataclass(frozen=True)
class Finding:
    """One thing to know; an ``error`` means that a trial or subject cannot be used. What it does not concern is ""."""

    severity: str
    subject: str
    modality: str
    file: str
    message: str
    remedy: str


@dataclass(frozen=True, eq=False)
class HealthReport:
    """``table``: per subject the trials, those with a usable recording of each modality (vision, audio, eeg), those
    without one that should have it (missing_*), those with every expected recording (complete), errors and warnings.
    ``labels``: per subject the number of trials of each label, among those that are used by default (EAV: speaking).
    """

    path: str
    kind: str = ""
    simulated: bool = False
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(f.severity == "error" for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready dictionaries and lists."""
        return {
            **{"path": self.path, "ok": self.ok, "kind": self.kind, "simulated": self.simulated},
            "table": self.table.to_dict("records"),
            "labels": self.labels.to_dict("records"),
            "findings": [asdict(f) for f in self.findings],
        }


def check(path: str | Path, report: Callable[[int, int], None] | None = None) -> HealthReport:
    """The health report of a dataset; ``report(done, of)`` is told about the files that have been looked at."""
    try:
        table = open_table(path)
    except EavdashError as error:
        return HealthReport(str(path), findings=(_finding("error", str(error)),))
    probes = _probe_all(table.frame, report)
    speaking = table.frame[table.frame["condition"] == "Speaking"] if table.kind == "eav" else table.frame
    expected = _expected(table)
    usable = pd.DataFrame({m: _usable(table.frame, m, probes) for m in MODALITIES})
    labels = pd.crosstab(speaking["subject"], speaking["label"])
    labels = labels.reindex(index=list(table.subjects), columns=list(natural(speaking["label"])), fill_value=0)
    findings = [
        *_layout(table),
        *_files(table.frame, probes),
        *_missing(table, expected, usable),
        *_times(table.frame, probes),
        *_duplicates(table.frame),
        *_balance(labels),
        *(_finding("info", note) for note in table.notes),
    ]
    findings.sort(key=lambda f: SEVERITIES.index(f.severity))
    return HealthReport(
        path=str(path),
        kind=table.kind,
        simulated=table.simulated,
        table=_summary(table, expected, usable, findings),
        labels=labels.rename_axis(columns=None).reset_index(),
        findings=tuple(findings),
    )


def _finding(severity: str, text: str, subject: str = "", modality: str = "", file: str = "") -> Finding:
    """A finding from an error's sentence, whose remedy stands behind its last semicolon."""
    message, semicolon, remedy = text.rpartition("; ")
    return Finding(severity, subject, modality, file, *((message, remedy.rstrip(".")) if semicolon else (text, "")))


def _probe_all(frame: pd.DataFrame, report: Callable[[int, int], None] | None) -> dict[tuple[str, str], Probe]:
    """Each file's probe by (column, file). Sounds and videos are looked at in parallel; MNE is not safe for threads."""
    first: dict[tuple[str, str], str] = {}
    for column in COLUMN.values():
        for entry in frame[column]:
            if entry:
                first.setdefault((column, file_of(entry)), entry)
    media = [key for key in first if key[0] != "eeg"]
    order = [*media, *(key for key in first if key[0] == "eeg")]
    probes = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        running = pool.map(lambda key: probe(first[key], key[0]), media)
        for done, key in enumerate(order, start=1):
            probes[key] = next(running) if key[0] != "eeg" else probe(first[key], "eeg")
            if report:
                report(done, len(order))
    return probes


def _expected(table: TrialTable) -> dict[str, pd.Series]:
    """For each modality, the trials that should have it: all, if any has; EAV's sounds are of speaking trials only."""
    frame = table.frame
    expected = {m: pd.Series((frame[COLUMN[m]] != "").any() or table.kind == "eav", frame.index) for m in MODALITIES}
    if table.kind == "eav":
        expected["audio"] = frame["condition"] == "Speaking"
    return expected


def _usable(frame: pd.DataFrame, modality: str, probes: dict[tuple[str, str], Probe]) -> pd.Series:
    column = COLUMN[modality]
    return pd.Series([bool(e) and not _broken(e, probes[column, file_of(e)]) for e in frame[column]], frame.index, bool)


def _broken(entry: str, found: Probe) -> bool:
    """Whether an entry cannot be used; of a .mat with some broken trials, only those."""
    return int(entry.rpartition("#")[2]) in found.trials if found.trials else bool(found.error)


def _layout(table: TrialTable) -> list[Finding]:
    """What EAV's folders say about themselves, all of it rather than the first of each subject."""
    if table.kind != "eav":
        return []
    return [_finding("error", str(e), s.subject) for s in eav.scan(table.root) for e in s.errors]


def _files(frame: pd.DataFrame, probes: dict[tuple[str, str], Probe]) -> list[Finding]:
    findings = []
    for (column, file), found in probes.items():
        if found.error or found.warning:
            subjects = natural(frame["subject"][frame[column].map(file_of) == file])
            modality = next(m for m in MODALITIES if COLUMN[m] == column)
            there = Path(file).is_file()
            text = missing_file(file) if not there else found.error or found.warning
            findings.append(_finding("error" if found.error else "warning", text, ", ".join(subjects), modality, file))
    return findings


def _missing(table: TrialTable, expected: dict[str, pd.Series], usable: pd.DataFrame) -> list[Finding]:
    findings = []
    for modality in MODALITIES:
        lacking = expected[modality] & (table.frame[COLUMN[modality]] == "")
        for subject in natural(table.frame["subject"][lacking]):
            of = (table.frame["subject"] == subject) & expected[modality]
            message = (
                f"subject {subject}: no {modality} recording for {int((of & lacking).sum())} of {int(of.sum())} trials"
            )
            remedy = "add the files, or train without it: absent modalities are masked"
            findings.append(Finding("warning", subject, modality, "", message, remedy))
    return findings


def _times(frame: pd.DataFrame, probes: dict[tuple[str, str], Probe]) -> list[Finding]:
    """Trials whose stretch lies outside a file, or whose recordings differ in length."""
    findings = []
    for row in frame.to_dict("records"):
        lengths = {}
        start = 0.0 if np.isnan(row["start"]) else row["start"]
        for modality in MODALITIES:
            entry = row[COLUMN[modality]]
            length = probes[COLUMN[modality], file_of(entry)].duration if entry else None
            if length is None:
                continue
            stop = length if np.isnan(row["stop"]) else row["stop"]
            where = f"subject {row['subject']}, trial {row['trial']}"
            if start >= length or stop > length + END_TOLERANCE:
                message = f"{where}: {start:g} to {stop:g} s lies outside the {length:.2f} s of {file_of(entry)}"
                findings.append(
                    Finding("error", row["subject"], modality, file_of(entry), message, "mend start and stop")
                )
            lengths[modality] = min(stop, length) - start
        if lengths and max(lengths.values()) - min(lengths.values()) > LENGTH_TOLERANCE:
            said = ", ".join(f"{m} {seconds:.1f} s" for m, seconds in lengths.items())
            message = f"{where}: recordings of different lengths ({said})"
            findings.append(
                Finding("warning", row["subject"], "", "", message, "check that they are of the same trial and start")
            )
    return findings


def _duplicates(frame: pd.DataFrame) -> list[Finding]:
    """Different files of one kind with the same content: copies under two names."""
    findings = []
    for modality in MODALITIES:
        column = COLUMN[modality]
        owner = {file_of(e): s for s, e in zip(frame["subject"], frame[column], strict=True) if e}
        alike: dict[Any, list[str]] = {}
        for file in owner:
            alike.setdefault(_sample(file), []).append(file)
        for key, files in alike.items():
            same: dict[str, str] = {}
            for file in files if key and len(files) > 1 else ():
                other = same.setdefault(sha256(Path(file)), file)
                if other != file:
                    message = f"{file}: the same content as {other}"
                    remedy = "find out which trial it belongs to and replace the other"
                    findings.append(Finding("warning", owner[file], modality, file, message, remedy))
    return findings


def _sample(file: str) -> tuple[int, bytes] | None:
    """Size and some bytes of a file; None when it is empty or cannot be read."""
    try:
        size = Path(file).stat().st_size
        with Path(file).open("rb") as stream:
            stream.seek(max(0, size // 2 - _SAMPLE // 2))
            return (size, stream.read(_SAMPLE)) if size else None
    except OSError:
        return None


def _balance(labels: pd.DataFrame) -> list[Finding]:
    findings = []
    for subject, counts in labels.iterrows():
        said = ", ".join(f"{label} {n}" for label, n in counts.items())
        if counts.min() == 0 and counts.max() > 0:
            message = f"subject {subject}: no trials of {', '.join(counts[counts == 0].index)} ({said})"
            findings.append(Finding("warning", str(subject), "", "", message, "record them, or leave the subject out"))
        elif counts.max() > 1.5 * counts.min():
            message = f"subject {subject}: labels are not balanced ({said})"
            findings.append(Finding("info", str(subject), "", "", message, "read balanced accuracy beside accuracy"))
    return findings


def _summary(
    table: TrialTable, expected: dict[str, pd.Series], usable: pd.DataFrame, findings: list[Finding]
) -> pd.DataFrame:
    rows = []
    for subject in natural([*table.subjects, *table.problems]):
        of = table.frame["subject"] == subject
        lacking = {m: of & expected[m] & ~usable[m] for m in MODALITIES}
        about = [f.severity for f in findings if subject in f.subject.split(", ")]
        rows.append(
            {
                **{"subject": subject, "trials": int(of.sum())},
                **{m: int((of & usable[m]).sum()) for m in MODALITIES},
                **{f"missing_{m}": int(lacking[m].sum()) for m in MODALITIES},
                "complete": int((of & ~np.logical_or.reduce(list(lacking.values()))).sum()),
                **{"errors": about.count("error"), "warnings": about.count("warning")},
            }
        )
    return pd.DataFrame(rows)
