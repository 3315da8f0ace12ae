"""Pretrained weights: Hugging Face checkpoints of ViT and AST, and timm's own, into our encoders.

In: a folder or file with a checkpoint (tensorfiles.py reads it). Out: the sizes of the model that the file holds; an
encoder changed in place and the names of what was left out, which is the file's own classifier or pooler. Every other
tensor of the file must find its place, and every tensor of the encoder but the head and the input scaling must be
filled.

The file's query, key and value are concatenated, in that order, into timm's ``qkv``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.ast import PATCH, AudioSpectrogramTransformer
from eavdash.models.base import Encoder
from eavdash.models.tensorfiles import read_tensors, settings_of
from eavdash.models.timm_vit import TimmViT
from eavdash.models.vit import FrameViT

PREFIXES = {"vision": "vit.", "audio": "audio_spectrogram_transformer."}
HEAD_WIDTH = 64  # of every published ViT and AST; used where no config.json says how many heads there are
AST_STRIDE, AST_MELS, AST_FRAMES = 10, 128, 1024  # of the published AST; used where no config.json says so
_EMBEDDINGS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_LAYER = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_HEADS = {
    "vision": {"classifier": ""},
    "audio": {"classifier.layernorm": "0.", "classifier.dense": "1."},
}
_QKV = ("query", "key", "value")
_REMEDY = "use the file of a ViT or AST classifier as Hugging Face saves it"


def architecture(path: str | Path, modality: str) -> dict[str, Any]:
    """Sizes of the model in a checkpoint, as keyword arguments of our encoder of this modality.

    vision: size, patch, width, depth, heads, mlp_ratio, eps; audio: mels, frames, stride and the last five. Taken from
    the tensors' shapes and, where shapes cannot tell, from the config.json beside the file.

    Raises:
        ConfigError: the file cannot be read, is of another family, or computes something that our encoder does not.
    """
    file, tensors = read_tensors(Path(path))
    named = {name.removeprefix(PREFIXES[modality]): tensor for name, tensor in tensors.items()}
    needed = ("embeddings.position_embeddings", "embeddings.patch_embeddings.projection.weight")
    fc1 = "encoder.layer.0.intermediate.dense.weight"
    for name in (*needed, fc1):
        if name not in named:
            raise wrong(file, f"a checkpoint for {modality}", f"no tensor {name!r}", [name], _REMEDY)
    settings = settings_of(file)
    if settings.get("hidden_act", "gelu") != "gelu":
        raise ConfigError.at(file, expected="hidden_act gelu", found=str(settings["hidden_act"]), remedy=_REMEDY)
    places, kernel = named[needed[0]].shape[1], named[needed[1]].shape
    width = int(kernel[0])
    layers = {int(found[1]) for name in named if (found := re.match(r"encoder\.layer\.(\d+)\.", name))}
    sizes: dict[str, Any] = {
        "width": width,
        "depth": max(layers) + 1,
        "heads": int(settings.get("num_attention_heads", max(1, width // HEAD_WIDTH))),
        "mlp_ratio": named[fc1].shape[0] / width,
        "eps": float(settings.get("layer_norm_eps", 1e-12)),
    }
    if modality == "vision":
        return {"size": math.isqrt(places - 1) * int(kernel[2]), "patch": int(kernel[2]), **sizes}
    strides = {int(settings.get(key, AST_STRIDE)) for key in ("frequency_stride", "time_stride")}
    if len(strides) > 1 or kernel[2:] != (PATCH, PATCH):
        sizes_found = f"strides {sorted(strides)}, patches {tuple(kernel[2:])}"
        raise ConfigError.at(
            file, expected=f"one stride and {PATCH} x {PATCH} patches", found=sizes_found, remedy=_REMEDY
        )
    stride, mels = strides.pop(), int(settings.get("num_mel_bins", AST_MELS))
    columns = (places - 2) // max(1, (mels - PATCH) // stride + 1)
    longest = columns * stride + PATCH - 1  # the same positions hold for the last few lengths; 1024 is as published
    frames = int(settings.get("max_length", AST_FRAMES if longest - stride < AST_FRAMES <= longest else longest))
    return {"mels": mels, "frames": frames, "stride": stride, **sizes}


def load_hf_vit(encoder: FrameViT, path: str | Path, head: bool = False) -> list[str]:
    """Load a ``ViTForImageClassification`` or ``ViTModel`` checkpoint; returns the tensors left out.

    ``head``: its classifier too, which must have the encoder's number of classes.

    Raises:
        ConfigError: the file cannot be read, or a tensor is unknown, missing, or of another shape.
    """
    return _load(encoder, encoder.vit, Path(path), "vision", head)


def load_hf_ast(encoder: AudioSpectrogramTransformer, path: str | Path, head: bool = False) -> list[str]:
    """Load an ``ASTForAudioClassification`` or ``ASTModel`` checkpoint; returns the tensors left out.

    ``head``: its classifier too, which must have the encoder's number of classes.

    Raises:
        ConfigError: the file cannot be read, or a tensor is unknown, missing, or of another shape.
    """
    return _load(encoder, encoder.ast, Path(path), "audio", head)


def load_timm(encoder: TimmViT, path: str | Path) -> list[str]:
    """Load a checkpoint of the same timm model, under timm's own names; returns its classifier, which is left out.

    Raises:
        ConfigError: the file cannot be read, or a tensor is unknown, missing, or of another shape.
    """
    file, tensors = read_tensors(Path(path))
    left_out = sorted(name for name in tensors if re.match(r"head(_dist)?\.(weight|bias)$", name))
    found = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    fill(file, encoder.vit, found, [], "use the weights of the same timm model and set vision.size as they have it")
    return left_out


def load_pretrained(encoder: Encoder, path: str | Path) -> list[str] | None:
    """Load a checkpoint of the encoder's family; the tensors left out, or None where it has no published family."""
    if isinstance(encoder, TimmViT):
        return load_timm(encoder, path)
    if isinstance(encoder, FrameViT):
        return load_hf_vit(encoder, path)
    if isinstance(encoder, AudioSpectrogramTransformer):
        return load_hf_ast(encoder, path)
    return None


def _load(encoder: Encoder, backbone: nn.Module, path: Path, modality: str, head: bool) -> list[str]:
    remedy = f"set {modality}.size, patch, stride, width, depth and heads as the checkpoint has them, or use another"
    remedy = remedy.replace("size, patch, stride", "size, patch" if modality == "vision" else "stride")
    file, tensors = read_tensors(path)
    _check_settings(file, backbone, modality, remedy)
    prefix = PREFIXES[modality]
    own = sorted(name for name in tensors if name.startswith("classifier."))
    left_out = sorted(name for name in tensors if name.removeprefix(prefix).startswith("pooler.dense."))
    named = {n.removeprefix(prefix): t for n, t in tensors.items() if n not in own and n not in left_out}
    found, unknown = _translate(named)
    fill(file, backbone, found, unknown, remedy)
    if not head:
        return sorted([*own, *left_out])
    decision = {
        f"{ours}{kind}": tensors[f"{theirs}.{kind}"]
        for theirs, ours in _HEADS[modality].items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in tensors
    }
    fill(file, encoder.head, decision, [], "use a checkpoint with a classifier for the same classes")
    return left_out


def fill(file: Path, module: nn.Module, found: dict[str, Tensor], unknown: list[str], remedy: str) -> None:
    """Load tensors strictly: none too many, none missing, none of another shape.

    Raises:
        ConfigError: naming the first tensor of which that is not true; the module is as it was.
    """
    wanted = module.state_dict()
    unknown = unknown + sorted(name for name in found if name not in wanted)
    if unknown:
        raise wrong(file, "only tensors that this encoder has", f"the unused tensor {unknown[0]!r}", unknown, remedy)
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise wrong(file, "every tensor of the encoder", f"nothing for {missing[0]!r}", missing, remedy)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"shape {tuple(wanted[name].shape)} for {name!r}", f"{tuple(tensor.shape)}"
            raise ConfigError.at(file, expected=shapes[0], found=shapes[1], remedy=remedy)
    module.load_state_dict(found, strict=True)


def _translate(named: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The file's tensors under timm's names, and the names that nobody knows."""
    found: dict[str, Tensor] = {}
    unknown: list[str] = []
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}  # (block, weight or bias) → query, key, value
    for name, tensor in named.items():
        layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", name)
        if name in _EMBEDDINGS:
            found[_EMBEDDINGS[name]] = tensor
        elif layer and layer[2] in _LAYER:
            found[f"blocks.{layer[1]}.{_LAYER[layer[2]]}.{layer[3]}"] = tensor
        elif layer and re.fullmatch(r"attention\.attention\.(query|key|value)", layer[2]):
            parts.setdefault((layer[1], layer[3]), {})[layer[2].rpartition(".")[2]] = tensor
        else:
            unknown.append(name)
    for (block, kind), group in parts.items():
        if len(group) == len(_QKV):  # otherwise the encoder's qkv is found to be missing
            found[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat([group[name] for name in _QKV])
    return found, unknown


def _check_settings(file: Path, backbone: nn.Module, modality: str, remedy: str) -> None:
    """Compare what shapes cannot tell with the checkpoint's config.json, where it lies beside the file."""
    settings = settings_of(file)
    stride = backbone.patch_embed.proj.stride[0]  # type: ignore[union-attr, index]
    ours: dict[str, Any] = {"num_attention_heads": backbone.blocks[0].attn.num_heads}  # type: ignore[union-attr, index]
    ours |= {"layer_norm_eps": backbone.norm.eps}  # type: ignore[union-attr]
    if modality == "audio":
        ours |= {"frequency_stride": stride, "time_stride": stride}
    for key, value in ours.items():
        if settings.get(key, value) != value:
            raise ConfigError.at(
                file.parent / "config.json", expected=f"{key} {value}", found=f"{settings[key]}", remedy=remedy
            )


def wrong(file: Path, expected: str, found: str, names: list[str], remedy: str) -> Exception:
    """The error about a file whose tensors ``names`` are not as they should be; ``found`` names the first of them."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return ConfigError.at(file, expected=expected, found=found + more, remedy=remedy)
