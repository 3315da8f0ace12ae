"""Attention of a study's fusions on their test windows, by layer and head, from attention.parquet.

In: a :class:`~eavdash.store.StudyDir`. Out: one row per run and test trial, and means over such rows. The mean of a
trial's shares over heads is the column ``attention_<modality>`` of ``tables.trials``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.errors import EavdashError
from eavdash.results.tables import problem_of, read_table
from eavdash.store import StudyDir

_KEYS = ["run", "subject", "trial", "fold", "seed"]
_SHARES = "head<h>_<modality>"
_SHARE = re.compile(r"head(\d+)_([a-z]+)")
_MAP = re.compile(r"layer(\d+)_head(\d+)_([a-z]+)_([a-z]+)")


@dataclass(frozen=True)
class Heads:
    """``table``: run, subject, trial, fold, seed, then the weights of attention.parquet averaged over windows."""

    table: pd.DataFrame
    without: tuple[str, ...]  # finished fusion runs without such a file
    problems: tuple[str, ...]  # messages about damaged files


def heads(study: StudyDir) -> Heads:
    """Return the attention of every finished fusion run of a study, per trial."""
    parts: list[pd.DataFrame] = []
    without: list[str] = []
    problems: list[str] = []
    for run in study.runs():
        try:
            if run.config().stage != "fusion" or run.status().state != "done":
                continue
            if not run.attention_file.exists() and "attention.parquet" not in run.status().checksums:
                without.append(run.name)
            else:
                table = read_table(run, "attention.parquet", ("subject", "trial", "window", "fold", "seed"), _SHARES)
                parts.append(table.assign(run=run.name))
        except (EavdashError, KeyError) as error:
            problems.append(problem_of(run, error))
    table = _by_trial(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame(columns=_KEYS)
    return Heads(table, tuple(without), tuple(problems))


def of_trials(table: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of ``table`` for ``trials``, a part of ``tables.trials``."""
    return table.merge(trials[_KEYS], on=_KEYS)


def modalities(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the modalities of the table's fusions, in canonical order."""
    named = {match[2] for match in map(_SHARE.fullmatch, table.columns) if match}
    return tuple(m for m in MODALITIES if m in named)


def mean_shares(table: pd.DataFrame) -> np.ndarray:
    """Average the class token's shares over the rows: (head, modality); those of a head sum to 1.

    A modality that was not recorded, or that a run does not use, counts as 0.
    """
    names = modalities(table)
    count = max((int(match[1]) for match in map(_SHARE.fullmatch, table.columns) if match), default=0)
    columns = [f"head{h + 1}_{m}" for h in range(count) for m in names]
    return np.asarray(table[columns].fillna(0).mean()).reshape(count, len(names))


def mean_maps(table: pd.DataFrame) -> np.ndarray:
    """Average the attention of the row modality to the column modality: (layer, head, modality, modality).

    Each mean is over the table's rows that have the row modality and sums to 1; it is NaN if none has it. Empty if
    there are no layers.
    """
    names = modalities(table)
    found = [match for match in map(_MAP.fullmatch, table.columns) if match]
    layers, count = (max((int(match[i]) for match in found), default=0) for i in (1, 2))
    out = np.full((layers, count, len(names), len(names)), np.nan)
    for layer, head, q in np.ndindex(layers, count, len(names)):
        row = table[[f"layer{layer + 1}_head{head + 1}_{names[q]}_{key}" for key in names]]
        row = row[row.notna().any(axis=1)].fillna(0)
        if len(row):
            out[layer, head, q] = row.mean()
    return out


def _by_trial(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over each trial's windows; a modality's own attention counts only where it was recorded."""
    rows = rows.copy()
    queries: dict[str, list[str]] = {}
    for match in map(_MAP.fullmatch, rows.columns):
        if match:
            queries.setdefault(match[0].rpartition("_")[0], []).append(match[0])
    for columns in queries.values():
        present = rows[columns].sum(axis=1) > 0.5  # rows of present modalities sum to 1, of absent ones to 0
        rows[columns] = rows[columns].where(present)
    weights = [c for c in rows.columns if _SHARE.fullmatch(c) or _MAP.fullmatch(c)]
    return rows.groupby(_KEYS, sort=False)[weights].mean().reset_index()
