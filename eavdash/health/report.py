"""The health report of a dataset: findings, figures per subject, and the measures of every recording.

A :class:`HealthReport` is printed by `eavdash check`, shown by the health page, and exported by both: as strict JSON
(:meth:`HealthReport.to_dict`) or as one CSV file per table (:func:`write_csv`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from operator import methodcaller
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.data.eeg.bad import KINDS
from eavdash.store.outputs import output_folder, write_output
from eavdash.text import csv_for_people, printable

SEVERITIES = ("error", "warning", "info")
#: Columns of :attr:`HealthReport.recordings` that are text; all others are numbers, NaN where they do not apply.
TEXTS = ("subject", "trial", "label", "modality", "file", *(f"{kind}_channels" for kind in KINDS), "problem")
NUMBERS = (
    *("bytes", "start", "duration", "rate", "channels", "samples", "not_finite"),
    *("peak", "rms", "clipped", "silent", "loudest", "second", "likeness"),  # sound
    *("amplitude", *KINDS, "line_noise", "line_frequency", "marked"),  # EEG
    *("frames", "width", "height", "rotation", "mirrored"),  # video
    *("variable_rate", "longest_gap", "sound_track", "sound_offset"),
    *("brightness", "black", "frozen", "faces_found", "faces_looked"),
    *("rows", "row_rate", "columns", "recorded"),  # tables of features
)
#: Columns of :attr:`HealthReport.modalities` with a minimum and a maximum.
RANGES = ("duration", "rate", "channels", "frames")
#: The splits that a preview counts; the last only where a study keeps trials for scaling.
PARTS = ("train", "validation", "test", "calibration")
SPLIT_PREVIEW_COLUMNS = ("protocol", "fold", "subjects", *PARTS, "problem")


@dataclass(frozen=True)
class Finding:
    """One finding; an ``error`` means that a trial or subject cannot be used. Fields that do not apply are ""."""

    severity: str
    subject: str
    modality: str
    file: str
    message: str
    remedy: str


def no_recordings() -> pd.DataFrame:
    """An empty :attr:`HealthReport.recordings`."""
    return pd.DataFrame(
        {**dict.fromkeys(TEXTS, pd.Series(dtype="str")), **dict.fromkeys(NUMBERS, pd.Series(dtype=float))}
    )


def counted_parts(preview: pd.DataFrame) -> tuple[str, ...]:
    """The columns of a split preview with numbers of trials that are worth showing."""
    return PARTS if "calibration" in preview and preview["calibration"].any() else PARTS[:-1]


def no_split_preview() -> pd.DataFrame:
    """An empty :attr:`HealthReport.split_preview`."""
    return pd.DataFrame(
        {c: pd.Series(dtype="str" if c in ("protocol", "problem") else "int64") for c in SPLIT_PREVIEW_COLUMNS}
    )


@dataclass(frozen=True, eq=False)
class HealthReport:
    """``table``: per subject the trials, those with a usable recording of each modality (vision, audio, eeg), those
    without one that should have it (missing_*), those with every expected recording (complete), errors and warnings.

    ``labels``: per subject the number of trials of each label, among those that are used by default (EAV: speaking).

    ``recordings``: one row per trial and modality that has an entry in the trial table: subject, trial, label,
    modality, file (the entry, with the item number in files of many trials), problem (the reason why it cannot be used,
    or "") and the measures of the trial's segment (:data:`NUMBERS`; NaN where not applicable or not measured): start,
    duration (s), rate (Hz; frames per second), peak and rms (of full scale; dB below it) of what the model hears,
    loudest (dB, of the loudest channel), second (dB by which the next one is lower) and likeness (their correlation),
    shares in 0..1 (clipped, silent, black, frozen), numbers of bad channels by kind (flat, saturated, noisy, weak,
    uncorrelated, and their names), amplitude (µV), line_noise (power at line_frequency relative to neighbouring
    frequencies), marked (seconds under a BAD annotation), rotation (degrees), longest_gap (s), 1 or 0 (mirrored,
    variable_rate, sound_track), sound_offset (s,
    of the sound track relative to the picture), brightness (0..255), frames with a face and frames checked for one;
    of tables of features: rows, their rate (Hz), columns, and the share of rows (0..1) that are recorded.

    ``split_preview``: per protocol and fold, the number of subjects and of trials for training, validation, test
    and calibration ("outlook" in exports). A row of fold -1 counts the subjects that a protocol cannot split, or has no
    subject if the protocol is impossible; ``problem`` has the reason.

    ``scanned`` and ``reused``: files measured now, and files known from an earlier scan.
    """

    path: str
    kind: str = ""
    simulated: bool = False
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    findings: tuple[Finding, ...] = ()
    recordings: pd.DataFrame = field(default_factory=no_recordings)
    split_preview: pd.DataFrame = field(default_factory=no_split_preview)
    scanned: int = 0
    reused: int = 0

    @property
    def ok(self) -> bool:
        """True if there is no error."""
        return not any(f.severity == "error" for f in self.findings)

    @property
    def modalities(self) -> pd.DataFrame:
        """Per subject and modality: recordings, unusable ones, minimum and maximum of each of :data:`RANGES`
        (duration_from, duration_to ...), and the share of checked pictures with a face (faces, 0..1).
        """
        found = self.recordings
        known = found.assign(unusable=found["problem"] != "")
        ranges = {f"{c}_{end}": (c, how) for c in RANGES for end, how in (("from", "min"), ("to", "max"))}
        groups = known.groupby(["subject", "modality"], sort=False)
        looked = {"faces": ("faces_found", "sum"), "of": ("faces_looked", "sum")}
        made = groups.agg(recordings=("file", "size"), unusable=("unusable", "sum"), **ranges, **looked).reset_index()
        return made.assign(faces=made["faces"] / made.pop("of").replace(0, math.nan))

    def to_dict(self) -> dict[str, Any]:
        """Convert the report to dictionaries and lists for strict JSON; NaN becomes None."""
        return {
            **{"path": self.path, "ok": self.ok, "kind": self.kind, "simulated": self.simulated},
            **{"scanned": self.scanned, "reused": self.reused},
            "table": _strict(self.table),
            "labels": _strict(self.labels),
            "findings": [asdict(f) for f in self.findings],
            "modalities": _strict(self.modalities),
            "outlook": _strict(self.split_preview),
            "recordings": _strict(self.recordings),
        }


def write_csv(report: HealthReport, folder: str | Path) -> list[Path]:
    """Write subjects, labels, findings, modalities, outlook and recordings, each as a .csv, into ``folder``.

    Of a dataset that cannot be opened there are only findings.

    Raises:
        UsageError: the folder cannot be made.
        TrainingError: a file cannot be written.
    """
    folder = output_folder(folder)
    columns = list(Finding.__dataclass_fields__)
    frames = {
        "subjects": report.table,
        "labels": report.labels,
        "findings": pd.DataFrame([asdict(f) for f in report.findings], columns=columns),
        "modalities": report.modalities,
        "outlook": report.split_preview,
        "recordings": report.recordings,
    }
    written = []
    for name, frame in frames.items():
        if name != "findings" and report.table.empty:
            continue
        content = csv_for_people(frame).encode("utf-8", "surrogateescape")
        path = folder / f"{name}.csv"
        write_output(path, methodcaller("write", content))
        written.append(path)
    return written


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries by column."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _strict(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{k: plain(v) for k, v in row.items()} for row in records(frame)]


def plain(value: Any) -> Any:
    """A cell as a JSON value; NaN is None."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return printable(value) if isinstance(value, str) else value
