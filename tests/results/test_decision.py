"""The decision on a trial: bit for bit the arithmetic of earlier versions, in training, results and explanations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import CLASSES, make_study

from eavdash.results import tables
from eavdash.results.decision import log_probabilities, mean_logs, normalised
from eavdash.training.evaluate import trial_accuracy

P = [f"p_{c}" for c in CLASSES]


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    """Test windows of one run, 9 per trial, some of them certain or impossible."""
    study = make_study(tmp_path, subjects=("1",), stages=("eeg",), windows=9, trials=40)
    found = tables.predictions(study)
    random = np.random.default_rng(1)
    p = random.dirichlet(np.full(len(CLASSES), 0.1), len(found))
    p[random.random(len(p)) < 0.2] = np.eye(len(CLASSES))[0]
    return found.assign(**dict(zip(P, p.T, strict=True)))


def test_as_the_trial_tables_of_earlier_versions(rows: pd.DataFrame) -> None:
    keys = ["study", "run", "stage", "subject", "trial", "group", "label", "fold", "seed"]
    logs = rows.assign(**{c: np.log(rows[c].to_numpy(float).clip(1e-12)) for c in P})
    values = logs.groupby(keys, sort=False)[P].mean().reset_index()[P].to_numpy()
    exponential = np.exp(values - values.max(axis=1, keepdims=True))
    table = tables._trials(rows)
    assert table[P].to_numpy().tobytes() == (exponential / exponential.sum(axis=1, keepdims=True)).tobytes()
    assert table["predicted"].tolist() == [CLASSES[n] for n in values.argmax(axis=1)]
    assert set(table["windows"]) == {9}


def test_as_the_accuracy_that_training_stored(rows: pd.DataFrame) -> None:
    logs = pd.DataFrame(np.log(rows[P].clip(lower=1e-12)))
    mean = logs.groupby([rows["subject"], rows["trial"]], sort=False).mean()
    label = rows.groupby(["subject", "trial"], sort=False)["label"].first()
    predicted = np.array(CLASSES, dtype=object)[mean.to_numpy().argmax(1)]
    assert trial_accuracy(rows, CLASSES) == (float((predicted == label.to_numpy(dtype=object)).mean()), 40)
    assert trial_accuracy(rows, CLASSES)[0] == tables._trials(rows)["correct"].mean()


def test_as_the_probabilities_of_explanations(rows: pd.DataFrame) -> None:
    windows = rows[P].to_numpy()[:30]
    windows[3] = np.nan  # a window without this modality
    logs = np.nanmean(np.log(np.clip(windows, 1e-12, None)), axis=0)
    mean = np.exp(logs - logs.max())
    found = normalised(np.nanmean(log_probabilities(windows), axis=0))
    assert found.tobytes() == np.asarray(mean / mean.sum()).tobytes()


def test_trials_stay_in_the_order_of_their_windows(rows: pd.DataFrame) -> None:
    backwards = rows.iloc[::-1]
    table = mean_logs(backwards, CLASSES, ("subject", "trial", "label"))
    assert table["trial"].tolist() == backwards["trial"].drop_duplicates().tolist()
