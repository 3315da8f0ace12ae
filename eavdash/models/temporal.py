"""The order of frames: a small transformer over a window's frame tokens in time.

In: frame features (B, F, D) of an encoder that reads every frame on its own, and their mask. Out: tokens of the same
shape that know what came before and after them; masked frames are neither attended to nor positioned against.

Frames get sinusoidal positions (any number of frames works), which are taken away again at the end. Every residual is
behind a gate that starts at :data:`GATE`: a new transformer hardly changes its input, so training begins with the mean
over frames and departs from it as far as the order helps.
"""

from __future__ import annotations

from torch import Tensor, nn

from eavdash.models.layers import Block, sinusoids

#: Of the residuals at the start; the value of CaiT (Touvron et al. 2021) for networks of up to 18 layers.
GATE = 0.1


class TemporalTransformer(nn.Module):
    """``depth`` pre-norm blocks with feed-forward 2 D over the frames of a window."""

    def __init__(self, width: int, heads: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, 2 * width, dropout, layer_scale=GATE) for _ in range(depth))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x`` (B, F, D), ``mask`` (B, F) → (B, F, D)."""
        positions = sinusoids(x.shape[1], x.shape[2]).to(x)
        y = x + positions
        for block in self.blocks:
            y = block(y, mask)
        return y - positions
