"""Architecture of a Hugging Face checkpoint of ViT or AST, as settings of our encoders.

In: a folder or file with a checkpoint (tensorfiles.py reads it). Out: keyword arguments of
:class:`~eavdash.models.vit.FrameViT` or :class:`~eavdash.models.ast.AudioSpectrogramTransformer`. Sizes come from the
tensors' shapes; the rest comes from the config.json beside the file, or from the published models if there is none.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from eavdash.errors import ConfigError
from eavdash.models.ast import PATCH
from eavdash.models.tensorfiles import read_settings, read_tensors, tensor_error

PREFIXES = {"vision": "vit.", "audio": "audio_spectrogram_transformer."}
#: ``model_type`` in config.json, and the family's name in messages.
_FAMILIES = {"vision": ("vit", "a ViT"), "audio": ("audio-spectrogram-transformer", "an AST")}
_REMEDY = "use a ViT or AST classifier as saved by Hugging Face"
_LARGEST = 100_000  # of any number in config.json
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
    """Return the sizes of the model in a checkpoint, as keyword arguments of our encoder of this modality.

    vision: size, patch, width, depth, heads, mlp_ratio, eps; audio: mels, frames, stride and the last five. Where they
    differ from the published models, also qkv_bias and act, and for audio patch and time_stride.

    Raises:
        ConfigError: the file cannot be read, is of another family, or needs an operation that our encoder lacks.
    """
    file, tensors = read_tensors(Path(path), values=False)
    named = {name.removeprefix(PREFIXES[modality]): tensor for name, tensor in tensors.items()}
    kernel, positions = _embeddings(file, named, modality)
    settings = checkpoint_settings(file, modality)
    width = int(kernel[0])
    fc1 = named["encoder.layer.0.intermediate.dense.weight"]
    layers = {int(found[1]) for name in named if (found := re.match(r"encoder\.layer\.(\d{1,9})\.", name))}
    if (last := max(layers)) >= len(layers):
        raise tensor_error(file, f"every layer up to {last}", f"{len(layers)} of them", [], _REMEDY)
    sizes: dict[str, Any] = {
        "width": width,
        "depth": last + 1,
        "heads": _heads(file, width, settings),
        "mlp_ratio": _ratio(fc1.shape[0], width),
        "eps": float(settings.get("layer_norm_eps", 1e-12)),
    }
    if not any(name.endswith("attention.attention.query.bias") for name in named):
        sizes["qkv_bias"] = False
    if act := _ACTIVATIONS[settings.get("hidden_act", "gelu")]:
        sizes["act"] = act
    if modality == "vision":
        side, patch = math.isqrt(positions - 1), int(kernel[2])
        size = settings.get("image_size", 0)  # a remainder below one patch is cut off by both
        return {"size": size if size // patch == side else side * patch, "patch": patch, **sizes}
    return {**_spectrogram(int(kernel[2]), positions, settings), **sizes}


def checkpoint_settings(file: Path, modality: str) -> dict[str, Any]:
    """Return the model settings in the config.json beside a checkpoint; empty if there is none.

    Raises:
        ConfigError: it cannot be read, describes another family, or holds an invalid value.
    """
    settings = read_settings(file)
    where = file.parent / "config.json"
    family, called = _FAMILIES[modality]
    if settings.get("model_type", family) != family:
        found = f"model_type {settings['model_type']!r}"
        remedy = "use a checkpoint of that family, or move this one into a folder without the config.json of another"
        raise ConfigError.at(where, expected=f"model_type {family!r} of {called}", found=found, remedy=remedy)
    size = settings.get("image_size")
    if isinstance(size, list) and len(set(map(str, size))) == 1:
        settings["image_size"] = size[0]
    for key in (*_WHOLE, "layer_norm_eps"):
        value = settings.get(key, 1)
        kind, called = (int, "an integer") if key in _WHOLE else ((int, float), "a number")
        if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value <= _LARGEST:
            wanted = "square images" if isinstance(value, list) else f"{called} above 0 and at most {_LARGEST:,}"
            raise ConfigError.at(where, expected=f"{wanted} for {key}", found=repr(value), remedy=_REMEDY)
    act = settings.get("hidden_act", "gelu")
    if act not in _ACTIVATIONS:
        known = f"hidden_act to be one of {', '.join(_ACTIVATIONS)}"
        raise ConfigError.at(where, expected=known, found=repr(act), remedy="use a checkpoint with one of these")
    return settings


def _embeddings(file: Path, named: dict[str, Tensor], modality: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of the patch embedding's kernel and the number of positions.

    Raises:
        ConfigError: they do not match the family.
    """
    called = _FAMILIES[modality][1]
    positions, kernel = "embeddings.position_embeddings", "embeddings.patch_embeddings.projection.weight"
    for name in (positions, kernel, "encoder.layer.0.intermediate.dense.weight"):
        if name not in named:
            raise tensor_error(file, f"a checkpoint of {called} for {modality}", f"no tensor {name!r}", [name], _REMEDY)
    distilled = "embeddings.distillation_token" in named
    if distilled != (modality == "audio"):
        found = "a distillation token" if distilled else "no distillation token"
        raise ConfigError.at(file, expected=f"a checkpoint of {called} for {modality}", found=found, remedy=_REMEDY)
    shape, count = tuple(named[kernel].shape), int(named[positions].shape[1])
    channels = 3 if modality == "vision" else 1
    square = modality == "audio" or math.isqrt(count - 1) ** 2 == count - 1
    if len(shape) != 4 or shape[1] != channels or shape[2] != shape[3] or not square:
        raise ConfigError.at(
            file,
            expected="square colour images in square patches" if modality == "vision" else "square patches",
            found=f"patches of shape {shape[1:]} at {count} positions",
            remedy="use another checkpoint",
        )
    return shape, count


def _heads(file: Path, width: int, settings: dict[str, Any]) -> int:
    heads = settings.get("num_attention_heads")
    if heads is None and width % HEAD_WIDTH:
        expected = f"num_attention_heads, which does not follow from the shapes in {file.name}"
    elif width % (heads := heads or width // HEAD_WIDTH):
        expected = f"num_attention_heads to divide the width {width}"
    else:
        return int(heads)
    remedy = "put the checkpoint's own config.json beside it"
    raise ConfigError.at(file.parent / "config.json", expected=expected, found=str(heads or "none"), remedy=remedy)


def _ratio(hidden: int, width: int) -> float:
    """Return ``hidden / width``, rounded up if its product with ``width`` would be truncated below ``hidden``."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _spectrogram(patch: int, positions: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the input sizes of an AST with this number of positions."""
    rows, columns = (settings.get(f"{axis}_stride", AST_STRIDE) for axis in ("frequency", "time"))
    mels = settings.get("num_mel_bins", AST_MELS)
    across = (positions - 2) // max(1, (mels - patch) // rows + 1)
    longest = across * columns + patch - 1  # several lengths give the same positions; 1024 is as published
    usual = AST_FRAMES if longest - columns < AST_FRAMES <= longest else longest
    sizes = {"mels": mels, "frames": settings.get("max_length", usual), "stride": rows}
    if columns != rows:
        sizes["time_stride"] = columns
    if patch != PATCH:
        sizes["patch"] = patch
    return sizes
