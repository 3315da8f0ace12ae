"""The prediction files of a study's finished runs as one frame, and single result files of a run.

In: a :class:`~eavdash.store.StudyDir`. Out: pandas frames of predictions.parquet and baselines.parquet, after their
checksums. :mod:`eavdash.results.scored` reads the smaller scores.parquet instead, from which tables are made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eavdash.config.choices import FUSIONS, STAGES
from eavdash.errors import EavdashError, IntegrityError
from eavdash.results.left_out import found_by
from eavdash.store import RunDir, StudyDir
from eavdash.store.documents import RunConfig
from eavdash.store.regular import open_regular

#: What a run of each stage may write into baselines.parquet, in the order of tables.
BESIDE = {
    "vision": ("vision:majority", "vision:time", "vision:linear", "vision:crops"),
    "audio": ("audio:majority", "audio:time", "audio:linear", "audio:logmel"),
    "eeg": ("eeg:majority", "eeg:time", "eeg:linear", "eeg:bandpower", "eeg:tangent"),
    "fusion": ("fusion:best", "fusion:mean", "fusion:calibrated", *(f"fusion:{kind}" for kind in FUSIONS), "majority"),
}
BASELINES = tuple(name for names in BESIDE.values() for name in names)
NEEDED = ("subject", "trial", "group", "label", "predicted", "split", "window", "frame", "fold", "seed")


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
                own = read_table(run, "predictions.parquet", NEEDED, "p_<label>").assign(run=run.name, stage=stage)
                frames.append(own)
            if any(name in wanted for name in BESIDE[stage]) and run.baselines_file.exists():
                rows = read_table(run, "baselines.parquet", (*NEEDED, "stage"), "p_<label>").assign(run=run.name)
                frames.append(rivals(rows[rows["stage"].isin(wanted)], config))
                if stage == "fusion":
                    fused.add(scope)
            if stage != "fusion" and own is not None and "majority" in wanted:
                alone.setdefault(scope, own)
        except (EavdashError, KeyError) as error:
            problems.append(problem_of(run, error))
    frames += [majority(rows) for scope, rows in alone.items() if scope not in fused]
    if not frames:
        empty = pd.DataFrame(columns=["study", "run", "stage", *NEEDED])
        empty.attrs |= {"problems": problems, "unread": sorted(unread)}
        return empty
    frame = pd.concat(frames, ignore_index=True)
    if split is not None:
        frame = frame[frame["split"] == split]
    if unread:  # all stages of a subject are compared on the same trials
        keys = zip(frame["subject"], frame["trial"], strict=True)
        frame = frame[pd.Series([key not in unread for key in keys], frame.index, bool)]
    frame.insert(0, "study", study.name)
    first = ["study", "run", "stage", *NEEDED]
    frame = frame[[*first, *(c for c in frame.columns if c not in first)]].reset_index(drop=True)
    frame.attrs |= {"problems": problems, "unread": sorted(unread)}
    return frame


def read_table(run: RunDir, name: str, needed: Sequence[str], values: str) -> pd.DataFrame:
    """Read a result file of a run and check its checksum and columns.

    Args:
        needed: columns that it must have.
        values: the names of its further columns, of which it must have at least one, such as ``p_<label>``.

    Raises:
        IntegrityError: it is missing, damaged, or lacks columns.
    """
    path = run.verify(name)
    frame = read_parquet(path, run.remedy)
    missing = [c for c in needed if c not in frame.columns]
    if missing or not any(re.fullmatch(re.sub("<[a-z]+>", ".+", values), c) for c in frame.columns):
        expected, found = f"the columns {', '.join(needed)} and {values}", f"no {', '.join(missing) or values}"
        raise IntegrityError.at(path, expected=expected, found=found, remedy=run.remedy)
    return frame


def read_parquet(path: Path, remedy: str) -> pd.DataFrame:
    """Read a parquet file.

    Raises:
        IntegrityError: it cannot be read; its message ends with the ``remedy``.
    """
    try:
        with open_regular(path) as source:
            return pd.read_parquet(source)
    except (OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise IntegrityError.at(path, expected="a parquet table", found=found, remedy=remedy) from error


def problem_of(run: RunDir, error: EavdashError | KeyError) -> str:
    """Return the message about a run whose files cannot be used."""
    return str(error) if isinstance(error, EavdashError) else f"{run.path}: {error} is missing."


def rivals(rows: pd.DataFrame, config: RunConfig) -> pd.DataFrame:
    """Return rows of a run's baselines.parquet without those of its own kind of fusion, which is no rival of itself."""
    itself = f"fusion:{config.config.get('fusion', {}).get('kind')}"
    return rows[rows["stage"] != itself]


def majority(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the majority baseline for an encoder's windows: the class shares of its training trials."""
    rows = rows[rows["frame"] == -1]
    train = rows[rows["split"] == "train"].drop_duplicates(["subject", "trial"])
    shares = train["label"].value_counts(normalize=True).reindex(probability_labels(rows), fill_value=0.0)
    return rows.assign(**{f"p_{c}": p for c, p in shares.items()}, predicted=str(shares.idxmax()), stage="majority")


def probability_labels(frame: pd.DataFrame) -> list[str]:
    """Return the classes of a predictions or trials table, in the study's order."""
    return [c.removeprefix("p_") for c in frame.columns if c.startswith("p_")]
