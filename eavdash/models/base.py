"""Common interface of the encoders, which fusion, training and explanation rely on.

An encoder is an ``nn.Module`` called as ``encoder(x, mask) -> EncoderOutput`` with

* vision: ``x`` (B, F, 3, H, W) float32 in 0..1, ``mask`` (B, F) bool
* audio: ``x`` (B, L, mel) float32 log-mel energies, or what :attr:`Encoder.domain` says, ``mask`` (B, L) bool
* eeg: ``x`` (B, channel, time) float32 volt, ``mask`` (B, time) bool
* a table of features, in any modality: ``x`` (B, L, column) float32, ``mask`` (B, L) bool

An encoder that scales its own features by person has ``person_statistics(x, mask) -> dict[str, Tensor]`` of all the
given windows of one person, and takes ``person`` in ``forward`` and ``forward_features``: those statistics of each
window's person, with a leading batch axis. Without ``person`` it uses buffers fitted on all training windows.

It scales its input with buffers set by :meth:`Encoder.set_scaling`, so a checkpoint is complete and attributions refer
to the recording in its original unit.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class EncoderOutput:
    """Output of an encoder for a batch of windows."""

    tokens: Tensor  # (B, T, D): input of the fusion
    mask: Tensor  # (B, T) bool, True where the token comes from recorded data
    logits: Tensor  # (B, K) of the windows
    frame_logits: Tensor | None = None  # (B, T, K) if each frame is also classified on its own
    ordered: bool = False  # True if the window's logits depend on the order of its frames


def to_encoder_input(modality: str, x: Tensor) -> Tensor:
    """Convert stored windows to encoder input on their device; converted ones are returned unchanged."""
    if modality == "vision" and x.dtype == torch.uint8:
        return x.permute(0, 1, 4, 2, 3).to(torch.float32) / 255  # (B, F, 3, H, W) in 0..1
    return x.to(torch.float32)


def last_linear(head: nn.Module) -> nn.Linear | None:
    """Return the linear layer, with a bias, that gives a head's output; None if the head ends with another layer."""
    layers = [part for part in head.modules() if next(part.parameters(recurse=False), None) is not None]
    last = layers[-1] if layers else None
    return last if isinstance(last, nn.Linear) and last.bias is not None else None


class Encoder(nn.Module):
    """Base of the encoders: input scaling, and the split into pretrained and new parts.

    ``feature_dim`` is D of :class:`EncoderOutput`. ``head`` is the classifier; its classes are those of one study.
    """

    feature_dim: int
    head: nn.Module
    #: What an encoder of sound hears: logarithms of energy (log) or samples (wave).
    domain = "log"

    def __init__(self, shift_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(shift_shape))
        self.register_buffer("scale", torch.ones(shift_shape))

    @property
    def new_parts(self) -> tuple[nn.Module, ...]:
        """The parts that no published checkpoint contains; head-only epochs train only these."""
        return (self.head,)

    def set_scaling(self, shift: Tensor, scale: Tensor) -> None:
        """Set the input scaling ``(x - shift) / scale``, which is fitted on training windows only."""
        self.get_buffer("shift").copy_(shift.reshape(self.get_buffer("shift").shape))
        self.get_buffer("scale").copy_(scale.reshape(self.get_buffer("scale").shape).clamp_min(1e-12))

    def scaled(self, x: Tensor) -> Tensor:
        """Return ``x`` after input scaling."""
        return (x - self.get_buffer("shift")) / self.get_buffer("scale")

    def holding(self, x: Tensor, mask: Tensor) -> AbstractContextManager[None]:
        """Hold what the scaling takes from the window ``x`` itself while attributions follow a path of windows."""
        return nullcontext()

    def forward_features(self, x: Tensor, mask: Tensor) -> Tensor | None:
        """Return the features (B, T, D) that :meth:`forward_head` takes, computed without any of the ``new_parts``.

        Return None if this encoder cannot be split: ``forward`` is then not
        ``forward_head(forward_features(x, mask), mask)``.
        """
        return None

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Apply the ``new_parts`` to the output of :meth:`forward_features`; ``mask`` is that of the input."""
        raise NotImplementedError

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        raise NotImplementedError
