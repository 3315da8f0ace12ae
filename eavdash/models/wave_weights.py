"""Checkpoints of wav2vec 2.0, HuBERT and WavLM as Hugging Face saves them: their sizes, and their tensors by our names.

In: a folder with config.json and weights (tensorfiles.py reads them; nothing is unpickled). Out: the settings of a
:class:`~eavdash.models.wave.WaveEncoder`, or its network's tensors under torchaudio's names. Every tensor is used, or
belongs to what pretraining or another task has added (a loss, a quantiser, a classifier), which is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eavdash.config.limits import HEADER_BYTES
from eavdash.errors import ConfigError
from eavdash.models.tensorfiles import read_settings, read_tensors
from eavdash.store.quoting import reason_of
from eavdash.store.readable import open_readable

FAMILIES = {"wav2vec2": "wav2vec2", "hubert": "wav2vec2", "wavlm": "wavlm"}
RATE = 16_000
_REMEDY = "give the folder of a wav2vec 2.0, HuBERT or WavLM model as saved by Hugging Face, with its config.json"
#: Settings of config.json with the only value that torchaudio builds.
_FIXED: dict[str, Any] = {
    "feat_extract_activation": "gelu",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "add_adapter": False,
    "adapter_attn_dim": None,
    "conv_pos_batch_norm": False,
    "feat_proj_layer_norm": True,
}
_WHOLE = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("num_conv_pos_embeddings", "num_conv_pos_embedding_groups"),
)
_BUCKETS = ("num_buckets", "max_bucket_distance")
_MOST = 100_000
#: What pretraining and other tasks add to the network.
_LEFT_OUT = re.compile(
    r"masked_spec_embed|label_embs_concat|(quantizer|project_hid|project_q|lm_head|classifier|projector|final_proj)\..*"
)
_POSITIONS = "encoder.pos_conv_embed.conv."
_PARTS = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def wave_architecture(path: str | Path) -> dict[str, Any]:
    """Return ``family``, ``sizes`` and ``normalise`` of the model in a folder.

    Raises:
        ConfigError: there is no model, of another family, or one that torchaudio cannot build.
    """
    file, _ = read_tensors(Path(path), values=False)
    where, settings = file.parent / "config.json", read_settings(file)

    def need(key: str, fits: bool, expected: str) -> None:
        if not fits:
            found = repr(settings.get(key, "nothing"))[:100]
            raise ConfigError.at(where, expected=f"{key} {expected}", found=found, remedy=_REMEDY)

    need("model_type", settings.get("model_type") in FAMILIES, f"one of {', '.join(FAMILIES)}")
    family = FAMILIES[settings["model_type"]]
    for key in (*_WHOLE, *(_BUCKETS if family == "wavlm" else ())):
        need(key, type(settings.get(key)) is int and 0 < settings[key] <= _MOST, f"from 1 to {_MOST:,}")
    for key, value in _FIXED.items():
        need(key, settings.get(key, value) == value, f"{value!r}, which torchaudio builds")
    convolutions = [settings.get(f"conv_{name}") for name in ("dim", "kernel", "stride")]
    for name, numbers in zip(("dim", "kernel", "stride"), convolutions, strict=True):
        fits = isinstance(numbers, list) and 0 < len(numbers) == len(convolutions[0] or ()) <= 100
        need(f"conv_{name}", fits and all(type(n) is int and 0 < n <= _MOST for n in numbers or ()), "whole numbers")
    norm = settings.get("feat_extract_norm")
    need("feat_extract_norm", norm in ("group", "layer"), "group or layer")
    heads, width = settings["num_attention_heads"], settings["hidden_size"]
    need("num_attention_heads", width % heads == 0, f"that divides hidden_size {width}")
    groups = settings["num_conv_pos_embedding_groups"]
    need("num_conv_pos_embedding_groups", width % groups == 0, f"that divides hidden_size {width}")
    sizes = {
        "extractor_mode": f"{norm}_norm",
        "extractor_conv_layer_config": [list(layer) for layer in zip(*(c or () for c in convolutions), strict=True)],
        "extractor_conv_bias": bool(settings.get("conv_bias", False)),
        "encoder_embed_dim": width,
        "encoder_pos_conv_kernel": settings["num_conv_pos_embeddings"],
        "encoder_pos_conv_groups": groups,
        "encoder_num_layers": settings["num_hidden_layers"],
        "encoder_num_heads": heads,
        "encoder_ff_interm_features": settings["intermediate_size"],
        "encoder_layer_norm_first": bool(settings.get("do_stable_layer_norm", False)),
        "encoder_layer_drop": 0.0,  # the outputs of all layers are used
    }
    for ours, theirs in (
        ("encoder_projection_dropout", "feat_proj_dropout"),
        ("encoder_attention_dropout", "attention_dropout"),
        ("encoder_ff_interm_dropout", "activation_dropout"),
        ("encoder_dropout", "hidden_dropout"),
    ):
        share = settings.get(theirs, 0.0)
        need(theirs, isinstance(share, (int, float)) and 0 <= share < 1, "from 0 to below 1")
        sizes[ours] = float(share)
    if family == "wavlm":
        sizes |= {"encoder_num_buckets": settings[_BUCKETS[0]], "encoder_max_distance": settings[_BUCKETS[1]]}
    return {"family": family, "sizes": sizes, "normalise": _normalised(file.parent / "preprocessor_config.json")}


def wave_tensors(tensors: Mapping[str, Tensor], layers: int) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Return a checkpoint's tensors under torchaudio's names, the names of those that nothing has, and those left out.

    ``layers``: of the transformer. A WavLM's query, key and value are joined, in that order.
    """
    prefix = next((p for p in ("wav2vec2.", "hubert.", "wavlm.") if any(n.startswith(p) for n in tensors)), "")
    found: dict[str, Tensor] = {}
    unknown, left_out = [], []
    for theirs, tensor in tensors.items():
        name = theirs.removeprefix(prefix)
        if not theirs.startswith(prefix) or _LEFT_OUT.fullmatch(name):  # of another task, beside or in the network
            left_out.append(theirs)
        elif name.startswith(_POSITIONS):
            kind = name.removeprefix(_POSITIONS)
            found[f"encoder.transformer.pos_conv_embed.conv.{_PARTS.get(kind, kind)}"] = tensor
        elif name.startswith("encoder."):
            found[f"encoder.transformer.{name.removeprefix('encoder.')}"] = tensor
        elif name.startswith("feature_projection."):
            found[f"encoder.{name}"] = tensor
        elif name.startswith("feature_extractor."):
            found[name] = tensor
        else:
            unknown.append(theirs)
    if any(".gru_rel_pos_linear." in name for name in found):
        for number in range(layers):
            _join(found, f"encoder.transformer.layers.{number}.attention.")
    return found, sorted(unknown), sorted(left_out)


def _join(found: dict[str, Tensor], layer: str) -> None:
    for kind in ("weight", "bias"):
        names = [f"{layer}{part}_proj.{kind}" for part in "qkv"]
        if all(name in found for name in names):  # otherwise they are reported as unused
            found[f"{layer}attention.in_proj_{kind}"] = torch.cat([found.pop(name) for name in names])
        if f"{layer}out_proj.{kind}" in found:
            found[f"{layer}attention.out_proj.{kind}"] = found.pop(f"{layer}out_proj.{kind}")


def _normalised(path: Path) -> bool:
    """Return whether windows are normalised before the network; True, Hugging Face's default, without the file.

    Raises:
        ConfigError: the file cannot be read, or is for another sampling rate.
    """
    try:
        with open_readable(path) as opened:
            settings = json.loads(opened.read(HEADER_BYTES))
        rate, normalised = settings.get("sampling_rate", RATE), settings.get("do_normalize", True)
    except FileNotFoundError:
        return True
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        found = reason_of(error, path)
        raise ConfigError.at(path, expected="settings as JSON", found=found, remedy="fetch the file again") from error
    if rate != RATE:
        remedy = "use a model for that rate"
        raise ConfigError.at(path, expected=f"sampling_rate {RATE}", found=repr(rate)[:50], remedy=remedy)
    return bool(normalised)
