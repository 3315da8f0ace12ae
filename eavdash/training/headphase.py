"""Head-only epochs: what comes before the new parts is frozen, so it is computed once and not once per epoch.

In: an encoder with someone else's weights (``look`` and ``decide`` of models/base.py) and the windows that the phase
trains and validates on. Out: a source for the loop that holds ``look``'s features of those windows and asks ``decide``
alone. Same loop, same order of windows, same optimiser: the result is that of computing the frozen part anew for every
batch, up to the rounding of other batch sizes.

Frozen parts are in evaluation mode (no dropout, no running statistics), and the windows of this phase are not
augmented: both are conditions of the features being the same in every epoch. They also hold for an encoder that cannot
be cut, for which the frozen part is computed anew (:class:`Unchanged`), so that the two ways stay comparable.
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
from eavdash.training.memory import Pieces, in_pieces
from eavdash.training.precision import autocast, device_of
from eavdash.training.step import Decision, finite
from eavdash.training.warmup import HERE, frozen_within_budget

log = logging.getLogger(__name__)


def new_parts(model: nn.Module) -> list[nn.Module]:
    """What head-only epochs train."""
    return list(cast(Any, model).new_parts)


def freeze(model: nn.Module) -> None:
    """Let only the new parts learn, and only them be in training mode."""
    model.eval().requires_grad_(False)
    for part in new_parts(model):
        part.train().requires_grad_(True)


class Unchanged:
    """A source without its augmentation."""

    def __init__(self, source: Any) -> None:
        self.source, self.labels = source, source.labels

    def decide(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> Decision:
        """The decision on windows ``rows`` as they are."""
        return cast(Decision, self.source.decide(model, rows, None))


class Cached:
    """The features of windows ``rows`` (``features`` and ``mask`` in that order), and the decision on them."""

    def __init__(self, labels: Tensor, rows: Tensor, features: Tensor, mask: Tensor, device: torch.device) -> None:
        self.labels, self.features, self.mask, self.device = labels, features, mask, device
        self.at = torch.full((len(labels),), -1, dtype=torch.int64)
        self.at[rows] = torch.arange(len(rows))

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Features (B, T, D) and mask of windows ``rows``."""
        at = self.at[rows]
        return self.features[at], self.mask[at]

    def ask(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> Decision:
        """The new parts' decision."""
        features, mask = (tensor.to(self.device, non_blocking=True) for tensor in loaded)
        return decision(cast(Encoder, model).decide(features, mask))

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor:
        """Recorded frames, or one, per window."""
        return items(loaded[1])

    def decide(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> Decision:
        """The new parts' decision on windows ``rows``."""
        return self.ask(model, self.load(model, rows, augment))


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of every parameter and buffer, in the order of their names."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def decision(encoded: Any) -> Decision:
    """An encoder's answer as the loop takes it."""
    frames = encoded.mask if encoded.frame_logits is not None else None
    return Decision(encoded.logits, encoded.frame_logits, frames, ordered=encoded.ordered)


def items(mask: Tensor) -> Tensor:
    """(B,) items of the loss of windows with ``mask`` (B, F): their recorded frames, one for a window without any."""
    return mask.sum(dim=1).clamp_min(1)


def head_source(
    model: nn.Module,
    source: Any,
    rows: Sequence[int],
    pieces: Pieces,
    precision: str,
    name: str,
    execution: Execution = HERE,
) -> Cached | Unchanged:
    """The source of head-only epochs on windows ``rows``, computed now if the encoder allows it.

    Raises:
        TrainingError: a feature is not a finite number.
    """
    device = device_of(model)
    look = getattr(source, "look", None)

    def compute(part: Tensor) -> tuple[Tensor, Tensor] | None:
        with torch.no_grad(), autocast(precision, device):
            found = look(model, part) if look else None
        return None if found is None else (found[0].cpu(), found[1].cpu())

    freeze(model)
    wanted = torch.as_tensor(sorted(set(rows)), dtype=torch.int64)
    if look is None or compute(wanted[:1]) is None:
        log.info("%s: the frozen part of this encoder cannot be computed apart; each head-only epoch repeats it", name)
        return Unchanged(source)
    frozen_within_budget(compute, wanted, pieces, execution, device, name)
    parts = cast("list[tuple[Tensor, Tensor]]", in_pieces(wanted, pieces, compute, name))
    features, mask = torch.cat([f for f, _ in parts]), torch.cat([m for _, m in parts])
    finite(float(features.abs().max()), name, "feature of the frozen encoder")
    log.info("%s: %d windows computed once by the frozen encoder for the head-only epochs", name, len(wanted))
    return Cached(source.labels, wanted, features, mask, device)
