"""Encoder of voices: the LSTM of a speaker encoder (Wan et al. 2018, as trained for the package Resemblyzer).

In: logarithms of mel power (B, L, 40) in 10 ms steps (data/audio/front_ends.py) and its mask. Out: one token per second
of the window, and the window's logits. The network was trained to tell speakers apart, without labels of emotion; mean
and standard deviation over time of its last layer's 256 states hold how something is said, too.

A token is that mean and standard deviation in one stretch of the window, and a linear head reads those of the whole
window. Both are standardised by ``feature_shift`` and ``feature_scale``, fitted on the training windows, or by a
person's own statistics (:meth:`VoiceEncoder.person_statistics`). The network reads the power itself; the input is its
logarithm because attributions then add up in a reasonable number of steps. The input scaling is not applied: its
``shift``, the mean spectrum of the training windows, is only what attributions start from.

A state depends on nothing later, so what follows the recorded part of a window changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from eavdash.models.base import Encoder, EncoderOutput

BANDS, STATES, LAYERS = 40, 256, 3
STRETCH = 100  # steps of 10 ms in a token
MOST_TOKENS = 60
#: A person's own scale counts as much as that of all training windows when it comes from this many windows.
PRIOR_WINDOWS = 8
_SPREAD_FLOOR = 1e-6  # of a variance: the root's gradient is infinite at 0
_AT_ONCE = 32  # windows, when statistics of many are taken


class VoiceEncoder(Encoder):
    """The speaker encoder's network with a linear head for ``classes``."""

    def __init__(self, classes: int) -> None:
        super().__init__(shift_shape=(1, 1, BANDS))
        self.feature_dim = 2 * STATES
        self.lstm = nn.LSTM(BANDS, STATES, LAYERS, batch_first=True)
        self.head = nn.Linear(self.feature_dim, classes)
        self.register_buffer("feature_shift", torch.zeros(self.feature_dim))
        self.register_buffer("feature_scale", torch.ones(self.feature_dim))

    def forward(self, x: Tensor, mask: Tensor, person: Mapping[str, Tensor] | None = None) -> EncoderOutput:
        """Map ``x`` (B, L, 40) float32 log mel power, ``mask`` (B, L) to tokens (B, T, 512), logits (B, K).

        ``person``: ``shift`` and ``scale`` (B, 512) of each window's person; None: those of the training windows.
        """
        return self.forward_head(self.forward_features(x, mask, person), mask)

    def forward_features(self, x: Tensor, mask: Tensor, person: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return features (B, 1 + T, 512): those of the whole window, which the head reads, then the tokens."""
        states = self.states(x, mask)
        count = tokens_of(mask.shape[1])
        stretches = zip(states.tensor_split(count, dim=1), mask.tensor_split(count, dim=1), strict=True)
        found = torch.stack([mean_and_spread(states, mask), *(mean_and_spread(s, m) for s, m in stretches)], dim=1)
        if person is None:
            return (found - self.get_buffer("feature_shift")) / self.get_buffer("feature_scale")
        return (found - person["shift"][:, None]) / person["scale"][:, None]

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Return tokens and logits from the output of :meth:`forward_features`.

        A stretch counts if at least half of it was recorded; the first counts if any of it was.
        """
        parts = mask.tensor_split(features.shape[1] - 1, dim=1)
        heard = torch.stack([2 * part.sum(dim=1) >= part.shape[1] for part in parts], dim=1)
        heard[:, 0] = parts[0].any(dim=1)
        return EncoderOutput(features[:, 1:], heard, self.head(features[:, 0]))

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the last layer's states (B, L, 256) float32; those after the recorded part mean nothing."""
        with torch.autocast(x.device.type, enabled=False):  # half precision would cost more accuracy than time
            power = torch.where(mask[:, :, None], x.float(), -torch.inf).exp()
            states: Tensor = self.lstm(power)[0]
        return states

    @torch.no_grad()
    def person_statistics(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return ``shift`` and ``scale`` (512,) of the windows ``x`` (N, L, 40), ``mask`` (N, L) of one person.

        The scale of few windows is uncertain, so it is drawn towards that of the training windows.
        """
        shift, scale = self._statistics(zip(torch.split(x, _AT_ONCE), torch.split(mask, _AT_ONCE), strict=True))
        usual = self.get_buffer("feature_scale")
        drawn = (len(x) * scale.square() + PRIOR_WINDOWS * usual.square()) / (len(x) + PRIOR_WINDOWS)
        return {"shift": shift, "scale": drawn.sqrt()}

    @torch.no_grad()
    def fit_features(self, windows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set the standardisation of the features by batches ``x`` (B, L, 40), ``mask`` (B, L) of training windows."""
        shift, scale = self._statistics(windows)
        self.get_buffer("feature_shift").copy_(shift)
        self.get_buffer("feature_scale").copy_(scale)

    def _statistics(self, windows: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (512,) over windows; the scale of a constant is 1."""
        device = self.get_buffer("feature_shift").device
        each = []
        for x, mask in windows:
            heard = mask.to(device)
            each.append(mean_and_spread(self.states(x.to(device, torch.float32), heard), heard))
        found = torch.cat(each)
        scale = found.std(dim=0, correction=0)
        return found.mean(dim=0), torch.where(scale > 1e-6, scale, torch.ones_like(scale))


def tokens_of(steps: int) -> int:
    """Return the number of tokens of a window of ``steps``."""
    return min(MOST_TOKENS, max(1, round(steps / STRETCH)))


def mean_and_spread(states: Tensor, mask: Tensor) -> Tensor:
    """Return mean and standard deviation (B, 2 D) of ``states`` (B, L, D) over the steps where ``mask`` is True."""
    counted = mask[:, :, None].to(states.dtype)
    number = counted.sum(dim=1).clamp_min(1)
    mean = (states * counted).sum(dim=1) / number
    variance = ((states - mean[:, None]).square() * counted).sum(dim=1) / number
    return torch.cat([mean, (variance + _SPREAD_FLOOR).sqrt()], dim=1)
