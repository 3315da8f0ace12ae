"""Vision encoder ``timm:NAME``: a ViT-like or convolutional model of timm, applied to every frame of a window.

In: frames (B, F, 3, H, W) in 0..1 and their mask. Out: see eavdash/models/frames.py; a frame's feature is the model's
pooled output before its classifier (``num_classes=0``). :data:`FAMILIES` and :data:`CONVOLUTIONAL` list the supported
families. The model is built with random weights; :func:`eavdash.models.weights.load_pretrained` loads those of a local
file, for which :func:`resampled` brings position tables of another image size to this one. Pixels are scaled with the
mean and standard deviation of the model's timm configuration, until training fits others.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.frames import FrameEncoder

#: Modules of timm whose models turn a square image into tokens and pool them.
FAMILIES = ("vision_transformer", "deit", "beit", "eva", "cait", "xcit", "vision_transformer_relpos")
#: Modules of timm whose models have no tokens: their pooled feature maps are the feature of a frame.
CONVOLUTIONAL = ("convnext", "efficientnet", "mobilenetv3")
#: Stride of the last feature map of those models: smaller images leave nothing to pool.
_LEAST = 32
#: Parts of files that are made from the image size, or only needed for pretraining.
_UNUSED = re.compile(r"(.*\.)?relative_position_index|(.*\.)?rope\..+|mask_token")


class TimmViT(FrameEncoder):
    """The timm model ``model`` for images of ``size`` pixels.

    Raises:
        ConfigError: timm has no such model of these families, or it does not support images of that size.
    """

    def __init__(self, classes: int, model: str, size: int, dropout: float = 0.0, temporal: int = 0) -> None:
        vit = image_model(model, size, dropout)
        # Some models widen the pooled feature in a layer before the classifier.
        width = int(getattr(vit, "head_hidden_size", None) or vit.num_features)
        super().__init__(vit, classes, width, _heads(vit, width), temporal, dropout)
        stated = vit.pretrained_cfg
        self.set_scaling(torch.tensor(stated["mean"]), torch.tensor(stated["std"]))
        self.convolutional = _family(model) in CONVOLUTIONAL

    def forward_features(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the features (B, F, D) of every frame on its own.

        Convolutional models see recorded frames only, because padding would enter the statistics of batch norms.
        """
        if not self.convolutional:
            return super().forward_features(x, mask)
        features = x.new_zeros(*mask.shape, self.feature_dim)
        if bool(mask.any()):
            made = self.vit(self.scaled(x)[mask])
            features = features.to(made.dtype).masked_scatter(mask[..., None], made)
        return features


def image_model(name: str, size: int, dropout: float = 0.0) -> Any:
    """Return the timm model with random weights.

    Raises:
        ConfigError: as :class:`TimmViT`.
    """
    check_name(name)
    if _family(name) in CONVOLUTIONAL:
        if size < _LEAST:
            raise _unfit(name, size, f"fewer than {_LEAST} pixels", f"set vision.size to at least {_LEAST}")
        return timm.create_model(name, pretrained=False, num_classes=0, drop_rate=dropout)
    remedy = "set vision.size to a multiple of the model's patch size"
    try:
        model: Any = timm.create_model(name, pretrained=False, num_classes=0, img_size=size, proj_drop_rate=dropout)
        patch = model.patch_embed.patch_size
        patches = patch if isinstance(patch, tuple) else (patch, patch)
        if any(size % p for p in patches):
            near = max(1, round(size / patches[0])) * patches[0]
            remedy = f"set vision.size={near}, or another multiple of {patches[0]}"
            raise ValueError(f"its patch size is {patches[0]} pixels")
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _unfit(name, size, " ".join(str(error).split())[:200], remedy) from error
    return model


def _unfit(name: str, size: int, why: str, remedy: str) -> ConfigError:
    expected = f"an image size that {name} supports"
    return ConfigError.at("vision.size", expected=expected, found=f"{size} ({why})", remedy=remedy)


def check_name(name: str) -> None:
    """Refuse a name for which timm has no model of these families.

    Raises:
        ConfigError: timm has no such model, or it is of another kind.
    """
    known = [m for family in (*FAMILIES, *CONVOLUTIONAL) for m in timm.list_models(module=family)]
    if name.partition(".")[0] not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        raise ConfigError.at(
            "vision.encoder",
            expected="timm: followed by the name of a ViT-like or convolutional model",
            found=repr(name) + (" (another kind of model)" if timm.is_model(name) else ""),
            remedy=f"did you mean {' or '.join(near)}" if near else "see timm.list_models('*vit*') and '*convnext*'",
        )


def resampled(model: Any, found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return a file's tensors for the image size of ``model``, and the names of those left out.

    Tables of positions are interpolated as timm does; the classifier and what follows from the image size are left out.
    """
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = {"head", "head_dist", *([classifier] if isinstance(classifier, str) else classifier)}
    wanted = model.state_dict()
    left_out = [
        n for n in found if n not in wanted and (n.rpartition(".")[0] in heads or _UNUSED.fullmatch(n) is not None)
    ]
    kept = {name: tensor for name, tensor in found.items() if name not in left_out}
    for name, tensor in kept.items():
        ours = wanted.get(name)
        if ours is None or ours.shape == tensor.shape or tensor.ndim != ours.ndim:
            continue
        if name == "pos_embed" and ours.ndim == 3 and ours.shape[2] == tensor.shape[2]:
            grid = model.patch_embed.grid_size
            prefix = ours.shape[1] - grid[0] * grid[1]
            if math.isqrt(max(0, tensor.shape[1] - prefix)) ** 2 == tensor.shape[1] - prefix:
                kept[name] = resample_abs_pos_embed(tensor, list(grid), num_prefix_tokens=prefix)
        elif name.endswith("relative_position_bias_table") and ours.shape[1] == tensor.shape[1]:
            window = model.get_submodule(name.rpartition(".")[0]).window_size
            kept[name] = resize_rel_pos_bias_table(tensor, new_window_size=window, new_bias_shape=ours.shape)
    return kept, sorted(left_out)


def _family(name: str) -> str:
    """Return the module of timm that defines a model."""
    return next(
        (f for f in (*FAMILIES, *CONVOLUTIONAL) if timm.models.is_model_in_modules(name.partition(".")[0], [f])), ""
    )


def _heads(vit: nn.Module, width: int) -> int:
    """Return the number of attention heads of the model's blocks, for the temporal layers after it."""
    stated = (getattr(module, "num_heads", None) for module in vit.modules())
    return math.gcd(next((heads for heads in stated if isinstance(heads, int)), 4), width)
