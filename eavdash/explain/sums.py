"""Sums of the stored attributions of a study's fused decisions, by modality.

In: a :class:`~eavdash.store.StudyDir`. Out: a table, from the explanations' metadata; arrays are read only for files of
earlier versions, which lack the sums. What was read of a file is kept until the file changes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from eavdash.errors import EavdashError, IntegrityError
from eavdash.explain.arrays import open_arrays
from eavdash.explain.method_registry import METHODS
from eavdash.explain.records import ExplanationDocument, StoredExplanation
from eavdash.results.tables import problem_of
from eavdash.store import RunDir, StudyDir
from eavdash.store.record import read_record

COLUMNS = ("run", "subject", "trial", "class", "modality", "value")
_REMEDY = "delete the file and explain the trial again"


@dataclass(frozen=True)
class AttributionSums:
    """``table``: :data:`COLUMNS`, value is the mean over windows; all of one ``method`` and ``baseline``."""

    table: pd.DataFrame
    method: str = ""
    baseline: str = ""
    problems: tuple[str, ...] = ()  # messages about damaged files


def attribution_sums(study: StudyDir) -> AttributionSums:
    """Return the sums of the method and baseline of which most decisions of the finished fusion runs are explained.

    Only explanations of the present weights count, and none of a contrast of two classes.
    """
    parts: dict[StoredExplanation, list[tuple[str, ...]]] = {}
    values: dict[StoredExplanation, list[float]] = {}
    problems: list[str] = []
    for run in study.runs():
        try:
            if not run.explain_dir.is_dir() or run.config().stage != "fusion" or run.status().state != "done":
                continue
            weights = _weights(study, run)
            for file in sorted(run.explain_dir.glob("*.json")):
                try:
                    with IntegrityError.from_os(file, expected="a file that can be read", remedy=_REMEDY):
                        changed = file.stat().st_mtime_ns
                    found = _read(file, changed)
                except IntegrityError as error:
                    problems.append(str(error))
                    continue
                if (
                    found is None
                    or not _adds_up(found.method)
                    or any(weights.get(name, sha) != sha for name, sha in found.checksums)
                ):
                    continue
                kind = StoredExplanation(found.method, baseline=found.baseline)
                for modality, value in found.sums:
                    parts.setdefault(kind, []).append((run.name, found.subject, found.trial, found.target, modality))
                    values.setdefault(kind, []).append(value)
        except (EavdashError, KeyError) as error:
            problems.append(problem_of(run, error))
    if not parts:
        return AttributionSums(pd.DataFrame(columns=list(COLUMNS)), problems=tuple(problems))
    ((kind, _),) = Counter({kind: len({row[:3] for row in rows}) for kind, rows in parts.items()}).most_common(1)
    table = pd.DataFrame(parts[kind], columns=list(COLUMNS[:-1])).assign(value=values[kind])
    return AttributionSums(table, kind.method, kind.baseline, tuple(problems))


@dataclass(frozen=True)
class _Sums:
    """The part of one explanation that this module needs."""

    subject: str
    trial: str
    target: str
    method: str
    baseline: str
    sums: tuple[tuple[str, float], ...]
    checksums: tuple[tuple[str, str], ...]  # run → its weights


@lru_cache(maxsize=65536)
def _read(file: Path, changed: int) -> _Sums | None:
    """Read one explanation of a fused decision; ``changed``: the time of the file's last change. None: a contrast."""
    found = read_record(file, ExplanationDocument, _REMEDY)
    if found.against or found.stage != "fusion":
        return None
    sums = found.sums if found.sums is not None else _of_arrays(file.with_suffix(".npz"), len(found.windows))
    target, checksums = found.target or found.receipts.target, found.receipts.checksums
    kept = tuple(sums.items()), tuple(checksums.items())
    return _Sums(found.subject, found.trial, target, found.method, found.baseline, *kept)


def _of_arrays(file: Path, windows: int) -> dict[str, float]:
    """Sum the attributions of an explanation of an earlier version; none if its arrays were deleted."""
    if not file.exists():
        return {}
    with open_arrays(file, _REMEDY) as stored:
        names = [name for name in stored.files if name.startswith("attributions.")]
        return {n.partition(".")[2]: float(stored[n].sum(dtype=np.float64) / max(windows, 1)) for n in names}


def _adds_up(method: str) -> bool:
    """Return False for methods whose sums say nothing for or against a class: magnitudes and attention."""
    kind = METHODS.get(method)
    return kind is None or (kind.attribution and kind.signed)


def _weights(study: StudyDir, run: RunDir) -> dict[str, str]:
    """Return the checksums of the present weights of the run and of its encoders."""
    sources = [run, *(study.run(name) for name in run.place().parents)]
    return {r.name: sha for r in sources if (sha := r.status().checksums.get("model.safetensors"))}
