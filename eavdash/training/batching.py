"""Which windows make up the batches of an epoch, and how many steps an epoch has.

A few dozen windows in batches of 16 are two or three steps an epoch, after which an encoder from scratch has hardly
begun. ``TrainConfig.epoch_steps`` asks for more: the batch is made smaller first, which costs nothing, and where even
batches of :data:`SMALLEST` are too few the windows are gone through several times, in another order each time. An
epoch stays what is reported, validated and resumed after.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eavdash.config.schema import TrainConfig

SMALLEST = 4  # windows of a batch: batch statistics of fewer say little


def plan(windows: int, settings: TrainConfig) -> tuple[int, int]:
    """The windows of a batch, and how often an epoch shows each of ``windows`` training windows."""
    smallest = min(SMALLEST, settings.batch)
    for size in range(settings.batch, smallest - 1, -1):
        steps = len(batches(torch.arange(windows), size))
        if steps >= settings.epoch_steps:
            return size, 1
    return smallest, math.ceil(settings.epoch_steps / steps)


def epoch_batches(train: Tensor, settings: TrainConfig, random: torch.Generator) -> list[Tensor]:
    """The batches of one epoch over the windows ``train`` (int64), shuffled by ``random``."""
    size, passes = plan(len(train), settings)
    orders = (train[torch.randperm(len(train), generator=random)] for _ in range(passes))
    return [batch for order in orders for batch in batches(order, size)]


def batches(order: Tensor, size: int) -> list[Tensor]:
    """``order`` in pieces of ``size``; a single window left over joins the piece before it.

    Batch normalisation cannot be trained on one window.
    """
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts
