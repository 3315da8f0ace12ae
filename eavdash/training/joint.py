"""Joint fine-tuning after stage 2, beyond the paper: copies of the encoders and the fusion are trained together.

In: a trained fusion, the runs of its frozen encoders and their windows. Out: a :class:`JointModel`, whose encoders are
kept in the fusion's run (encoders.safetensors; their specs are config.json's ``encoders``). The encoders' own runs are
untouched, and so are the baselines beside the fusion, which rest on those.

The epoch kept has the lowest validation loss, and none at all (epoch 0: the model as stage 2 left it) is a candidate:
on validation windows the result is never worse. Without validation windows the last epoch is kept, as in both stages.

Encoders meet here the windows that they have memorised, so a training batch still replaces some of a modality's windows
by others (:mod:`eavdash.training.reliability`). Such a window teaches the fusion whom to trust; it says nothing about
the label to the encoder, which therefore gets no gradient from it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.files import write_atomic
from eavdash.models.base import Encoder
from eavdash.models.fusion import Fused, Fusion
from eavdash.training import inputs
from eavdash.training.job import Job, Windows
from eavdash.training.joined import FeatureSource, decision
from eavdash.training.loop import Checkpoint, Decision, Fitted, fit, measure, recipe
from eavdash.training.seeds import Seeder

log = logging.getLogger(__name__)


class JointModel(nn.Module):
    """Encoders and their fusion as one module to be trained."""

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion

    def forward(
        self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], evidence: Mapping[str, Tensor]
    ) -> Fused:
        """The fusion of what the encoders have made of their windows."""
        return self.fusion(tokens, masks, evidence)


@dataclass(frozen=True)
class Joint:
    """What became of it, for config.json; losses are mean cross-entropies on the validation windows."""

    epochs: int
    epoch: int  # the one kept; 0: the model of stage 2
    before: float | None
    after: float | None

    def to_dict(self) -> dict[str, Any]:
        """For config.json."""
        return {**asdict(self), "beyond_the_paper": True}


class JointSource:
    """Windows of all modalities as the loop asks for them, through the encoders that are being trained.

    Args:
        features: the source of stage 2 on the frozen features of the same windows: their order, the shapes of their
            tokens, and which of them a training batch replaces.
        augment: the modalities whose training windows are augmented, as in stage 1.
    """

    def __init__(self, features: FeatureSource, windows: Mapping[str, Windows], augment: Sequence[str]) -> None:
        self.features, self.windows, self.augment = features, windows, frozenset(augment)
        self.labels: Tensor = features.labels
        self.rows = {m: _rows(features.joined.index, windows[m].index) for m in features.joined.tokens}

    def decide(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> Decision:
        """The decision of a :class:`JointModel` on windows ``rows``."""
        assert isinstance(model, JointModel)
        device, joined = self.features.device, self.features.joined
        tokens, masks, evidence = {}, {}, {}
        for name, (frozen, frozen_mask, opinions) in joined.parts().items():
            at = rows if augment is None else self.features.corrupted(name, rows, augment)
            tokens[name] = frozen.new_zeros((len(rows), *frozen.shape[1:]), device=device)
            masks[name] = frozen_mask.new_zeros((len(rows), *frozen_mask.shape[1:]), device=device)
            evidence[name] = opinions.new_zeros((len(rows), *opinions.shape[1:]), device=device)
            here = self.rows[name][at] >= 0
            if not here.any():
                continue
            values, encoder = self.windows[name].values, model.encoders[name]
            x, mask = inputs.tensors(values, self.rows[name][at[here]])
            if augment is not None and name in self.augment:
                x, mask = inputs.augmented(name, x, mask, encoder, augment)
            encoded = encoder(x.to(device), mask.to(device))
            own = (at == rows)[here].to(device)
            place = here.to(device)
            tokens[name][place] = _learned(encoded.tokens, own).to(frozen.dtype)
            masks[name][place] = encoded.mask
            evidence[name][place] = _learned(encoded.logits, own).to(opinions.dtype)
        return decision(model(tokens, masks, evidence), masks)


def fine_tune(
    job: Job,
    model: JointModel,
    source: JointSource,
    train: Sequence[int],
    validation: Sequence[int],
    before: Fitted,
    batch: int,
    signature: str,
) -> Joint:
    """Train ``model`` on from where stage 2 left it; its epochs are numbered after those of stage 2.

    Raises:
        TrainingError: the loss is not a finite number, or a file cannot be written.
        StoppedError: the job was asked to stop.
    """
    model.to(job.device)
    fusion = job.config.fusion
    settings = replace(
        job.settings,
        epochs=fusion.joint_epochs,
        batch=batch,
        learning_rate=fusion.joint_learning_rate,
        head_epochs=0,
        patience=0,
    )
    start = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    at_first = measure(model, source, validation, batch, job.settings.precision)[0] if len(validation) else None
    lines = job.run.path / "joint.jsonl"

    def report(row: dict[str, Any]) -> None:
        _write_metrics(job, before, lines)
        done, total = len(before.history) + row["epoch"], len(before.history) + settings.epochs
        job.run.update(epoch=done, epochs=total)
        log.info("%s: joint epoch %d of %d: loss %.4f", job.run.name, row["epoch"], settings.epochs, row["loss"])
        if job.report:
            job.report({**row, "epoch": done, "epochs": total, "phase": "joint"})

    _write_metrics(job, before, lines)
    fitted = fit(
        model,
        source,
        train,
        validation,
        settings,
        name=job.run.name,
        seed=_purpose(job.seed, "joint"),
        rules=recipe(job.config.preset),
        checkpoint=Checkpoint(job.run.joint_resume_file, lines, signature),
        report=report,
        should_stop=job.should_stop,
    )
    _write_metrics(job, before, lines)
    lines.unlink(missing_ok=True)  # resume writes it again
    if at_first is None:
        return Joint(settings.epochs, fitted.best_epoch, None, None)
    after = min(float(row["validation_loss"]) for row in fitted.history)
    if after >= at_first:
        model.load_state_dict(start)
        return Joint(settings.epochs, 0, at_first, at_first)
    return Joint(settings.epochs, fitted.best_epoch, at_first, after)


def _learned(values: Tensor, own: Tensor) -> Tensor:
    """``values`` (B, ...) whose gradient reaches the encoder only from windows that are their own."""
    return torch.where(own.reshape(-1, *[1] * (values.ndim - 1)), values, values.detach())


def _rows(index: pd.DataFrame, own: pd.DataFrame) -> Tensor:
    """The row of a modality's window set for each window of ``index``; -1 where it was not recorded."""
    keys = ["subject", "trial", "window"]
    rows = index[keys].merge(own[[*keys, "row"]], on=keys, how="left", validate="one_to_one")["row"]
    return torch.as_tensor(rows.fillna(-1).to_numpy(dtype="int64", copy=True))


def _purpose(seed: Seeder, name: str) -> Seeder:
    """``seed`` for choices of their own: joint epoch 1 must not shuffle as epoch 1 of stage 2 did."""
    return lambda *purpose: seed(name, *purpose)


def _write_metrics(job: Job, before: Fitted, lines: Path) -> None:
    """metrics.jsonl: the epochs of stage 2 and, numbered on, those of ``lines`` (metrics of the joint phase alone)."""
    joint = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    later = [{**row, "epoch": len(before.history) + row["epoch"], "phase": "joint"} for row in joint]
    text = "".join(json.dumps(row) + "\n" for row in [*before.history, *later])
    write_atomic(job.run.metrics_file, lambda file: file.write(text.encode()))
