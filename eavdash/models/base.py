"""What every encoder takes and returns, so that fusion, training and explanation need not know which one it is.

An encoder is an ``nn.Module`` called as ``encoder(x, mask) -> Encoded`` with

* vision: ``x`` (B, F, 3, H, W) float32 in 0..1, ``mask`` (B, F) bool
* audio: ``x`` (B, L, mel) float32 log-mel energies, ``mask`` (B, L) bool
* eeg: ``x`` (B, channel, time) float32 volt, ``mask`` (B, time) bool

It scales its input itself with buffers set by :meth:`Encoder.set_scaling`, so that a checkpoint is complete and an
attribution is in the units of the recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Encoded:
    """What an encoder makes of a batch of windows."""

    tokens: Tensor  # (B, T, D): what fusion reads
    mask: Tensor  # (B, T) bool, True where the token stands for something recorded
    logits: Tensor  # (B, K): the window's decision
    frame_logits: Tensor | None = None  # (B, T, K) where each frame is also decided on its own
    ordered: bool = False  # the window's decision is more than its frames': it rests on their order too


class Encoder(nn.Module):
    """Base of the encoders: input scaling, and the names of the parts that training treats differently.

    ``feature_dim`` is D of :class:`Encoded`. ``head`` decides; it belongs to the classes of one study.
    """

    feature_dim: int
    head: nn.Module

    def __init__(self, shift_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(shift_shape))
        self.register_buffer("scale", torch.ones(shift_shape))

    @property
    def new_parts(self) -> tuple[nn.Module, ...]:
        """The parts that no published checkpoint holds; head-only epochs train these alone."""
        return (self.head,)

    def set_scaling(self, shift: Tensor, scale: Tensor) -> None:
        """Fix the input scaling ``(x - shift) / scale``; fitted on training windows only."""
        self.get_buffer("shift").copy_(shift.reshape(self.get_buffer("shift").shape))
        self.get_buffer("scale").copy_(scale.reshape(self.get_buffer("scale").shape).clamp_min(1e-12))

    def scaled(self, x: Tensor) -> Tensor:
        """``x`` after input scaling."""
        return (x - self.get_buffer("shift")) / self.get_buffer("scale")

    def look(self, x: Tensor, mask: Tensor) -> Tensor | None:
        """The features that :meth:`decide` starts from, (B, T, D), computed without any of the ``new_parts``.

        None: this encoder cannot be cut there; ``forward`` is not ``decide(look(x, mask), mask)``.
        """
        return None

    def decide(self, features: Tensor, mask: Tensor) -> Encoded:
        """What the ``new_parts`` make of :meth:`look`'s features; ``mask`` is that of the input."""
        raise NotImplementedError

    def forward(self, x: Tensor, mask: Tensor) -> Encoded:
        raise NotImplementedError
