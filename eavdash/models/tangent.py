"""EEG encoder ``tangent``: covariances of frequency bands in tangent space, and log band power; only its head learns.

In: EEG (B, channel, time) in volt and its mask. Out: one token per frequency band and the window's logits.

1. band-pass filters (models/covariance.py: 1 to 4, 8, 13, 20, 30, 45 Hz, within the pass band of the recordings)
2. the covariance of the channels in each band, relative to each channel's usual power in it, and shrunk towards the
   identity, so that channels that others determine (after an average reference) or that are flat do no harm
3. its tangent vector at the reference, the geometric mean of all training windows, or of the window's own person
   (``person``): re-centring, which makes people comparable (Zanini et al. 2018,
   https://doi.org/10.1109/TBME.2017.2742541)
4. beside it the logarithm of each channel's power in the band, standardised by training windows, or by those of the
   person

The head reads all of these numbers; with ``train.eeg.fit=linear``, which planning takes for this encoder, it is a
regression whose L2 is chosen on validation windows. A token is the projection of a band's numbers on their first
``width`` principal components over the training windows, with the identity instead where there are fewer numbers.

All statistics are buffers fitted on training windows (:meth:`TangentEncoder.fit_features`), the numbers are computed in
float64, and gradients pass through everything: attributions are exact. Padded samples are not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models import covariance
from eavdash.models.base import Encoder, EncoderOutput

#: Share of the identity in a relative covariance.
SHRINKAGE = 0.05
LEAST_CHANNELS = 2
MOST_CHANNELS = 128  # of which a band has 8,384 numbers
#: Variance, in units of the channel's usual one over all frequencies, below which a band counts as empty.
_SILENT = 1e-9
_AT_ONCE = 32  # windows that are filtered at a time
_MOST_NUMBERS = 2**26  # in the covariances that statistics are fitted on; of more windows every second is taken
_MOST_FOR_AXES = 1024  # windows

#: Statistics of a person, (B, ...) each.
Person = Mapping[str, Tensor]


@dataclass(frozen=True)
class _Measured:
    """Covariances (band, S, S) of one window, and the statistics of its person, if any."""

    covariances: Tensor
    person: Person | None


class TangentEncoder(Encoder):
    """Fixed features of ``bands`` (from and to in Hz) at ``rate`` Hz, and a linear head."""

    def __init__(
        self,
        classes: int,
        channels: int,
        rate: float,
        bands: Sequence[Sequence[float]],
        width: int = 32,
        shrinkage: float = SHRINKAGE,
    ) -> None:
        super().__init__(shift_shape=(1, channels, 1))
        self.shrinkage, count = shrinkage, len(bands)
        size = channels * (channels + 1) // 2 + channels
        self.feature_dim = min(width, size)
        with torch.device("cpu"):  # also where a model is built without memory for its numbers
            filters = covariance.band_filters([(float(low), float(high)) for low, high in bands], rate)
        self.register_buffer("filters", filters, persistent=False)

        def buffer(name: str, value: Tensor) -> None:
            self.register_buffer(name, value.double())

        buffer("power", torch.zeros(count, channels))  # logarithm of the usual power
        buffer("reference", torch.eye(channels).repeat(count, 1, 1))
        buffer("power_shift", torch.zeros(count, channels))
        buffer("power_scale", torch.ones(count, channels))
        buffer("centre", torch.zeros(count, size))
        buffer("axes", torch.eye(size, self.feature_dim).repeat(count, 1, 1))
        self.head = nn.Linear(count * size, classes)

    def forward(self, x: Tensor, mask: Tensor, person: Person | None = None) -> EncoderOutput:
        """Map ``x`` (B, S, T) float32 volt, ``mask`` (B, T) to tokens (B, band, D), logits (B, K).

        ``person``: what :meth:`person_statistics` returned for each window's person, (B, ...).
        """
        return self.forward_head(self.forward_features(x, mask, person), mask)

    def forward_features(self, x: Tensor, mask: Tensor, person: Person | None = None) -> Tensor:
        """Return tangent vector and log power of each band (B, band, S (S + 1) / 2 + S) float32; 0 if all is padded."""
        with torch.autocast(x.device.type, enabled=False):
            found = self._features(self._covariances(x, mask), person).to(torch.float32)
        return torch.where(mask.any(dim=1)[:, None, None], found, torch.zeros((), device=x.device))

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Return tokens and logits from ``features`` (B, band, D) of :meth:`forward_features`."""
        centred = features - self.get_buffer("centre").to(features.dtype)
        tokens = torch.einsum("nbd,bdw->nbw", centred, self.get_buffer("axes").to(features.dtype))
        valid = mask.any(dim=1, keepdim=True).expand(-1, features.shape[1])
        return EncoderOutput(tokens, valid, self.head(features.flatten(1)))

    @torch.no_grad()
    def person_statistics(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return usual ``power``, ``reference``, and ``shift`` and ``scale`` of the log power, of one person's windows.

        Args:
            x: (window, S, T) float32 volt, all windows of the person that may be used. mask: (window, T).

        Returns:
            float64 arrays (band, S), (band, S, S), (band, S) and (band, S); without any recorded sample those of the
            training windows.
        """
        return self._statistics(self._measured(zip(torch.split(x, _AT_ONCE), torch.split(mask, _AT_ONCE), strict=True)))

    @torch.no_grad()
    def fit_features(self, parts: Iterable[Sequence[Any]]) -> None:
        """Fit all statistics on the training windows, given in parts: ``x``, ``mask``, and ``person`` if it is used."""
        measured = self._measured(parts)
        for name, value in self._statistics(measured).items():
            self.get_buffer(_BUFFERS[name]).copy_(value)
        if measured:
            self._fit_axes(measured[:: math.ceil(len(measured) / _MOST_FOR_AXES)])

    def _covariances(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the covariances (B, band, S, S) float64 of the scaled signals in each band; 0 if all is padded."""
        return covariance.covariances(self._filtered(x, mask), mask)

    def _filtered(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the scaled signals (B, band, S, T) float64 in each band."""
        zero = torch.zeros((), dtype=torch.float64, device=x.device)
        x = torch.where(mask[:, None], self.scaled(x.double()), zero)
        # A step from the window's own level to the zeros around it would be in all bands.
        level = x.sum(dim=2, keepdim=True) / mask.sum(dim=1)[:, None, None].clamp_min(1)
        return covariance.filtered(torch.where(mask[:, None], x - level, zero), self.get_buffer("filters"))

    def _relative(self, covariances: Tensor, power: Tensor) -> Tensor:
        """Return covariances relative to the usual ``power`` (..., S), shrunk towards the identity."""
        usual = (power / 2).exp()
        relative = covariances / (usual[..., :, None] * usual[..., None, :])
        identity = torch.eye(power.shape[-1], dtype=power.dtype, device=power.device)
        return (1 - self.shrinkage) * relative + self.shrinkage * identity

    def _features(self, covariances: Tensor, person: Person | None) -> Tensor:
        """Return tangent vectors and log powers (B, band, D) float64 of ``covariances`` (B, band, S, S)."""
        known = {name: self.get_buffer(buffer) for name, buffer in _BUFFERS.items()}
        if person is not None:
            known = {name: person[name].to(covariances) for name in _BUFFERS}
        relative = self._relative(covariances, known["power"])
        vectors = covariance.tangent_vectors(relative, covariance.inverse_root(known["reference"]))
        power = (_log_power(relative) - known["shift"]) / known["scale"]
        return torch.cat([vectors, power], dim=-1)

    def _measured(self, parts: Iterable[Sequence[Any]]) -> list[_Measured]:
        """Return the covariances of the recorded windows, evenly spread ones if they are too many to be kept."""
        kept: list[_Measured] = []
        number, stride, device = 0, 1, self.get_buffer("filters").device
        most = max(_AT_ONCE, _MOST_NUMBERS // self.get_buffer("reference").numel())
        for x, mask, *person in parts:
            x, mask = x.to(device), mask.to(device)
            made = self._covariances(x, mask)
            for place in torch.nonzero(mask.any(dim=1))[:, 0].tolist():
                if number % stride == 0:
                    own = {name: value[place].to(device) for name, value in person[0].items()} if person else None
                    kept.append(_Measured(made[place], own))
                number += 1
            while len(kept) > most:
                kept, stride = kept[::2], 2 * stride
        return kept

    def _statistics(self, measured: Sequence[_Measured]) -> dict[str, Tensor]:
        """Return the statistics of windows; without any the present ones."""
        if not measured:
            return {name: self.get_buffer(buffer).clone() for name, buffer in _BUFFERS.items()}
        every = torch.stack([one.covariances for one in measured])
        power = (every.diagonal(dim1=-2, dim2=-1) + _SILENT).log().mean(dim=0)
        relative = self._relative(every, power)
        levels = _log_power(relative)
        spread = levels.std(dim=0, correction=0)
        return {
            "power": power,
            "reference": torch.stack([covariance.geometric_mean(relative[:, b]) for b in range(len(power))]),
            "shift": levels.mean(dim=0),
            "scale": torch.where(spread > 1e-6, spread, torch.ones_like(spread)),
        }

    def _fit_axes(self, measured: Sequence[_Measured]) -> None:
        """Fit the principal axes of each band's numbers, on which the tokens are projected."""
        centre, axes = self.get_buffer("centre"), self.get_buffer("axes").zero_()
        features = torch.cat([self._features_of(one) for one in measured])  # (N, band, D)
        centre.copy_(features.mean(dim=0))
        for band, x in enumerate((features - centre).transpose(0, 1)):
            wide = x.shape[1] > len(x)
            values, vectors = torch.linalg.eigh(x @ x.mT if wide else x.mT @ x)
            used = [i for i in range(len(values) - 1, -1, -1) if values[i] > 1e-9 * values[-1]][: axes.shape[2]]
            found = vectors[:, used]
            found = x.mT @ found / values[used].sqrt() if wide else found
            sign = found.gather(0, found.abs().argmax(dim=0, keepdim=True)).sign()  # otherwise it is arbitrary
            axes[band, :, : len(used)] = found * sign

    def _features_of(self, one: _Measured) -> Tensor:
        person = None if one.person is None else {name: value[None] for name, value in one.person.items()}
        return self._features(one.covariances[None], person)


#: Where the statistics of all training windows are kept, which those of a person replace.
_BUFFERS = {"power": "power", "reference": "reference", "shift": "power_shift", "scale": "power_scale"}


def _log_power(relative: Tensor) -> Tensor:
    """Return the logarithm of the channels' power (..., S)."""
    return relative.diagonal(dim1=-2, dim2=-1).log()


def bands_for(channels: int, samples: int, rate: float, low: float, high: float) -> list[list[float]]:
    """Return the bands for windows of ``samples`` with a pass band from ``low`` to ``high`` Hz.

    Raises:
        ConfigError: there is no band, the window is too short for the lowest one, or the number of channels is unusual.
    """
    if not LEAST_CHANNELS <= channels <= MOST_CHANNELS:
        raise ConfigError.at(
            "eeg.channels",
            expected=f"{LEAST_CHANNELS} to {MOST_CHANNELS} channels, whose covariances the encoder tangent reads",
            found=f"{channels}",
            remedy="set eeg.channels or choose another eeg.encoder",
        )
    bands = covariance.bands_of(low, high, rate)
    if not bands:
        raise ConfigError.at(
            "eeg.low, eeg.high",
            expected=f"a pass band of at least {covariance.NARROWEST:g} Hz above {covariance.LOWEST:g} Hz and below "
            f"{0.45 * rate:g} Hz (0.45 of eeg.rate)",
            found=f"{low:g} to {high:g} Hz",
            remedy="change eeg.low, eeg.high or eeg.rate",
        )
    lowest = bands[0][0]
    least = math.ceil(covariance.CYCLES * rate / lowest)
    if samples < least:
        raise ConfigError.at(
            "EEG window",
            expected=f"at least {least} samples, {covariance.CYCLES:g} cycles of {lowest:g} Hz, which the encoder "
            "tangent reads",
            found=f"{samples}",
            remedy="use longer windows or raise eeg.low",
        )
    return [[low, high] for low, high in bands]
