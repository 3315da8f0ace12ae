"""Small transformer over a window's frame tokens, which models their order in time.

In: features (B, F, D) of single frames, and their mask. Out: tokens of the same shape with temporal context; masked
frames are not attended to.

Frames get sinusoidal positions (for any number of frames), which are subtracted again at the end. Every residual has a
gate that starts at :data:`GATE`: a new transformer hardly changes its input, so training starts from the mean over
frames and departs from it as far as the order helps.
"""

from __future__ import annotations

from torch import Tensor, nn

from eavdash.models.layers import Block, sinusoids

#: Initial gate of the residuals; the value of CaiT (Touvron et al. 2021) for networks of up to 18 layers.
GATE = 0.1


class TemporalTransformer(nn.Module):
    """``depth`` pre-norm blocks with feed-forward 2 D over the frames of a window."""

    def __init__(self, width: int, heads: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, 2 * width, dropout, layer_scale=GATE) for _ in range(depth))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``x`` (B, F, D), ``mask`` (B, F) to (B, F, D)."""
        positions = sinusoids(x.shape[1], x.shape[2]).to(x)
        y = x + positions
        for block in self.blocks:
            y = block(y, mask)
        return y - positions
