"""Tidy tables from the prediction files of a study's runs; all scores in eavdash come from here.

In: a :class:`~eavdash.store.StudyDir`. Out: pandas frames with plain columns, in natural order of subjects. Unfinished
runs are not included; a run with damaged files is left out and reported in ``frame.attrs["problems"]``, a list of
messages that pages and the command line show.

A trial's probabilities are the normalised exponential of the mean log-probabilities of its windows, for each fold and
seed. Each test item counts once, however many seeds have decided it: its decisions share its weight. ``n`` counts
distinct items, so that more seeds never look like more data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from eavdash.config.choices import FUSIONS, STAGES
from eavdash.errors import EavdashError, IntegrityError, UsageError
from eavdash.results.columns import column
from eavdash.results.decision import mean_logs, normalised
from eavdash.results.left_out import found_by
from eavdash.store import RunDir, StudyDir
from eavdash.store.regular import open_regular
from eavdash.text import natural_order

LEVELS = ("trial", "window", "frame")
#: What a run of each stage may write into baselines.parquet, in the order of tables.
BESIDE = {
    "vision": ("vision:majority", "vision:time", "vision:linear", "vision:crops"),
    "audio": ("audio:majority", "audio:time", "audio:linear", "audio:logmel"),
    "eeg": ("eeg:majority", "eeg:time", "eeg:linear", "eeg:bandpower", "eeg:tangent"),
    "fusion": ("fusion:best", "fusion:mean", "fusion:calibrated", *(f"fusion:{kind}" for kind in FUSIONS), "majority"),
}
BASELINES = tuple(name for names in BESIDE.values() for name in names)
SCORE_COLUMNS = ("study", "subject", "stage", "level", "n", "accuracy", "balanced_accuracy", "macro_f1")
#: Columns that together identify one tested item of a level.
_ITEM = {"trial": ["trial"], "window": ["trial", "window"], "frame": ["trial", "window", "frame"]}
_NEEDED = ("subject", "trial", "group", "label", "predicted", "split", "window", "frame", "fold", "seed")


def predictions(
    study: StudyDir,
    stages: Sequence[str] | None = None,
    split: str | None = "test",
    *,
    baselines: bool = False,
) -> pd.DataFrame:
    """Return the predictions of every finished run: ``study``, ``run``, ``stage``, the columns of predictions.parquet.

    ``split=None`` returns all splits. With ``baselines`` the rows of the runs' baselines.parquet follow, with the
    stages of :data:`BASELINES` (earlier versions wrote this file only for a fusion); without a fusion, the class shares
    of an encoder's training trials are the majority baseline. Only test rows of different runs may be compared. Trials
    that a run could not read are in no run's rows; ``frame.attrs["unread"]`` has their subject and trial.
    """
    frames: list[pd.DataFrame] = []
    problems: list[str] = []
    wanted = [*STAGES, *(BASELINES if baselines else ())] if stages is None else list(stages)
    fused: set[tuple[str, int, int]] = set()
    alone: dict[tuple[str, int, int], pd.DataFrame] = {}  # an encoder's rows by scope, fold and seed
    unread: set[tuple[str, str]] = set()  # trials that a run could not read
    for run in study.runs():
        try:
            if run.status().state != "done":
                continue
            config = run.config()
            stage, scope = config.stage, (config.unit, config.fold, config.seed)
            unread |= found_by(config)
            own = None
            if stage in wanted:
                own = read_table(run, "predictions.parquet", _NEEDED, "p_<label>").assign(run=run.name, stage=stage)
                frames.append(own)
            if any(name in wanted for name in BESIDE[stage]) and run.baselines_file.exists():
                rows = read_table(run, "baselines.parquet", (*_NEEDED, "stage"), "p_<label>").assign(run=run.name)
                itself = f"fusion:{config.config.get('fusion', {}).get('kind')}"  # it is no rival of the fusion
                frames.append(rows[rows["stage"].isin(wanted) & (rows["stage"] != itself)])
                if stage == "fusion":
                    fused.add(scope)
            if stage != "fusion" and own is not None and "majority" in wanted:
                alone.setdefault(scope, own)
        except (EavdashError, KeyError) as error:
            problems.append(problem_of(run, error))
    frames += [_majority(rows) for scope, rows in alone.items() if scope not in fused]
    if not frames:
        empty = pd.DataFrame(columns=["study", "run", "stage", *_NEEDED])
        empty.attrs |= {"problems": problems, "unread": sorted(unread)}
        return empty
    frame = pd.concat(frames, ignore_index=True)
    if split is not None:
        frame = frame[frame["split"] == split]
    if unread:  # all stages of a subject are compared on the same trials
        keys = zip(frame["subject"], frame["trial"], strict=True)
        frame = frame[pd.Series([key not in unread for key in keys], frame.index, bool)]
    frame.insert(0, "study", study.name)
    first = ["study", "run", "stage", *_NEEDED]
    frame = frame[[*first, *(c for c in frame.columns if c not in first)]].reset_index(drop=True)
    frame.attrs |= {"problems": problems, "unread": sorted(unread)}
    return frame


def trials(study: StudyDir, stages: Sequence[str] | None = None, *, baselines: bool = False) -> pd.DataFrame:
    """Return one row per test trial, stage, fold and seed.

    Columns: study, run, stage, subject, trial, group, label, predicted, correct, confidence, fold, seed, windows, then
    ``p_<label>`` (sum to one) and ``attention_<modality>`` (mean over the windows; empty if a stage has none).
    """
    return trial_table(predictions(study, stages, baselines=baselines))


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
    rows = predictions(study, baselines=baselines)
    table = score_table(rows, level, by, column(study, split) if split else None)
    table.attrs.update(rows.attrs)
    return table


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
    out = []
    for key, group in items.groupby(keys, sort=False):
        decisions = group.groupby(_ITEM[level])["label"].transform("size").to_numpy(float)
        out.append((*key, level, round((1 / decisions).sum()), *_score(group, 1 / decisions)))
    return _order(pd.DataFrame(out, columns=columns), kind)


def summary(study: StudyDir, level: str = "trial", baselines: bool = False) -> pd.DataFrame:
    """Return mean and standard deviation over subjects per stage; see :func:`summarise`."""
    table = scores(study, level, baselines=baselines)
    out = summarise(table)
    out.attrs["problems"] = table.attrs["problems"]
    return out


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Summarise a :func:`scores` table per stage.

    Columns: ``subjects``, ``n`` (items of all subjects), ``accuracy`` (mean over subjects), ``sd`` (sample standard
    deviation over subjects; empty for a single one).
    """
    columns = ["study", "stage", "level", "subjects", "n", "accuracy", "sd"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    groups = table.groupby(["study", "stage", "level"], sort=False)
    out = groups.agg(
        subjects=("subject", "nunique"), n=("n", "sum"), accuracy=("accuracy", "mean"), sd=("accuracy", "std")
    ).reset_index()
    return out.sort_values("stage", key=_rank, kind="stable").reset_index(drop=True)[columns]


def confusion(rows: pd.DataFrame) -> pd.DataFrame:
    """Count rows of :func:`trials` by label (rows) and prediction (columns), over all seeds."""
    classes = probability_labels(rows)
    counts = pd.crosstab(rows["label"], rows["predicted"])
    return counts.reindex(index=classes, columns=classes, fill_value=0)


def probability_labels(frame: pd.DataFrame) -> list[str]:
    """Return the classes of a predictions or trials table, in the study's order."""
    return [c.removeprefix("p_") for c in frame.columns if c.startswith("p_")]


def attention_columns(frame: pd.DataFrame) -> list[str]:
    """Return the attention columns of a predictions or trials table that are not empty."""
    return [c for c in frame.columns if c.startswith("attention_") and frame[c].notna().any()]


def read_table(run: RunDir, name: str, needed: Sequence[str], values: str) -> pd.DataFrame:
    """Read a result file of a run and check its checksum and columns.

    Args:
        needed: columns that it must have.
        values: the names of its further columns, of which it must have at least one, such as ``p_<label>``.

    Raises:
        IntegrityError: it is missing, damaged, or lacks columns.
    """
    path = run.verify(name)
    remedy = f"train the run again: eavdash retry {run.study.name} --run {run.name}"
    try:
        with open_regular(path) as source:
            frame = pd.read_parquet(source)
    except (OSError, ValueError) as error:
        found = str(error).splitlines()[0].rstrip(".")
        raise IntegrityError.at(path, expected="a parquet table", found=found, remedy=remedy) from error
    missing = [c for c in needed if c not in frame.columns]
    if missing or not any(re.fullmatch(re.sub("<[a-z]+>", ".+", values), c) for c in frame.columns):
        expected, found = f"the columns {', '.join(needed)} and {values}", f"no {', '.join(missing) or values}"
        raise IntegrityError.at(path, expected=expected, found=found, remedy=remedy)
    return frame


def problem_of(run: RunDir, error: EavdashError | KeyError) -> str:
    """Return the message about a run whose files cannot be used."""
    return str(error) if isinstance(error, EavdashError) else f"{run.path}: {error} is missing."


def _majority(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the majority baseline for an encoder's windows: the class shares of its training trials."""
    rows = rows[rows["frame"] == -1]
    train = rows[rows["split"] == "train"].drop_duplicates(["subject", "trial"])
    shares = train["label"].value_counts(normalize=True).reindex(probability_labels(rows), fill_value=0.0)
    return rows.assign(**{f"p_{c}": p for c, p in shares.items()}, predicted=str(shares.idxmax()), stage="majority")


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


def _score(part: pd.DataFrame, weight: np.ndarray) -> tuple[float, float, float]:
    """Return accuracy, balanced accuracy and macro F1 of rows of this ``weight``."""
    label, predicted = part["label"].to_numpy(), part["predicted"].to_numpy()
    classes, codes = np.unique(np.concatenate([label, predicted]).astype(str), return_inverse=True)
    true, guess = codes[: len(label)], codes[len(label) :]
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, (true, guess), weight)
    hits, labelled, guessed = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    recall = hits[labelled > 0] / labelled[labelled > 0]
    return float(hits.sum() / weight.sum()), float(recall.mean()), float((2 * hits / (labelled + guessed)).mean())


def _rank(column: pd.Series) -> pd.Series:
    """Return a sort key: canonical order for stages, natural order for texts, numbers unchanged."""
    if column.name == "stage":
        order: tuple[str, ...] = (*STAGES, *BASELINES)
    elif pd.api.types.is_numeric_dtype(column):
        return column
    else:
        order = natural_order(column.astype(str))
    return column.map({value: rank for rank, value in enumerate(order)})


def _order(table: pd.DataFrame, kind: Sequence[str] = ()) -> pd.DataFrame:
    keys = [c for c in ("subject", "stage", "trial", "fold", "seed") if c in table.columns]
    if "trial" in keys:
        keys = ["subject", "trial", "stage", "fold", "seed"]
    keys = [*keys, *(c for c in kind if c not in keys)]
    return table.sort_values(keys, key=_rank, kind="stable").reset_index(drop=True)
