"""The tables of a health report: usable recordings and labels per subject.

In: the trial table, its recordings' measures, the findings. Out: counts per subject.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.data.table import TrialTable
from eavdash.health.report import Finding
from eavdash.text import natural_order

#: Ratio of trials of two labels above which labels are unbalanced: plain accuracy then favours the frequent one.
UNBALANCED = 1.5


def usable(frame: pd.DataFrame, sound: pd.DataFrame) -> pd.DataFrame:
    """Per trial and modality, True if there is a usable recording."""
    keys = set(zip(sound["subject"], sound["trial"], sound["modality"], strict=True))
    trials = list(zip(frame["subject"], frame["trial"], strict=True))
    return pd.DataFrame({m: pd.Series([(*t, m) in keys for t in trials], frame.index, bool) for m in MODALITIES})


def labels(table: TrialTable) -> pd.DataFrame:
    """Trials per subject (row) and label (column); for EAV only the speaking ones, which are used by default."""
    frame = table.frame
    if table.kind == "eav":
        frame = frame[frame["condition"] == "Speaking"]
    counts = pd.crosstab(frame["subject"], frame["label"])
    return counts.reindex(index=list(table.subjects), columns=list(natural_order(frame["label"])), fill_value=0)


def balance(counted: pd.DataFrame) -> list[Finding]:
    """Findings about missing and unbalanced labels in the counts of :func:`labels`."""
    findings = []
    for subject, counts in counted.iterrows():
        texts = ", ".join(f"{label} {n}" for label, n in counts.items())
        if len(counts) and counts.min() == 0 and counts.max() > 0:
            message = f"no trials of {', '.join(counts[counts == 0].index)} ({texts})"
            findings.append(
                Finding("warning", str(subject), "", "", message, "record such trials, or leave the subject out")
            )
        elif len(counts) and counts.max() > UNBALANCED * counts.min():
            message = f"labels are not balanced ({texts})"
            findings.append(
                Finding("info", str(subject), "", "", message, "report balanced accuracy in addition to accuracy")
            )
    return findings


def summary(
    table: TrialTable, wanted: dict[str, pd.Series], there: pd.DataFrame, findings: Iterable[Finding]
) -> pd.DataFrame:
    """One row per subject: HealthReport's table."""
    rows: list[dict[str, Any]] = []
    for subject in natural_order([*table.subjects, *table.problems]):
        of = table.frame["subject"] == subject
        lacking = {m: of & wanted[m] & ~there[m] for m in MODALITIES}
        about = [f.severity for f in findings if subject in f.subject.split(", ")]
        rows.append(
            {
                **{"subject": subject, "trials": int(of.sum())},
                **{m: int((of & there[m]).sum()) for m in MODALITIES},
                **{f"missing_{m}": int(lacking[m].sum()) for m in MODALITIES},
                "complete": int((of & ~np.logical_or.reduce(list(lacking.values()))).sum()),
                **{"errors": about.count("error"), "warnings": about.count("warning")},
            }
        )
    return pd.DataFrame(rows)
