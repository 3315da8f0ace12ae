"""Encoders whose tokens are statistics of a pretrained network's states over time: mean and standard deviation.

In: a window and its mask. Out: one token per stretch of the window, about a second, and the logits of a linear head on
the statistics of the whole window. Both are standardised by ``feature_shift`` and ``feature_scale``, fitted on the
training windows, or by a person's own statistics (:meth:`StateEncoder.person_statistics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from eavdash.models.base import Encoder, EncoderOutput

MOST_TOKENS = 60
#: A person's own scale counts as much as that of all training windows when it comes from this many windows.
PRIOR_WINDOWS = 8
_SPREAD_FLOOR = 1e-6  # of a variance: the root's gradient is infinite at 0
_AT_ONCE = 32  # windows, when statistics of many are taken


class StateEncoder(Encoder):
    """The statistics of states of ``width`` numbers, ``stretch`` of them in a token, and a linear head for ``classes``.

    A subclass defines :meth:`states`, and :meth:`heard` if a state is not one step of the input.
    """

    def __init__(self, classes: int, bands: int, width: int, stretch: int) -> None:
        super().__init__(shift_shape=(1, 1, bands))
        self.feature_dim, self.stretch = 2 * width, stretch
        self.head = nn.Linear(self.feature_dim, classes)
        self.register_buffer("feature_shift", torch.zeros(self.feature_dim))
        self.register_buffer("feature_scale", torch.ones(self.feature_dim))

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the states (B, S, W) float32 of ``x`` (B, L, band), ``mask`` (B, L)."""
        raise NotImplementedError

    def heard(self, mask: Tensor) -> Tensor:
        """Return (B, S) bool, True for the states of the recorded part of the input, whose ``mask`` is (B, L)."""
        return mask

    def forward(self, x: Tensor, mask: Tensor, person: Mapping[str, Tensor] | None = None) -> EncoderOutput:
        """Map ``x`` (B, L, band), ``mask`` (B, L) to tokens (B, T, 2 W), logits (B, K).

        ``person``: ``shift`` and ``scale`` (B, 2 W) of each window's person; None: those of the training windows.
        """
        return self.forward_head(self.forward_features(x, mask, person), mask)

    def forward_features(self, x: Tensor, mask: Tensor, person: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return features (B, 1 + T, 2 W): those of the whole window, which the head reads, then the tokens."""
        states, heard = self.states(x, mask), self.heard(mask)
        count = self._tokens(heard.shape[1])
        stretches = zip(states.tensor_split(count, dim=1), heard.tensor_split(count, dim=1), strict=True)
        found = torch.stack([mean_and_spread(states, heard), *(mean_and_spread(s, h) for s, h in stretches)], dim=1)
        if person is None:
            return (found - self.get_buffer("feature_shift")) / self.get_buffer("feature_scale")
        return (found - person["shift"][:, None]) / person["scale"][:, None]

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Return tokens and logits from the output of :meth:`forward_features`.

        A stretch counts if at least half of it was recorded; the first counts if any of it was.
        """
        parts = self.heard(mask).tensor_split(features.shape[1] - 1, dim=1)
        counts = torch.stack([2 * part.sum(dim=1) >= part.shape[1] for part in parts], dim=1)
        counts[:, 0] = mask.any(dim=1)
        return EncoderOutput(features[:, 1:], counts, self.head(features[:, 0]))

    @torch.no_grad()
    def person_statistics(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return ``shift`` and ``scale`` (2 W,) of the windows ``x`` (N, L, band), ``mask`` (N, L) of one person.

        The scale of few windows is uncertain, so it is drawn towards that of the training windows.
        """
        shift, scale = self._statistics(zip(torch.split(x, _AT_ONCE), torch.split(mask, _AT_ONCE), strict=True))
        usual = self.get_buffer("feature_scale")
        drawn = (len(x) * scale.square() + PRIOR_WINDOWS * usual.square()) / (len(x) + PRIOR_WINDOWS)
        return {"shift": shift, "scale": drawn.sqrt()}

    @torch.no_grad()
    def fit_features(self, windows: Iterable[Sequence[Tensor]]) -> None:
        """Set the standardisation of the features by batches ``x`` (B, L, band), ``mask`` of training windows."""
        shift, scale = self._statistics(windows)
        self.get_buffer("feature_shift").copy_(shift)
        self.get_buffer("feature_scale").copy_(torch.where(scale > 1e-6, scale, torch.ones_like(scale)))

    def _statistics(self, windows: Iterable[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (2 W,) of the features over windows, in evaluation mode."""
        device, training, each = self.get_buffer("feature_shift").device, self.training, []
        self.eval()
        for x, mask, *_ in windows:
            held = mask.to(device)
            each.append(mean_and_spread(self.states(x.to(device, torch.float32), held), self.heard(held)))
        self.train(training)
        found = torch.cat(each)
        return found.mean(dim=0), found.std(dim=0, correction=0)

    def _tokens(self, states: int) -> int:
        return min(MOST_TOKENS, max(1, round(states / self.stretch)))


def mean_and_spread(states: Tensor, mask: Tensor) -> Tensor:
    """Return mean and standard deviation (B, 2 W) of ``states`` (B, S, W) where ``mask`` (B, S) is True."""
    counted = mask[:, :, None].to(states.dtype)
    number = counted.sum(dim=1).clamp_min(1)
    mean = (states * counted).sum(dim=1) / number
    variance = ((states - mean[:, None]).square() * counted).sum(dim=1) / number
    return torch.cat([mean, (variance + _SPREAD_FLOOR).sqrt()], dim=1)
