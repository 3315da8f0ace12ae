"""Features of all modalities, aligned by window, as the input of stage 2.

In: :class:`~eavdash.training.features.Features` per modality. Out: :class:`FusionFeatures`, and
:class:`FeatureSource`, which supplies batches of them to the training loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.models.fusion import FusionOutput
from eavdash.training.features import Features
from eavdash.training.loading import ModelOutput, Source


@dataclass(frozen=True)
class FusionFeatures:
    """Features of all modalities, in the rows of one index (canonical order)."""

    index: pd.DataFrame
    tokens: dict[str, Tensor]  # (window, T, D) float32, 0 where the modality is absent
    masks: dict[str, Tensor]  # (window, T) bool
    logits: dict[str, Tensor]  # (window, K) float32 of each encoder

    @property
    def dims(self) -> dict[str, int]:
        return {m: int(t.shape[2]) for m, t in self.tokens.items()}

    def parts(self) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Return tokens, mask and logits of each modality."""
        return {m: (self.tokens[m], self.masks[m], self.logits[m]) for m in self.tokens}

    def present(self, modality: str) -> Tensor:
        """Return (window,) bool, True where the modality was recorded."""
        return self.masks[modality].any(dim=1)


def join_features(parts: Mapping[str, Features]) -> FusionFeatures:
    """Align the modalities' windows by (subject, trial, window)."""
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
            _scatter(value, here, there) for value in (part.tokens, part.mask, part.logits)
        )
    return FusionFeatures(index, tokens, masks, logits)


def _scatter(value: Tensor, here: Tensor, there: Tensor) -> Tensor:
    out = torch.zeros((len(here), *value.shape[1:]), dtype=value.dtype)
    out[here] = value[there]
    return out


def model_output(fused: FusionOutput, masks: Mapping[str, Tensor]) -> ModelOutput:
    """Return the output of a fusion as the :class:`ModelOutput` of training and evaluation."""
    frames = masks.get("vision") if fused.frame_logits is not None else None
    return ModelOutput(fused.logits, fused.frame_logits, frames, fused.attention, fused.maps)


class FeatureSource(Source):
    """Source of fusion features; training batches are corrupted with the probabilities ``replaced``."""

    def __init__(
        self,
        joined: FusionFeatures,
        labels: Tensor,
        train: Sequence[int],
        replaced: Mapping[str, float],
        device: torch.device,
    ) -> None:
        self.joined, self.labels, self.device, self.replaced = joined, labels, device, dict(replaced)
        self.donors = {m: torch.as_tensor(train)[joined.present(m)[torch.as_tensor(train)]] for m in joined.tokens}

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        """Return tokens, mask and logits of windows ``rows`` for one modality after another, on the CPU."""
        loaded: list[Tensor] = []
        for name, part in self.joined.parts().items():
            at = rows if augment is None else self.corrupted(name, rows, augment)
            loaded += [values[at] for values in part]
        return tuple(loaded)

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        tokens, masks, encoder_logits = {}, {}, {}
        for number, name in enumerate(self.joined.tokens):
            part = [values.to(self.device, non_blocking=True) for values in loaded[3 * number : 3 * number + 3]]
            tokens[name], masks[name], encoder_logits[name] = part
        return model_output(model(tokens, masks, encoder_logits), masks)

    def corrupted(self, modality: str, rows: Tensor, random: torch.Generator) -> Tensor:
        """Replace some of ``rows`` by random training windows with the modality; absent ones stay absent."""
        donors = self.donors[modality]
        draw = torch.rand(len(rows), generator=random)
        if not len(donors):
            return rows
        other = donors[torch.randint(len(donors), (len(rows),), generator=random)]
        swap = (draw < self.replaced.get(modality, 0.0)) & self.joined.present(modality)[rows]
        return torch.where(swap, other, rows)
