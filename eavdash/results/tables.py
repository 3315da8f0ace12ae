"""Tidy tables from the prediction files of a study's runs; all scores in eavdash come from here.

In: a :class:`~eavdash.store.StudyDir`. Out: pandas frames with plain columns, in natural order of subjects. Unfinished
runs are not included; a run with damaged files is left out and reported in ``frame.attrs["problems"]``, a list of
messages that pages and the command line show.

A trial's probabilities are the normalised exponential of the mean log-probabilities of its windows, for each fold and
seed. Each test item counts once, however many seeds have decided it: its decisions share its weight. ``n`` counts
distinct items, so that more seeds never look like more data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eavdash.config.choices import STAGES
from eavdash.errors import UsageError
from eavdash.results import study_scores
from eavdash.results.columns import column
from eavdash.results.decision import mean_logs, normalised
from eavdash.results.metrics import METRICS, codes, score_groups, shared_weights
from eavdash.results.reading import BASELINES, BESIDE, predictions, probability_labels, problem_of, read_table
from eavdash.results.scored import LEVELS, SCORE_COLUMNS, STAGE_RANK
from eavdash.store import StudyDir
from eavdash.text import natural_order

__all__ = [
    "BASELINES",
    "BESIDE",
    "LEVELS",
    "SCORE_COLUMNS",
    "attention_columns",
    "confusion",
    "predictions",
    "probability_labels",
    "problem_of",
    "read_table",
    "score_table",
    "scores",
    "summarise",
    "summary",
    "trial_table",
    "trials",
    "windows_of",
]
#: Columns that together identify one tested item of a level.
_ITEM = {"trial": ["trial"], "window": ["trial", "window"], "frame": ["trial", "window", "frame"]}


def trials(study: StudyDir, stages: Sequence[str] | None = None, *, baselines: bool = False) -> pd.DataFrame:
    """Return one row per test trial, stage, fold and seed.

    Columns: study, run, stage, subject, trial, group, label, predicted, correct, confidence, fold, seed, windows, then
    ``p_<label>`` (sum to one) and ``attention_<modality>`` (mean over the windows; empty if a stage has none).
    """
    wanted = [*STAGES, *(BASELINES if baselines else ())] if stages is None else stages
    return study_scores.read(study).trials(wanted)


def trial_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`trials` of rows of :func:`predictions` in memory."""
    table = _order(_trials(rows))
    table.attrs.update(rows.attrs)
    return table


def windows_of(rows: pd.DataFrame, subject: str, trial: str) -> pd.DataFrame:
    """Select the window rows of one trial, all stages, folds and seeds, from a table of :func:`predictions`."""
    mine = rows[(rows["subject"] == subject) & (rows["trial"] == trial) & (rows["frame"] == -1)]
    return mine.sort_values(["stage", "fold", "seed", "window"], key=_rank).reset_index(drop=True)


def scores(
    study: StudyDir, level: str = "trial", by: Sequence[str] = (), baselines: bool = False, split: str = ""
) -> pd.DataFrame:
    """Return scores per test subject and stage (and fold or seed, if given in ``by``), as fractions from 0 to 1.

    ``split`` names a further column of the trial table; there is then a row for each of its values.

    Level ``frame`` includes only stages that score frames. ``balanced_accuracy`` is the mean recall over the classes
    that occur among the labels, ``macro_f1`` the mean F1 over those that occur among labels or predictions.

    Raises:
        UsageError: the level, the column or a value of ``by`` is unknown.
    """
    for value, allowed, name in ((level, LEVELS, "--level"), *((b, ("fold", "seed"), "--by") for b in by)):
        if value not in allowed:
            raise UsageError.at(name, expected=f"one of {', '.join(allowed)}", found=repr(value), remedy="choose one")
    stages = [*STAGES, *(BASELINES if baselines else ())]
    return study_scores.read(study).scores(level, by, stages, column(study, split) if split else None)


def score_table(
    rows: pd.DataFrame, level: str = "trial", by: Sequence[str] = (), split: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return :func:`scores` of test rows in memory; ``split``: subject, trial and the column to split by."""
    kind = [str(split.columns[-1])] if split is not None else []
    kind = [f"trial's {name}" if name in (*SCORE_COLUMNS, *by) else name for name in kind]
    columns = [*SCORE_COLUMNS[:3], *kind, *by, *SCORE_COLUMNS[3:]]
    items = _trials(rows) if level == "trial" else rows[(rows["frame"] >= 0) == (level == "frame")]
    if items.empty:
        return pd.DataFrame(columns=columns)
    values = "kind of trial"  # a unique name: the split's own may be "label" or "window"
    if split is not None:
        items = items.merge(split.set_axis(["subject", "trial", values], axis=1), on=["subject", "trial"])
    keys = ["study", "subject", "stage", *([values] if kind else []), *by]
    group = items.groupby(keys, sort=False)
    number, item = group.ngroup().to_numpy(), items.groupby([*keys, *_ITEM[level]], sort=False).ngroup().to_numpy()
    label, predicted = items["label"].astype(str), items["predicted"].astype(str)
    classes = {text: code for code, text in enumerate(pd.unique(pd.concat([label, predicted])))}
    weight = shared_weights(item)
    found = score_groups(
        number, label.map(classes).to_numpy(), predicted.map(classes).to_numpy(), weight, group.ngroups, len(classes)
    )
    out = items.iloc[codes(number)[1]][keys].set_axis(columns[: len(keys)], axis=1).reset_index(drop=True)
    out = out.assign(level=level, n=np.rint(np.bincount(number, weight)).astype(int))
    out[[*METRICS]] = found
    return _order(out, kind)


def summary(study: StudyDir, level: str = "trial", baselines: bool = False) -> pd.DataFrame:
    """Return mean and standard deviation over subjects per stage; see :func:`summarise`."""
    table = scores(study, level, baselines=baselines)
    out = summarise(table)
    out.attrs["problems"] = table.attrs["problems"]
    return out


def summarise(table: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """Summarise a :func:`scores` table per stage.

    Columns: ``subjects``, ``n`` (items of all subjects), the ``metric`` (mean over subjects), ``sd`` (sample standard
    deviation over subjects; empty for a single one).
    """
    columns = ["study", "stage", "level", "subjects", "n", metric, "sd"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    groups = table.groupby(["study", "stage", "level"], sort=False)
    out = groups.agg(
        **{"subjects": ("subject", "nunique"), "n": ("n", "sum"), metric: (metric, "mean"), "sd": (metric, "std")}
    ).reset_index()
    return out.sort_values("stage", key=_rank, kind="stable").reset_index(drop=True)[columns]


def confusion(rows: pd.DataFrame) -> pd.DataFrame:
    """Count rows of :func:`trials` by label (rows) and prediction (columns), over all seeds."""
    classes = probability_labels(rows)
    counts = pd.crosstab(rows["label"], rows["predicted"])
    return counts.reindex(index=classes, columns=classes, fill_value=0)


def attention_columns(frame: pd.DataFrame) -> list[str]:
    """Return the attention columns of a predictions or trials table that are not empty."""
    return [c for c in frame.columns if c.startswith("attention_") and frame[c].notna().any()]


def _trials(rows: pd.DataFrame) -> pd.DataFrame:
    """Aggregate window rows to trials; see :func:`trials`."""
    rows = rows[rows["frame"] == -1]
    labels = probability_labels(rows)
    p, attention = [f"p_{c}" for c in labels], [c for c in rows.columns if c.startswith("attention_")]
    keys = ["study", "run", "stage", "subject", "trial", "group", "label", "fold", "seed"]
    first = [*keys[:7], "predicted", "correct", "confidence", "fold", "seed", "windows"]
    if rows.empty:
        return pd.DataFrame(columns=[*first, *p, *attention])
    table = mean_logs(rows, labels, keys, attention)
    table[p] = normalised(table[p].to_numpy())
    table["confidence"] = table[p].max(axis=1)
    table["correct"] = table["predicted"] == table["label"]
    return table[[*first, *p, *attention]]


def _rank(column: pd.Series) -> pd.Series:
    """Return a sort key: canonical order for stages, natural order for texts, numbers unchanged."""
    if column.name == "stage":
        return column.map(STAGE_RANK)
    if pd.api.types.is_numeric_dtype(column):
        return column
    return column.map({value: rank for rank, value in enumerate(natural_order(column.astype(str)))})


def _order(table: pd.DataFrame, kind: Sequence[str] = ()) -> pd.DataFrame:
    keys = [c for c in ("subject", "stage", "trial", "fold", "seed") if c in table.columns]
    if "trial" in keys:
        keys = ["subject", "trial", "stage", "fold", "seed"]
    keys = [*keys, *(c for c in kind if c not in keys)]
    return table.sort_values(keys, key=_rank, kind="stable").reset_index(drop=True)
