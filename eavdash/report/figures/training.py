"""Figures and tables of training: the grid subject x stage, and the curves of runs.

In: the queue's snapshot (one row per run, with the seconds ``left``) or the lines of runs' metrics.jsonl.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from eavdash.config.choices import STAGES
from eavdash.jobs.estimates import Estimate, duration
from eavdash.report import theme
from eavdash.store.status import Attempt
from eavdash.text import natural_order, plural, with_stop

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Line:
    """One row of the grid: a subject, a fold and a seed; ``runs``: the row of the snapshot for each stage."""

    subject: str
    name: str
    runs: Mapping[str, int]


def grid_lines(table: pd.DataFrame, text: str = "", states: Collection[str] = ()) -> list[Line]:
    """Return the rows of the grid in natural order whose subject matches ``text`` and with a run in ``states``.

    ``text``: subjects, ranges (``3-7``) or parts of names, separated by commas or spaces; empty: all.
    """
    folds, seeds = table["fold"].nunique() > 1, table["seed"].nunique() > 1
    # Lists are faster here, as up to 10,000 rows are read one by one.
    column = {name: table[name].tolist() for name in ("unit", "subject", "fold", "seed", "stage", "shown")}
    tested = dict(zip(zip(column["unit"], column["fold"], strict=True), table["tested"].tolist(), strict=True))
    rank = {unit: n for n, unit in enumerate(natural_order(table["unit"].unique().tolist()))}
    subject_of, shown = dict(zip(column["unit"], column["subject"], strict=True)), column["shown"]
    found: dict[tuple[int, int, int], dict[str, int]] = {}
    keys = zip(*(column[name] for name in ("unit", "fold", "seed", "stage")), strict=True)
    for number, (unit, fold, seed, stage) in enumerate(keys):
        found.setdefault((rank[unit], fold, seed), {})[stage] = number
    units = list(rank)
    lines = []
    for (unit, fold, seed), runs in sorted(found.items()):
        subject, people = subject_of[units[unit]], tested[units[unit], fold]
        matches = any(subject_matches(s, text) for s in ([subject] if subject else _names(people)))
        if not matches or (states and not any(shown[n] in states for n in runs.values())):
            continue
        name = people or (subject or "all") + (f" · fold {fold}" if folds else "")
        name += f" · seed {seed}" if seeds else ""
        lines.append(Line(subject, name, runs))
    return lines


def _names(people: str) -> list[str]:
    """Return the subjects in a text such as ``test subjects 3, 7 (fold 1)``."""
    return people.partition(" (")[0].removeprefix("test subject").removeprefix("s").strip().split(", ")


def subject_matches(subject: str, text: str) -> bool:
    """Return True if a subject is one of ``text``: subjects, ranges (``3-7``) or parts of names; empty: all."""
    terms = [term for term in re.split(r"[,\s]+", text.strip().lower()) if term]
    for term in terms:
        span = re.fullmatch(r"(\d+)-(\d+)", term)
        if subject.isdecimal() and span and int(span[1]) <= int(subject) <= int(span[2]):
            return True
        # A number is a whole subject: 1 does not match 10.
        if subject.lower() == term or (not term.isdecimal() and term in subject.lower()):
            return True
    return not terms


def grid(table: pd.DataFrame, shown: Sequence[Line], tested: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    """Return the data of the grid component: columns with the states of all their runs, and the lines ``shown``.

    ``tested``: number of test trials by subject and fold, shown beside an accuracy.
    """
    counts = Counter(zip(table["stage"].tolist(), table["shown"].tolist(), strict=True))
    stages = [s for s in STAGES if any(stage == s for stage, _ in counts)]
    columns = []
    for stage in stages:
        states = {state: counts[stage, state] for state in theme.STATE_COLOURS if counts[stage, state]}
        columns.append({"stage": stage, "label": theme.label(stage), "colour": theme.colour(stage), "states": states})
    picked = table.iloc[[n for line in shown for n in line.runs.values()]]
    names = table["run"].tolist()
    stage_of = dict(zip(names, table["stage"].tolist(), strict=True)) if "waiting" in picked["shown"].values else {}
    cells = {
        row["run"]: cell(row, tested.get((row["subject"], row["fold"]), 0), stage_of)
        for row in picked.to_dict("records")
    }
    rows = [
        {"name": line.name, "cells": [cells[names[line.runs[s]]] if s in line.runs else None for s in stages]}
        for line in shown
    ]
    return {"columns": columns, "rows": rows, "colours": theme.STATE_COLOURS}


def cell(row: Mapping[Any, Any], tested: int, stage_of: Mapping[str, str]) -> dict[str, Any]:
    """Return a run's cell in the grid: its state or phase as text, accuracy with n or time left, and progress.

    ``stage_of``: the stage of each run of the study, to say which ones a run waits for.
    """
    shown, epochs = str(row["shown"]), int(row["epochs"])
    words, more = shown, ""
    if shown == "done" and pd.notna(row["accuracy"]):
        words = f"done {theme.percent(row['accuracy'])}"
        more = f"n = {tested}" if tested else ""
    elif shown == "running":
        words = row["phase"] or (epoch_text(row) if epochs else shown)
        more = "stopping" if row["stopping"] else time_left_text(row)
    elif shown == "not responding" and epochs:
        words = f"{shown} {int(row['epoch'])}/{epochs}"
    elif shown == "waiting":
        words = waiting_text(row, stage_of)
    share = 1.0 if shown == "done" else min(1.0, row["epoch"] / epochs) if epochs else 0.0
    return {
        "run": row["run"],
        "state": shown,
        "words": words,
        "more": more,
        "share": round(share, 3),
        "reason": with_stop(str(row["reason"])[:300]),
    }


def epoch_text(row: Mapping[Any, Any]) -> str:
    """Return the epoch that a running run is in, such as ``epoch 3 of 15``."""
    return f"epoch {min(int(row['epoch']) + 1, int(row['epochs']))} of {int(row['epochs'])}"


def waiting_text(row: Mapping[Any, Any], stage_of: Mapping[str, str]) -> str:
    """Return what a waiting run waits for, such as ``waits for audio, EEG``."""
    names = str(row["reason"]).removeprefix("waits for ").split(", ")
    stages = [stage_of[name] for name in names if name in stage_of]
    labels = ["all subjects" if stage == row["stage"] else theme.label(stage) for stage in dict.fromkeys(stages)]
    words = [label if label.isupper() else label.lower() for label in labels]
    return f"waits for {', '.join(words)}" if words else "waiting"


def time_left_text(row: Mapping[Any, Any]) -> str:
    """Return a run's time left as text; empty if it is unknown."""
    return f"{duration(row['left'])} left" if pd.notna(row["left"]) and row["left"] > 0 else ""


def tally(snapshot: pd.DataFrame) -> str:
    """Count the runs by state, such as ``12 runs: 9 done, 2 running, 1 queued``."""
    counts = snapshot["shown"].value_counts()
    parts = [f"{counts[state]} {state}" for state in theme.STATE_COLOURS if state in counts]
    return f"{plural(len(snapshot), 'run')}: " + ", ".join(parts)


def study_time_left(table: pd.DataFrame, estimate: Estimate) -> str:
    """Return the study's estimated time left with its basis; empty once all runs have ended."""
    if table["ended"].all():
        return ""
    if not estimate.parallel_runs:
        return "Time left: unknown, as no run is running."
    if estimate.seconds is None:
        return "Time left: unknown until a first epoch has finished."
    parallel = f"{plural(estimate.parallel_runs, 'run')} at a time"
    rest = " Runs of unknown duration are not counted." if estimate.at_least else ""
    if not (table["shown"] == "running").any():
        return f"Time left: {estimate.text} once the runs start, {parallel}.{rest}"
    return f"Time left: {estimate.text}, with {parallel} as now.{rest}"


def tab_title(table: pd.DataFrame) -> str:
    """Return the title of the browser tab, such as ``3 failed · 42/168 · eavdash``."""
    shown = table["shown"].value_counts()
    failures = [f"{shown[state]} {state}" for state in ("failed", "damaged") if state in shown]
    ended = bool(table["ended"].all())
    done = "done" if ended else f"{int(shown.get('done', 0))}/{len(table)}"
    return " · ".join([*failures, *([] if ended and failures else [done]), "eavdash"])


def run_summary(row: Mapping[str, Any], tested: int) -> str:
    """Return a run's state in one line; ``tested``: its number of test trials."""
    parts = [f"**{row['shown']}**"]
    if row["phase"]:
        parts.append(row["phase"])
    elif row["epochs"]:
        parts.append(f"epoch {row['epoch']} of {row['epochs']}")
    if pd.notna(row["accuracy"]):
        parts.append(f"accuracy {theme.percent(row['accuracy'], 1)} (n = {tested} test trials)")
    if row["attempt"] > 1:
        parts.append(f"attempt {row['attempt']}" + (f", from epoch {row['from_epoch']}" if row["from_epoch"] else ""))
    if row["shown"] == "running" and time_left_text(row):
        parts.append(time_left_text(row))
    if row["ended"] and row["finished"] > row["started"]:
        parts.append(f"took {duration(row['finished'] - row['started'])}")
    return with_stop(", ".join(parts))


def attempt_table(history: Sequence[Attempt]) -> pd.DataFrame:
    """Return the earlier attempts at a run, newest first, as texts."""
    rows = []
    for entry in reversed(history):
        started, finished = entry.started, entry.finished
        when = pd.Timestamp(started, unit="s", tz="UTC").tz_convert(None) if started else None
        rows.append(
            {
                "attempt": entry.attempt,
                "where": " on ".join(filter(None, (entry.executor, entry.host))),
                "started (UTC)": f"{when:%Y-%m-%d %H:%M:%S}" if when is not None else "",
                "took": duration(finished - started) if started and finished and finished > started else "",
                "epochs": f"{entry.from_epoch} → {entry.epoch}",
                "ended as": "to be resumed" if entry.state == "queued" else entry.state,
                "reason": entry.reason,
            }
        )
    return pd.DataFrame(rows)


def curves(metrics: Sequence[Mapping[str, Any]], quantity: str, stage: str) -> go.Figure:
    """Draw ``loss`` or ``accuracy`` per epoch of one run: training in grey, validation in the stage's colour."""
    fig = _axes(quantity)
    for key, name, shade, dash in (
        (quantity, "training", theme.GREY, "dot"),
        (f"validation_{quantity}", "validation", theme.colour(stage), "solid"),
    ):
        _add_curve(fig, metrics, key, name, {"color": shade, "dash": dash})
    return fig


def overlaid_curves(runs: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]], key: str) -> go.Figure:
    """Draw a column of metrics.jsonl (``validation_loss``, ``accuracy`` …) per epoch of several runs.

    ``runs``: stage and metrics by name, names as ``1 · Vision`` (see :func:`short_name`). The stage determines the
    colour, the part of the name before the last dot the dash.
    """
    fig = _axes(key.removeprefix("validation_"))
    units = {unit: n for n, unit in enumerate(dict.fromkeys(name.rpartition(" · ")[0] for name in runs))}
    for name, (stage, metrics) in runs.items():
        dash = DASHES[units[name.rpartition(" · ")[0]] % len(DASHES)]
        _add_curve(fig, metrics, key, name, {"color": theme.colour(stage), "dash": dash})
    return fig


def short_name(row: Mapping[str, Any]) -> str:
    """Return a run's name in a legend, such as ``1 · fold 2 · Vision`` or ``test subject 7 (fold 6) · Vision``."""
    fold = re.search(r"-fold\d+", row["run"])
    seed = re.search(r"-seed\d+", row["run"])
    scope = [row["tested"]] if row["tested"] else [row["subject"] or "all", fold and f"fold {row['fold']}"]
    parts = [*scope, seed and f"seed {row['seed']}"]
    return " · ".join([*filter(None, parts), theme.label(row["stage"])])


def _axes(quantity: str) -> go.Figure:
    y = {"title": "Accuracy, %" if quantity == "accuracy" else "Loss", "rangemode": "tozero"}
    return theme.figure(280, {"title": "Epoch", "rangemode": "tozero"}, y)


def _add_curve(fig: go.Figure, metrics: Sequence[Mapping[str, Any]], key: str, name: str, line: dict[str, Any]) -> None:
    scale = 100 if key.endswith("accuracy") else 1
    points = [(m["epoch"], m[key] * scale) for m in metrics if m.get(key) is not None]
    if points:
        x, y = zip(*points, strict=True)
        fig.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines+markers", line=line, marker_size=4))
