"""scores.parquet of one run: a row per test or validation trial, so that a page reads one small file per run.

In: predictions.parquet and baselines.parquet of a finished run. Out: a table with the columns ``stage`` (of the run, or
a baseline beside it), ``split``, ``subject``, ``trial``, ``group``, ``label``, ``predicted``, ``fold``, ``seed``,
``windows`` (their number), ``p_<class>`` (of the trial, sum to one), ``attention_<modality>`` (mean over the windows),
``windows_predicted`` and ``frames_predicted`` (for each window and frame in order, the position of the predicted class
among the ``p_<class>`` columns). Its metadata has the checksums of the files that it was made of: a table of other
files is stale and not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from eavdash.errors import EavdashError, IntegrityError
from eavdash.results.decision import mean_logs, normalised
from eavdash.results.left_out import found_by
from eavdash.results.reading import NEEDED, majority, probability_labels, read_table, rivals
from eavdash.store import RunDir
from eavdash.store.atomic import sha256, write_atomic
from eavdash.store.regular import open_regular
from eavdash.store.status import RunStatus
from eavdash.text import plural

KEYS = ("stage", "split", "subject", "trial", "group", "label", "fold", "seed")
_META = b"eavdash"
_SOURCES = ("predictions.parquet", "baselines.parquet")


@dataclass(frozen=True)
class RunScores:
    """The table of one run, the trials that the run could not read, and its place among the runs of the study."""

    table: pa.Table
    unread: tuple[tuple[str, str], ...]
    stage: str
    scope: tuple[str, int, int]  # unit, fold and seed
    baselines: bool  # there is a baselines.parquet that can be read
    problem: str = ""  # why its baselines cannot be used
    epochs: tuple[float, float] | None = None  # accuracies: epoch chosen on the test trials, last epoch


def write_scores(run: RunDir) -> None:
    """Write scores.parquet from the run's prediction files as they are now, before they are sealed."""
    found = {name: sha256(run.path / name) for name in _SOURCES if (run.path / name).exists()}
    rows = pd.read_parquet(run.predictions_file)
    beside = pd.read_parquet(run.baselines_file) if run.baselines_file.exists() else None
    _write(run, _made(run, rows, beside), found)


def add_scores(run: RunDir) -> bool:
    """Write scores.parquet of a finished run of an earlier version; False if that is not possible or not needed.

    Raises:
        IntegrityError: the prediction files are damaged.
    """
    status = run.status()
    if status.state != "done" or not status.checksums or run.scores_file.name in status.checksums or run.locked():
        return False
    try:
        made = from_predictions(run)
        if made.problem:
            raise IntegrityError(made.problem)
        _write(run, made, _sources(status))
        checksums = {**status.checksums, run.scores_file.name: sha256(run.scores_file)}
        run.update({"state": "done", "checksums": status.checksums}, checksums=checksums)
    except IntegrityError:
        raise
    except EavdashError:  # a folder that cannot be changed; the predictions are read instead
        return False
    return True


def read_scores(run: RunDir, status: RunStatus, verify: bool = True) -> RunScores:
    """Return the table of a finished run: from scores.parquet, or from the predictions if there is none of them.

    With ``verify`` the checksums of the prediction files are compared too; otherwise their sizes alone.

    Raises:
        IntegrityError: a file is missing, damaged, or not of the recorded size.
    """
    sources = _sources(status)
    expected = status.checksums.get(run.scores_file.name)
    if expected is None or not _sources_as_recorded(run, status, sources, verify):
        return from_predictions(run)
    try:
        with open_regular(run.scores_file) as file:
            content = file.read()
        if (found := hashlib.sha256(content).hexdigest()) != expected:
            wanted, given = f"checksum {expected[:12]}", f"{found[:12]} (the file is damaged)"
            raise IntegrityError.at(run.scores_file, expected=wanted, found=given, remedy=run.remedy)
        table = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)
        facts = json.loads(table.schema.metadata[_META])
        if facts["of"] != sources:
            return from_predictions(run)
        unread = tuple((str(s), str(t)) for s, t in facts["unread"])
        unit, fold, seed = facts["scope"]
        return RunScores(table, unread, facts["stage"], (unit, fold, seed), _SOURCES[1] in sources)
    except FileNotFoundError:
        raise IntegrityError.at(
            run.scores_file, expected="a file written by the run", found="none", remedy=run.remedy
        ) from None
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        found = str(error).splitlines()[0]
        raise IntegrityError.at(
            run.scores_file, expected="a table of scores", found=found, remedy=run.remedy
        ) from error


def from_predictions(run: RunDir) -> RunScores:
    """Return the table as made of the prediction files, after their checksums; damaged baselines are left out.

    Raises:
        IntegrityError: predictions.parquet is missing, damaged, or lacks columns.
    """
    rows = read_table(run, _SOURCES[0], NEEDED, "p_<label>")
    beside, problem = None, ""
    try:
        if run.baselines_file.exists():
            beside = read_table(run, _SOURCES[1], (*NEEDED, "stage"), "p_<label>")
    except IntegrityError as error:
        problem = str(error)
    return replace(_made(run, rows, beside), problem=problem)


def _made(run: RunDir, rows: pd.DataFrame, beside: pd.DataFrame | None) -> RunScores:
    classes, config = probability_labels(rows), run.config()
    stage = config.stage
    parts = [rows[rows["split"].isin(["test", "validation"])].assign(stage=stage)]
    if unknown := set(rows["predicted"]) - set(classes):
        where, expected = run.predictions_file, f"predictions among {', '.join(classes)}"
        raise IntegrityError.at(where, expected=expected, found=min(unknown), remedy=run.remedy)
    p = parts[0][[f"p_{c}" for c in classes]].to_numpy(float)
    if wrong := int((~((p >= 0) & (p <= 1 + 1e-6)).all(axis=1)).sum()):
        where, found = run.predictions_file, f"others, or none, in {plural(wrong, 'row')}"
        raise IntegrityError.at(where, expected="probabilities from 0 to 1", found=found, remedy=run.remedy)
    if beside is not None:
        parts.append(rivals(beside[beside["split"] == "test"], config))
    if stage != "fusion":
        guess = majority(rows)
        parts.append(guess[guess["split"] == "test"])
    table = _table(pd.concat(parts, ignore_index=True), classes)
    unread = tuple(sorted(found_by(config)))
    return RunScores(table, unread, stage, (config.unit, config.fold, config.seed), beside is not None)


def _table(rows: pd.DataFrame, classes: list[str]) -> pa.Table:
    keys, p = [*KEYS], [f"p_{c}" for c in classes]
    attention = [c for c in rows.columns if c.startswith("attention_")]
    windows, frames = rows[rows["frame"] == -1], rows[rows["frame"] >= 0]
    made = mean_logs(windows, classes, keys, attention)
    made[p] = normalised(made[p].to_numpy(float)) if len(made) else made[p]
    columns: dict[str, pa.Array] = {
        name: pa.array(made[name].astype(str), pa.string())
        for name in ("stage", "split", "subject", "trial", "group", "label", "predicted")
    }
    columns |= {name: pa.array(made[name].to_numpy(np.int32)) for name in ("fold", "seed", "windows")}
    columns |= {name: pa.array(made[name].to_numpy(float)) for name in (*p, *attention)}
    place = {name: number for number, name in enumerate(classes)}
    index = pd.MultiIndex.from_frame(made[keys])
    for name, items in (("windows", windows), ("frames", frames)):
        item = index.get_indexer(pd.MultiIndex.from_frame(items[keys]))
        kept = item >= 0
        order = np.lexsort((items["frame"][kept], items["window"][kept], item[kept]))
        values = items["predicted"][kept].map(place).to_numpy(np.int16)[order]
        ends = np.cumsum(np.bincount(item[kept], minlength=len(made)))
        offsets = np.concatenate([[0], ends]).astype(np.int32)
        columns[f"{name}_predicted"] = pa.ListArray.from_arrays(offsets, values)
    return pa.table(columns)


def _write(run: RunDir, made: RunScores, sources: dict[str, str]) -> None:
    facts: dict[str, Any] = {"of": sources, "unread": made.unread, "stage": made.stage, "scope": made.scope}
    table = made.table.replace_schema_metadata({_META: json.dumps(facts).encode()})
    write_atomic(run.scores_file, lambda file: pq.write_table(table, cast(Any, file), compression="none"))


def _sources(status: RunStatus) -> dict[str, str]:
    return {name: status.checksums[name] for name in _SOURCES if name in status.checksums}


def _sources_as_recorded(run: RunDir, status: RunStatus, names: Iterable[str], verify: bool) -> bool:
    """Return True if the prediction files are as recorded: by their size, or with ``verify`` by checksum."""
    for name in names:
        with contextlib.suppress(OSError):
            if not verify and os.stat(f"{run.path}/{name}").st_size == status.sizes.get(name):  # noqa: PTH116
                continue
        try:
            run.verify(name)
        except IntegrityError:
            return False
    return True
