"""Loading of pretrained weights: Hugging Face checkpoints of ViT and AST, and those of timm, braindecode and voices.

In: a folder or file with a checkpoint (tensorfiles.py reads it) and an encoder of its sizes (architecture.py). Out:
the encoder, changed in place, and the names of the tensors left out: the checkpoint's own classifier or pooler. Every
other tensor of the file must be used, and every tensor of the encoder except head and input scaling must be filled.

The file's query, key and value are concatenated, in that order, into timm's ``qkv``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.models.architecture import PREFIXES, checkpoint_settings
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.base import Encoder
from eavdash.models.braindecode_eeg import BraindecodeEncoder, braindecode_names
from eavdash.models.braindecode_known import INTERPOLATED, is_own, known
from eavdash.models.packaged import weights_path
from eavdash.models.tensorfiles import read_tensors, tensor_error, without_prefix
from eavdash.models.timm_vit import TimmViT, resampled
from eavdash.models.vit import FrameViT
from eavdash.models.voice import VoiceEncoder
from eavdash.models.wave import WaveEncoder
from eavdash.models.wave_weights import wave_tensors
from eavdash.store.readable import lent

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
#: Names in braindecode's files: heads; what follows from the electrodes; weight norm as in older versions of torch.
_HEAD = re.compile(r"(head|heads|classifier|cls_head|lm_head\w*|fc|linear_probe|predictor|reconstructor)\.")
_OF_WINDOWS = re.compile(r"(^|\.)(chans_id|encoder\.index|interpolation_layer\.matrix)$")
_NORMED = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}
_QKV = ("query", "key", "value")
#: Of a speaker encoder: the layer that makes its embedding, and its loss.
_SPEAKERS = r"linear\.(weight|bias)|similarity_(weight|bias)"


def load_pretrained(encoder: Encoder, path: str | Path, head: bool = False, *, values: bool = True) -> list[str]:
    """Load a checkpoint of the encoder's family and return the tensors left out: its own classifier or pooler.

    The families are ``ViTForImageClassification`` or ``ViTModel``, ``ASTForAudioClassification`` or ``ASTModel``, and
    the same model of timm or braindecode under the library's names. Any other file for EEG is one of ours, including
    head and input scaling.

    Args:
        head: load the classifier of a ViT or AST too, which must have the encoder's number of classes.
        values: False for an encoder on the device "meta": names and shapes are compared, nothing is loaded.

    Raises:
        ConfigError: the file cannot be read, or a tensor is unknown, missing, or of another shape.
    """
    if isinstance(encoder, FrameViT):
        return _load(encoder, encoder.vit, Path(path), "vision", head, values)
    if isinstance(encoder, AudioSpectrogramTransformer):
        return _load(encoder, encoder.ast, Path(path), "audio", head, values)
    file, tensors = read_tensors(Path(path), values=values)
    if isinstance(encoder, VoiceEncoder):
        left_out = sorted(name for name in tensors if re.fullmatch(_SPEAKERS, name))
        found = {n.removeprefix("lstm."): t for n, t in tensors.items() if n.startswith("lstm.")}
        unknown = sorted(n for n in tensors if not n.startswith("lstm.") and n not in left_out)
        fill(file, encoder.lstm, found, unknown, "use the speaker encoder's own file, pretrained.pt of Resemblyzer")
        return left_out
    if isinstance(encoder, WaveEncoder):
        found, unknown, left_out = wave_tensors(tensors, len(encoder.mix))
        fill(file, encoder.net, found, unknown, "use the model whose config.json is in the same folder")
        return left_out
    if isinstance(encoder, TimmViT):
        found, left_out = resampled(encoder.vit, without_prefix(tensors, encoder.vit.state_dict()))
        fill(file, encoder.vit, found, [], "use weights of the same timm model, and a vision.size that it supports")
        return left_out
    if isinstance(encoder, BraindecodeEncoder) and not is_own(tensors):
        return _load_braindecode(file, encoder, tensors)
    fill(file, encoder, tensors, [], "use weights of the same encoder, trained on the same channels and classes")
    return []


def load_configured(
    encoder: Encoder, config: StudyConfig, modality: str, *, values: bool = True
) -> tuple[str, list[str]]:
    """Load the weights with which an encoder starts; return their path, "" if there are none, and what was left out.

    Raises:
        ConfigError: as :func:`load_pretrained` and :func:`eavdash.models.packaged.weights_path`.
    """
    path = weights_path(config, modality)
    if not path:
        return "", []
    with nullcontext() if config.modality(modality).weights else lent(Path(path).parent):
        return path, load_pretrained(encoder, path, values=values)


def _load_braindecode(file: Path, encoder: BraindecodeEncoder, tensors: dict[str, Tensor]) -> list[str]:
    """Fill a model of braindecode from a published file; heads, and what follows from its electrodes, are left out."""
    net, facts = encoder.net, known(encoder.model)
    wanted = net.state_dict()
    named = without_prefix(tensors, wanted)
    renamed = getattr(net, "mapping", None) or {}  # of names in older versions
    for name in [n for n in named if n not in wanted]:
        new = renamed.get(name) or next((name.replace(a, b) for a, b in _NORMED.items() if name.endswith(a)), name)
        if new in wanted and new not in named:
            named[new] = named.pop(name)
    left_out = {n for n in named if _OF_WINDOWS.search(n) or n.startswith("final_layer.")}
    left_out |= {n for n in named if n not in wanted and _HEAD.match(n)}
    ours = {n for n in wanted if _OF_WINDOWS.search(n) or n.startswith("final_layer.")}
    of_electrodes = {n for n in wanted if facts and facts.own and re.fullmatch(facts.own, n)}
    anew = {n for n in of_electrodes if n not in named or named[n].shape != wanted[n].shape}
    left_out |= anew & set(named)
    found = {n: t for n, t in named.items() if n not in left_out} | {n: wanted[n] for n in ours | anew}
    times = "temporal_embedding"  # of longer windows: one for each second
    if times in found and times in wanted and found[times].shape[1] > wanted[times].shape[1]:
        found[times] = found[times][:, : wanted[times].shape[1]]
    fill(file, net, found, [], _remedy(encoder.model))
    encoder.trained_anew = (net.get_submodule("chan_proj"),) if any(n.startswith("chan_proj.") for n in anew) else ()
    return sorted(left_out)


def _remedy(model: str) -> str:
    other = INTERPOLATED + {"Labram": "LaBraM"}.get(model, model)
    has = other in braindecode_names()
    electrodes = f", or braindecode:{other} for weights of other electrodes" if has else " and the same electrodes"
    return f"use weights of braindecode:{model}{electrodes}, in a folder with their config.json"


def _load(encoder: Encoder, backbone: nn.Module, path: Path, modality: str, head: bool, values: bool) -> list[str]:
    remedy = f"set {modality}.size, patch, stride, width, depth and heads to match the checkpoint, or use another one"
    remedy = remedy.replace("size, patch, stride", "size, patch" if modality == "vision" else "stride")
    file, tensors = read_tensors(path, values=values)
    _check_settings(file, backbone, modality, remedy)
    prefix = PREFIXES[modality]
    own = sorted(name for name in tensors if name.startswith("classifier."))
    left_out = sorted(name for name in tensors if name.removeprefix(prefix).startswith("pooler.dense."))
    named = {n.removeprefix(prefix): t for n, t in tensors.items() if n not in own and n not in left_out}
    found, unknown = _translate(named)
    fill(file, backbone, found, unknown, remedy)
    if not head:
        return sorted([*own, *left_out])
    head_tensors = {
        f"{ours}{kind}": tensors[f"{theirs}.{kind}"]
        for theirs, ours in _HEADS[modality].items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in tensors
    }
    fill(file, encoder.head, head_tensors, [], "use a checkpoint with a classifier for the same classes")
    return left_out


def fill(file: Path, module: nn.Module, found: dict[str, Tensor], unknown: list[str], remedy: str) -> None:
    """Load tensors strictly: none unused, none missing, none of another shape.

    Raises:
        ConfigError: a tensor does not match; the message names the first, and the module is unchanged.
    """
    wanted = module.state_dict()
    unknown = unknown + sorted(name for name in found if name not in wanted)
    if unknown:
        raise tensor_error(
            file, "only tensors that this encoder has", f"the unused tensor {unknown[0]!r}", unknown, remedy
        )
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise tensor_error(file, "every tensor of the encoder", f"no tensor {missing[0]!r}", missing, remedy)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"shape {tuple(wanted[name].shape)} for {name!r}", f"{tuple(tensor.shape)}"
            raise ConfigError.at(file, expected=shapes[0], found=shapes[1], remedy=remedy)
        if wanted[name].is_floating_point() and not _numbers(tensor, known=not wanted[name].is_meta):
            kind = str(tensor.dtype).removeprefix("torch.")
            kind = "infinite or NaN values" if tensor.is_floating_point() else kind
            wanted_kind = f"floating-point numbers for {name!r}"
            raise ConfigError.at(
                file, expected=wanted_kind, found=kind, remedy="use an intact file that is not quantised"
            )
    module.load_state_dict(found, strict=True)


def _numbers(tensor: Tensor, known: bool) -> bool:
    """Return True for plain, finite floating-point numbers; for plain ones if their values are not ``known``."""
    plain = tensor.layout == torch.strided and tensor.is_meta != known and tensor.is_floating_point()
    return plain and (not known or bool(torch.isfinite(tensor).all()))


def _translate(named: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the file's tensors under timm's names, and the unknown names."""
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
        if len(group) == len(_QKV):  # otherwise the encoder's qkv is reported as missing
            found[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat([group[name] for name in _QKV])
    return found, unknown


def _check_settings(file: Path, backbone: Any, modality: str, remedy: str) -> None:
    """Compare settings that do not follow from shapes with the checkpoint's config.json, if there is one."""
    settings = checkpoint_settings(file, modality)
    strides = backbone.patch_embed.proj.stride
    ours: dict[str, Any] = {"num_attention_heads": backbone.blocks[0].attn.num_heads}
    ours |= {"layer_norm_eps": backbone.norm.eps}
    if modality == "audio":
        ours |= {"frequency_stride": strides[0], "time_stride": strides[1]}
    for key, value in ours.items():
        if settings.get(key, value) != value:
            raise ConfigError.at(
                file.parent / "config.json", expected=f"{key} {value}", found=f"{settings[key]}", remedy=remedy
            )
