"""Fusion: the tokens of several modalities become one decision, and attention says which modality it rested on.

In: ``tokens`` {modality: (B, T, D)} and ``masks`` {modality: (B, T) bool}, and optionally ``evidence`` {modality:
(B, K)}, the logits of each encoder's own decision. A modality missing from the dictionaries, or wholly masked, is
absent: it gets no attention and its content is never read. Only attention reads the evidence.
Out: :class:`Fused`; its modality axis follows ``module.modalities``.

Three kinds: attention_fusion.py (the default), concat_fusion.py (the baseline) and paper_fusion.py (the single-token
layer of Yin et al. 2025, which has no attention across modalities). Each can hold a ``temperature`` that divides its
logits (Guo et al. 2017, arXiv:1706.04599), fitted after training (eavdash/training/calibration.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError


@dataclass
class Fused:
    """What fusion makes of a batch of windows."""

    logits: Tensor  # (B, K)
    attention: Tensor | None = None  # (B, heads, M): share of the decision's attention per modality
    #: (B, layers, heads, M, M): how much of the attention of the row's tokens goes to the column's, before the
    #: decision. A row sums to 1, that of an absent modality is 0.
    maps: Tensor | None = None
    frame_logits: Tensor | None = None  # (B, F, K), where every frame is decided with its window's audio and EEG

    @property
    def map(self) -> Tensor | None:
        """(B, M, M): the mean of ``maps`` over layers and heads; None where nothing attends."""
        return None if self.maps is None else self.maps.mean(dim=(1, 2))


class Fusion(nn.Module):
    """Base: reads the modalities in a fixed order, scales them, empties what is masked, hides some in training.

    With ``calibrated`` the state holds the temperature that divides the logits; it is 1 until it is set.
    """

    def __init__(self, dims: Mapping[str, int], modality_dropout: float = 0.0, calibrated: bool = False) -> None:
        super().__init__()
        if not dims:
            raise ConfigError.at("fusion", expected="at least one modality", found="none", remedy="train an encoder")
        self.modalities = tuple(dims)
        self.dims = dict(dims)
        self.modality_dropout = modality_dropout
        self.calibrated = calibrated
        # Not kept in the files of a fusion that is not calibrated: there, as in published files, is no such number.
        self.register_buffer("temperature", torch.ones(()), persistent=calibrated)
        for name, dim in dims.items():
            self.register_buffer(f"shift_{name}", torch.zeros(dim))
            self.register_buffer(f"scale_{name}", torch.ones(dim))

    def set_scaling(self, modality: str, shift: Tensor, scale: Tensor) -> None:
        """Fix the scaling ``(token - shift) / scale`` (D,) of a modality's tokens; fitted on training windows only."""
        self.get_buffer(f"shift_{modality}").copy_(shift)
        self.get_buffer(f"scale_{modality}").copy_(scale.clamp_min(1e-12))

    def set_temperature(self, temperature: float) -> None:
        """Divide the logits by ``temperature`` from now on.

        Raises:
            ConfigError: this fusion was not built as a calibrated one, or the temperature is not above 0.
        """
        if not self.calibrated or not temperature > 0:
            raise ConfigError.at(
                "fusion temperature",
                expected="a number above 0 for a fusion that was built with calibrated",
                found=str(temperature),
                remedy="set fusion.calibrate=true",
            )
        self.get_buffer("temperature").fill_(temperature)

    def forward(
        self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor], evidence: Mapping[str, Tensor] | None = None
    ) -> Fused:
        raise NotImplementedError

    def _read(self, tokens: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens (B, T, D) and masks (B, T) per modality, with zeros wherever nothing is to be read."""
        given = next((tokens[m] for m in self.modalities if m in tokens), None)
        if given is None:
            raise ConfigError.at(
                "fusion", expected=f"some of {', '.join(self.modalities)}", found="none", remedy="give their tokens"
            )
        values, valid = [], []
        for name in self.modalities:
            x = tokens[name] if name in tokens else given.new_zeros(len(given), 1, self.dims[name])
            x = (x - self.get_buffer(f"shift_{name}")) / self.get_buffer(f"scale_{name}")
            mask = masks[name] if name in tokens else torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
            values.append(x)
            valid.append(mask)
        if self.training and self.modality_dropout > 0:
            shown = self._shown(torch.stack([mask.any(dim=1) for mask in valid], dim=1))
            valid = [mask & shown[:, i, None] for i, mask in enumerate(valid)]
        zero = given.new_zeros(())
        return [torch.where(mask[:, :, None], x, zero) for x, mask in zip(values, valid, strict=True)], valid

    def _shown(self, present: Tensor) -> Tensor:
        """Which modalities (B, M) this training step shows; never hides all that a window has."""
        draw = torch.rand(present.shape, device=present.device)
        shown = present & (draw >= self.modality_dropout)
        last = torch.where(present, draw, -1.0).argmax(dim=1, keepdim=True)
        rescued = torch.zeros_like(present).scatter(1, last, True) & present
        return torch.where(shown.any(dim=1, keepdim=True), shown, rescued)
