"""Representations of test trials in two dimensions, and what separates the trials in them.

In: a vector per trial and space, from ``eavdash.training.representations``. Out: tables (a row per trial and space) and
:class:`Representations`, kept with the runs and the study.

Every run has spaces of its own: the axes of two encoders mean different things, and places in them are never compared.
Across runs only decisions are: the centred logarithms of the class probabilities, whose axes are the classes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field

from eavdash.config.choices import STAGES
from eavdash.errors import IntegrityError
from eavdash.results.decision import first_decisions, log_probabilities
from eavdash.results.reading import read_parquet
from eavdash.results.separation import Separation, separation
from eavdash.results.tables import probability_labels
from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import sha256, write_atomic
from eavdash.store.record import FIRST, FromList, Part, Record, Texts, Whole, read_record, write_record

COLUMNS = ("subject", "trial", "space", "values")
#: Ways into two dimensions, as the columns' names begin.
WAYS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
UMAP_EXTRA = "pip install 'eavdash[umap]'"
LEAST_TRIALS = 5  # in a space, below which nothing is drawn
DIMENSIONS = 50  # principal components from which the rest is computed
_REMEDY = "delete the file and make it again: eavdash representations"


class Space(Part):
    """One space of a run, or of all decisions: what separates the trials in it."""

    run: str  # empty: the decisions of all runs
    space: str  # a modality or fusion
    dimensions: Whole
    kept: float  # part of the variance in the first :data:`DIMENSIONS` principal components
    variance: Annotated[tuple[float, ...], FromList]  # part of the variance in each of the first two
    ways: Texts  # of :data:`WAYS`
    separation: Separation


class Representations(Record):
    """The content of the study's representations.json."""

    model_config = ConfigDict(title="a study's representations")

    schema_version: Whole = FIRST
    spaces: Annotated[tuple[Space, ...], FromList]
    files: dict[str, str]  # run (empty: all decisions) → checksum of its table
    models: dict[str, str]  # run → checksum of its model
    problems: dict[str, str] = Field(default_factory=dict)  # run → why it has none


def decisions(trials: pd.DataFrame) -> pd.DataFrame:
    """Return :data:`COLUMNS` of the decisions on ``tables.trials``, in a space per stage."""
    parts = []
    for stage in (name for name in STAGES if name in set(trials["stage"])):
        rows = first_decisions(trials, stage)
        logs = log_probabilities(rows[[f"p_{name}" for name in probability_labels(rows)]].to_numpy(float))
        values = list((logs - logs.mean(axis=1, keepdims=True)).astype(np.float32))
        parts.append(rows[["subject", "trial"]].assign(space=stage, values=values))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def placed(
    table: pd.DataFrame, labels: pd.DataFrame, run: str = "", ways: Sequence[str] = ("pca", "tsne", "umap")
) -> tuple[pd.DataFrame, list[Space]]:
    """Return the table with places ``<way>_1`` and ``<way>_2`` in each of its spaces, and what separates its trials.

    ``labels``: subject, trial and label.
    """
    parts, spaces = [], []
    for name, rows in table.groupby("space", sort=False):
        rows = rows.merge(labels[["subject", "trial", "label"]].drop_duplicates(["subject", "trial"]))
        points, kept, variance, dimensions = _components(np.stack(rows["values"].tolist()), scaled=bool(run))
        found = _places(points, ways)
        for way, places in found.items():
            rows[f"{way}_1"], rows[f"{way}_2"] = places[:, 0], places[:, 1]
        parts.append(rows.drop(columns="label"))
        spaces.append(
            Space(
                run=run,
                space=str(name),
                dimensions=dimensions,
                kept=kept,
                variance=variance,
                ways=tuple(found),
                separation=separation(points, rows["subject"].tolist(), rows["label"].tolist()),
            )
        )
    return (pd.concat(parts, ignore_index=True) if parts else table), spaces


def save_table(path: Path, table: pd.DataFrame) -> str:
    """Write a table of a run or of the decisions; return its checksum."""
    write_atomic(path, lambda file: table.to_parquet(file, index=False, compression="zstd"))
    return sha256(path)


def save(study: StudyDir, found: Representations) -> None:
    """Write the study's representations.json."""
    write_record(study.representations_file, found)


def load(study: StudyDir) -> Representations | None:
    """Return what separates the trials of a study; None if it was not computed.

    Raises:
        IntegrityError: the file is damaged.
    """
    if not study.representations_file.exists():
        return None
    return read_record(study.representations_file, Representations, _REMEDY)


def represented(study: StudyDir, trials: pd.DataFrame) -> list[RunDir]:
    """Return the runs with spaces of their own: the finished fusions, or the encoders of a study without any."""
    stages = {"fusion"} if "fusion" in set(trials["stage"]) else set(trials["stage"])
    return [study.run(str(name)) for name in trials.loc[trials["stage"].isin(stages), "run"].drop_duplicates()]


def checksums(run: RunDir) -> dict[str, str]:
    """Return the checksums of the weights of a run and of its encoders."""
    every = [run, *(run.sibling(name) for name in run.place().parents)]
    return {each.name: each.status().checksums.get(each.model_file.name, "") for each in every}


def outdated(found: Representations, run: RunDir) -> bool:
    """Return True if a run's representations are missing, or those of earlier weights."""
    here = run.representations_file.exists() and run.name in found.files
    return not here or any(found.models.get(name) != sha for name, sha in checksums(run).items())


def load_table(study: StudyDir, found: Representations, run: str = "") -> pd.DataFrame:
    """Return the table of a run, or of the decisions of all runs.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    path = study.run(run).representations_file if run else study.decisions_file
    with IntegrityError.from_os(path, expected="a file that can be read", remedy=_REMEDY):
        checksum = sha256(path)
    if checksum != found.files.get(run):
        expected = f"the checksum in {study.representations_file.name}"
        raise IntegrityError.at(path, expected=expected, found="a different checksum", remedy=_REMEDY)
    return read_parquet(path, _REMEDY)


def has_umap() -> bool:
    """Return True if the optional package for UMAP is installed."""
    return importlib.util.find_spec("umap") is not None


def _components(values: np.ndarray, scaled: bool) -> tuple[np.ndarray, float, tuple[float, ...], int]:
    """Return points on the first principal components, the variance they keep, that of the first two, and the size.

    ``scaled``: every dimension is divided by its standard deviation first; constant ones are dropped.
    """
    from sklearn.decomposition import PCA

    values = values.astype(np.float64)
    spread = values.std(axis=0)
    varied = spread > 1e-9 * max(1.0, float(np.abs(values).max()))
    dimensions = values.shape[1]
    values = values[:, varied] / (spread[varied] if scaled else 1.0)
    if not values.shape[1] or len(values) < 2:
        return np.zeros((len(values), 1)), 1.0, (), dimensions
    fitted = PCA(min(DIMENSIONS, *values.shape), svd_solver="full").fit(values)
    shares = fitted.explained_variance_ratio_
    return fitted.transform(values), float(shares.sum()), tuple(shares[:2].tolist()), dimensions


def _places(points: np.ndarray, ways: Sequence[str]) -> dict[str, np.ndarray]:
    """Return places (trial, 2) by way; none of too few trials."""
    n = len(points)
    if n < LEAST_TRIALS:
        return {}
    plane = np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))
    found = {"pca": plane[:, :2]}
    if not points.std(axis=0).any():
        return found
    if "tsne" in ways:
        from sklearn.manifold import TSNE

        start = plane[:, :2] / (plane[:, 0].std() or 1.0) * 1e-4
        perplexity = min(30.0, (n - 1) / 3)
        found["tsne"] = TSNE(2, perplexity=perplexity, init=start, random_state=0, n_jobs=1).fit_transform(points)
    if "umap" in ways and has_umap():
        umap: Any = importlib.import_module("umap")
        found["umap"] = umap.UMAP(n_neighbors=min(15, n - 1), random_state=0, n_jobs=1).fit_transform(points)
    return {way: places.astype(np.float32) for way, places in found.items()}
