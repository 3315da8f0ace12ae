"""What all vision encoders share: a picture model that reads frames one by one, and what it makes of a window of them.

In: frames (B, F, 3, H, W) in 0..1 and their mask. Out (:class:`eavdash.models.base.Encoded`):

* ``frame_logits``: each frame decided on its own, as if it were the only picture there is;
* ``tokens``: one per frame. With ``temporal`` layers they come from a small transformer over the frames in time
  (models/temporal.py) and know their order; without, they are the frames' own features;
* ``logits``: the window's decision, the mean over valid frames of the log-probabilities that the head reads from
  ``tokens``. Without temporal layers this is the mean of the frames' decisions, which no order can change.

Frames and window are decided by one head, so that training on both (training/loop.py) keeps the frames' decisions what
they are while the temporal part learns from the window's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eavdash.models.base import Encoded, Encoder
from eavdash.models.layers import mean_log_softmax
from eavdash.models.temporal import TemporalTransformer


class FrameEncoder(Encoder):
    """Base of the vision encoders. ``vit`` maps pictures (N, 3, H, W) to features (N, ``width``)."""

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

    def forward(self, x: Tensor, mask: Tensor) -> Encoded:
        """``x`` (B, F, 3, H, W) float32 in 0..1, ``mask`` (B, F) → tokens (B, F, D), window and frame logits."""
        return self.decide(self.look(x, mask), mask)

    def look(self, x: Tensor, mask: Tensor) -> Tensor:
        """The features (B, F, D) of every frame on its own; masked frames are empty pictures."""
        x = torch.where(mask[:, :, None, None, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        return self.vit(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def decide(self, features: Tensor, mask: Tensor) -> Encoded:
        """What the parts behind the picture model make of ``features`` (B, F, D)."""
        frame_logits = self.head(features)  # (B, F, K)
        if self.temporal is None:
            return Encoded(features, mask, mean_log_softmax(frame_logits, mask), frame_logits)
        tokens = self.temporal(features, mask)
        return Encoded(tokens, mask, mean_log_softmax(self.head(tokens), mask), frame_logits, ordered=True)
