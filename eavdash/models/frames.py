"""Base of the vision encoders: an image model applied to every frame, and the aggregation of frames to a window.

In: frames (B, F, 3, H, W) in 0..1 and their mask. Out (:class:`eavdash.models.base.EncoderOutput`):

* ``frame_logits``: logits of each frame on its own;
* ``tokens``: one per frame. With ``temporal`` layers they come from a small transformer over the frames in time
  (models/temporal.py) and depend on their order; without, they are the features of single frames;
* ``logits``: the mean over valid frames of the log-probabilities that the head computes from ``tokens``. Without
  temporal layers this is the mean over the single frames, which does not depend on their order.

One head classifies frames and windows, so that training on both (training/step.py) keeps accuracy per frame while the
temporal layers learn from the window's logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.layers import mean_log_softmax
from eavdash.models.temporal import TemporalTransformer


class FrameEncoder(Encoder):
    """Base of the vision encoders. ``vit`` maps images (N, 3, H, W) to features (N, ``width``)."""

    def __init__(self, vit: nn.Module, classes: int, width: int, heads: int, temporal: int, dropout: float) -> None:
        super().__init__(shift_shape=(1, 1, 3, 1, 1))
        self.feature_dim = width
        self.vit = vit
        self.head = nn.Linear(width, classes)
        self.temporal = TemporalTransformer(width, heads, temporal, dropout) if temporal else None
        self.set_scaling(torch.full((3,), 0.5), torch.full((3,), 0.5))

    @property
    def new_parts(self) -> tuple[nn.Module, ...]:
        return (self.head,) if self.temporal is None else (self.head, self.temporal)

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        """Map ``x`` (B, F, 3, H, W) float32 in 0..1, ``mask`` (B, F) to tokens (B, F, D), window and frame logits."""
        return self.forward_head(self.forward_features(x, mask), mask)

    def forward_features(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the features (B, F, D) of every frame on its own; masked frames are replaced by zeros."""
        x = torch.where(mask[:, :, None, None, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        return torch.unflatten(self.vit(x.flatten(0, 1)), 0, x.shape[:2])

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Apply the temporal layers, if any, and the head to ``features`` (B, F, D)."""
        frame_logits = self.head(features)  # (B, F, K)
        if self.temporal is None:
            return EncoderOutput(features, mask, mean_log_softmax(frame_logits, mask), frame_logits)
        tokens = self.temporal(features, mask)
        return EncoderOutput(tokens, mask, mean_log_softmax(self.head(tokens), mask), frame_logits, ordered=True)
