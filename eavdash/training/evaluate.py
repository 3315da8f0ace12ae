"""From a model's decisions to the tidy table of predictions (docs/architecture.md, "Files").

One row per window (frame -1), and rows per frame beside it where the model decides frames. Every score anywhere in
the program is computed from these rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.store.atomic import write_atomic
from eavdash.training.loop import Source
from eavdash.training.memory import Pieces, in_pieces
from eavdash.training.precision import autocast, chosen, device_of
from eavdash.training.step import Decision, finite

#: Columns that identify what a prediction is about.
KEYS = ("subject", "trial", "group", "label", "window")
_SMALLEST = 1e-12  # keeps the logarithm of a probability finite


@dataclass
class Decided:
    """Decisions on n windows, on the CPU, float64 probabilities."""

    windows: np.ndarray  # (n, K)
    frames: np.ndarray | None = None  # (n, F, K)
    frame_mask: np.ndarray | None = None  # (n, F) bool
    attention: np.ndarray | None = None  # (n, heads, modality)
    maps: np.ndarray | None = None  # (n, layers, heads, modality, modality)


@torch.no_grad()
def decide(
    model: nn.Module, source: Source, rows: Sequence[int], batch: int, precision: str = "auto", name: str = "evaluation"
) -> Decided:
    """The model's decisions on the windows ``rows`` in evaluation mode, in that order.

    Args:
        batch: windows at once; fewer where they do not fit into memory.
        precision: of the stage that trained the model (``TrainConfig.precision``).
        name: of the run, for the log and errors.

    Raises:
        TrainingError: a decision is not a finite number.
    """
    model.eval()
    device = device_of(model)
    precision = chosen(precision, device)

    def compute(part: Tensor) -> Decision:
        with autocast(precision, device):
            return source.decide(model, part, None)

    parts = in_pieces(torch.as_tensor(rows, dtype=torch.int64), Pieces(batch, batch), compute, name)
    for part in parts:
        finite(float(part.logits.abs().max()), name, "decision of the trained model")
    frames = [_softmax(p.frame_logits) for p in parts if p.frame_logits is not None]
    masks = [p.frame_mask.cpu().numpy() for p in parts if p.frame_mask is not None]
    attention = [p.attention.double().cpu().numpy() for p in parts if p.attention is not None]
    maps = [p.maps.double().cpu().numpy() for p in parts if p.maps is not None]
    return Decided(
        windows=np.concatenate([_softmax(p.logits) for p in parts]),
        frames=np.concatenate(frames) if frames else None,
        frame_mask=np.concatenate(masks) if masks else None,
        attention=np.concatenate(attention) if attention else None,
        maps=np.concatenate(maps) if maps else None,
    )


def table(
    index: pd.DataFrame, decided: Decided, classes: Sequence[str], fold: int, seed: int, modalities: Sequence[str] = ()
) -> pd.DataFrame:
    """The predictions of a run: rows of ``index`` (:data:`KEYS` and ``split``) with what was decided about each."""
    out = _rows(index, decided.windows, classes, fold, seed)
    out["frame"] = -1
    if decided.attention is not None:
        for number, name in enumerate(modalities):
            out[f"attention_{name}"] = decided.attention[:, :, number].mean(axis=1)
    if decided.frames is not None and decided.frame_mask is not None:
        window, frame = np.nonzero(decided.frame_mask)
        frames = _rows(index.iloc[window], decided.frames[window, frame], classes, fold, seed)
        frames["frame"] = frame
        at = np.concatenate([np.arange(len(index)), window])
        both = pd.concat([out, frames], ignore_index=True)
        out = both.iloc[np.lexsort((both["frame"].to_numpy(), at))].reset_index(drop=True)
    first = [*KEYS[:4], "predicted", "split", "window", "frame", "fold", "seed"]
    return out[[*first, *(c for c in out.columns if c not in first)]]


def attention_table(
    index: pd.DataFrame, decided: Decided, fold: int, seed: int, modalities: Sequence[str]
) -> pd.DataFrame | None:
    """How each test window of ``index`` was attended to, head by head; None where the fusion has no attention.

    Columns: subject, trial, window, fold, seed, then float32 ``head<h>_<modality>``, the class token's share, and
    ``layer<l>_head<h>_<modality>_<modality>``, how much the first attends to the second. Layers and heads count from 1.
    """
    if decided.attention is None:
        return None
    named = {
        f"head{h + 1}_{m}": decided.attention[:, h, k]
        for h in range(decided.attention.shape[1])
        for k, m in enumerate(modalities)
    }
    if decided.maps is not None:
        layers, heads = decided.maps.shape[1:3]
        named |= {
            f"layer{layer + 1}_head{h + 1}_{query}_{key}": decided.maps[:, layer, h, q, k]
            for layer in range(layers)
            for h in range(heads)
            for q, query in enumerate(modalities)
            for k, key in enumerate(modalities)
        }
    keys = index[["subject", "trial", "window"]].reset_index(drop=True).assign(fold=int(fold), seed=int(seed))
    table = pd.concat([keys, pd.DataFrame(named, dtype=np.float32)], axis=1)
    return table[(index["split"] == "test").to_numpy()].reset_index(drop=True)


def trial_accuracy(predictions: pd.DataFrame, classes: Sequence[str], split: str = "test") -> tuple[float | None, int]:
    """Accuracy over the trials of a split (mean of window log-probabilities) and their number; None without trials."""
    rows = predictions[(predictions["split"] == split) & (predictions["frame"] == -1)]
    if rows.empty:
        return None, 0
    columns = [f"p_{c}" for c in classes]
    logs = pd.DataFrame(np.log(rows[columns].clip(lower=_SMALLEST)))
    mean = logs.groupby([rows["subject"], rows["trial"]], sort=False).mean()
    label = rows.groupby(["subject", "trial"], sort=False)["label"].first()
    decided = np.array(classes, dtype=object)[mean.to_numpy().argmax(1)]
    return float((decided == label.to_numpy(dtype=object)).mean()), len(mean)


def write(path: Path, predictions: pd.DataFrame) -> None:
    """The table as parquet, atomically."""
    write_atomic(path, lambda file: predictions.to_parquet(file, index=False))


def _rows(index: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], fold: int, seed: int) -> pd.DataFrame:
    out = index[[*KEYS, "split"]].reset_index(drop=True)
    out["predicted"] = pd.Series(np.array(classes, dtype=object)[probabilities.argmax(1)], dtype="str")
    out["fold"], out["seed"] = int(fold), int(seed)
    for number, name in enumerate(classes):
        out[f"p_{name}"] = probabilities[:, number]
    return out


def _softmax(logits: Tensor) -> np.ndarray:
    return np.asarray(logits.detach().double().softmax(-1).cpu().numpy())
