"""A small EEG encoder that scales its own features by person, for tests of how people's statistics are passed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from eavdash.config import choices
from eavdash.models import build
from eavdash.models.base import Encoder, EncoderOutput


class PersonEncoder(Encoder):
    """Log power per channel, minus its person's mean, by its person's standard deviation, under a linear layer."""

    def __init__(
        self, classes: int, channels: int, width: int = 0, depth: int = 0, heads: int = 0, dropout: float = 0
    ) -> None:
        super().__init__((channels, 1))
        self.feature_dim = channels
        self.head = nn.Linear(channels, classes)

    def power(self, x: Tensor) -> Tensor:
        return self.scaled(x).square().mean(dim=2).clamp_min(1e-6).log()  # (B, channel)

    def person_statistics(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        power = self.power(x)
        return {"shift": power.mean(dim=0), "scale": power.std(dim=0, correction=0).clamp_min(1e-3)}

    def forward_features(self, x: Tensor, mask: Tensor, person: Mapping[str, Tensor] | None = None) -> Tensor:
        power = self.power(x)
        if person is not None:
            power = (power - person["shift"]) / person["scale"]
        return power[:, None]

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        here = torch.ones_like(features[:, :, 0], dtype=torch.bool)
        return EncoderOutput(features, here, self.head(features[:, 0]))

    def forward(self, x: Tensor, mask: Tensor, person: Mapping[str, Tensor] | None = None) -> EncoderOutput:
        return self.forward_head(self.forward_features(x, mask, person), mask)


def offer(patch: pytest.MonkeyPatch) -> None:
    """Make the encoder known as ``eeg.encoder=person``."""
    patch.setitem(choices.ENCODERS, "eeg", (*choices.ENCODERS["eeg"], "person"))
    patch.setitem(build.MODULES, "person", PersonEncoder)
