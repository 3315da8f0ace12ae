"""A study as trackers of experiments know it: runs with parameters, metrics per epoch, scores and files.

In: a study's folder. Out: a :class:`TrackedStudy`, which the modules beside this one write. All scores are those of
``eavdash results``; a run that has not ended is left out and counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.convert import recorded_config, settings_of
from eavdash.config.presets import PRESETS, preset
from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError, sentence
from eavdash.report import caveats
from eavdash.report.figures.comparisons import verdict
from eavdash.report.plain_json import strict
from eavdash.results import comparisons, marks, study_scores, tables
from eavdash.results.metrics import METRICS
from eavdash.store import RunDir, StudyDir, unit_name
from eavdash.store.documents import RunConfig
from eavdash.store.regular import require_regular
from eavdash.store.status import RunStatus
from eavdash.text import csv_for_people

#: Version of what is written for a run; runs of another version are written again.
SCHEMA = 1
ENDED = ("done", "failed", "cancelled")
#: Names of the columns of metrics.jsonl among the metrics of a tracker.
EPOCH_NAMES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "validation_loss": "validation/loss",
    "validation_accuracy": "validation/accuracy",
    "test_accuracy": "test/accuracy",
    "seconds": "train/seconds",
}


@dataclass(frozen=True)
class Point:
    """A metric's value after an epoch; ``time`` in seconds since 1970."""

    name: str
    value: float
    step: int
    time: float


@dataclass(frozen=True)
class TrackedRun:
    """A run that has ended. ``about``: place, state and caveats; ``settings``: all of them, by dotted key."""

    name: str
    state: str  # of ENDED, or "damaged"
    started: float
    finished: float
    about: dict[str, str]
    settings: dict[str, str]
    points: tuple[Point, ...]
    scores: dict[str, float]
    files: dict[str, Path]

    @cached_property
    def digest(self) -> str:
        """A hash of all that is written; a run with the same one is there already."""
        return _digest(self)


@dataclass(frozen=True)
class TrackedStudy:
    """A study with its runs. ``note``: what must be known beside any score; ``files``: content by name."""

    name: str
    origin: str  # tells this study from another one of the same name
    created: float
    about: dict[str, str]
    settings: dict[str, str]
    note: tuple[str, ...]
    scores: dict[str, float]
    files: dict[str, str]
    runs: tuple[TrackedRun, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)  # runs that have not ended, by state
    problems: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """A hash of all that is written for the study as a whole."""
        return _digest(self, "runs", "left_out", "problems")


@dataclass
class Written:
    """The outcome of an export: numbers of runs that were new, had changed, or were there already."""

    place: Path
    command: str  # shows what was written
    new: int = 0
    replaced: int = 0
    kept: int = 0


def digest_with(run: TrackedRun, copy: bool) -> str:
    """Return the digest of a run that is written with or without its tables."""
    return f"{run.digest}+files" if copy and run.files else run.digest


def record(study: StudyDir) -> TrackedStudy:
    """Read a study.

    Raises:
        IntegrityError: study.json or the splits cannot be read.
    """
    document, about = study.study(), caveats.of_study(study)
    config = recorded_config(document)
    base = preset(config.preset if config.preset in PRESETS else "quick")
    changed = settings_of(config, base, {f.name for f in fields(StudyConfig)} - {"preset"})
    shared = {name: str(value) for name, value in about.columns.items()}
    shared |= {"study": study.name, "preset": config.preset, "changed": " ".join(changed) or "none"}
    by_run, levels = _scores_by_run(study)
    scored = study_scores.read(study)
    problems = scored.messages
    runs, left_out = [], Counter[str]()
    for run in study.runs():
        try:
            status, own = run.status(), run.config()
        except EavdashError as error:
            problems = [*problems, str(error)] if str(error) not in problems else problems
            continue
        if status.state in ENDED:
            state = "damaged" if run.name in scored.problems else str(status.state)
            files, missing = _tables(run, status) if state == "done" else ({}, [])
            problems = [*problems, *missing]
            runs.append(_run(run, own, status, state, shared, by_run.get(run.name, {}), files))
        else:
            left_out[status.named] += 1
    question = comparisons.question_of(study)
    answer = question.why_not or (verdict(question) if question.primary else "")
    note = (about.footnote, *(m.sentence for m in marks.study_marks(document, study)), about.unfinished, answer)
    return TrackedStudy(
        study.name,
        f"{document.created} {document.dataset.path}",
        min((run.started for run in runs if run.started), default=0.0),
        shared,
        dict(_flat(document.config)),
        tuple(line for line in note if line),
        dict(_averages(levels)),
        {f"scores-{level}.csv": csv_for_people(about.beside(frame)) for level, frame in levels.items()},
        tuple(runs),
        dict(left_out),
        tuple(problems),
    )


def _tables(run: RunDir, status: RunStatus) -> tuple[dict[str, Path], list[str]]:
    """Return the tables of a run by name, and what is wrong with those that its status names and that are not there."""
    files, problems = {}, []
    for name in status.checksums:
        if name.endswith(".parquet"):
            file = run.path / name
            try:
                if file.parent != run.path:
                    raise OSError("a path to another folder")
                files[name] = require_regular(file)
            except OSError as error:
                found, remedy = error.strerror or str(error), "train the run again"
                problems.append(sentence(f"{run.path}/{name}", "a table of the run", found, remedy))
    return files, problems


def _run(
    run: RunDir,
    config: RunConfig,
    status: RunStatus,
    state: str,
    shared: Mapping[str, str],
    scores: dict[str, float],
    files: dict[str, Path],
) -> TrackedRun:
    started = status.started or status.changed or 0.0
    about = {
        **shared,
        "run": run.name,
        "stage": config.stage,
        "subject": config.subject or "all",
        "fold": str(config.fold),
        "seed": str(config.seed),
        "state": state,
        "levels": ", ".join(dict.fromkeys(name.split("/")[1] for name in scores)) or "none",
    }
    about |= {"reason": status.reason} if status.reason and state != "done" else {}
    for name, file in files.items():
        about |= {f"{name}.path": str(file), f"{name}.sha256": status.checksums[name]}
    return TrackedRun(
        run.name,
        state,
        started,
        status.finished or status.changed or started,
        about,
        dict(_flat(config.config)),
        tuple(_points(run, started)),
        scores,
        files,
    )


def _points(run: RunDir, started: float) -> Iterator[Point]:
    clock = started
    for row in run.metrics():
        clock += float(row.get("seconds") or 0)
        for name, value in row.items():
            if name != "epoch" and isinstance(value, int | float):
                yield Point(EPOCH_NAMES.get(name, f"train/{name}"), float(value), int(row["epoch"]), clock)


def _scores_by_run(study: StudyDir) -> tuple[dict[str, dict[str, float]], dict[str, pd.DataFrame]]:
    """Return each run's scores by name, and the scores per subject and stage with baselines by level."""
    keys = ["subject", "stage", "fold", "seed"]
    runs = tables.trials(study)[["run", *keys]].drop_duplicates(keys)
    by_run: dict[str, dict[str, float]] = {}
    levels = {}
    for level in tables.LEVELS:
        if len(whole := tables.scores(study, level, baselines=True)):
            levels[level] = whole
        rows = tables.scores(study, level, ("fold", "seed")).merge(runs, on=keys)
        for run, mine in rows.groupby("run", sort=False):
            found = by_run.setdefault(str(run), {})
            found[f"scores/{level}/n"] = float(mine["n"].sum())
            for metric in METRICS:
                found[f"scores/{level}/{metric}"] = float(mine[metric].mean())
                if len(mine) > 1:
                    each = zip(mine["subject"], mine[metric], strict=True)
                    found |= {f"scores/{level}/{metric}/{unit_name(subject)}": float(value) for subject, value in each}
    return by_run, levels


def _averages(levels: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, float]]:
    """Yield mean, standard deviation and number of subjects of each stage, level and metric."""
    for level, frame in levels.items():
        for metric in METRICS:
            for row in tables.summarise(frame, metric).to_dict("records"):
                name = f"average/{row['stage']}/{level}"
                yield f"{name}/{metric}", float(row[metric])
                if row["sd"] == row["sd"]:
                    yield f"{name}/{metric}_sd", float(row["sd"])
                yield f"{name}/subjects", float(row["subjects"])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _digest(of: TrackedRun | TrackedStudy, *without: str) -> str:
    content = {f.name: getattr(of, f.name) for f in fields(of) if f.name not in without}
    text = json.dumps(strict([SCHEMA, content]), default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
