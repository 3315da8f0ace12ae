"""EEG encoder ``braindecode:NAME``: any classifier of braindecode, as a baseline.

In: EEG (B, channel, time) in volt and its mask. Out: one token per window, the flattened input of the model's last
layer, and the window's logits. If a model has no single last layer (ATCNet has one per internal window), the token is
the logits. The package is optional: ``pip install 'eavdash[braindecode]'``.

The model is built from the number of channels, classes and samples and the sampling rate alone; everything else keeps
braindecode's defaults, including dropout (``eeg.width``, ``depth``, ``heads`` and ``dropout`` have no effect). The log
records what braindecode adapts for short windows. Models that need more (electrode positions, a download) are refused.
braindecode has no masks: padded samples are zero after scaling, which is the channel's mean.
"""

from __future__ import annotations

import difflib
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.base import Encoder, EncoderOutput

log = logging.getLogger(__name__)
#: Models that download files when they are built.
DOWNLOADS = ("REVE",)


class BraindecodeEncoder(Encoder):
    """The braindecode model ``model`` for windows of ``samples`` at ``rate`` Hz.

    Raises:
        ConfigError: braindecode is not installed, has no such model, or the model does not support these windows.
    """

    def __init__(self, classes: int, model: str, channels: int, samples: int, rate: float) -> None:
        super().__init__(shift_shape=(1, channels, 1))
        net = classifier(model, classes, channels, samples, rate)
        last = getattr(net, "final_layer", None)
        self.head, self.net = nn.Identity(), net
        if isinstance(last, nn.Module) and any(True for _ in last.parameters()):
            self.head, net.final_layer = last, nn.Identity()
            try:
                self.feature_dim = self._try(model, channels, samples, classes)
                return
            except ConfigError:
                self.head, net.final_layer = nn.Identity(), last
        self.feature_dim = self._try(model, channels, samples, classes)

    @property
    def new_parts(self) -> tuple[nn.Module, ...]:
        """The last layer, or the whole model if it has no separate one."""
        return (self.net,) if isinstance(self.head, nn.Identity) else (self.head,)

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        """Map ``x`` (B, S, T) float32 volt, ``mask`` (B, T) to tokens (B, 1, D), logits (B, K)."""
        x = torch.where(mask[:, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        features = self.net(x)
        logits = self.head(features).flatten(1)  # the model's own logits if its last layer was not split off
        return EncoderOutput(features.flatten(1)[:, None], mask.any(dim=1, keepdim=True), logits)

    def _try(self, model: str, channels: int, samples: int, classes: int) -> int:
        """Return D, determined by encoding an empty window in evaluation mode."""
        self.eval()
        try:
            with torch.no_grad(), _quiet():
                made = self(torch.zeros(2, channels, samples), torch.ones(2, samples, dtype=torch.bool))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise _unusable(model, error) from error
        self.train()
        if made.logits.shape != (2, classes):
            raise _unusable(
                model, ValueError(f"its output has shape {tuple(made.logits.shape[1:])}, not {classes} classes")
            )
        return int(made.tokens.shape[2])


def classifier(name: str, classes: int, channels: int, samples: int, rate: float) -> nn.Module:
    """Return the braindecode model with random weights.

    Raises:
        ConfigError: as :class:`BraindecodeEncoder`.
    """
    check_name(name)
    window: dict[str, Any] = {"n_chans": channels, "n_outputs": classes, "n_times": samples, "sfreq": rate}
    try:
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            made: nn.Module = _models()[name](**window)
    except Exception as error:  # models raise all kinds of errors for windows that they do not support
        raise _unusable(name, error) from error
    texts = (str(remark.message) for remark in remarks if issubclass(remark.category, UserWarning))
    for text in dict.fromkeys(texts):
        log.info("braindecode:%s: %s", name, " ".join(text.split()))
    return made


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
    if name in DOWNLOADS:
        raise _unusable(name, ValueError("it downloads files when it is built"))


def _models() -> dict[str, Any]:
    try:
        with _quiet():  # packages that it imports emit warnings
            from braindecode.models.util import models_dict
    except ImportError as error:
        raise ConfigError.at(
            "eeg.encoder",
            expected="the package braindecode to be installed",
            found=f"an import error ({error})",
            remedy="install it with: pip install 'eavdash[braindecode]'",
        ) from error
    return dict(models_dict)


def _unusable(name: str, error: Exception) -> Exception:
    return ConfigError.at(
        f"braindecode:{name}",
        expected="a classifier that needs only the windows' channels, samples and sampling rate",
        found=" ".join(str(error).split())[:200] or type(error).__name__,
        remedy="choose another model, longer windows or another eeg.rate",
    )


def _quiet() -> warnings.catch_warnings[None]:
    """Suppress the warnings of the library's own code."""
    return warnings.catch_warnings(action="ignore")
