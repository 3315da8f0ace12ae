"""Encoder of voices: the LSTM of a speaker encoder (Wan et al. 2018, as trained for the package Resemblyzer).

In: logarithms of mel power (B, L, 40) in 10 ms steps (data/audio/front_ends.py) and its mask. Out: one token per second
of the window, and the window's logits. The network was trained to tell speakers apart, without labels of emotion; mean
and standard deviation over time of its last layer's 256 states hold how something is said, too.

A token is that mean and standard deviation in one second (states.py). The network reads the power itself; the input is
its logarithm because attributions then add up in a reasonable number of steps. The input scaling is not applied: its
``shift``, the mean spectrum of the training windows, is only what attributions start from.

A state depends on nothing later, so what follows the recorded part of a window changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eavdash.models.states import StateEncoder

BANDS, STATES, LAYERS = 40, 256, 3
STRETCH = 100  # steps of 10 ms in a token


class VoiceEncoder(StateEncoder):
    """The speaker encoder's network with a linear head for ``classes``."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, BANDS, STATES, STRETCH)
        self.lstm = nn.LSTM(BANDS, STATES, LAYERS, batch_first=True)

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the last layer's states (B, L, 256) float32 for ``x`` (B, L, 40) log mel power."""
        with torch.autocast(x.device.type, enabled=False):  # half precision would cost more accuracy than time
            power = torch.where(mask[:, :, None], x.float(), -torch.inf).exp()
            states: Tensor = self.lstm(power)[0]
        return states
