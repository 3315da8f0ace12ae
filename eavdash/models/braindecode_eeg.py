"""EEG encoder ``braindecode:NAME``: any classifier of braindecode, from scratch or with published weights.

In: EEG (B, channel, time) in volt and its mask. Out: one token per window, the flattened input of the model's last
layer, and the window's logits. If a model has no single last layer (ATCNet has one per internal window), the token is
the logits. The package is optional: ``pip install 'eavdash[braindecode]'``.

Models with published weights (models/braindecode_known.py) have thousands of features per second and electrode. With
``eeg.tokens = pooled`` their mean is the token (as wide as one feature), which a linear layer of our own classifies;
with ``whole`` they are all kept, and the model's own last layer classifies them.

The model is built from the number of channels, classes and samples and the sampling rate, for some also from the
electrodes' positions in the 10-05 system; the rest follows the weights' ``config.json`` or braindecode's defaults,
including dropout (``eeg.width``, ``depth``, ``heads`` and ``dropout`` have no effect). The log records what braindecode
adapts for short windows. Nothing is downloaded. braindecode has no masks: padded samples are zero after scaling.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.braindecode_known import as_arguments, known
from eavdash.models.eeg_scales import CLIP, VOLTS, WindowScale

log = logging.getLogger(__name__)
MONTAGES = ("colin27_1005", "standard_1005")  # the same positions under the names of newer and older versions of MNE


class BraindecodeEncoder(Encoder):
    """The braindecode model ``model`` for windows of ``samples`` at ``rate`` Hz.

    Raises:
        ConfigError: braindecode is not installed, has no such model, or the model does not support these windows.
    """

    def __init__(
        self,
        classes: int,
        model: str,
        channels: int,
        samples: int,
        rate: float,
        names: Sequence[str] = (),
        positions: Sequence[Sequence[float]] = (),
        options: Mapping[str, Any] | None = None,
        unit: str = "",
        pooled: bool = False,
    ) -> None:
        super().__init__(shift_shape=(1, channels, 1))
        self.unit, self.pooled, self.model, self.classes = unit, pooled, model, classes
        self.trained_anew: tuple[nn.Module, ...] = ()  # parts that the loaded weights lack, beside the head
        if unit in VOLTS:
            self.get_buffer("scale").fill_(VOLTS[unit])
        self.window_scale = WindowScale(unit) if unit in ("percentile", "range") else None
        net = classifier(model, classes, channels, samples, rate, names, positions, options or {})
        # Electrodes are interpolated before a window is scaled by its own numbers.
        layer: Any = net._modules.get("interpolation_layer")
        self.electrodes: nn.Module = layer or nn.Identity()
        if layer is not None:
            net._modules["interpolation_layer"] = None
        takes = inspect.signature(net.forward).parameters
        self.arguments: dict[str, Any] = {"ch_names": list(names)} if "ch_names" in takes and names else {}
        last = getattr(net, "final_layer", None)
        self.head, self.net = nn.Identity(), net
        if pooled:
            net.final_layer = nn.Identity()
            self.arguments["return_features"] = True
            self.feature_dim = self._try(model, channels, samples)
            self.head = nn.Linear(self.feature_dim, classes)
            return
        if isinstance(last, nn.Module) and any(True for _ in last.parameters()):
            self.head, net.final_layer = last, nn.Identity()
            try:
                self.feature_dim = self._try(model, channels, samples)
                return
            except ConfigError:
                self.head, net.final_layer = nn.Identity(), last
        self.feature_dim = self._try(model, channels, samples)

    @property
    def new_parts(self) -> tuple[nn.Module, ...]:
        """The last layer and what the loaded weights lack, or the whole model if it has no separate last layer."""
        return (self.net,) if isinstance(self.head, nn.Identity) else (self.head, *self.trained_anew)

    def set_scaling(self, shift: Tensor, scale: Tensor) -> None:
        """Set the input scaling, unless the weights have one of their own."""
        if self.unit not in VOLTS:
            super().set_scaling(shift, scale)

    def holding(self, x: Tensor, mask: Tensor) -> AbstractContextManager[None]:
        """Keep the numbers by which this window is scaled, if they are its own."""
        if self.window_scale is None:
            return nullcontext()
        return self.window_scale.held(self._in_unit(x, mask), mask)

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        """Map ``x`` (B, S, T) float32 volt, ``mask`` (B, T) to tokens (B, 1, D), logits (B, K)."""
        features = self._features(x, mask)
        if self.pooled:
            return self.forward_head(features.flatten(1)[:, None], mask)
        logits = self.head(features).flatten(1)  # the model's own logits if its last layer was not split off
        return EncoderOutput(features.flatten(1)[:, None], mask.any(dim=1, keepdim=True), logits)

    def forward_features(self, x: Tensor, mask: Tensor) -> Tensor | None:
        """Return the pooled features (B, 1, D); None if they are not pooled, or a part before them is trained."""
        return self._features(x, mask).flatten(1)[:, None] if self.pooled and not self.trained_anew else None

    def forward_head(self, features: Tensor, mask: Tensor) -> EncoderOutput:
        """Classify pooled ``features`` (B, 1, D)."""
        return EncoderOutput(features, mask.any(dim=1, keepdim=True), self.head(features[:, 0]))

    def _features(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self._in_unit(x, mask)
        if self.window_scale is not None:
            x = torch.where(mask[:, None], self.window_scale(x, mask), torch.zeros((), dtype=x.dtype, device=x.device))
        made: Any = self.net(x, **self.arguments)
        features: Tensor = made["features"] if self.pooled else made
        if not self.pooled:
            return features
        return features.flatten(1, -2).mean(dim=1) if features.ndim > 2 else features

    def _in_unit(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return ``x`` in the model's unit at the electrodes that it knows, zero where nothing was recorded."""
        x = self.scaled(x)
        if self.unit in CLIP:
            x = x.clamp(-CLIP[self.unit], CLIP[self.unit])
        x = torch.where(mask[:, None], x, torch.zeros((), dtype=x.dtype, device=x.device))
        known: Tensor = self.electrodes(x)
        return known

    def _try(self, model: str, channels: int, samples: int) -> int:
        """Return D, determined by encoding an empty window in evaluation mode."""
        self.eval()
        try:
            with torch.no_grad(), _quiet():
                made = self(torch.zeros(2, channels, samples), torch.ones(2, samples, dtype=torch.bool))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise _unusable(model, error) from error
        self.train()
        if not self.pooled and made.logits.shape != (2, self.classes):
            raise _unusable(
                model, ValueError(f"its output has shape {tuple(made.logits.shape[1:])}, not {self.classes} classes")
            )
        return int(made.tokens.shape[2])


def classifier(
    name: str,
    classes: int,
    channels: int,
    samples: int,
    rate: float,
    names: Sequence[str] = (),
    positions: Sequence[Sequence[float]] = (),
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Return the braindecode model with random weights; ``names`` are the electrodes, if it needs them.

    Raises:
        ConfigError: as :class:`BraindecodeEncoder`.
    """
    cls = model_class(name)
    window: dict[str, Any] = {"n_chans": channels, "n_outputs": classes, "n_times": samples, "sfreq": rate}
    if names:
        del window["n_chans"]
        window["chs_info"] = electrodes(name, names) if not positions else [{"ch_name": n} for n in names]
    try:
        with warnings.catch_warnings(record=True) as remarks, _bank(positions) if positions else nullcontext():
            warnings.simplefilter("always")
            made: nn.Module = cls(**window, **as_arguments(options or {}))
    except Exception as error:  # models raise all kinds of errors for windows that they do not support
        raise _unusable(name, error) from error
    texts = (str(remark.message) for remark in remarks if issubclass(remark.category, UserWarning))
    for text in dict.fromkeys(texts):
        log.info("braindecode:%s: %s", name, " ".join(text.split()))
    return made


def electrodes(model: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return braindecode's ``chs_info``: names and positions in metres; those of a pair (Fp1-F7) are in its middle.

    Raises:
        ConfigError: a name is none of the 10-05 system's.
    """
    import mne

    known_names = mne.channels.get_builtin_montages()
    montage = mne.channels.make_standard_montage(next(m for m in MONTAGES if m in known_names))
    where = {name.upper(): np.asarray(at, float) for name, at in montage.get_positions()["ch_pos"].items()}
    pairs = {name: [where.get(part.strip()) for part in name.upper().split("-")] for name in names}
    if missing := [name for name, parts in pairs.items() if any(part is None for part in parts)]:
        raise ConfigError.at(
            f"braindecode:{model}",
            expected="electrodes with positions in the 10-05 system",
            found=", ".join(missing[:5]),
            remedy="leave these channels out with eeg.channels, or use an encoder that needs no positions",
        )
    return [
        {"ch_name": name, "kind": "eeg", "loc": np.mean(np.stack([part for part in parts if part is not None]), axis=0)}
        for name, parts in pairs.items()
    ]


class _Bank(nn.Module):
    """REVE's bank of positions, with those of the study's channels in their order."""

    def __init__(self, positions: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.positions = torch.tensor(positions)

    def forward(self, names: Sequence[str]) -> Tensor:
        return self.positions


@contextmanager
def _bank(positions: Sequence[Sequence[float]]) -> Iterator[None]:
    """Let REVE find the given positions instead of downloading its bank."""
    from braindecode.models import reve

    downloading = reve.RevePositionBank
    reve.RevePositionBank = lambda: _Bank(positions)
    try:
        yield
    finally:
        reve.RevePositionBank = downloading


def model_class(name: str) -> type[nn.Module]:
    """Return the class of a model.

    Raises:
        ConfigError: as :func:`check_name`.
    """
    check_name(name)
    found: type[nn.Module] = _models()[name]
    return found


def check_name(name: str) -> None:
    """Refuse a name for which braindecode has no usable model.

    Raises:
        ConfigError: braindecode is not installed, or has no usable model of this name.
    """
    models = _models()
    if name not in models:
        near = difflib.get_close_matches(name, models, n=3, cutoff=0.4)
        raise ConfigError.at(
            "eeg.encoder",
            expected="braindecode: followed by the name of a model",
            found=repr(name),
            remedy=f"did you mean {' or '.join(near)}" if near else f"use one of {', '.join(sorted(models))}",
        )


def braindecode_names() -> frozenset[str]:
    """Return the names of all models."""
    return frozenset(_models())


def _models() -> dict[str, Any]:
    try:
        with _quiet():  # packages that it imports emit warnings
            from braindecode.models.util import interpolated_models_dict, models_dict
    except ImportError as error:
        raise ConfigError.at(
            "eeg.encoder",
            expected="the package braindecode to be installed",
            found=f"an import error ({error})",
            remedy="install it with: pip install 'eavdash[braindecode]'",
        ) from error
    return {**models_dict, **interpolated_models_dict}


def _unusable(name: str, error: Exception) -> Exception:
    facts = known(name)
    rate = f", of braindecode:{name} {facts.rate:g} Hz" if facts else ""
    return ConfigError.at(
        f"braindecode:{name}",
        expected="a classifier that needs only the windows' channels, samples and sampling rate",
        found=" ".join(str(error).split())[:200] or type(error).__name__,
        remedy=f"choose another model, longer windows or another eeg.rate{rate}",
    )


def _quiet() -> warnings.catch_warnings[None]:
    """Suppress the warnings of the library's own code."""
    return warnings.catch_warnings(action="ignore")
