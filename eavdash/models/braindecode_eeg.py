"""EEG encoder ``braindecode:NAME``: any classifier of braindecode, as a baseline to beat.

In: EEG (B, channel, time) in volt and its mask. Out: one token per window, the numbers that the model's last layer
reads (flattened), and the window's decision. Of a model whose last layer cannot be taken apart (ATCNet has one for each
of its own windows) the token is the decision itself. The package is optional: ``pip install 'eavdash[braindecode]'``.

The model is built from the number of channels, classes and samples and the sampling rate alone, with braindecode's
own defaults for everything else (its dropout too; ``eeg.width``, ``depth``, ``heads`` and ``dropout`` mean nothing
here). What braindecode changes to suit short windows goes to the log. Models that need more (electrode positions, a
download) are refused. braindecode has no masks: padded samples are zero after scaling, which is the channel's mean.
"""

from __future__ import annotations

import difflib
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.base import Encoded, Encoder

log = logging.getLogger(__name__)
#: Models that would use the network while they are built.
DOWNLOADS = ("REVE",)


class BraindecodeEncoder(Encoder):
    """``model`` by braindecode's name for windows of ``samples`` at ``rate`` Hz.

    Raises:
        ConfigError: braindecode is not installed, has no such model, or the model cannot take these windows.
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
        """The last layer, or everything where it cannot be taken apart."""
        return (self.net,) if isinstance(self.head, nn.Identity) else (self.head,)

    def forward(self, x: Tensor, mask: Tensor) -> Encoded:
        """``x`` (B, S, T) float32 volt, ``mask`` (B, T) → tokens (B, 1, D), logits (B, K)."""
        x = torch.where(mask[:, None], self.scaled(x), torch.zeros((), dtype=x.dtype, device=x.device))
        features = self.net(x)
        logits = self.head(features).flatten(1)  # the network's own decision where nothing was taken out of it
        return Encoded(features.flatten(1)[:, None], mask.any(dim=1, keepdim=True), logits)

    def _try(self, model: str, channels: int, samples: int, classes: int) -> int:
        """D, found by encoding an empty window in evaluation mode."""
        self.eval()
        try:
            with torch.no_grad(), _quiet():
                made = self(torch.zeros(2, channels, samples), torch.ones(2, samples, dtype=torch.bool))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise _cannot(model, error) from error
        self.train()
        if made.logits.shape != (2, classes):
            raise _cannot(
                model, ValueError(f"it decides {tuple(made.logits.shape[1:])} numbers, not {classes} classes")
            )
        return int(made.tokens.shape[2])


def classifier(name: str, classes: int, channels: int, samples: int, rate: float) -> nn.Module:
    """The braindecode model, with random weights.

    Raises:
        ConfigError: as :class:`BraindecodeEncoder`.
    """
    check_name(name)
    window: dict[str, Any] = {"n_chans": channels, "n_outputs": classes, "n_times": samples, "sfreq": rate}
    try:
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            made = _models()[name](**window)
    except Exception as error:  # whatever a model of a library says about windows that it was not made for
        raise _cannot(name, error) from error
    said = (str(remark.message) for remark in remarks if issubclass(remark.category, UserWarning))
    for text in dict.fromkeys(said):
        log.info("braindecode:%s: %s", name, " ".join(text.split()))
    return made


def check_name(name: str) -> None:
    """Refuse a name that braindecode has no model for, or one that cannot be used.

    Raises:
        ConfigError: that, or braindecode is not installed.
    """
    models = _models()
    if name not in models:
        near = difflib.get_close_matches(name, models, n=3, cutoff=0.4)
        raise ConfigError.at(
            "eeg.encoder",
            expected="braindecode: and the name of a model",
            found=repr(name),
            remedy=f"did you mean {' or '.join(near)}" if near else f"use one of {', '.join(sorted(models))}",
        )
    if name in DOWNLOADS:
        raise _cannot(name, ValueError("it downloads files when it is built"))


def _models() -> dict[str, Any]:
    try:
        with _quiet():  # of the packages that it loads
            from braindecode.models.util import models_dict
    except ImportError as error:
        raise ConfigError.at(
            "eeg.encoder",
            expected="the package braindecode for an encoder braindecode:NAME",
            found=f"it is not installed ({error})",
            remedy="install it with: pip install 'eavdash[braindecode]'",
        ) from error
    return dict(models_dict)


def _cannot(name: str, error: Exception) -> Exception:
    return ConfigError.at(
        f"braindecode:{name}",
        expected="a classifier of these windows by their channels, samples and rate alone",
        found=" ".join(str(error).split())[:200] or type(error).__name__,
        remedy="choose another model, longer windows or another eeg.rate",
    )


def _quiet() -> warnings.catch_warnings[None]:
    """Without the warnings of the library's own code."""
    return warnings.catch_warnings(action="ignore")
