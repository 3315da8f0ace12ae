"""Stage 2: the fusion of frozen encoders, from their cached features to its files and the baselines beside it.

The encoders stay in evaluation mode and are never changed. Their features are standardised with the training windows'
statistics (kept in the fusion's buffers, so that a checkpoint is complete) and, in training batches, made as
unreliable as they are on new windows (:mod:`eavdash.training.reliability`). The published layer (kind ``paper``) is
trained as published: on the features as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.files import sha256
from eavdash.models import build
from eavdash.training import evaluate
from eavdash.training.baselines import BASELINES, majority, mean_of_modalities
from eavdash.training.features import Features, features
from eavdash.training.job import (
    Job,
    check_training,
    labels_of,
    read_windows,
    rows_of,
    signature,
    window_counts,
)
from eavdash.training.loop import Checkpoint, Decision, Fitted, fit, recipe
from eavdash.training.reliability import Reliability, reliability
from eavdash.training.stage1 import finish


@dataclass(frozen=True)
class Joined:
    """The features of all modalities, row by row of one index (canonical order)."""

    index: pd.DataFrame
    tokens: dict[str, Tensor]  # (window, T, D) float32, 0 where the modality is absent
    masks: dict[str, Tensor]  # (window, T) bool
    logits: dict[str, Tensor]  # (window, K) float32: each encoder's own decision

    @property
    def dims(self) -> dict[str, int]:
        return {m: int(t.shape[2]) for m, t in self.tokens.items()}

    def present(self, modality: str) -> Tensor:
        """(window,) bool: where the modality was recorded."""
        return self.masks[modality].any(dim=1)


def join(parts: Mapping[str, Features]) -> Joined:
    """The windows of the modalities put together by (subject, trial, window)."""
    keys = ["subject", "trial", "window"]
    every = pd.concat([p.index for p in parts.values()]).drop_duplicates(keys)
    index = every.sort_values(["place", "window"], kind="stable").drop(columns="row").reset_index(drop=True)
    tokens, masks, logits = {}, {}, {}
    for name, part in parts.items():
        own = part.index[keys].assign(at=np.arange(len(part.index)))
        at = index[keys].merge(own, on=keys, how="left", validate="one_to_one")["at"]
        here = torch.as_tensor(at.notna().to_numpy(copy=True))
        there = torch.as_tensor(at.dropna().to_numpy(dtype=np.int64, copy=True))
        tokens[name], masks[name], logits[name] = (
            _placed(value, here, there) for value in (part.tokens, part.mask, part.logits)
        )
    return Joined(index, tokens, masks, logits)


def _placed(value: Tensor, here: Tensor, there: Tensor) -> Tensor:
    out = torch.zeros((len(here), *value.shape[1:]), dtype=value.dtype)
    out[here] = value[there]
    return out


class FeatureSource:
    """Joined features as the loop asks for them; training batches are corrupted with the probabilities ``replaced``."""

    def __init__(
        self,
        joined: Joined,
        labels: Tensor,
        train: Sequence[int],
        replaced: Mapping[str, float],
        device: torch.device,
    ) -> None:
        self.joined, self.labels, self.device, self.replaced = joined, labels, device, dict(replaced)
        self.donors = {m: torch.as_tensor(train)[joined.present(m)[torch.as_tensor(train)]] for m in joined.tokens}

    def decide(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> Decision:
        """The fusion's decision on windows ``rows``; with a generator, some tokens are those of other windows."""
        tokens, masks, evidence = {}, {}, {}
        for name in self.joined.tokens:
            at = rows if augment is None else self.corrupted(name, rows, augment)
            tokens[name] = self.joined.tokens[name][at].to(self.device)
            masks[name] = self.joined.masks[name][at].to(self.device)
            evidence[name] = self.joined.logits[name][at].to(self.device)
        fused = model(tokens, masks, evidence)
        attention = None if fused.attention is None else fused.attention.mean(dim=1)
        frames = masks.get("vision") if fused.frame_logits is not None else None
        return Decision(fused.logits, fused.frame_logits, frames, attention)

    def corrupted(self, modality: str, rows: Tensor, random: torch.Generator) -> Tensor:
        """``rows`` with some replaced by random training windows that have the modality; absent ones stay absent."""
        donors = self.donors[modality]
        draw = torch.rand(len(rows), generator=random)
        if not len(donors):
            return rows
        other = donors[torch.randint(len(donors), (len(rows),), generator=random)]
        swap = (draw < self.replaced.get(modality, 0.0)) & self.joined.present(modality)[rows]
        return torch.where(swap, other, rows)


def train_fusion(job: Job) -> None:
    """Train the fusion of the job's parents and write its files.

    Raises:
        EavdashError: an encoder is missing or damaged, or the files of the run do not allow it.
        StoppedError: the job was asked to stop.
    """
    parts, missing = _features(job)
    joined = join(parts)
    check_training(job, joined.index)
    train = rows_of(joined.index, "train")
    rates = _reliabilities(job)
    matched = job.config.fusion.match_reliability and job.config.fusion.kind != "paper"
    replaced = {m: rate.replaced if matched else 0.0 for m, rate in rates.items()}
    spec = build.fusion_spec(job.config, len(job.classes), joined.dims)
    job.describe(
        model=spec,
        input={
            "modalities": list(joined.tokens),
            "dims": joined.dims,
            "windows": window_counts(joined.index),
            "reliability": {m: {**rate.to_dict(), "replaced": replaced[m]} for m, rate in rates.items()},
        },
        left_out=missing,
    )
    source = FeatureSource(joined, labels_of(joined.index, job.classes), train, replaced, job.device)
    encoders = [f"{m} {sha256(job.run.study.run(job.info['parents'][m]).model_file)}" for m in joined.tokens]
    checkpoint = Checkpoint(job.run.resume_file, job.run.metrics_file, signature(job, *encoders))
    model, fitted = _fit(job, spec, source, train, checkpoint)
    decided = evaluate.decide(model, source, range(len(joined.index)), job.settings.batch)
    predictions = evaluate.table(joined.index, decided, job.classes, job.fold, job.number, tuple(joined.tokens))
    evaluate.write(job.run.baselines_file, _baselines(job, joined, source, train, predictions))
    finish(job, model, predictions, fitted.best_epoch)


def _fit(
    job: Job, spec: dict[str, Any], source: FeatureSource, train: Sequence[int], checkpoint: Checkpoint | None
) -> tuple[nn.Module, Fitted]:
    """A fusion of ``spec`` trained on the features; without ``checkpoint`` nothing is written or reported."""
    torch.manual_seed(job.seed("init"))
    model = build.build(spec)
    if spec["name"] != "paper":
        for name, x in source.joined.tokens.items():
            valid = x[torch.as_tensor(train)][source.joined.masks[name][torch.as_tensor(train)]].double()
            shift, scale = valid.mean(dim=0), valid.std(dim=0, correction=0)
            model.set_scaling(name, shift.float(), torch.where(scale > 0, scale, 1.0).float())  # type: ignore[operator]
    model.to(job.device)
    fitted = fit(
        model,
        source,
        train,
        rows_of(source.joined.index, "validation"),
        job.settings,
        name=job.run.name,
        seed=job.seed,
        rules=recipe(job.config.preset),
        checkpoint=checkpoint,
        report=job.epoch_done if checkpoint else None,
        should_stop=job.should_stop,
    )
    return model, fitted


def _baselines(
    job: Job, joined: Joined, source: FeatureSource, train: Sequence[int], predictions: pd.DataFrame
) -> pd.DataFrame:
    """Rows like the predictions' window rows, one set per baseline, with the column ``stage``."""
    tables = {
        "fusion:mean": evaluate.table(
            joined.index, mean_of_modalities(joined.logits, joined.masks), job.classes, job.fold, job.number
        ),
        "majority": evaluate.table(
            joined.index, majority(joined.index, job.classes), job.classes, job.fold, job.number
        ),
    }
    if job.config.fusion.kind == "concat":  # the run itself is this baseline
        tables["fusion:concat"] = predictions[predictions["frame"] == -1]
    else:
        config = replace(job.config, fusion=replace(job.config.fusion, kind="concat"))
        model, _ = _fit(job, build.fusion_spec(config, len(job.classes), joined.dims), source, train, None)
        decided = evaluate.decide(model, source, range(len(joined.index)), job.settings.batch)
        tables["fusion:concat"] = evaluate.table(joined.index, decided, job.classes, job.fold, job.number)
    return pd.concat([tables[b].assign(stage=b) for b in BASELINES], ignore_index=True)


def _features(job: Job) -> tuple[dict[str, Features], list[dict[str, str]]]:
    """The features of each parent's modality, and the trials that no modality recorded."""
    parts = {}
    gone: dict[tuple[str, str], int] = {}
    for modality, name in job.info["parents"].items():
        parent = job.run.study.run(name)
        parent.verify("model.safetensors")
        windows = read_windows(job, modality, parent.config()["input"].get("channels", ()))
        if windows is None:
            continue
        for trial in windows.missing:
            gone[trial["subject"], trial["trial"]] = gone.get((trial["subject"], trial["trial"]), 0) + 1
        parts[modality] = features(parent, windows, job.device)
    wholly = [k for k, count in gone.items() if count == len(parts)]
    reason = "no recording or training window of any modality"
    return parts, [{"subject": s, "trial": t, "reason": reason} for s, t in wholly]


def _reliabilities(job: Job) -> dict[str, Reliability]:
    rates = {}
    for modality, name in job.info["parents"].items():
        predictions = pd.read_parquet(job.run.study.run(name).verify("predictions.parquet"))
        rates[modality] = reliability(predictions, job.classes)
    return rates
