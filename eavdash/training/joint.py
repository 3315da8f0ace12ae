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

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.models.base import Encoder
from eavdash.models.fusion import Fused, Fusion
from eavdash.training import inputs
from eavdash.training.job import Job, Windows
from eavdash.training.joined import FeatureSource, decision
from eavdash.training.loop import Checkpoint, Decision, Fitted, fit, measure, recipe
from eavdash.training.memory import Pieces
from eavdash.training.seeds import Seeder
from eavdash.training.warmup import frozen_within_budget

log = logging.getLogger(__name__)


class JointModel(nn.Module):
    """Encoders and their fusion as one module to be trained."""

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the encoders and the fusion, each of which is called by itself."""
        for part in (*self.encoders.values(), self.fusion):
            part.compile(*args, **kwargs)

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
    compiled: bool | None = None  # whether torch.compile worked; None: not asked for, or nothing was left to train

    def to_dict(self) -> dict[str, Any]:
        """For config.json."""
        said = asdict(self)
        compiled = said.pop("compiled")
        return {**said, **({} if compiled is None else {"compile": compiled}), "beyond_the_paper": True}


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
        return self.ask(model, self.load(model, rows, augment))

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Of each modality, on the CPU: windows, their masks, where there is one, and where it is the window's own.

        What was not recorded is zeros; pictures that are not augmented are still bytes.
        """
        loaded: list[Tensor] = []
        for name in self.features.joined.tokens:
            at = rows if augment is None else self.features.corrupted(name, rows, augment)
            here = self.rows[name][at] >= 0
            x, mask = inputs.raw(self.windows[name].values, self.rows[name][at[here]])
            if augment is not None and name in self.augment and here.any():
                encoder = cast(JointModel, model).encoders[name]
                x, mask = inputs.augmented(name, inputs.ready(name, x), mask, encoder, augment)
            loaded += [_spread(x, here), _spread(mask, here), here, at == rows]
        return tuple(loaded)

    def ask(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> Decision:
        """The decision of a :class:`JointModel` on what was loaded."""
        assert isinstance(model, JointModel)
        device, joined = self.features.device, self.features.joined
        tokens, masks, evidence = {}, {}, {}
        for number, (name, (frozen, frozen_mask, opinions)) in enumerate(joined.parts().items()):
            x, mask, here, own = loaded[4 * number : 4 * number + 4]
            tokens[name] = frozen.new_zeros((len(here), *frozen.shape[1:]), device=device)
            masks[name] = frozen_mask.new_zeros((len(here), *frozen_mask.shape[1:]), device=device)
            evidence[name] = opinions.new_zeros((len(here), *opinions.shape[1:]), device=device)
            if not here.any():
                continue
            x, mask, own = (values[here].to(device, non_blocking=True) for values in (x, mask, own))
            encoded = model.encoders[name](inputs.ready(name, x), mask)
            place = here.to(device)
            tokens[name][place] = _learned(encoded.tokens, own).to(frozen.dtype)
            masks[name][place] = encoded.mask
            evidence[name][place] = _learned(encoded.logits, own).to(opinions.dtype)
        return decision(model(tokens, masks, evidence), masks)

    def items(self, loaded: tuple[Tensor, ...]) -> None:
        """A fusion's decision does not rest on the order of frames."""
        return None


def fine_tune(
    job: Job,
    model: JointModel,
    source: JointSource,
    train: Sequence[int],
    validation: Sequence[int],
    before: Fitted,
    signature: str,
) -> tuple[Joint, Pieces]:
    """Train ``model`` on from where stage 2 left it; its epochs are numbered after those of stage 2.

    A batch and a micro-batch are the smallest that a stage taking part asks for: recordings take more room than
    features do. Beside what became of it, the windows at once that memory had room for.

    Raises:
        TrainingError: the loss is not a finite number, or a file cannot be written.
        StoppedError: the job was asked to stop.
    """
    model.to(job.device)
    fusion = job.config.fusion
    stages = [job.config.training(m) for m in model.encoders]
    batch = min(stage.batch for stage in stages)
    micro = [stage.micro_batch for stage in (*stages, job.settings) if stage.micro_batch]
    settings = replace(
        job.settings,
        epochs=fusion.joint_epochs,
        batch=batch,
        micro_batch=min(micro) if micro else 0,
        learning_rate=fusion.joint_learning_rate,
        head_epochs=0,
        epoch_steps=1,
        patience=0,
    )
    start = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    at_first = None
    if len(validation):
        pieces = Pieces.of(batch, settings.micro_batch)
        held = torch.as_tensor(validation, dtype=torch.int64)
        frozen_within_budget(
            partial(_without_gradients, model, source), held, pieces, job.execution, job.device, job.run.name
        )
        at_first = measure(model, source, validation, batch, settings.precision, pieces, job.run.name)[0]
    checkpoint = Checkpoint(
        job.run.joint_resume_file, job.run.metrics_file, signature, before.history, "joint", job.begins
    )

    def report(row: dict[str, Any]) -> None:
        line, total = checkpoint.numbered(row), len(before.history) + settings.epochs
        job.run.update(epoch=line["epoch"], epochs=total)
        log.info("%s: joint epoch %d of %d: loss %.4f", job.run.name, row["epoch"], settings.epochs, row["loss"])
        if job.report:
            job.report({**line, "epochs": total})

    fitted = fit(
        model,
        source,
        train,
        validation,
        settings,
        name=job.run.name,
        seed=_purpose(job.seed, "joint"),
        rules=recipe(job.config.preset),
        checkpoint=checkpoint,
        execution=job.execution,
        report=report,
        should_stop=job.should_stop,
    )
    if at_first is None:
        return Joint(settings.epochs, fitted.best_epoch, None, None, fitted.compiled), fitted.pieces
    after = min(float(row["validation_loss"]) for row in fitted.history)
    if after >= at_first:
        model.load_state_dict(start)
        return Joint(settings.epochs, 0, at_first, at_first, fitted.compiled), fitted.pieces
    return Joint(settings.epochs, fitted.best_epoch, at_first, after, fitted.compiled), fitted.pieces


@torch.no_grad()
def _without_gradients(model: JointModel, source: JointSource, rows: Tensor) -> Decision:
    model.eval()
    return source.decide(model, rows, None)


def _spread(values: Tensor, here: Tensor) -> Tensor:
    """``values`` of the windows ``here`` (B,) in the rows of all, zeros in the others."""
    if here.all():
        return values
    out = values.new_zeros((len(here), *values.shape[1:]))
    out[here] = values
    return out


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
