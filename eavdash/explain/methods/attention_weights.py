"""Attention weights inside encoders, read while they run.

timm computes attention in one fused operation that keeps no weights; it is switched off for the time of a block and
restored afterwards, as are all hooks. The encoders of this project need no switch: their weights follow from the query
and key layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from eavdash.models.layers import SelfAttention


@contextmanager
def timm_attention(blocks: Iterable[Any]) -> Iterator[list[Tensor]]:
    """Yield a list that fills with the weights (B, N, N) of each block that runs, averaged over the heads."""
    found: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        found.append(given[0].detach().mean(dim=1))

    with ExitStack() as restore:
        for block in blocks:
            attention = block.attn
            restore.callback(setattr, attention, "fused_attn", attention.fused_attn)
            attention.fused_attn = False
            restore.callback(attention.attn_drop.register_forward_pre_hook(keep).remove)
        yield found


@contextmanager
def own_attention(layers: Iterable[SelfAttention]) -> Iterator[list[Tensor]]:
    """Yield a list that fills with the weights (B, N, N) of each layer that runs without a mask, as above."""
    found: list[Tensor] = []

    def keep(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        x, heads = given[0], layer.heads
        q, k, _ = layer.qkv(x).view(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)  # type: ignore[operator]  # qkv is a layer
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        found.append(scores.softmax(dim=-1).detach().mean(dim=1))

    with ExitStack() as restore:
        for layer in layers:
            restore.callback(layer.register_forward_pre_hook(keep).remove)
        yield found


def readable(blocks: object) -> bool:
    """Return True if the attention of timm's ``blocks`` can be read."""
    if not isinstance(blocks, (nn.Sequential, nn.ModuleList)) or not len(blocks):
        return False
    attentions = [getattr(block, "attn", None) for block in blocks]
    return all(hasattr(each, "fused_attn") and hasattr(each, "attn_drop") for each in attentions)
