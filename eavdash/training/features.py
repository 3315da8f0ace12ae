"""Features of frozen encoders: computed once per window, in evaluation mode, and cached on disk.

The cache key covers the checksum of the encoder's weights, its architecture, and the key and order of the windows, so
a file is never stale.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config.convert import recorded_config
from eavdash.config.schema import Execution
from eavdash.models import build
from eavdash.models.base import Encoder, to_encoder_input
from eavdash.models.people import People, read_people
from eavdash.store import RunDir
from eavdash.store.atomic import sha256, write_atomic
from eavdash.store.private import private_folder
from eavdash.store.regular import open_regular
from eavdash.training import inputs, phases
from eavdash.training.memory import MicroBatchSize, in_micro_batches
from eavdash.training.precision import autocast, resolve_precision
from eavdash.training.run_context import Windows
from eavdash.training.step import check_finite
from eavdash.training.warmup import DEFAULT_EXECUTION, limit_frozen_to_budget

log = logging.getLogger(__name__)
FOLDER = "features"
BATCH = 32  # windows at once, without gradients


@dataclass(frozen=True)
class Features:
    """One row per window of ``index`` (canonical order, columns as in ``Windows`` of run_context.py)."""

    index: pd.DataFrame
    tokens: Tensor  # (window, T, D) float32
    mask: Tensor  # (window, T) bool
    logits: Tensor  # (window, K) float32 of the encoder


def load_encoder(run: RunDir) -> Encoder:
    """Load a trained encoder, frozen and in evaluation mode, on the CPU.

    Raises:
        IntegrityError: the weights are missing or damaged.
    """
    path = run.verify("model.safetensors")
    model: Encoder = build.build(run.config().architecture)
    build.load_weights(model, path)
    return model.eval().requires_grad_(False)


def features(run: RunDir, windows: Windows, device: torch.device, execution: Execution = DEFAULT_EXECUTION) -> Features:
    """Return the features of ``windows`` from the encoder of ``run``, cached or computed now.

    They are computed in the precision of the encoder's own stage on this device, :data:`BATCH` windows at once, or
    fewer if these exceed the memory budget of ``execution`` or the available memory.

    Raises:
        TrainingError: a feature is not a finite number.
    """
    precision = resolve_precision(_setting(run), device)
    file = run.study.cache_dir / FOLDER / f"{_key(run, windows, device, precision)}.npz"
    arrays = _read(file)
    if arrays is None:
        model, people = load_encoder(run).to(device), read_people(run)
        arrays = _compute(model, windows, device, BATCH, precision, run.name, execution, people)
        private_folder(file.parent.parent, FOLDER)
        save = partial(np.savez, tokens=arrays["tokens"], mask=arrays["mask"], logits=arrays["logits"])
        write_atomic(file, save, private=True)
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    return Features(windows.index, tensors["tokens"], tensors["mask"], tensors["logits"])


def _compute(
    model: Encoder,
    windows: Windows,
    device: torch.device,
    batch: int,
    precision: str,
    name: str,
    execution: Execution = DEFAULT_EXECUTION,
    people: People | None = None,
) -> dict[str, np.ndarray]:
    rows = torch.as_tensor(windows.index["row"].to_numpy(copy=True))
    people, places = people or People(), torch.zeros(len(windows.values), dtype=torch.int64)  # by row of the values
    places[rows] = people.places(windows.index["subject"])

    def compute(part: Tensor) -> dict[str, np.ndarray]:
        x, mask = inputs.raw(windows.values, part)
        with torch.no_grad(), autocast(precision, device):
            person = people.keyword([value.to(device) for value in people.tensors(places[part])])
            encoded = model(to_encoder_input(windows.values.modality, x.to(device)), mask.to(device), **person)
        found = {"tokens": encoded.tokens.float(), "mask": encoded.mask, "logits": encoded.logits.float()}
        return {key: value.cpu().numpy() for key, value in found.items()}

    micro_batch = MicroBatchSize(batch, batch)
    report = phases.enter(phases.COMPUTING)
    limit_frozen_to_budget(compute, rows, micro_batch, execution, device, name)
    parts = in_micro_batches(rows, micro_batch, compute, name, report)
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in ("tokens", "mask", "logits")}
    for key in ("tokens", "logits"):
        check_finite(float(np.abs(arrays[key]).max()), name, f"number in the encoder's {key}")
    return arrays


def _setting(run: RunDir) -> str:
    """Return the configured precision of the stage of ``run``."""
    info = run.config()
    return recorded_config(info).training(info.stage).precision


def _key(run: RunDir, windows: Windows, device: torch.device, precision: str) -> str:
    order = windows.index[["subject", "trial", "window", "row"]].to_csv(index=False)
    what: list[Any] = [
        sha256(run.verify("model.safetensors")),
        run.config().architecture,
        windows.values.meta["key"],
        order,
        device.type,  # a GPU rounds differently
        *([precision] if precision != "float32" else []),
        *([sha256(run.people_file)] if run.people_file.exists() else []),
    ]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _read(file: Path) -> dict[str, np.ndarray] | None:
    try:
        with open_regular(file) as source, np.load(source, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("tokens", "mask", "logits")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("Cannot read %s (%s); computing the features again.", file, error)
        return None
