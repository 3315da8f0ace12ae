"""Predictions of a model as a tidy table (docs/architecture.md, "Files").

One row per window (frame -1), plus one row per frame if the model classifies frames. Every score in the program is
computed from these rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from eavdash.models.layers import softmax
from eavdash.results.decision import mean_logs
from eavdash.store.atomic import write_atomic
from eavdash.training.loading import Source
from eavdash.training.memory import MicroBatchSize
from eavdash.training.step import check_finite, outputs

#: Columns that identify a window and its label.
KEYS = ("subject", "trial", "group", "label", "window")


@dataclass
class Predictions:
    """Predictions for n windows: float64 probabilities on the CPU."""

    windows: np.ndarray  # (n, K)
    frames: np.ndarray | None = None  # (n, F, K)
    frame_mask: np.ndarray | None = None  # (n, F) bool
    attention: np.ndarray | None = None  # (n, heads, modality)
    maps: np.ndarray | None = None  # (n, layers, heads, modality, modality)


def predict(
    model: nn.Module, source: Source, rows: Sequence[int], batch: int, precision: str = "auto", name: str = "evaluation"
) -> Predictions:
    """Return the model's predictions for the windows ``rows``, in that order, computed in evaluation mode.

    Args:
        batch: windows at once; fewer if they do not fit into memory.
        precision: ``TrainConfig.precision`` of the stage that trained the model.
        name: name of the run, for the log and errors.

    Raises:
        TrainingError: a logit is not a finite number.
    """
    parts = outputs(model, source, rows, MicroBatchSize(batch, batch), precision, name)
    for part in parts:
        check_finite(float(part.logits.abs().max()), name, "logit of the trained model")
    frames = [softmax(p.frame_logits) for p in parts if p.frame_logits is not None]
    masks = [p.frame_mask.cpu().numpy() for p in parts if p.frame_mask is not None]
    attention = [p.attention.double().cpu().numpy() for p in parts if p.attention is not None]
    maps = [p.maps.double().cpu().numpy() for p in parts if p.maps is not None]
    return Predictions(
        windows=np.concatenate([softmax(p.logits) for p in parts]),
        frames=np.concatenate(frames) if frames else None,
        frame_mask=np.concatenate(masks) if masks else None,
        attention=np.concatenate(attention) if attention else None,
        maps=np.concatenate(maps) if maps else None,
    )


def table(
    index: pd.DataFrame,
    predicted: Predictions,
    classes: Sequence[str],
    fold: int,
    seed: int,
    modalities: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the table of predictions: rows of ``index`` (:data:`KEYS` and ``split``) with class and probabilities."""
    out = _rows(index, predicted.windows, classes, fold, seed)
    out["frame"] = -1
    if predicted.attention is not None:
        for number, name in enumerate(modalities):
            out[f"attention_{name}"] = predicted.attention[:, :, number].mean(axis=1)
    if predicted.frames is not None and predicted.frame_mask is not None:
        window, frame = np.nonzero(predicted.frame_mask)
        frames = _rows(index.iloc[window], predicted.frames[window, frame], classes, fold, seed)
        frames["frame"] = frame
        at = np.concatenate([np.arange(len(index)), window])
        both = pd.concat([out, frames], ignore_index=True)
        out = both.iloc[np.lexsort((both["frame"].to_numpy(), at))].reset_index(drop=True)
    first = [*KEYS[:4], "predicted", "split", "window", "frame", "fold", "seed"]
    return out[[*first, *(c for c in out.columns if c not in first)]]


def attention_table(
    index: pd.DataFrame, predicted: Predictions, fold: int, seed: int, modalities: Sequence[str]
) -> pd.DataFrame | None:
    """Return the attention in each test window of ``index``, per head; None if the fusion has no attention.

    Columns: subject, trial, window, fold, seed, then float32 ``head<h>_<modality>``, the class token's share, and
    ``layer<l>_head<h>_<modality>_<modality>``, the attention of the first modality to the second. Layers and heads
    count from 1.
    """
    if predicted.attention is None:
        return None
    named = {
        f"head{h + 1}_{m}": predicted.attention[:, h, k]
        for h in range(predicted.attention.shape[1])
        for k, m in enumerate(modalities)
    }
    if predicted.maps is not None:
        layers, heads = predicted.maps.shape[1:3]
        named |= {
            f"layer{layer + 1}_head{h + 1}_{query}_{key}": predicted.maps[:, layer, h, q, k]
            for layer in range(layers)
            for h in range(heads)
            for q, query in enumerate(modalities)
            for k, key in enumerate(modalities)
        }
    keys = index[["subject", "trial", "window"]].reset_index(drop=True).assign(fold=int(fold), seed=int(seed))
    table = pd.concat([keys, pd.DataFrame(named, dtype=np.float32)], axis=1)
    return table[(index["split"] == "test").to_numpy()].reset_index(drop=True)


def trial_accuracy(predictions: pd.DataFrame, classes: Sequence[str], split: str = "test") -> tuple[float | None, int]:
    """Return accuracy over the trials of a split (mean of window log-probabilities) and their number.

    The accuracy is None without trials.
    """
    rows = predictions[(predictions["split"] == split) & (predictions["frame"] == -1)]
    if rows.empty:
        return None, 0
    decided = mean_logs(rows, classes, ("subject", "trial", "label"))
    return float((decided["predicted"] == decided["label"]).mean()), len(decided)


def write(path: Path, predictions: pd.DataFrame) -> None:
    """Write the table as parquet, atomically."""
    write_atomic(path, lambda file: predictions.to_parquet(file, index=False))


def _rows(index: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], fold: int, seed: int) -> pd.DataFrame:
    out = index[[*KEYS, "split"]].reset_index(drop=True)
    out["predicted"] = pd.Series(np.array(classes, dtype=object)[probabilities.argmax(1)], dtype="str")
    out["fold"], out["seed"] = int(fold), int(seed)
    for number, name in enumerate(classes):
        out[f"p_{name}"] = probabilities[:, number]
    return out
