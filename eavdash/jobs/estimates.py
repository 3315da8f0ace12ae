"""How long runs will still take, from how long the same kind of run has taken so far.

In: the table of :func:`eavdash.jobs.snapshot.snapshot`. Out: seconds per run, and an :class:`Estimate` for a study or
for a plan. A kind is a stage, within subjects or across them. Nothing is guessed: where no run of a kind has finished
an epoch, the answer is "unknown".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.schema import Execution
from eavdash.errors import EavdashError
from eavdash.jobs.slots import GPU_PARTS, need_of, this_machine
from eavdash.jobs.snapshot import snapshot
from eavdash.store import studies

#: Of a run's configuration, what an epoch's length does not depend on.
_ANY_PACE = {"epochs", "learning_rate", "weight_decay", "head_learning_rate", "patience", "dropout"}


@dataclass(frozen=True)
class Estimate:
    """Time left. ``seconds`` None: unknown; ``at_least``: some of the runs are of a kind that nothing is known about;
    ``places``: how many runs it takes to be computed at once; ``basis``: what it rests on."""

    seconds: float | None
    places: int = 0
    at_least: bool = False
    basis: str = ""

    @property
    def words(self) -> str:
        """``about 12 min``, ``at least 3 h 5 min``, ``unknown``."""
        if self.seconds is None:
            return "unknown"
        return f"{'at least' if self.at_least else 'about'} {duration(self.seconds)}"


def duration(seconds: float) -> str:
    """Seconds for people, to two units at most: ``40 s``, ``12 min``, ``3 h 5 min``, ``2 d 4 h``."""
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
    """The kind of each run: its stage, with a star where it is trained across subjects."""
    return table["stage"].where(table["subject"] != "", table["stage"] + "*")


def pace(table: pd.DataFrame) -> pd.DataFrame:
    """Per kind the median ``whole`` (seconds of a run from its first epoch to its end) and ``epoch`` (seconds of one).

    From runs that are done; a kind of which none is done is judged by those under way.
    """
    gone = (table["epoch"] - table["from_epoch"]).where(lambda n: n > 0)
    done, running = table["shown"] == "done", table["shown"] == "running"
    spent = (table["finished"].where(done, table["heartbeat"]) - table["started"]).where(lambda s: s > 0)
    epoch = (spent / gone).where(done | running)
    # A run that was interrupted or stopped early counts as what all of its own epochs take.
    whole = epoch * table["epoch"].where(done, table["epochs"])
    frame = pd.DataFrame({"kind": kinds(table), "whole": whole, "epoch": epoch, "done": done}).dropna()
    medians = frame.groupby(["kind", "done"])[["whole", "epoch"]].median().reset_index()
    return medians.sort_values("done").drop_duplicates("kind", keep="last").set_index("kind")[["whole", "epoch"]]


def seconds_left(table: pd.DataFrame) -> pd.Series:
    """Seconds that each run will be under way still: 0 for one that has ended, NaN where that is unknown.

    What it waits for is not counted. A run that does not respond is unknown until the queue has taken it up again.
    """
    whole = kinds(table).map(pace(table)["whole"])
    ended, running = table["ended"], table["shown"] == "running"
    epochs = table["epochs"].where(table["epochs"] > 0)
    gone = (table["epoch"] - table["from_epoch"]).where(lambda n: n > 0)
    spent = (table["heartbeat"] - table["started"]).where(lambda s: s > 0)
    own = spent / gone * (epochs - table["epoch"])
    # Before its first epoch is over a run is expected to take what others took.
    others = (whole * (1 - (table["from_epoch"] / epochs).fillna(0)) - spent.fillna(0)).where(lambda s: s > 0)
    waiting = whole * (1 - (table["epoch"] / epochs).fillna(0))
    left = waiting.where(~running, own.fillna(others))
    return left.where(table["shown"] != "not responding").where(~ended, 0.0)


def study_left(table: pd.DataFrame, left: pd.Series | None = None) -> Estimate:
    """Time until all runs of a study have ended, with as many at work at once as there are now."""
    left = seconds_left(table) if left is None else left
    open_runs = left[~table["ended"]]
    places = int((table["shown"] == "running").sum())
    known = open_runs.dropna()
    if open_runs.empty:
        return Estimate(0.0)
    if not places or known.empty:
        return Estimate(None, places)
    return Estimate(_together(known, places), places, at_least=len(known) < len(open_runs))


def plan_left(
    root: Path, dataset: str, config: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], places: int
) -> Estimate:
    """Time that new runs would take, ``places`` at once, by finished runs of the same kind on the same recordings.

    ``config``: a study's configuration as JSON; ``runs``: the config.json of each run. Looked for in all studies under
    ``root``; runs of another architecture, window, protocol or batch say nothing and are left out.
    """
    tables, names = [], []
    for study in studies(root):
        try:
            document = study.study()
            same = [s for s in STAGES if _setting(document["config"], s) == _setting(config, s)]
            if document["dataset"]["path"] != dataset or not same:
                continue
        except (EavdashError, KeyError, TypeError):
            continue  # a damaged study is for others to name
        table = snapshot(study)
        table = table[(table["shown"] == "done") & table["stage"].isin(same)]
        if len(table):
            tables.append(table)
            names.append(study.name)
    if not tables or not runs:
        return Estimate(None if runs else 0.0, places)
    known = pace(pd.concat(tables, ignore_index=True))["epoch"]
    planned = pd.DataFrame([(str(r["stage"]), str(r["subject"] or "")) for r in runs], columns=["stage", "subject"])
    epochs = planned["stage"].map({s: int(config["train"][s]["epochs"]) for s in STAGES})
    seconds = (kinds(planned).map(known) * epochs).dropna()
    if seconds.empty:
        return Estimate(None, places)
    count = sum(map(len, tables))
    basis = f"by {count} finished run{'s' * (count > 1)} like these in {', '.join(names[:3])}"
    return Estimate(_together(seconds, places), places, at_least=len(seconds) < len(planned), basis=basis)


def places(settings: Execution) -> int:
    """How many runs this machine computes at once with these settings; 1 for a cluster, whose places are not known."""
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
    """What the length of a stage's epoch depends on."""
    parts = [config[m] for m in MODALITIES] + [config["fusion"]] if stage == "fusion" else [config[stage]]
    sizes = [{k: v for k, v in part.items() if k not in _ANY_PACE} for part in (*parts, config["train"][stage])]
    return [config["window"], config["where"], config["protocol"], sizes]


def _together(seconds: Iterable[float], places: int) -> float:
    """Seconds until runs are over of which ``places`` are computed at once: never less than the longest takes."""
    values = [*seconds]
    return max(math.fsum(values) / places, max(values))
