"""Vision encoder ``timm:NAME``: any ViT-like model of timm, applied to every frame of a window.

In: frames (B, F, 3, H, W) in 0..1 and their mask. Out: see eavdash/models/frames.py; a frame's feature is the model's
pooled output before its classifier (``num_classes=0``). :data:`FAMILIES` lists the supported families. The model is
built with random weights; :func:`eavdash.models.weights.load_pretrained` loads those of a local file. Pixels are
scaled with the mean and standard deviation of the model's timm configuration, until training fits others.
"""

from __future__ import annotations

import difflib
import math
from typing import Any

import timm
import torch
from torch import nn

from eavdash.errors import ConfigError
from eavdash.models.frames import FrameEncoder

#: Modules of timm whose models turn a square image into tokens and pool them.
FAMILIES = ("vision_transformer", "deit", "beit", "eva", "cait", "xcit", "vision_transformer_relpos")


class TimmViT(FrameEncoder):
    """The timm model ``model`` for images of ``size`` pixels.

    Raises:
        ConfigError: timm has no ViT-like model of that name, or it does not support images of that size.
    """

    def __init__(self, classes: int, model: str, size: int, dropout: float = 0.0, temporal: int = 0) -> None:
        vit = image_model(model, size, dropout)
        width = int(vit.num_features)
        super().__init__(vit, classes, width, _heads(vit, width), temporal, dropout)
        stated = vit.pretrained_cfg
        self.set_scaling(torch.tensor(stated["mean"]), torch.tensor(stated["std"]))


def image_model(name: str, size: int, dropout: float = 0.0) -> Any:
    """Return the timm model with random weights.

    Raises:
        ConfigError: as :class:`TimmViT`.
    """
    check_name(name)
    try:
        model: Any = timm.create_model(name, pretrained=False, num_classes=0, img_size=size, proj_drop_rate=dropout)
        patch = model.patch_embed.patch_size
        patches = patch if isinstance(patch, tuple) else (patch, patch)
        if any(size % p for p in patches):
            raise ValueError(f"its patch size is {patches[0]} pixels")
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError.at(
            "vision.size",
            expected=f"an image size that {name} supports",
            found=f"{size} ({' '.join(str(error).split())[:200]})",
            remedy="set vision.size to a multiple of the model's patch size",
        ) from error
    return model


def check_name(name: str) -> None:
    """Refuse a name for which timm has no ViT-like model.

    Raises:
        ConfigError: timm has no such model, or it is of another kind.
    """
    known = [m for family in FAMILIES for m in timm.list_models(module=family)]
    if name.partition(".")[0] not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise ConfigError.at(
            "vision.encoder",
            expected="timm: followed by the name of a ViT-like model",
            found=repr(name) + (" (another kind of model)" if timm.is_model(name) else ""),
            remedy=f"did you mean {' or '.join(near)}" if near else "see timm.list_models('*vit*')",
        )


def _heads(vit: nn.Module, width: int) -> int:
    """Return the number of attention heads of the model's blocks, for the temporal layers after it."""
    stated = (getattr(module, "num_heads", None) for module in vit.modules())
    return math.gcd(next((heads for heads in stated if isinstance(heads, int)), 4), width)
