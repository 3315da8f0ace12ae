"""Coalitions of synthetic studies (fake_study): shapley.parquet and stored sums of attributions, without a model."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from fake_study import make_explanation, write_parquet

from eavdash.config.choices import MODALITIES
from eavdash.explain.explanation import save_explanation
from eavdash.store import RunDir, StudyDir

COALITIONS = [c for size in range(len(MODALITIES) + 1) for c in combinations(range(len(MODALITIES)), size)]


def coalition_rows(fused: pd.DataFrame, effects: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Make the rows of shapley.parquet: the Shapley values of the predicted class are ``effects`` (window, modality).

    ``fused``: test windows of a fusion's predictions. A modality whose share of attention is 0 is absent.
    """
    shares = fused.reindex(columns=[f"attention_{m}" for m in MODALITIES], fill_value=1.0)
    present = shares.to_numpy(float) != 0
    parts = []
    for coalition in COALITIONS:
        here = present[:, list(coalition)].all(axis=1)
        rows, worth = fused[here], effects[here][:, list(coalition)].sum(axis=1)
        part = rows[["subject", "trial", "window"]].assign(coalition="+".join(MODALITIES[i] for i in coalition))
        for name in classes:
            value = np.where(rows["predicted"] == name, worth, -worth / 2) - np.log(len(classes))
            parts.append(part.assign(**{"class": name, "value": value.astype(np.float32)}))
    return pd.concat(parts, ignore_index=True)


def add_shapley(run: RunDir, seed: int = 0, follow: float = 0.5) -> None:
    """Write shapley.parquet of a fusion run; effects follow the run's attention shares by the part ``follow``."""
    frame = pd.read_parquet(run.predictions_file)
    tested = frame[(frame["split"] == "test") & (frame["frame"] == -1)].reset_index(drop=True)
    rng = np.random.default_rng([seed, *run.name.encode()])
    columns = [f"attention_{m}" for m in MODALITIES]
    tilt = rng.dirichlet((2, 3, 2))  # the run's own order of the modalities
    shares = tested[columns].to_numpy(float) if columns[0] in tested else np.full((len(tested), 3), 1 / 3)
    effects = 2 * (follow * shares + (1 - follow) * rng.dirichlet(6 * tilt + 0.3, len(tested)))
    write_parquet(run.shapley_file, coalition_rows(tested, effects, run.config().classes))
    run.update(checksums=run.seal())


def add_attributions(study: StudyDir, run: str, subject: str, trials: list[str]) -> None:
    """Store an explanation of the predicted class for each of the trials."""
    frame = pd.read_parquet(study.run(run).predictions_file)
    for trial in trials:
        explanation = make_explanation(study, run, subject, trial)
        predicted = frame[(frame["subject"] == subject) & (frame["trial"] == trial)]["predicted"].mode()[0]
        receipts = explanation.receipts.model_copy(update={"target": predicted})
        save_explanation(study.run(run), type(explanation)(**{**vars(explanation), "receipts": receipts}))


def remove_shapley(study: StudyDir) -> None:
    """Make the study's fusion runs those of an earlier version, without shapley.parquet."""
    for run in study.runs():
        if run.shapley_file.exists():
            run.shapley_file.unlink()
            run.update(checksums=run.seal())
