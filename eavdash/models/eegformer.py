"""EEG encoder after EEGformer (Wan et al. 2023, Front. Neurosci. 17:1148855): three transformers and a decoder.

In: EEG (B, S channels, L samples) in volt and its mask; L at least 27 + ``width`` samples (59 with the default).
Out: one token per window (the decoder's features, at most 128 numbers) and the window's logits.

1. three depth-wise convolutions of kernel 10 along time, channel by channel, into C filters (S x C x Le, Le = L - 27)
2. regional transformer: within each channel, attention over its C filters
3. synchronous transformer: within each filter, attention over the S channels
4. temporal transformer: D averaged into M segments, attention over the segments
5. decoder: M → M/2 segments, fully connected

The article leaves details open and assumes far more recordings than one subject provides. Choices made here:

* C is small (8 by default, 120 published): with tokens of S·C numbers, a block of stage 4 would have 155 M parameters.
  Each segment is therefore reduced to ``width`` numbers before stage 4. This replaces the decoder's C → 1 and S → N
  layers: one filter map for all channels could not represent different rhythms at different electrodes.
* Stage 1 is linear (no activation, no bias) and its kernels are shared by the channels. They are initialised as
  windowed oscillations with frequencies spread over the pass band, so that few windows suffice to distinguish rhythms.
* Tokens of stage 2 are the logarithm of each filter's power in D segments of time (D is ``width``), relative to its
  mean power over training batches. A projection of the waveform would lose power, which has no fixed phase. D thus
  remains a time axis until stage 4 averages it.
* D, depth, heads and M are not given in the article: 32, 1, 4 and 10 by default. Its N (decoder channels) has no
  counterpart, see above. Input is standardised per channel; slow drifts are left to the band-pass filter.
* Transformers are pre-norm, ``depth`` blocks each, with learned positions, feed-forward 2 D, and gated residuals whose
  gates start at 0.01: the output depends on log-power alone at first, and on attention as the gates open.
* In training, half of the S x C maps are dropped per window: with some hundred windows they would be memorised.
* There are no class tokens, because the decoder reads the maps; the loss has no L1 term.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.errors import ConfigError
from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.layers import Block

KERNEL = 10
LAYERS = 3
LOST = LAYERS * (KERNEL - 1)  # samples lost to convolutions without padding
MAX_FEATURES = 128
POWER_FLOOR = 0.05  # of a filter's mean power: keeps the logarithm of silence finite
TINY = 1e-12  # power of a constant channel
MOMENTUM = 0.1  # of the running mean of power
GATE = 0.01
HIDDEN = 0.5


class EEGformer(Encoder):
    """Log-power tokens through a regional, a synchronous and a temporal transformer, and a decoder."""

    def __init__(
        self,
        classes: int,
        channels: int,
        filters: int = 8,
        width: int = 32,
        depth: int = 1,
        heads: int = 4,
        segments: int = 10,
        dropout: float = 0.1,
        rate: float = 100.0,
        band: tuple[float, float] = (0.5, 45.0),
    ) -> None:
        super().__init__(shift_shape=(1, channels, 1))
        self.channels, self.width, self.segments = channels, width, segments
        self.kernels = nn.ParameterList(oscillations(filters, rate, band))
        self.register_buffer("usual_power", torch.ones(channels, filters))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.filter_positions = nn.Parameter(torch.randn(1, 1, filters, width) * 0.02)
        self.channel_positions = nn.Parameter(torch.randn(1, channels, 1, width) * 0.02)
        self.segment_positions = nn.Parameter(torch.randn(1, segments, width) * 0.02)

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(Block(width, heads, 2 * width, dropout, layer_scale=GATE) for _ in range(depth))

        self.regional, self.synchronous, self.temporal = blocks(), blocks(), blocks()
        self.hide = nn.Dropout1d(HIDDEN)
        self.reduce = nn.Linear(channels * filters, width)
        half = max(1, segments // 2)
        self.decode = nn.Linear(segments, half)
        nn.init.normal_(self.decode.weight, mean=1 / segments, std=0.1 / segments)  # close to the mean over time
        self.feature_dim = min(MAX_FEATURES, width * half)
        self.project = nn.Identity() if width * half <= MAX_FEATURES else nn.Linear(width * half, MAX_FEATURES)
        self.head = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(self.feature_dim, classes))

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        """Map ``x`` (B, S, L) float32 volt, ``mask`` (B, L) to tokens (B, 1, D), logits (B, K)."""
        x = torch.where(mask[:, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        x = self._log_power(x, mask)  # (B, S, C, D)
        x = self.hide(x.flatten(1, 2)).view_as(x) + self.filter_positions + self.channel_positions
        x = self._along(x, self.regional, axis=2)
        x = self._along(x, self.synchronous, axis=1)
        x = F.adaptive_avg_pool1d(x.flatten(1, 2), self.segments).transpose(1, 2)  # (B, M, S * C)
        x = self.reduce(x) + self.segment_positions
        for block in self.temporal:
            x = block(x)
        feature = self.project(self.decode(x.transpose(1, 2)).flatten(1))
        return EncoderOutput(feature[:, None], mask.any(dim=1, keepdim=True), self.head(feature))

    def _log_power(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the log-power (B, S, C, D) of the filtered channels relative to its mean; 0 in padded segments."""
        batch, channels, samples = x.shape
        check_samples(samples, self.width)
        power = torch.unflatten(F.conv1d(x.reshape(-1, 1, samples), self._kernel()).square(), 0, (batch, channels))
        # A filtered sample is valid if the first and the last sample under its kernel were recorded.
        valid = (mask[:, LOST:] & mask[:, : samples - LOST])[:, None, None].to(x.dtype)
        share = F.adaptive_avg_pool1d(valid.flatten(1, 2), self.width)[:, None]  # (B, 1, 1, D)
        power = torch.unflatten(F.adaptive_avg_pool1d((power * valid).flatten(1, 2), self.width), 1, (channels, -1))
        usual = self.get_buffer("usual_power")
        if self.training and bool(valid.any()):
            mean = power.sum(dim=(0, 3)) / share.sum()
            batches = self.get_buffer("batches").add_(1)
            usual.lerp_(mean.detach(), max(MOMENTUM, 1 / int(batches)))  # a plain mean at first, then a running one
            usual = mean
        relative = power / share.clamp_min(1e-6) / (usual[:, :, None] + TINY)
        tokens = (relative + POWER_FLOOR).log()
        return torch.where(share > 0, tokens, torch.zeros((), dtype=x.dtype, device=x.device))

    def _kernel(self) -> Tensor:
        """Return the three depth-wise layers, which are linear, composed into one kernel (C, 1, 28)."""
        first, *others = self.kernels.parameters()
        kernel = first.transpose(0, 1)
        for more in others:
            kernel = F.conv1d(kernel, more.flip(-1), padding=KERNEL - 1, groups=len(more))
        return kernel.transpose(0, 1)

    @staticmethod
    def _along(x: Tensor, blocks: nn.ModuleList, axis: int) -> Tensor:
        """Apply attention along one axis (1: channels, 2: filters) of (B, S, C, D)."""
        x = x.movedim(axis, 2)
        shape = x.shape
        x = x.reshape(-1, *shape[2:])
        for block in blocks:
            x = block(x)
        return x.view(shape).movedim(2, axis)


def check_samples(samples: int, width: int) -> None:
    """Check the length of a window.

    Raises:
        ConfigError: it is too short for convolutions without padding and ``width`` segments.
    """
    if samples < LOST + width:
        raise ConfigError.at(
            "EEG window",
            expected=f"at least {LOST + width} samples",
            found=f"{samples}",
            remedy="use longer windows, a higher eeg.rate or a smaller eeg.width",
        )


def oscillations(filters: int, rate: float, band: tuple[float, float]) -> list[Tensor]:
    """Return kernels (C, 1, 10) of the depth-wise layers: windowed oscillations with random phases.

    Frequencies are spaced geometrically from 3 Hz (or the band's lower edge) to the band's upper edge. The kernels of
    the first layer have zero mean.
    """
    low, high = max(band[0], 3.0), min(band[1], 0.45 * rate)
    frequency = torch.tensor([low * (high / low) ** (i / max(1, filters - 1)) for i in range(filters)])
    time = (torch.arange(KERNEL) - (KERNEL - 1) / 2) / rate
    kernels = []
    for layer in range(LAYERS):
        phase = 2 * math.pi * torch.rand(filters, 1)
        kernel = torch.cos(2 * math.pi * frequency[:, None] * time + phase) * torch.hann_window(KERNEL + 2)[1:-1]
        if layer == 0:
            kernel = kernel - kernel.mean(dim=1, keepdim=True)
        kernel = kernel / kernel.norm(dim=1, keepdim=True).clamp_min(1e-6)
        kernels.append(kernel[:, None])
    return kernels
