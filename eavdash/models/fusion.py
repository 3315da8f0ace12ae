"""Base of the fusions, which combine the tokens of several modalities into logits.

In: ``tokens`` {modality: (B, T, D)} and ``masks`` {modality: (B, T) bool}, and optionally ``encoder_logits`` {modality:
(B, K)}. A modality that is missing from the dictionaries or completely masked is absent: it gets no attention and its
content is never read. Only the attention fusion reads ``encoder_logits``.
Out: :class:`FusionOutput`; its modality axis follows ``module.modalities``.

Four kinds: attention_fusion.py (the default), transformer_fusion.py (the fusion that Yin et al. 2025 describe),
concat_fusion.py (without attention) and paper_fusion.py (the layer of their code: a single token, so no attention
across modalities). Each can hold a ``temperature`` that divides its
logits (Guo et al. 2017, arXiv:1706.04599), fitted after training (eavdash/training/calibration.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError

#: By modality.
Tensors = Mapping[str, Tensor]


@dataclass
class FusionOutput:
    """Output of a fusion for a batch of windows."""

    logits: Tensor  # (B, K)
    attention: Tensor | None = None  # (B, heads, M): share of the class token's attention per modality
    #: (B, layers, heads, M, M): attention of the row modality's tokens to the column modality's, before the class
    #: token. A row sums to 1; the row of an absent modality is 0.
    maps: Tensor | None = None
    frame_logits: Tensor | None = None  # (B, F, K) if every frame is classified with its window's audio and EEG

    @property
    def map(self) -> Tensor | None:
        """Mean of ``maps`` over layers and heads (B, M, M); None for a fusion without attention across modalities."""
        return None if self.maps is None else self.maps.mean(dim=(1, 2))


class Fusion(nn.Module):
    """Base: scales the modalities in a fixed order, zeroes masked tokens and applies modality dropout in training.

    With ``calibrated`` the state includes the temperature that divides the logits; it is 1 until it is set.
    """

    def __init__(self, dims: Mapping[str, int], modality_dropout: float = 0.0, calibrated: bool = False) -> None:
        super().__init__()
        if not dims:
            raise ConfigError.at("fusion", expected="at least one modality", found="none", remedy="train an encoder")
        self.modalities = tuple(dims)
        self.dims = dict(dims)
        self.modality_dropout = modality_dropout
        self.calibrated = calibrated
        # Only calibrated fusions store it: older and published files have no such tensor.
        self.register_buffer("temperature", torch.ones(()), persistent=calibrated)
        for name, dim in dims.items():
            self.register_buffer(f"shift_{name}", torch.zeros(dim))
            self.register_buffer(f"scale_{name}", torch.ones(dim))

    def set_scaling(self, modality: str, shift: Tensor, scale: Tensor) -> None:
        """Set the scaling ``(token - shift) / scale`` (D,) of a modality, which is fitted on training windows only."""
        self.get_buffer(f"shift_{modality}").copy_(shift)
        self.get_buffer(f"scale_{modality}").copy_(scale.clamp_min(1e-12))

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature that divides the logits.

        Raises:
            ConfigError: this fusion was not built with ``calibrated``, or the temperature is not above 0.
        """
        if not self.calibrated or not temperature > 0:
            raise ConfigError.at(
                "fusion temperature",
                expected="a number above 0 for a calibrated fusion",
                found=str(temperature),
                remedy="set fusion.calibrate=true",
            )
        self.get_buffer("temperature").fill_(temperature)

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        raise NotImplementedError

    def _read(self, tokens: Tensors, masks: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        """Return scaled tokens (B, T, D) and masks (B, T) per modality, with zeros where the mask is False."""
        given = next((tokens[m] for m in self.modalities if m in tokens), None)
        if given is None:
            raise ConfigError.at(
                "fusion",
                expected=f"tokens of at least one of {', '.join(self.modalities)}",
                found="none",
                remedy="pass their tokens",
            )
        values, valid = [], []
        for name in self.modalities:
            x = tokens[name] if name in tokens else given.new_zeros(len(given), 1, self.dims[name])
            x = (x - self.get_buffer(f"shift_{name}")) / self.get_buffer(f"scale_{name}")
            mask = masks[name] if name in tokens else torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
            values.append(x)
            valid.append(mask)
        if self.training and self.modality_dropout > 0:
            kept = self._keep_some(torch.stack([mask.any(dim=1) for mask in valid], dim=1))
            valid = [mask & kept[:, i, None] for i, mask in enumerate(valid)]
        zero = given.new_zeros(())
        return [torch.where(mask[:, :, None], x, zero) for x, mask in zip(values, valid, strict=True)], valid

    def _keep_some(self, present: Tensor) -> Tensor:
        """Draw the modalities (B, M) that modality dropout keeps: at least one of those that a window has."""
        draw = torch.rand(present.shape, device=present.device)
        kept = present & (draw >= self.modality_dropout)
        last = torch.where(present, draw, -1.0).argmax(dim=1, keepdim=True)
        fallback = torch.zeros_like(present).scatter(1, last, True) & present
        return torch.where(kept.any(dim=1, keepdim=True), kept, fallback)
