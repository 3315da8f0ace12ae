"""Head-only epochs on cached features: the frozen part of an encoder is computed once instead of once per epoch.

In: an encoder with pretrained weights (``forward_features`` and ``forward_head`` of models/base.py) and the windows for
training and validation. Out: a source for the loop that caches ``forward_features`` of those windows and runs only
``forward_head``. Loop, order of windows and optimiser are unchanged, so the result is that of computing the frozen part
for every batch, up to rounding at other batch sizes.

Frozen parts are in evaluation mode (no dropout, no updates of running statistics) and windows are not augmented, so
that features are the same in every epoch. The same holds for encoders that cannot be split, whose frozen part is
computed for every batch (:class:`Unaugmented`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from eavdash.config.schema import Execution
from eavdash.models.base import Encoder
from eavdash.training import phases
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.memory import MicroBatchSize, in_micro_batches
from eavdash.training.precision import autocast, device_of
from eavdash.training.step import check_finite
from eavdash.training.warmup import DEFAULT_EXECUTION, limit_frozen_to_budget

log = logging.getLogger(__name__)


def new_parts(model: nn.Module) -> list[nn.Module]:
    """Return the parts that head-only epochs train."""
    return list(cast(Any, model).new_parts)


def freeze(model: nn.Module) -> None:
    """Freeze the model except its new parts, and put only these in training mode."""
    model.eval().requires_grad_(False)
    for part in new_parts(model):
        part.train().requires_grad_(True)


class Unaugmented(Source):
    """A source without its augmentation."""

    def __init__(self, source: Source) -> None:
        self.source, self.labels = source, source.labels

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        return self.source.load(model, rows, None)

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        return self.source.forward(model, loaded)

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor | None:
        return self.source.items(loaded)


class CachedFeatures(Source):
    """Source of cached features: ``features`` and ``mask`` are those of windows ``rows``, in that order."""

    def __init__(self, labels: Tensor, rows: Tensor, features: Tensor, mask: Tensor, device: torch.device) -> None:
        self.labels, self.features, self.mask, self.device = labels, features, mask, device
        self.at = torch.full((len(labels),), -1, dtype=torch.int64)
        self.at[rows] = torch.arange(len(rows))

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        at = self.at[rows]
        return self.features[at], self.mask[at]

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        features, mask = (tensor.to(self.device, non_blocking=True) for tensor in loaded)
        return model_output(cast(Encoder, model).forward_head(features, mask))

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor:
        return items(loaded[1])


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of every parameter and buffer, in the order of their names."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def model_output(encoded: Any) -> ModelOutput:
    """Return the output of an encoder as the :class:`ModelOutput` of training and evaluation."""
    frames = encoded.mask if encoded.frame_logits is not None else None
    return ModelOutput(encoded.logits, encoded.frame_logits, frames, ordered=encoded.ordered)


def items(mask: Tensor) -> Tensor:
    """Return the loss items (B,) of windows with ``mask`` (B, F): their recorded frames, at least one."""
    return mask.sum(dim=1).clamp_min(1)


def head_source(
    model: nn.Module,
    source: Source,
    rows: Sequence[int],
    micro_batch: MicroBatchSize,
    precision: str,
    name: str,
    execution: Execution = DEFAULT_EXECUTION,
) -> CachedFeatures | Unaugmented:
    """Return the source of head-only epochs on windows ``rows``; compute features now if the encoder can be split.

    Raises:
        TrainingError: a feature is not a finite number.
    """
    device = device_of(model)

    def compute(part: Tensor) -> tuple[Tensor, Tensor] | None:
        with torch.no_grad(), autocast(precision, device):
            found = source.frozen_features(model, part)
        return None if found is None else (found[0].cpu(), found[1].cpu())

    freeze(model)
    wanted = torch.as_tensor(sorted(set(rows)), dtype=torch.int64)
    if compute(wanted[:1]) is None:
        log.info("%s: this encoder cannot be split; each head-only epoch computes its frozen part again", name)
        return Unaugmented(source)
    report = phases.enter(phases.COMPUTING)
    limit_frozen_to_budget(compute, wanted, micro_batch, execution, device, name)
    parts = cast("list[tuple[Tensor, Tensor]]", in_micro_batches(wanted, micro_batch, compute, name, report))
    features, mask = torch.cat([f for f, _ in parts]), torch.cat([m for _, m in parts])
    check_finite(float(features.abs().max()), name, "feature of the frozen encoder")
    log.info("%s: cached the frozen encoder's features of %d windows for the head-only epochs", name, len(wanted))
    return CachedFeatures(source.labels, wanted, features, mask, device)
