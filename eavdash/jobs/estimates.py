"""Estimates of the time left, from the durations of runs of the same kind.

Input is the table of :func:`eavdash.jobs.snapshot.snapshot`; output are seconds per run, and an :class:`Estimate` for a
study or a plan. A kind is a stage, within subjects or across them. If no run of a kind has finished an epoch, the
estimate is "unknown".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.convert import recorded_config, to_dict
from eavdash.config.schema import Execution
from eavdash.errors import EavdashError
from eavdash.jobs.slots import GPU_PARTS, need_of, this_machine
from eavdash.jobs.snapshot import snapshot
from eavdash.store import StudyDir, studies
from eavdash.store.documents import RunConfig
from eavdash.text import plural

#: Settings of a run that do not change the duration of an epoch.
_PACE_NEUTRAL = {"epochs", "learning_rate", "weight_decay", "head_learning_rate", "patience", "dropout"}


@dataclass(frozen=True)
class Estimate:
    """Time left.

    ``seconds``: None if unknown. ``at_least``: the duration of some of the runs is unknown. ``parallel_runs``: assumed
    number of runs at the same time. ``basis``: the runs that the estimate is based on.
    """

    seconds: float | None
    parallel_runs: int = 0
    at_least: bool = False
    basis: str = ""

    @property
    def text(self) -> str:
        """Text for users: ``about 12 min``, ``at least 3 h 5 min``, ``unknown``."""
        if self.seconds is None:
            return "unknown"
        return f"{'at least' if self.at_least else 'about'} {duration(self.seconds)}"


def duration(seconds: float) -> str:
    """Return a duration as text with at most two units: ``40 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def kinds(table: pd.DataFrame) -> pd.Series:
    """Return the kind of each run: its stage, with a star if it is trained across subjects."""
    return table["stage"].where(table["subject"] != "", table["stage"] + "*")


def pace(table: pd.DataFrame) -> pd.DataFrame:
    """Return per kind the median ``whole`` (seconds of a run over all epochs) and ``epoch`` (seconds of one epoch).

    Computed from finished runs; for a kind without finished runs, from running ones.
    """
    gone = (table["epoch"] - table["from_epoch"]).where(lambda n: n > 0)
    done, running = table["shown"] == "done", table["shown"] == "running"
    spent = (table["finished"].where(done, table["heartbeat"]) - table["started"]).where(lambda s: s > 0)
    epoch = (spent / gone).where(done | running)
    # A resumed or early-stopped run counts with the time that all of its own epochs take.
    whole = epoch * table["epoch"].where(done, table["epochs"])
    frame = pd.DataFrame({"kind": kinds(table), "whole": whole, "epoch": epoch, "done": done}).dropna()
    medians = frame.groupby(["kind", "done"])[["whole", "epoch"]].median().reset_index()
    return medians.sort_values("done").drop_duplicates("kind", keep="last").set_index("kind")[["whole", "epoch"]]


def seconds_left(table: pd.DataFrame, expected: Mapping[str, float] | None = None) -> pd.Series:
    """Return the remaining computing time of each run in seconds: 0 for one that has ended, NaN if unknown.

    Waiting time is not included. A run that does not respond is unknown until the queue has resumed it. ``expected``:
    :func:`expected_durations`, for the kinds of which the table itself tells nothing yet.
    """
    kind = kinds(table)
    whole = kind.map(pace(table)["whole"])
    if expected:
        whole = whole.fillna(kind.map(expected))
    ended, running = table["ended"], table["shown"] == "running"
    epochs = table["epochs"].where(table["epochs"] > 0)
    gone = (table["epoch"] - table["from_epoch"]).where(lambda n: n > 0)
    spent = (table["heartbeat"] - table["started"]).where(lambda s: s > 0)
    own = spent / gone * (epochs - table["epoch"])
    # Before the end of its first epoch, a run is expected to take as long as others.
    others = (whole * (1 - (table["from_epoch"] / epochs).fillna(0)) - spent.fillna(0)).where(lambda s: s > 0)
    waiting = whole * (1 - (table["epoch"] / epochs).fillna(0))
    left = waiting.where(~running, own.fillna(others))
    return left.where(table["shown"] != "not responding").where(~ended, 0.0)


def study_time_left(table: pd.DataFrame, left: pd.Series | None = None, capacity: int = 0) -> Estimate:
    """Return the time until all runs of a study have ended, with as many running at once as now.

    While none is running, ``capacity`` runs at once are assumed (0: the time is unknown).
    """
    left = seconds_left(table) if left is None else left
    open_runs = left[~table["ended"]]
    parallel_runs = int((table["shown"] == "running").sum()) or min(capacity, len(open_runs))
    known = open_runs.dropna()
    if open_runs.empty:
        return Estimate(0.0)
    if not parallel_runs or known.empty:
        return Estimate(None, parallel_runs)
    return Estimate(_parallel_duration(known, parallel_runs), parallel_runs, at_least=len(known) < len(open_runs))


def plan_time_left(
    root: Path, dataset: str, config: Mapping[str, Any], runs: Sequence[RunConfig], parallel_runs: int
) -> Estimate:
    """Return the time that new runs would take, from finished runs of the same kind on the same recordings.

    ``config``: a study's configuration as JSON; ``runs``: the config.json of each run. All studies under ``root`` are
    searched; runs with another architecture, window, protocol or batch size are ignored.
    """
    known, basis = _known_pace(root, dataset, config)
    if known.empty or not runs:
        return Estimate(None if runs else 0.0, parallel_runs)
    planned = pd.DataFrame([(r.stage, r.subject) for r in runs], columns=["stage", "subject"])
    seconds = (kinds(planned).map(known) * planned["stage"].map(_epochs(config))).dropna()
    if seconds.empty:
        return Estimate(None, parallel_runs)
    return Estimate(
        _parallel_duration(seconds, parallel_runs), parallel_runs, at_least=len(seconds) < len(planned), basis=basis
    )


def expected_durations(study: StudyDir) -> dict[str, float]:
    """Return per kind the seconds that a whole run of the study would take, as :func:`plan_time_left` says.

    Empty if nothing is known, or the study's own configuration cannot be read.
    """
    try:
        document = study.study()
        config = to_dict(recorded_config(document))
    except (EavdashError, KeyError, TypeError):
        return {}
    known, _ = _known_pace(study.path.parent, document.dataset.path, config)
    epochs = _epochs(config)
    return {str(kind): float(seconds) * epochs[str(kind).rstrip("*")] for kind, seconds in known.items()}


def _known_pace(root: Path, dataset: str, config: Mapping[str, Any]) -> tuple[pd.Series, str]:
    """Return the seconds of an epoch per kind, from finished runs on the same recordings, and a text on these runs."""
    tables, names = [], []
    for study in studies(root):
        try:
            document = study.study()
            made_with = to_dict(recorded_config(document))  # of an earlier version too
            same = [s for s in STAGES if _setting(made_with, s) == _setting(config, s)]
            if document.dataset.path != dataset or not same:
                continue
        except (EavdashError, KeyError, TypeError):
            continue  # a damaged study is reported elsewhere
        table = snapshot(study)
        table = table[(table["shown"] == "done") & table["stage"].isin(same)]
        if len(table):
            tables.append(table)
            names.append(study.name)
    if not tables:
        return pd.Series(dtype=float), ""
    count = plural(sum(map(len, tables)), "finished run")
    return (
        pace(pd.concat(tables, ignore_index=True))["epoch"],
        f"based on {count} of the same kind in {', '.join(names[:3])}",
    )


def _epochs(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of epochs that a run of each stage counts; a linear fit counts as one."""
    trained = {s: config["train"][s] for s in STAGES}
    return {s: 1 if t.get("fit") == "linear" else int(t["epochs"]) for s, t in trained.items()}


def max_parallel_runs(settings: Execution) -> int:
    """Return the number of runs that fit on this machine at once; 1 for a cluster, whose capacity is unknown."""
    if settings.executor != "local":
        return 1
    machine = this_machine()
    need = need_of(settings, machine, settings.ram)
    limits = [machine.cores // need.cores]
    if settings.ram and need.ram:
        limits.append(machine.ram // need.ram)
    if need.gpu_parts:
        limits.append((1 if need.gpu else len(machine.gpus)) * (GPU_PARTS // need.gpu_parts))
    return max(1, min(limits))


def _setting(config: Mapping[str, Any], stage: str) -> Any:
    """Return the settings that the duration of a stage's epoch depends on."""
    parts = [config[m] for m in MODALITIES] + [config["fusion"]] if stage == "fusion" else [config[stage]]
    parts.append({"fit": "gradient", **config["train"][stage]})  # older studies do not say how they are fitted
    sizes = [{k: v for k, v in part.items() if k not in _PACE_NEUTRAL} for part in parts]
    return [config["window"], config["where"], config["protocol"], sizes]


def _parallel_duration(seconds: Iterable[float], parallel_runs: int) -> float:
    """Return the seconds that runs take, ``parallel_runs`` at once; at least those of the longest."""
    values = [*seconds]
    return max(math.fsum(values) / parallel_runs, max(values))
