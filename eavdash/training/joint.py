"""Joint fine-tuning of copies of the encoders together with the fusion after stage 2, which the paper does not do.

In: a trained fusion, the runs of its frozen encoders and their windows. Out: a :class:`JointModel`, whose encoders are
saved in the fusion's run (encoders.safetensors; their specs are in ``encoders`` of config.json). The encoders' own runs
do not change, nor do the baselines of the fusion, which use those.

The epoch with the lowest validation loss is kept. Epoch 0, the model after stage 2, is a candidate too, so validation
loss never increases. Without validation windows the last epoch is kept, as in both stages.

The encoders have memorised their training windows, so training batches still replace some of a modality's windows by
others (:mod:`eavdash.training.reliability`). A replaced window teaches the fusion how reliable the modality is, but its
label is unrelated, so the encoder gets no gradient from it.
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

from eavdash.models.base import Encoder, to_encoder_input
from eavdash.models.fusion import Fusion, FusionOutput, Tensors
from eavdash.models.people import People
from eavdash.models.seeds import Seeder
from eavdash.training import inputs
from eavdash.training.checkpoint import Checkpoint
from eavdash.training.fusion_features import FeatureSource, FusionFeatures, model_output
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.loop import RECIPES, Fitted, fit, measure
from eavdash.training.memory import MicroBatchSize, in_micro_batches
from eavdash.training.precision import autocast, resolve_precision
from eavdash.training.run_context import RunContext, Windows
from eavdash.training.warmup import limit_frozen_to_budget

log = logging.getLogger(__name__)


class JointModel(nn.Module):
    """Encoders and their fusion as one trainable module."""

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the encoders and the fusion, which are called separately."""
        for part in (*self.encoders.values(), self.fusion):
            part.compile(*args, **kwargs)

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors) -> FusionOutput:
        """Return the fusion of the encoders' outputs."""
        fused: FusionOutput = self.fusion(tokens, masks, encoder_logits)
        return fused


@dataclass(frozen=True)
class Joint:
    """Result of joint fine-tuning; losses are mean cross-entropies on the validation windows."""

    epochs: int
    epoch: int  # the one kept; 0: the model of stage 2
    before: float | None
    after: float | None
    compiled: bool | None = None  # True if torch.compile worked; None: not requested, or no epoch left to train

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of config.json."""
        result = asdict(self)
        compiled = result.pop("compiled")
        return {**result, **({} if compiled is None else {"compile": compiled}), "beyond_the_paper": True}


class JointSource(Source):
    """Source of the windows of all modalities, for encoders and fusion trained together.

    Args:
        features: source of stage 2 with the frozen features of the same windows. It defines their order, the shapes of
            their tokens, and the replacement of windows in training batches.
        people: statistics of people for the encoders that scale their own features.
        augment: modalities whose training windows are augmented, as in stage 1.
    """

    def __init__(
        self,
        features: FeatureSource,
        windows: Mapping[str, Windows],
        augment: Sequence[str],
        people: Mapping[str, People] | None = None,
    ) -> None:
        self.features, self.windows, self.augment = features, windows, frozenset(augment)
        self.people = {m: (people or {}).get(m, People()) for m in features.joined.tokens}
        self.places = {m: each.places(features.joined.index["subject"]) for m, each in self.people.items()}
        self.labels: Tensor = features.labels
        self.rows = {m: _rows(features.joined.index, windows[m].index) for m in features.joined.tokens}

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Return windows, masks, presence, ownership and statistics of people per modality, on the CPU.

        Presence is True where the modality was recorded (zeros elsewhere), ownership where the window was not replaced
        by another one. Frames that are not augmented are still bytes.
        """
        loaded: list[Tensor] = []
        for name in self.features.joined.tokens:
            at = rows if augment is None else self.features.corrupted(name, rows, augment)
            here = self.rows[name][at] >= 0
            x, mask = inputs.raw(self.windows[name].values, self.rows[name][at[here]])
            if augment is not None and name in self.augment and here.any():
                encoder = cast(JointModel, model).encoders[name]
                kind = self.windows[name].values.kind
                x, mask = inputs.augment(kind, to_encoder_input(name, x), mask, encoder, augment)
            loaded += [_scatter(x, here), _scatter(mask, here), here, at == rows]
            loaded += self.people[name].tensors(self.places[name][at])
        return tuple(loaded)

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        assert isinstance(model, JointModel)
        tokens, masks, encoder_logits = self.encode(model, loaded)
        return model_output(model(tokens, masks, encoder_logits), masks)

    def encode(
        self, model: JointModel, loaded: tuple[Tensor, ...]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Return the encoders' tokens, masks and logits for loaded windows, as the fusion takes them."""
        device, joined = self.features.device, self.features.joined
        tokens: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        encoder_logits: dict[str, Tensor] = {}
        rest = list(loaded)
        for name, (frozen, frozen_mask, frozen_logits) in joined.parts().items():
            people = self.people[name]
            x, mask, here, own, *statistics = rest[: 4 + len(people)]
            del rest[: 4 + len(people)]
            tokens[name] = frozen.new_zeros((len(here), *frozen.shape[1:]), device=device)
            masks[name] = frozen_mask.new_zeros((len(here), *frozen_mask.shape[1:]), device=device)
            encoder_logits[name] = frozen_logits.new_zeros((len(here), *frozen_logits.shape[1:]), device=device)
            if not here.any():
                continue
            x, mask, own = (values[here].to(device, non_blocking=True) for values in (x, mask, own))
            person = people.keyword([value[here].to(device, non_blocking=True) for value in statistics])
            encoded = model.encoders[name](to_encoder_input(name, x), mask, **person)
            present = here.to(device)
            tokens[name][present] = _stop_borrowed_gradient(encoded.tokens, own).to(frozen.dtype)
            masks[name][present] = encoded.mask
            encoder_logits[name][present] = _stop_borrowed_gradient(encoded.logits, own).to(frozen_logits.dtype)
        return tokens, masks, encoder_logits


def fine_tune(
    context: RunContext,
    model: JointModel,
    source: JointSource,
    train: Sequence[int],
    validation: Sequence[int],
    before: Fitted,
    signature: str,
) -> tuple[Joint, MicroBatchSize]:
    """Continue training ``model`` after stage 2; its epochs are numbered after those of stage 2.

    Batch and micro-batch are the smallest configured for any of the stages involved, because recordings take more
    memory than features. Return the result and the micro-batch size that fitted into memory.

    Raises:
        TrainingError: the loss is not a finite number, or a file cannot be written.
        StoppedError: the run was asked to stop.
    """
    model.to(context.device)
    fusion = context.config.fusion
    stages = [context.config.training(m) for m in model.encoders]
    batch = min(stage.batch for stage in stages)
    micro = [stage.micro_batch for stage in (*stages, context.settings) if stage.micro_batch]
    settings = replace(
        context.settings,
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
        micro_batch = MicroBatchSize.from_config(batch, settings.micro_batch)
        held = torch.as_tensor(validation, dtype=torch.int64)
        limit_frozen_to_budget(
            partial(_without_gradients, model, source),
            held,
            micro_batch,
            context.execution,
            context.device,
            context.run.name,
        )
        at_first = measure(model, source, validation, micro_batch, settings.precision, context.run.name)[0]
    checkpoint = Checkpoint(
        context.run.joint_resume_file, context.run.metrics_file, signature, before.history, "joint", context.mark_start
    )

    def report(row: dict[str, Any]) -> None:
        line, total = checkpoint.numbered(row), len(before.history) + settings.epochs
        context.run.update(epoch=line["epoch"], epochs=total)
        log.info("%s: joint epoch %d of %d: loss %.4f", context.run.name, row["epoch"], settings.epochs, row["loss"])
        if context.report:
            context.report({**line, "epochs": total})

    fitted = fit(
        model,
        source,
        train,
        validation,
        settings,
        name=context.run.name,
        seed=_with_prefix(context.seed, "joint"),
        rules=RECIPES[context.config.train.recipe],
        checkpoint=checkpoint,
        execution=context.execution,
        report=report,
        should_stop=context.should_stop,
    )
    if at_first is None:
        return Joint(settings.epochs, fitted.best_epoch, None, None, fitted.compiled), fitted.micro_batch
    after = min(float(row["validation_loss"]) for row in fitted.history)
    if after >= at_first:
        model.load_state_dict(start)
        return Joint(settings.epochs, 0, at_first, at_first, fitted.compiled), fitted.micro_batch
    return Joint(settings.epochs, fitted.best_epoch, at_first, after, fitted.compiled), fitted.micro_batch


@torch.no_grad()
def joint_features(model: JointModel, source: JointSource, batch: int, precision: str, name: str) -> FusionFeatures:
    """Return the features of every window from the encoders of ``model``, on the CPU, ``batch`` windows at once."""
    model.eval()
    device = source.features.device
    precision = resolve_precision(precision, device)

    def compute(rows: Tensor) -> list[dict[str, Tensor]]:
        with autocast(precision, device):
            encoded = source.encode(model, source.load(model, rows, None))
        return [{m: value.cpu() for m, value in part.items()} for part in encoded]

    index = source.features.joined.index
    parts = in_micro_batches(torch.arange(len(index)), MicroBatchSize(batch, batch), compute, name)
    return FusionFeatures(index, *({m: torch.cat([p[i][m] for p in parts]) for m in source.rows} for i in range(3)))


@torch.no_grad()
def _without_gradients(model: JointModel, source: JointSource, rows: Tensor) -> ModelOutput:
    model.eval()
    return source.output(model, rows, None)


def _scatter(values: Tensor, here: Tensor) -> Tensor:
    """Scatter ``values`` into the rows where ``here`` (B,) is True, with zeros elsewhere."""
    if here.all():
        return values
    out = values.new_zeros((len(here), *values.shape[1:]))
    out[here] = values
    return out


def _stop_borrowed_gradient(values: Tensor, own: Tensor) -> Tensor:
    """Detach ``values`` (B, ...) of replaced windows, so that their gradient does not reach the encoder."""
    return torch.where(own.reshape(-1, *[1] * (values.ndim - 1)), values, values.detach())


def _rows(index: pd.DataFrame, own: pd.DataFrame) -> Tensor:
    """Return the row of a modality's window set for each window of ``index``; -1 where it was not recorded."""
    keys = ["subject", "trial", "window"]
    rows = index[keys].merge(own[[*keys, "row"]], on=keys, how="left", validate="one_to_one")["row"]
    return torch.as_tensor(rows.fillna(-1).to_numpy(dtype="int64", copy=True))


def _with_prefix(seed: Seeder, name: str) -> Seeder:
    """Prefix the purposes of ``seed``: joint epoch 1 must not shuffle like epoch 1 of stage 2."""
    return lambda *purpose: seed(name, *purpose)
