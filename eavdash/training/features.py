"""What frozen encoders make of a run's windows: computed once, in evaluation mode, and kept on disk.

The cache's key is the checksum of the encoder's weights, its architecture, the key of the windows and their order, so
a file is never out of date: something else has another name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config.convert import from_dict
from eavdash.config.schema import Execution
from eavdash.models import build
from eavdash.models.base import Encoder
from eavdash.store import RunDir
from eavdash.store.atomic import sha256, write_atomic
from eavdash.training import inputs
from eavdash.training.job import Windows
from eavdash.training.memory import Pieces, in_pieces
from eavdash.training.precision import autocast, chosen
from eavdash.training.step import finite
from eavdash.training.warmup import HERE, frozen_within_budget

log = logging.getLogger(__name__)
FOLDER = "features"
BATCH = 32  # windows at once, without gradients


@dataclass(frozen=True)
class Features:
    """One row per window of ``index`` (canonical order, columns as in :class:`eavdash.training.job.Windows`)."""

    index: pd.DataFrame
    tokens: Tensor  # (window, T, D) float32
    mask: Tensor  # (window, T) bool
    logits: Tensor  # (window, K) float32: the encoder's own decision


def load_encoder(run: RunDir) -> Encoder:
    """A trained encoder, frozen and in evaluation mode, on the CPU.

    Raises:
        IntegrityError: the weights are missing or damaged.
    """
    path = run.verify("model.safetensors")
    model = cast(Encoder, build.build(run.config()["model"]))
    build.load_weights(model, path)
    return model.eval().requires_grad_(False)


def features(run: RunDir, windows: Windows, device: torch.device, execution: Execution = HERE) -> Features:
    """The features of ``windows`` by the encoder of ``run``, from the cache or computed now.

    They are computed in the precision that the encoder's own stage has on this device, :data:`BATCH` windows at once or
    fewer where these do not fit into the memory that ``execution`` allows, or that there is.

    Raises:
        TrainingError: a feature is not a finite number.
    """
    precision = chosen(_setting(run), device)
    file = run.study.cache_dir / FOLDER / f"{_key(run, windows, device, precision)}.npz"
    arrays = _read(file)
    if arrays is None:
        arrays = _compute(load_encoder(run).to(device), windows, device, BATCH, precision, run.name, execution)
        file.parent.mkdir(parents=True, exist_ok=True)
        save = partial(np.savez, tokens=arrays["tokens"], mask=arrays["mask"], logits=arrays["logits"])
        write_atomic(file, save)
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    return Features(windows.index, tensors["tokens"], tensors["mask"], tensors["logits"])


def _compute(
    model: Encoder,
    windows: Windows,
    device: torch.device,
    batch: int,
    precision: str,
    name: str,
    execution: Execution = HERE,
) -> dict[str, np.ndarray]:
    rows = torch.as_tensor(windows.index["row"].to_numpy(copy=True))

    def compute(part: Tensor) -> dict[str, np.ndarray]:
        x, mask = inputs.raw(windows.values, part)
        with torch.no_grad(), autocast(precision, device):
            encoded = model(inputs.ready(windows.values.modality, x.to(device)), mask.to(device))
        found = {"tokens": encoded.tokens.float(), "mask": encoded.mask, "logits": encoded.logits.float()}
        return {key: value.cpu().numpy() for key, value in found.items()}

    pieces = Pieces(batch, batch)
    frozen_within_budget(compute, rows, pieces, execution, device, name)
    parts = in_pieces(rows, pieces, compute, name)
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in ("tokens", "mask", "logits")}
    for key in ("tokens", "logits"):
        finite(float(np.abs(arrays[key]).max()), name, f"number in the encoder's {key}")
    return arrays


def _setting(run: RunDir) -> str:
    """The precision that the stage of ``run`` is configured with."""
    info = run.config()
    return from_dict(info["config"]).training(str(info["stage"])).precision


def _key(run: RunDir, windows: Windows, device: torch.device, precision: str) -> str:
    order = windows.index[["subject", "trial", "window", "row"]].to_csv(index=False)
    what: list[Any] = [
        sha256(run.verify("model.safetensors")),
        run.config()["model"],
        windows.values.meta["key"],
        order,
        device.type,  # a GPU rounds differently
        *([precision] if precision != "float32" else []),
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _read(file: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("tokens", "mask", "logits")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s); the features are computed again.", file, error)
        return None
