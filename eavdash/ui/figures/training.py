"""Figures and tables of runs at work: the grid subject x stage, and the curves of runs.

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
from eavdash.results.tables import natural
from eavdash.ui import theme

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Line:
    """One row of the grid: a subject, a fold and a seed; ``runs``: the row of the snapshot for each stage."""

    subject: str
    name: str
    runs: Mapping[str, int]


def grid_lines(table: pd.DataFrame, text: str = "", states: Collection[str] = ()) -> list[Line]:
    """The rows of the grid in natural order; those with a subject that ``text`` names and a run in one of ``states``.

    ``text``: subjects, ranges of them (``3-7``) or parts of their names, with commas or spaces between.
    """
    folds, seeds = table["fold"].nunique() > 1, table["seed"].nunique() > 1
    # As lists: ten thousand rows are read one by one here.
    column = {name: table[name].tolist() for name in ("unit", "subject", "fold", "seed", "stage", "shown")}
    rank = {unit: n for n, unit in enumerate(natural(table["unit"].unique().tolist()))}
    subject_of, shown = dict(zip(column["unit"], column["subject"], strict=True)), column["shown"]
    found: dict[tuple[int, int, int], dict[str, int]] = {}
    places = zip(*(column[name] for name in ("unit", "fold", "seed", "stage")), strict=True)
    for number, (unit, fold, seed, stage) in enumerate(places):
        found.setdefault((rank[unit], fold, seed), {})[stage] = number
    units = list(rank)
    made = []
    for (unit, fold, seed), runs in sorted(found.items()):
        subject = subject_of[units[unit]]
        if not _subject_matches(subject, text) or (states and not any(shown[n] in states for n in runs.values())):
            continue
        name = (subject or "all") + (f" · fold {fold}" if folds else "") + (f" · seed {seed}" if seeds else "")
        made.append(Line(subject, name, runs))
    return made


def _subject_matches(subject: str, text: str) -> bool:
    terms = [term for term in re.split(r"[,\s]+", text.strip().lower()) if term]
    for term in terms:
        span = re.fullmatch(r"(\d+)-(\d+)", term)
        if subject.isdecimal() and span and int(span[1]) <= int(subject) <= int(span[2]):
            return True
        # A number is a subject, not a digit of one: 1 does not mean 10.
        if subject.lower() == term or (not term.isdecimal() and term in subject.lower()):
            return True
    return not terms


def grid(table: pd.DataFrame, shown: Sequence[Line], tested: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    """What the component of the grid draws: its columns with the states of all their runs, and the lines ``shown``.

    ``tested``: number of test trials by subject and fold, shown beside an accuracy.
    """
    counts = Counter(zip(table["stage"].tolist(), table["shown"].tolist(), strict=True))
    stages = [s for s in STAGES if any(stage == s for stage, _ in counts)]
    columns = []
    for stage in stages:
        states = {state: counts[stage, state] for state in theme.STATE_COLOURS if counts[stage, state]}
        columns.append({"stage": stage, "label": theme.label(stage), "colour": theme.colour(stage), "states": states})
    picked = table.iloc[[n for line in shown for n in line.runs.values()]]
    cells = {row["run"]: cell(row, tested.get((row["subject"], row["fold"]), 0)) for row in picked.to_dict("records")}
    names = table["run"].tolist()
    rows = [
        {"name": line.name, "cells": [cells[names[line.runs[s]]] if s in line.runs else None for s in stages]}
        for line in shown
    ]
    return {"columns": columns, "rows": rows, "colours": theme.STATE_COLOURS}


def cell(row: Mapping[Any, Any], tested: int) -> dict[str, Any]:
    """One run (a row of the snapshot) in the grid: its state in words, accuracy with n or time left, share done."""
    shown, epochs = str(row["shown"]), int(row["epochs"])
    words, more = shown, ""
    if shown == "done" and pd.notna(row["accuracy"]):
        words = f"done {theme.percent(row['accuracy'])}"
        more = f"n = {tested}" if tested else ""
    elif shown in ("running", "not responding"):
        words = f"{shown} {int(row['epoch'])}/{epochs}" if epochs else shown
        more = "stopping" if row["stopping"] else time_left_text(row)
    share = 1.0 if shown == "done" else min(1.0, row["epoch"] / epochs) if epochs else 0.0
    return {
        "run": row["run"],
        "state": shown,
        "words": words,
        "more": more,
        "share": round(share, 3),
        "reason": str(row["reason"])[:300],
    }


def time_left_text(row: Mapping[Any, Any]) -> str:
    """How long a run will still take, in words; empty where that is unknown."""
    return f"{duration(row['left'])} left" if pd.notna(row["left"]) and row["left"] > 0 else ""


def tally(snapshot: pd.DataFrame) -> str:
    """``12 runs: 9 done, 2 running, 1 queued``."""
    counts = snapshot["shown"].value_counts()
    parts = [f"{counts[state]} {state}" for state in theme.STATE_COLOURS if state in counts]
    return f"{len(snapshot)} run{'s' * (len(snapshot) != 1)}: " + ", ".join(parts)


def study_time_left(table: pd.DataFrame, estimate: Estimate) -> str:
    """How long the study will still take, and by what; empty once all has ended."""
    if table["ended"].all():
        return ""
    if not estimate.places:
        return "Time left: unknown, no run is under way."
    if estimate.seconds is None:
        return "Time left: unknown until a first epoch is over."
    at_once = f"{estimate.places} run{'s' * (estimate.places != 1)} at a time"
    rest = " Runs that nothing is known about yet are not counted." if estimate.at_least else ""
    return f"Time left: {estimate.words}, with {at_once} as now.{rest}"


def tab_title(table: pd.DataFrame) -> str:
    """The title of the browser's tab: ``3 failed · 42/168 · eavdash``."""
    shown = table["shown"].value_counts()
    wrong = [f"{shown[state]} {state}" for state in ("failed", "damaged") if state in shown]
    over = bool(table["ended"].all())
    done = "done" if over else f"{int(shown.get('done', 0))}/{len(table)}"
    return " · ".join([*wrong, *([] if over and wrong else [done]), "eavdash"])


def run_summary(row: Mapping[str, Any], tested: int) -> str:
    """One run's state in a line; ``tested``: its number of test trials."""
    parts = [f"**{row['shown']}**"]
    if row["epochs"]:
        parts.append(f"epoch {row['epoch']} of {row['epochs']}")
    if pd.notna(row["accuracy"]):
        parts.append(f"accuracy {theme.percent(row['accuracy'], 1)} (n = {tested} test trials)")
    if row["attempt"] > 1:
        parts.append(f"attempt {row['attempt']}" + (f", from epoch {row['from_epoch']}" if row["from_epoch"] else ""))
    if row["shown"] == "running" and time_left_text(row):
        parts.append(time_left_text(row))
    if row["ended"] and row["finished"] > row["started"]:
        parts.append(f"took {duration(row['finished'] - row['started'])}")
    return ", ".join(parts)


def attempt_table(history: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The attempts at a run that are over, newest first, as texts."""
    rows = []
    for entry in reversed(history):
        begun, over = entry.get("started"), entry.get("finished")
        when = pd.Timestamp(begun, unit="s", tz="UTC").tz_convert(None) if begun else None
        state = str(entry.get("state") or "")
        rows.append(
            {
                "attempt": entry.get("attempt"),
                "where": " on ".join(filter(None, (entry.get("executor"), entry.get("host")))),
                "began (UTC)": f"{when:%Y-%m-%d %H:%M:%S}" if when is not None else "",
                "took": duration(over - begun) if begun and over and over > begun else "",
                "epochs": f"{entry.get('from_epoch') or 0} → {entry.get('epoch') or 0}",
                "ended as": "to go on" if state == "queued" else state,
                "reason": str(entry.get("reason") or ""),
            }
        )
    return pd.DataFrame(rows)


def curves(metrics: Sequence[Mapping[str, Any]], quantity: str, stage: str) -> go.Figure:
    """``loss`` or ``accuracy`` per epoch of one run: training in grey, validation in the stage's colour."""
    fig = _axes(quantity)
    for key, name, shade, dash in (
        (quantity, "training", theme.GREY, "dot"),
        (f"validation_{quantity}", "validation", theme.colour(stage), "solid"),
    ):
        _add_curve(fig, metrics, key, name, {"color": shade, "dash": dash})
    return fig


def overlaid_curves(runs: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]], key: str) -> go.Figure:
    """A column of metrics.jsonl (``validation_loss``, ``accuracy`` …) per epoch of several runs.

    ``runs``: stage and metrics by name, names as ``1 · Vision`` (see :func:`short`). The colour is the stage's, the
    dash tells what is before the dot.
    """
    fig = _axes(key.removeprefix("validation_"))
    units = {unit: n for n, unit in enumerate(dict.fromkeys(name.rpartition(" · ")[0] for name in runs))}
    for name, (stage, metrics) in runs.items():
        dash = DASHES[units[name.rpartition(" · ")[0]] % len(DASHES)]
        _add_curve(fig, metrics, key, name, {"color": theme.colour(stage), "dash": dash})
    return fig


def short_name(row: Mapping[str, Any]) -> str:
    """A run's name in a legend: ``1 · fold 2 · Vision``."""
    fold = re.search(r"-fold\d+", row["run"])
    seed = re.search(r"-seed\d+", row["run"])
    parts = [row["subject"] or "all", fold and f"fold {row['fold']}", seed and f"seed {row['seed']}"]
    return " · ".join([*filter(None, parts), theme.label(row["stage"])])


def _axes(quantity: str) -> go.Figure:
    fig = theme.figure(280)
    fig.update_xaxes(title="Epoch", rangemode="tozero")
    fig.update_yaxes(title="Accuracy, %" if quantity == "accuracy" else "Loss", rangemode="tozero")
    return fig


def _add_curve(fig: go.Figure, metrics: Sequence[Mapping[str, Any]], key: str, name: str, line: dict[str, Any]) -> None:
    scale = 100 if key.endswith("accuracy") else 1
    points = [(m["epoch"], m[key] * scale) for m in metrics if m.get(key) is not None]
    if points:
        x, y = zip(*points, strict=True)
        fig.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines+markers", line=line, marker_size=4))
