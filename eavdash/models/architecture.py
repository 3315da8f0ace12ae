"""Which model a Hugging Face checkpoint of ViT or AST holds: its sizes, as settings of our encoders.

In: a folder or file with a checkpoint (tensorfiles.py reads it). Out: keyword arguments of
:class:`~eavdash.models.vit.FrameViT` or :class:`~eavdash.models.ast.AudioSpectrogramTransformer`. Sizes are those of
the tensors' shapes; what shapes cannot tell is taken from the config.json beside the file, and where there is none, is
that of the published models.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from eavdash.errors import ConfigError
from eavdash.models.ast import PATCH
from eavdash.models.tensorfiles import read_tensors, settings_of, wrong

PREFIXES = {"vision": "vit.", "audio": "audio_spectrogram_transformer."}
#: ``model_type`` in config.json, and what the family is called.
_FAMILIES = {"vision": ("vit", "a ViT"), "audio": ("audio-spectrogram-transformer", "an AST")}
_REMEDY = "use the file of a ViT or AST classifier as Hugging Face saves it"
HEAD_WIDTH = 64  # of every published ViT and AST
AST_STRIDE, AST_MELS, AST_FRAMES = 10, 128, 1024  # of the published AST
#: ``hidden_act`` → timm's name of the same function; "" is the exact GELU, which both families have by default.
_ACTIVATIONS = {
    **dict.fromkeys(("gelu", "gelu_python"), ""),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), "gelu_tanh"),
    **dict.fromkeys(("silu", "swish"), "silu"),
    "quick_gelu": "quick_gelu",
    "relu": "relu",
}
_WHOLE = ("num_attention_heads", "image_size", "num_mel_bins", "max_length", "frequency_stride", "time_stride")


def architecture(path: str | Path, modality: str) -> dict[str, Any]:
    """Sizes of the model in a checkpoint, as keyword arguments of our encoder of this modality.

    vision: size, patch, width, depth, heads, mlp_ratio, eps; audio: mels, frames, stride and the last five; and where
    they are not those of the published models: qkv_bias and act, for audio patch and time_stride.

    Raises:
        ConfigError: the file cannot be read, is of another family, or computes something that our encoder does not.
    """
    file, tensors = read_tensors(Path(path))
    named = {name.removeprefix(PREFIXES[modality]): tensor for name, tensor in tensors.items()}
    kernel, places = _embeddings(file, named, modality)
    settings = stated(file, modality)
    width = int(kernel[0])
    fc1 = named["encoder.layer.0.intermediate.dense.weight"]
    layers = {int(found[1]) for name in named if (found := re.match(r"encoder\.layer\.(\d+)\.", name))}
    sizes: dict[str, Any] = {
        "width": width,
        "depth": max(layers) + 1,
        "heads": _heads(file, width, settings),
        "mlp_ratio": _ratio(fc1.shape[0], width),
        "eps": float(settings.get("layer_norm_eps", 1e-12)),
    }
    if not any(name.endswith("attention.attention.query.bias") for name in named):
        sizes["qkv_bias"] = False
    if act := _ACTIVATIONS[settings.get("hidden_act", "gelu")]:
        sizes["act"] = act
    if modality == "vision":
        side, patch = math.isqrt(places - 1), int(kernel[2])
        size = settings.get("image_size", 0)  # a remainder below one patch is cut off by both
        return {"size": size if size // patch == side else side * patch, "patch": patch, **sizes}
    return {**_spectrogram(int(kernel[2]), places, settings), **sizes}


def stated(file: Path, modality: str) -> dict[str, Any]:
    """What the config.json beside a checkpoint says about its model; empty where there is none.

    Raises:
        ConfigError: it cannot be read, is about another family, or says something that cannot be.
    """
    settings = settings_of(file)
    where = file.parent / "config.json"
    family, called = _FAMILIES[modality]
    if settings.get("model_type", family) != family:
        found = f"model_type {settings['model_type']!r}"
        remedy = "use a checkpoint of that family, or put this one into a folder without another's settings"
        raise ConfigError.at(where, expected=f"that of {called} (model_type {family!r})", found=found, remedy=remedy)
    size = settings.get("image_size")
    if isinstance(size, list) and len(set(map(str, size))) == 1:
        settings["image_size"] = size[0]
    for key in (*_WHOLE, "layer_norm_eps"):
        value = settings.get(key, 1)
        kind, said = (int, "a whole number") if key in _WHOLE else ((int, float), "a number")
        if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
            said = "square pictures" if isinstance(value, list) else f"{said} above 0"
            raise ConfigError.at(where, expected=f"{said} for {key}", found=repr(value), remedy=_REMEDY)
    act = settings.get("hidden_act", "gelu")
    if act not in _ACTIVATIONS:
        known = f"hidden_act {', '.join(_ACTIVATIONS)}"
        raise ConfigError.at(where, expected=known, found=repr(act), remedy="use a checkpoint with one of these")
    return settings


def _embeddings(file: Path, named: dict[str, Tensor], modality: str) -> tuple[tuple[int, ...], int]:
    """The shape of the patches' kernel and the number of positions.

    Raises:
        ConfigError: they are not those of the family.
    """
    called = _FAMILIES[modality][1]
    places, kernel = "embeddings.position_embeddings", "embeddings.patch_embeddings.projection.weight"
    for name in (places, kernel, "encoder.layer.0.intermediate.dense.weight"):
        if name not in named:
            raise wrong(file, f"a checkpoint of {called} for {modality}", f"no tensor {name!r}", [name], _REMEDY)
    distilled = "embeddings.distillation_token" in named
    if distilled != (modality == "audio"):
        found = f"a {'' if distilled else 'missing '}distillation token, as of another family"
        raise ConfigError.at(file, expected=f"a checkpoint of {called} for {modality}", found=found, remedy=_REMEDY)
    shape, count = tuple(named[kernel].shape), int(named[places].shape[1])
    channels = 3 if modality == "vision" else 1
    square = modality == "audio" or math.isqrt(count - 1) ** 2 == count - 1
    if len(shape) != 4 or shape[1] != channels or shape[2] != shape[3] or not square:
        raise ConfigError.at(
            file,
            expected="square pictures in colour, in square patches" if modality == "vision" else "square patches",
            found=f"patches of shape {shape[1:]} at {count} positions",
            remedy="use another checkpoint",
        )
    return shape, count


def _heads(file: Path, width: int, settings: dict[str, Any]) -> int:
    heads = settings.get("num_attention_heads")
    if heads is None and width % HEAD_WIDTH:
        raise ConfigError.at(
            file.parent / "config.json",
            expected=f"num_attention_heads, which the shapes of {file.name} cannot tell",
            found="none",
            remedy="put the checkpoint's own config.json beside it",
        )
    heads = heads or width // HEAD_WIDTH
    if width % heads:
        raise ConfigError.at(
            file.parent / "config.json",
            expected=f"num_attention_heads that divide the width {width}",
            found=str(heads),
            remedy="put the checkpoint's own config.json beside it",
        )
    return int(heads)


def _ratio(hidden: int, width: int) -> float:
    """``hidden / width``, or a little more where its product with ``width`` would be cut off below ``hidden``."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _spectrogram(patch: int, places: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Sizes of what an AST with so many positions looks at."""
    rows, columns = (settings.get(f"{axis}_stride", AST_STRIDE) for axis in ("frequency", "time"))
    mels = settings.get("num_mel_bins", AST_MELS)
    across = (places - 2) // max(1, (mels - patch) // rows + 1)
    longest = across * columns + patch - 1  # the same positions hold for the last few lengths; 1024 is as published
    usual = AST_FRAMES if longest - columns < AST_FRAMES <= longest else longest
    sizes = {"mels": mels, "frames": settings.get("max_length", usual), "stride": rows}
    if columns != rows:
        sizes["time_stride"] = columns
    if patch != PATCH:
        sizes["patch"] = patch
    return sizes
