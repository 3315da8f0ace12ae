"""Baselines of an encoder, on its own windows and folds, written beside its predictions.

* ``STAGE:majority``: the class shares of the training trials,
* ``STAGE:time``: the labels of the training trials nearest in the session (:mod:`eavdash.results.timeonly`),
* ``STAGE:linear``: a linear classifier of the encoder's features with the weights with which training starts: what a
  pretrained encoder gives frozen, or an encoder without pretraining gives with random weights; where that is how the
  run itself is fitted (``train.STAGE.fit=linear``), its own predictions,
* ``eeg:bandpower``, ``eeg:tangent``, ``audio:logmel``, ``vision:crops``: a linear classifier of simple features
  (:mod:`eavdash.data.summaries`). The tangent space is that of each frequency band's covariance matrices at their
  log-Euclidean mean over the training windows (Barachant et al. 2012, IEEE Trans. Biomed. Eng. 59:920).

The classifiers are those of :mod:`eavdash.training.linear`: fitted on training windows, their penalty chosen on
validation windows or, without any, on held-out groups of the training windows; never on test windows, also where
``protocol.test_epoch`` chooses the epoch on them. With ``protocol.subject_scaling`` the simple features of EEG and
audio are standardised by each subject's windows, and covariance matrices are re-centred to each subject's mean.

A baseline that cannot be computed is named with the reason in config.json under ``baselines`` and in the log; the run
goes on. Delegated to pyriemann: mean and tangent space.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from eavdash.config import scaling
from eavdash.data.standardise import KINDS
from eavdash.data.summaries import Band, summary
from eavdash.errors import TrainingError
from eavdash.models.base import last_linear
from eavdash.models.people import read_people
from eavdash.results.tables import BESIDE
from eavdash.results.timeonly import positions, votes
from eavdash.training import evaluate, phases
from eavdash.training.baselines import majority
from eavdash.training.frozen import input_of
from eavdash.training.linear import LinearFit, fit_linear
from eavdash.training.loop import StoppedError
from eavdash.training.memory import MicroBatchSize, in_micro_batches
from eavdash.training.precision import autocast, device_of, resolve_precision
from eavdash.training.run_context import RunContext, Windows, labels_of, rows_of
from eavdash.training.stage1 import WindowSource, table_of, untrained
from eavdash.training.warmup import limit_frozen_to_budget

log = logging.getLogger(__name__)
BATCH = 32  # windows at once through the encoder, without gradients
#: Most numbers of a classifier's input (160 MB as float64): of more windows than fit, random ones are used.
NUMBERS = 20_000_000
#: Most features of all windows together (1 GB as float32).
MOST = 250_000_000
#: Fewer windows of a person than this tell its mean, but not its spread.
FEWEST = 10
Rows = list[int]
Made = tuple[np.ndarray, dict[str, Any]]  # class probabilities (window, K), and what config.json records


def write_baselines(context: RunContext, windows: Windows) -> None:
    """Compute the baselines of the run's stage on its windows, and write them; nothing if no trial is tested.

    Raises:
        StoppedError: the run was asked to stop.
    """
    if not rows_of(windows.index, "test"):
        return
    makers = _makers(context, windows)
    tables, notes = [], {}
    for number, name in enumerate(BESIDE[context.stage]):
        phases.enter(phases.BASELINES, number, len(BESIDE[context.stage]))
        if context.should_stop():
            raise StoppedError
        start = time.monotonic()
        try:
            probabilities, notes[name] = makers[name]()
        except Exception as error:  # of whichever library: a baseline is no reason to fail a trained run
            notes[name] = {"missing": " ".join(str(error).split()) or type(error).__name__}
            log.warning("%s: the baseline %s could not be computed: %s", context.run.name, name, error)
            continue
        log.info("%s: computed the baseline %s in %.1f s", context.run.name, name, time.monotonic() - start)
        tables.append(table_of(context, windows.index, evaluate.Predictions(probabilities)).assign(stage=name))
    context.describe(baselines=notes)
    if tables:
        evaluate.write(context.run.baselines_file, pd.concat(tables, ignore_index=True))


def _makers(context: RunContext, windows: Windows) -> dict[str, Callable[[], Made]]:
    stage, index, own = context.stage, windows.index, context.settings.fit == "linear"

    def read(name: str) -> np.ndarray:
        band = Band(context.config.eeg.low, context.config.eeg.high)
        return summary(windows.values, name, band, context.run.study.cache_dir)

    def simple(name: str) -> Made:
        return _classified(context, index, _by_person(context, windows, read(name)))

    return {
        f"{stage}:majority": lambda: (majority(index, context.classes).windows, {}),
        f"{stage}:time": lambda: (_by_time(context, index), {}),
        f"{stage}:linear": lambda: _itself(context) if own else _classified(context, index, _encoded(context, windows)),
        "eeg:bandpower": lambda: simple("bandpower"),
        "eeg:tangent": lambda: _classified(context, index, _tangents(context, windows, read("covariances"))),
        "audio:logmel": lambda: simple("logmel"),
        "vision:crops": lambda: simple("crops"),
    }


def _by_time(context: RunContext, index: pd.DataFrame) -> np.ndarray:
    """Return for each window the shares of the labels of the training trials nearest to its trial."""
    trials = context.trials
    places = positions(trials)
    train = (trials["split"] == "train").to_numpy()
    nearest = votes(places[train], trials.loc[train, "label"], places)
    shares = np.array([[count[name] for name in context.classes] for count in nearest], dtype=np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    at = {key: row for row, key in enumerate(zip(trials["subject"], trials["trial"], strict=True))}
    return shares[[at[key] for key in zip(index["subject"], index["trial"], strict=True)]]


def _classified(context: RunContext, index: pd.DataFrame, features: np.ndarray) -> Made:
    """Return the probabilities of a linear classifier of ``features`` (window, D), fitted on the training windows."""
    width = features.shape[1]
    random = np.random.default_rng(context.seed("baselines"))

    def some(rows: Rows) -> Rows:
        most = max(1, NUMBERS // width)
        return rows if len(rows) <= most else sorted(int(r) for r in random.choice(rows, most, replace=False))

    # Across subjects the classifier is for new people: people, not groups, are held out where nothing validates.
    groups = index["subject"] if not context.info.subject else index["subject"] + "\x1f" + index["group"]
    train, validation = some(rows_of(index, "train")), some(rows_of(index, "validation"))
    labels = labels_of(index, context.classes).numpy()
    fit: LinearFit = fit_linear(features, labels, train, validation, len(context.classes), groups.to_numpy())
    parts = [fit.probabilities(features[first : first + 1024]) for first in range(0, len(features), 1024)]
    probabilities = np.concatenate(parts)
    if not np.isfinite(probabilities).all():
        remedy = "check the recordings: eavdash check"
        raise TrainingError.at(context.run.name, expected="finite features", found="NaN", remedy=remedy)
    return probabilities, {"features": width, "strength": fit.strength, "chosen_by": fit.chosen_by}


def _people(context: RunContext, windows: Windows) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each person's windows (positions in the index), and the rows of the window set for its statistics.

    These are the rows of its trials for calibration if the study has such trials, otherwise all of its rows; for
    somebody without any, the training rows. Empty unless the protocol scales this modality by person.
    """
    if windows.values.kind not in KINDS or context.config.protocol.subject_scaling == scaling.OFF:
        return []
    aside = context.trials.loc[context.trials["split"] == "calibration", ["subject", "trial"]]
    every, index = windows.values.index, windows.index
    known = np.ones(len(every), dtype=bool)
    if len(aside):
        known = pd.MultiIndex.from_frame(every[["subject", "trial"]]).isin(pd.MultiIndex.from_frame(aside))
    train = index["row"].to_numpy()[rows_of(index, "train")]
    people = []
    for subject in dict.fromkeys(index["subject"]):
        rows = np.flatnonzero(known & (every["subject"] == subject).to_numpy())
        people.append((np.flatnonzero(index["subject"] == subject), rows if len(rows) else train))
    return people


def _by_person(context: RunContext, windows: Windows, values: np.ndarray) -> np.ndarray:
    """Return the features of the windows from ``values`` (row, D), standardised by person if the protocol does that.

    Few windows of a person give only a shift.
    """
    features = np.asarray(values[windows.index["row"].to_numpy()])
    for own, known in _people(context, windows):
        shift, scale = values[known].mean(axis=0), values[known].std(axis=0)
        features[own] = (features[own] - shift) / np.where((scale > 0) & (len(known) >= FEWEST), scale, 1.0)
    return features


def _tangents(context: RunContext, windows: Windows, covariances: np.ndarray) -> np.ndarray:
    """Return tangent vectors (window, band * C (C + 1) / 2) float32 of ``covariances`` (row, band, C, C).

    The point of tangency is the mean of the training windows or, if the protocol scales by person, of each person's.
    """
    from pyriemann.geometry.mean import mean_logeuclid
    from pyriemann.geometry.tangentspace import tangent_space

    rows = windows.index["row"].to_numpy()
    bands, channels = covariances.shape[1:3]
    width = channels * (channels + 1) // 2
    _check_size(context, len(rows), bands * width)
    parts = _people(context, windows) or [(np.arange(len(rows)), rows[rows_of(windows.index, "train")])]
    out = np.empty((len(rows), bands * width), dtype=np.float32)
    with threadpool_limits(1):
        for band in range(bands):
            of_band = np.asarray(covariances[:, band])
            for own, known in parts:
                vectors = tangent_space(of_band[rows[own]], mean_logeuclid(of_band[known]))
                out[own, band * width : (band + 1) * width] = vectors
    return out


def _itself(context: RunContext) -> Made:
    """Return the probabilities of the run itself, a linear classifier of its frozen encoder's features."""
    table = pd.read_parquet(context.run.predictions_file)
    rows = table.loc[table["frame"] == -1, [f"p_{name}" for name in context.classes]]
    return rows.to_numpy(dtype=np.float64), {"by": "the run itself, which is fitted so"}


def _encoded(context: RunContext, windows: Windows) -> np.ndarray:
    """Return the features (window, D) float32 of the encoder with which training starts, in evaluation mode.

    They are what reaches its last linear layer, the mean over recorded frames if each is classified on its own; of an
    encoder whose head ends with another layer, what reaches the head.
    """
    model = untrained(context, context.run.config().architecture, windows)
    model.eval().requires_grad_(False)
    layer = last_linear(model.head) or model.head
    labels, people = labels_of(windows.index, context.classes), read_people(context.run)
    source = WindowSource(windows, labels, context.device, False, people)
    precision = resolve_precision(context.settings.precision, context.device)

    def compute(part: Tensor) -> np.ndarray:
        with torch.no_grad(), autocast(precision, device_of(model)):
            return input_of(layer, model, source, part).flatten(1).float().cpu().numpy()

    rows = torch.arange(len(windows.index))
    _check_size(context, len(rows), compute(rows[:1]).shape[1])
    micro_batch = MicroBatchSize(BATCH, BATCH)
    limit_frozen_to_budget(compute, rows, micro_batch, context.execution, context.device, context.run.name)
    return np.concatenate(in_micro_batches(rows, micro_batch, compute, context.run.name))


def _check_size(context: RunContext, windows: int, width: int) -> None:
    """Check that the features of all windows fit into memory.

    Raises:
        TrainingError: they would take more than about 1 GB.
    """
    if windows * width > MOST:
        raise TrainingError.at(
            context.run.name,
            expected=f"at most {MOST} features of all windows together",
            found=f"{width} of each of {windows} windows",
            remedy="read the score of another baseline",
        )
