"""Pretrained weights: Hugging Face checkpoints of ViT and AST, from a local folder or file, into our encoders.

In: a folder that holds model.safetensors or pytorch_model.bin, or such a file (.safetensors, .bin, .pt, .pth; nothing
is ever unpickled). Out: the encoder is changed in place; the names of what was left out, which is the file's own
classifier, are returned. Every other tensor of the file must find its place, and every tensor of the encoder but the
head and the input scaling must be filled.

The file's query, key and value are concatenated, in that order, into timm's ``qkv``.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from eavdash.errors import ConfigError
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.base import Encoder
from eavdash.models.vit import FrameViT

FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pt")
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
_QKV = ("query", "key", "value")


def load_hf_vit(encoder: FrameViT, path: str | Path) -> list[str]:
    """Load a ``ViTForImageClassification`` or ``ViTModel`` checkpoint; returns the tensors left out.

    Raises:
        ConfigError: the file cannot be read, or a tensor is unknown, missing, or of another shape.
    """
    return _load(encoder, encoder.vit, Path(path), "vit.", "vision")


def load_hf_ast(encoder: AudioSpectrogramTransformer, path: str | Path) -> list[str]:
    """Load an ``ASTForAudioClassification`` or ``ASTModel`` checkpoint; returns the tensors left out.

    Raises:
        ConfigError: the file cannot be read, or a tensor is unknown, missing, or of another shape.
    """
    return _load(encoder, encoder.ast, Path(path), "audio_spectrogram_transformer.", "audio")


def _load(encoder: Encoder, backbone: nn.Module, path: Path, prefix: str, modality: str) -> list[str]:
    remedy = f"set {modality}.size, patch, stride, width, depth and heads as the checkpoint has them, or use another"
    remedy = remedy.replace("size, patch, stride", "size, patch" if modality == "vision" else "stride")
    file, tensors = _read(path)
    _check_settings(file, backbone, modality, remedy)
    left_out = sorted(name for name in tensors if name.startswith("classifier."))
    named = {name.removeprefix(prefix): t for name, t in tensors.items() if name not in left_out}
    found, unknown = _translate(named)
    wanted = backbone.state_dict()
    unknown += sorted(name for name in found if name not in wanted)
    if unknown:
        raise _wrong(file, "only tensors that this encoder has", f"the unused tensor {unknown[0]!r}", unknown, remedy)
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise _wrong(file, "every tensor of the encoder", f"nothing for {missing[0]!r}", missing, remedy)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"shape {tuple(wanted[name].shape)} for {name!r}", f"{tuple(tensor.shape)}"
            raise ConfigError.at(file, expected=shapes[0], found=shapes[1], remedy=remedy)
    backbone.load_state_dict(found, strict=True)
    return left_out


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


def _read(path: Path) -> tuple[Path, dict[str, Tensor]]:
    file = path
    if path.is_dir():
        file = next((path / name for name in FILES if (path / name).is_file()), path / FILES[0])
    try:
        if file.suffix == ".safetensors":
            return file, load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError.at(
            file,
            expected="weights as .safetensors, .bin or .pt",
            found=" ".join(str(error).split())[:200] or "none",
            remedy="give the folder or file of a Hugging Face checkpoint",
        ) from error
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ConfigError.at(
            file, expected="a dictionary of tensors", found=type(content).__name__, remedy="save the state_dict alone"
        )
    return file, content


def _check_settings(file: Path, backbone: nn.Module, modality: str, remedy: str) -> None:
    """Compare what shapes cannot tell with the checkpoint's config.json, where it lies beside the file."""
    try:
        settings = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    stride = backbone.patch_embed.proj.stride[0]  # type: ignore[union-attr, index]
    ours = {"num_attention_heads": backbone.blocks[0].attn.num_heads}  # type: ignore[union-attr, index]
    if modality == "audio":
        ours |= {"frequency_stride": stride, "time_stride": stride}
    for key, value in ours.items():
        if settings.get(key, value) != value:
            raise ConfigError.at(
                file.parent / "config.json", expected=f"{key} {value}", found=f"{settings[key]}", remedy=remedy
            )


def _wrong(file: Path, expected: str, found: str, names: list[str], remedy: str) -> Exception:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return ConfigError.at(file, expected=expected, found=found + more, remedy=remedy)
