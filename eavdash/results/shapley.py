"""From which modality a fusion decides: Shapley values and interactions on its test windows, from shapley.parquet.

A window's present modalities are the players of a cooperative game. The worth v(S) of a coalition S is the natural
log-probability of a class when the fusion sees the modalities S alone (:mod:`eavdash.training.coalitions`), and v of
the empty coalition is the log of the class's share of the training trials. With the dividends of Harsanyi (1963),

    d(S) = sum over T in S of (-1)^(|S| - |T|) v(T),

* the Shapley value (1953) of a modality is the sum over all S that contain it of d(S) / |S|. Values add up to v(all) -
  v(empty), the gain of the recordings over the training frequencies;
* the Shapley interaction index (Grabisch & Roubens 1999) of a pair is the sum over all S that contain it of
  d(S) / (|S| - 1): what both give together beyond what each gives alone;
* a waterfall has the dividends themselves, which add up to the decision step by step.

Absent modalities have no value. Everything is linear in v, so that means over windows are values of the mean game; a
mean log-probability over windows is what a trial is decided by (:mod:`eavdash.results.decision`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.errors import EavdashError, IntegrityError
from eavdash.results.coalition_table import coalition_name
from eavdash.results.tables import problem_of, read_table
from eavdash.store import RunDir, StudyDir

COLUMNS = ("subject", "trial", "window", "class", "coalition", "value")
TRIAL = ("run", "subject", "trial", "fold", "seed", "class")
WINDOW = ("run", "subject", "trial", "window", "fold", "seed", "class")


@dataclass(frozen=True)
class Coalitions:
    """``table``: run, subject, trial, window, class, coalition, value, fold, seed of every finished fusion run."""

    table: pd.DataFrame
    without: tuple[str, ...]  # finished fusion runs without such a file
    problems: tuple[str, ...]  # messages about damaged files


@dataclass(frozen=True)
class Waterfall:
    """From the training frequencies to the decision on one class of a trial, in nats; a trial's is that of its windows.

    ``steps``: ``base``, then the dividend of every coalition, small ones first, and ``decision``, which is their sum.
    ``shapley``: value per modality; their sum is ``decision`` less ``base``.
    """

    steps: tuple[tuple[str, float], ...]
    shapley: dict[str, float]


@dataclass(frozen=True)
class _Games:
    """``keys``: a row per window and class; ``worth`` (game, 2^M), by the bits of the coalition; ``present`` (game,).

    The worth of a coalition with absent modalities is that of its present ones, which makes the absent dummies.
    """

    keys: pd.DataFrame
    modalities: tuple[str, ...]
    present: np.ndarray
    worth: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Number of modalities per coalition (2^M,)."""
        return np.bitwise_count(np.arange(self.worth.shape[1])).astype(np.int64)

    def dividends(self) -> np.ndarray:
        """Return d(S) (game, 2^M)."""
        out = self.worth.copy()
        for number in range(len(self.modalities)):
            inside = np.flatnonzero(np.arange(out.shape[1]) >> number & 1)
            out[:, inside] -= out[:, inside ^ (1 << number)]
        return out

    def sums(self, members: int, divisors: np.ndarray) -> np.ndarray:
        """Return per game the sum of d(S) / divisor over all coalitions that contain the bits ``members``."""
        inside = np.flatnonzero((np.arange(self.worth.shape[1]) & members) == members)
        return np.asarray(self.dividends()[:, inside] @ (1 / divisors[inside]))


def coalitions(study: StudyDir) -> Coalitions:
    """Return the coalitions of every finished fusion run of a study."""
    parts: dict[RunDir, pd.DataFrame] = {}
    without: list[str] = []
    problems: list[str] = []
    for run in study.runs():
        try:
            if lacks_coalitions(run):
                without.append(run.name)
            elif run.config().stage == "fusion" and run.status().state == "done":
                parts[run] = _read(run)
        except (EavdashError, KeyError) as error:
            problems.append(problem_of(run, error))
    empty = pd.DataFrame(columns=["run", *COLUMNS, "fold", "seed"])
    table = pd.concat(parts.values(), ignore_index=True) if parts else empty
    try:
        _games(table)  # all at once, which is much faster than one by one
    except ValueError:
        for run in [*parts]:
            try:
                of_run(run)
            except EavdashError as error:
                problems.append(problem_of(run, error))
                del parts[run]
        table = pd.concat(parts.values(), ignore_index=True) if parts else empty
    return Coalitions(table, tuple(without), tuple(problems))


def lacks_coalitions(run: RunDir) -> bool:
    """Return True for a finished fusion run that never wrote shapley.parquet.

    Raises:
        IntegrityError: config.json or status.json is damaged.
    """
    if run.config().stage != "fusion" or (status := run.status()).state != "done":
        return False
    return not run.shapley_file.exists() and run.shapley_file.name not in status.checksums


def of_run(run: RunDir) -> pd.DataFrame:
    """Return the coalitions of one run.

    Raises:
        IntegrityError: its file is missing or damaged, or lacks coalitions of a window.
    """
    table = _read(run)
    try:
        _games(table)
    except ValueError as error:
        remedy = f"remove it and make it again with eavdash shapley {run.study.name}"
        where = run.shapley_file
        raise IntegrityError.at(where, expected="every coalition once", found=str(error), remedy=remedy) from error
    return table


def _read(run: RunDir) -> pd.DataFrame:
    config, table = run.config(), read_table(run, run.shapley_file.name, COLUMNS, "value")
    return table.assign(run=run.name, fold=config.fold, seed=config.seed)[["run", *COLUMNS, "fold", "seed"]]


def shapley_values(table: pd.DataFrame) -> pd.DataFrame:
    """Return run, subject, trial, window, fold, seed, class, modality and value (nats), for present modalities.

    Raises:
        ValueError: a window lacks coalitions.
    """
    games = _games(table)
    parts = []
    for number, name in enumerate(games.modalities):
        here = (games.present >> number & 1) == 1
        values = games.sums(1 << number, np.maximum(games.sizes, 1))
        parts.append(games.keys[here].assign(modality=name, value=values[here]))
    return _in_order(parts, [*WINDOW, "modality", "value"])


def interactions(table: pd.DataFrame) -> pd.DataFrame:
    """Return run, subject, trial, window, fold, seed, class, first, second and value (nats) of each present pair.

    Raises:
        ValueError: a window lacks coalitions.
    """
    games = _games(table)
    parts = []
    for i, first in enumerate(games.modalities):
        for j, second in enumerate(games.modalities[i + 1 :], start=i + 1):
            pair = 1 << i | 1 << j
            here = (games.present & pair) == pair
            values = games.sums(pair, np.maximum(games.sizes - 1, 1))
            parts.append(games.keys[here].assign(first=first, second=second, value=values[here]))
    return _in_order(parts, [*WINDOW, "first", "second", "value"])


def by_trial(values: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Average :func:`shapley_values` or :func:`interactions` of ``table`` over all windows of each trial.

    A window that lacks the modality counts as 0, so that the values of a trial add up to its decision as well.
    """
    counts = table.groupby(list(TRIAL), sort=False)["window"].nunique().rename("windows").reset_index()
    names = [c for c in ("modality", "first", "second") if c in values.columns]
    sums = values.groupby([*TRIAL, *names], sort=False)["value"].sum().reset_index()
    merged = sums.merge(counts, on=list(TRIAL), how="left")
    return merged.assign(value=merged["value"] / merged["windows"]).drop(columns="windows")


def decided(table: pd.DataFrame, trials: bool = False) -> pd.DataFrame:
    """Return the class that all present modalities decide on, a row per window, or per trial: keys and ``class``."""
    games = _games(table)
    keys = [c for c in (TRIAL if trials else WINDOW) if c != "class"]
    found = games.keys.assign(value=games.worth[:, -1])
    means = found.groupby([*keys, "class"], sort=False)["value"].mean().reset_index()
    return means.loc[means.groupby(keys, sort=False)["value"].idxmax(), [*keys, "class"]].reset_index(drop=True)


def waterfall(table: pd.DataFrame, run: str, subject: str, trial: str, label: str) -> Waterfall:
    """Return the steps from the training frequencies to the decision on the class ``label`` of a trial.

    Raises:
        KeyError: the table has no such run, trial or class. ValueError: a window lacks coalitions.
    """
    at = (table["run"] == run) & (table["subject"] == subject) & (table["trial"] == trial) & (table["class"] == label)
    if not at.any():
        raise KeyError(f"{run}, trial {trial} of subject {subject}, {label}")
    games = _games(table[at])
    dividends = games.dividends().mean(axis=0)
    seen = int(np.bitwise_or.reduce(games.present))
    order = [s for s in sorted(range(1, len(dividends)), key=lambda s: (games.sizes[s], s)) if s & ~seen == 0]
    steps = [
        ("base", float(dividends[0])),
        *((coalition_name(games.modalities, s), float(dividends[s])) for s in order),
    ]
    steps.append(("decision", float(games.worth[:, -1].mean())))
    shapley = {
        name: float(games.sums(1 << number, np.maximum(games.sizes, 1)).mean())
        for number, name in enumerate(games.modalities)
    }
    return Waterfall(tuple(steps), shapley)


def emap(study: StudyDir) -> pd.DataFrame:
    """Return how far each finished fusion run is a sum over modalities (:class:`eavdash.store.documents.AdditivePart`).

    Columns: run, subject (empty: several), fold, seed, then the fields of the record. Runs without it, or that cannot
    be read, are left out.
    """
    rows = []
    for run in study.runs():
        try:
            config = run.config()
            if run.status().state != "done" or config.coalitions is None or config.coalitions.additive is None:
                continue
        except EavdashError:
            continue
        found = config.coalitions.additive.document()
        rows.append({"run": run.name, "subject": config.subject, "fold": config.fold, "seed": config.seed, **found})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["run", "subject", "fold", "seed"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return per run and subject what each modality adds to the decided class, over windows.

    Columns: run, subject, fold, seed, modality, windows, ``value`` (mean Shapley value), ``size`` (mean of its absolute
    value) and ``smallest``: the share of windows with several modalities in which this one has the smallest size.
    """
    keys = [c for c in WINDOW if c != "class"]
    values = shapley_values(table).merge(decided(table), on=[*keys, "class"])
    values["size"] = values["value"].abs()
    each = values.groupby(keys, sort=False)["size"]
    several = each.transform("size") > 1
    values["smallest"] = (values["size"] == each.transform("min")).where(several).astype(float)
    groups = values.groupby(["run", "subject", "fold", "seed", "modality"], sort=False)
    return groups.agg(
        windows=("value", "size"), value=("value", "mean"), size=("size", "mean"), smallest=("smallest", "mean")
    ).reset_index()


def _games(table: pd.DataFrame) -> _Games:
    """Return the games of a table, in its order.

    Raises:
        ValueError: a coalition is missing, occurs twice or has an unknown modality, or a worth is not a finite number.
    """
    named = table["coalition"].unique()
    seen = {m for name in named for m in name.split("+") if m}
    if unknown := seen - set(MODALITIES):
        raise ValueError(f"the modality {sorted(unknown)[0]}")
    modalities = tuple(m for m in MODALITIES if m in seen)
    bits = {name: sum(1 << modalities.index(m) for m in name.split("+") if m) for name in named}
    coalition = table["coalition"].map(bits).to_numpy(np.int64)
    groups = table.groupby(list(WINDOW), sort=False)
    game = groups.ngroup().to_numpy()
    keys = table.iloc[np.unique(game, return_index=True)[1]][list(WINDOW)].reset_index(drop=True)
    worth = np.full((len(keys), 1 << len(modalities)), np.nan)
    worth[game, coalition] = table["value"].to_numpy(np.float64)
    present = np.zeros(len(keys), dtype=np.int64)
    np.bitwise_or.at(present, game, coalition)
    wanted = 1 << np.bitwise_count(present).astype(np.int64)
    if (np.bincount(game, minlength=len(keys)) != wanted).any():
        raise ValueError("a window with missing or repeated ones")
    subsets = np.arange(worth.shape[1])[None, :] & present[:, None]
    worth = np.take_along_axis(worth, subsets, axis=1)
    if not np.isfinite(worth).all():
        raise ValueError("a window with missing ones, or numbers that are not finite")
    return _Games(keys, modalities, present, worth)


def _in_order(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the parts by game, each game's in the order of the parts."""
    if not parts:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)[list(columns)]
