"""Batches of an epoch, and its number of steps.

A few dozen windows in batches of 16 give two or three steps per epoch, which is too few for an encoder trained from
scratch. ``TrainConfig.epoch_steps`` sets a minimum: the batch is made smaller first, which costs nothing; if batches of
:data:`SMALLEST` still give too few steps, an epoch passes over the windows several times, each time in another order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eavdash.config.schema import TrainConfig

SMALLEST = 4  # windows per batch: batch statistics of fewer are too noisy


def plan(windows: int, settings: TrainConfig) -> tuple[int, int]:
    """Return the batch size and the number of passes over ``windows`` training windows in an epoch."""
    smallest = min(SMALLEST, settings.batch)
    for size in range(settings.batch, smallest - 1, -1):
        steps = len(batches(torch.arange(windows), size))
        if steps >= settings.epoch_steps:
            return size, 1
    return smallest, math.ceil(settings.epoch_steps / steps)


def epoch_batches(train: Tensor, settings: TrainConfig, random: torch.Generator) -> list[Tensor]:
    """Return the batches of one epoch over the windows ``train`` (int64), shuffled by ``random``."""
    size, passes = plan(len(train), settings)
    orders = (train[torch.randperm(len(train), generator=random)] for _ in range(passes))
    return [batch for order in orders for batch in batches(order, size)]


def batches(order: Tensor, size: int) -> list[Tensor]:
    """Split ``order`` into batches of ``size``; a single remaining window joins the batch before it.

    Batch normalisation cannot be trained on one window.
    """
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts
