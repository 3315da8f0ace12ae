"""Models built from a study's configuration, and their weights saved and loaded.

A *spec* is JSON, ``{"name": ..., "kwargs": {...}}``, stored in a run's config.json; together with model.safetensors it
suffices to rebuild the model. Weights are loaded strictly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from eavdash.config.choices import FRONT_ENDS, LIBRARIES, MODALITIES, TABLE
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError, IntegrityError
from eavdash.models.architecture import architecture
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.attention_fusion import AttentionFusion
from eavdash.models.braindecode_eeg import BraindecodeEncoder, model_class
from eavdash.models.braindecode_known import encoder_kwargs
from eavdash.models.concat_fusion import ConcatFusion
from eavdash.models.eegformer import EEGformer, check_samples
from eavdash.models.paper_fusion import PaperFusion
from eavdash.models.table import TableTransformer, step_of
from eavdash.models.tangent import TangentEncoder, bands_for
from eavdash.models.timm_vit import TimmViT
from eavdash.models.transformer_fusion import TransformerFusion
from eavdash.models.vit import FrameViT
from eavdash.models.voice import VoiceEncoder
from eavdash.models.wave import WaveEncoder
from eavdash.models.wave_weights import wave_architecture
from eavdash.models.yin import YinEncoder
from eavdash.store.atomic import write_atomic
from eavdash.store.regular import require_regular

Module = TypeVar("Module", bound=nn.Module)
MODULES: dict[str, type[nn.Module]] = {
    "vit": FrameViT,
    "timm": TimmViT,
    "ast": AudioSpectrogramTransformer,
    "voice": VoiceEncoder,
    "wav2vec2": WaveEncoder,
    "eegformer": EEGformer,
    "yin": YinEncoder,
    "tangent": TangentEncoder,
    "braindecode": BraindecodeEncoder,
    TABLE: TableTransformer,
    "attention": AttentionFusion,
    "concat": ConcatFusion,
    "paper": PaperFusion,
    "transformer": TransformerFusion,
}


def scales_people(encoder: str) -> bool:
    """Return True if the encoder of this name scales its own features by person (models/base.py)."""
    return hasattr(MODULES.get(encoder.partition(":")[0]), "person_statistics")


def encoder_spec(modality: str, config: StudyConfig, classes: int, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a modality's encoder.

    Args:
        shape: shape of the windows: eeg ``channels`` (names) and ``samples``; audio ``frames`` and ``mels``; vision
            ``frames`` and ``size``; a table of features ``columns`` (names).

    Raises:
        ConfigError: the configured encoder does not support windows of that shape.
    """
    if modality in LIBRARIES and config.modality(modality).encoder.startswith(LIBRARIES[modality]):
        return _of_a_library(modality, config, classes, shape)
    if modality in MODALITIES and config.modality(modality).encoder == TABLE:
        return _of_a_table(config.modality(modality), classes, shape)
    if modality not in MODALITIES:
        raise ConfigError.at("modality", expected=", ".join(MODALITIES), found=repr(modality), remedy="choose one")
    part: Any = config.modality(modality)
    if part.encoder in FRONT_ENDS:  # their sizes are those of their weights alone
        own = wave_architecture(part.weights) if part.encoder == "wav2vec2" else {}
        return {"name": part.encoder, "kwargs": {"classes": classes, **own}}
    published = architecture(part.weights, modality) if part.weights and modality != "eeg" else {}
    if modality == "vision":
        kwargs = {"size": part.size, "patch": part.patch, "temporal": part.temporal}
    elif modality == "audio":
        kwargs = _audio(config, int(shape["frames"]), int(shape["mels"]), published)
    else:
        kwargs = {"channels": len(shape["channels"])}
        if part.encoder == "tangent":
            bands = bands_for(kwargs["channels"], int(shape["samples"]), part.rate, part.low, part.high)
            kwargs |= {"rate": part.rate, "bands": bands, "width": part.width}
            return {"name": "tangent", "kwargs": {"classes": classes, **kwargs}}
        if part.encoder == "eegformer":
            check_samples(int(shape["samples"]), part.width)
            kwargs |= {"filters": part.filters, "segments": part.segments}
            kwargs |= {"rate": part.rate, "band": [part.low, part.high]}
    kwargs |= {"width": part.width, "depth": part.depth, "heads": part.heads, "dropout": part.dropout}
    if published:
        _check_windows(part.weights, modality, kwargs, published)
    kwargs |= published
    return {"name": part.encoder, "kwargs": {"classes": classes, **kwargs}}


def fusion_spec(config: StudyConfig, classes: int, dims: Mapping[str, int], kind: str | None = None) -> dict[str, Any]:
    """Return the spec of a fusion of encoders with feature widths ``dims``; ``kind`` overrides the configured one."""
    fusion = config.fusion
    kind = kind or fusion.kind
    kwargs: dict[str, Any] = {"dims": {m: int(dims[m]) for m in MODALITIES if m in dims}, "classes": classes}
    kwargs["dropout"] = fusion.dropout
    if kind != "paper":
        kwargs |= {"width": fusion.width, "modality_dropout": fusion.modality_dropout}
    if kind != "concat":
        kwargs["heads"] = fusion.heads
    if kind in ("attention", "transformer"):
        kwargs["depth"] = fusion.depth
    if kind == "transformer" and fusion.mute_noise:
        kwargs["flat_absence"] = True
    if kind == "attention":
        del kwargs["classes"]  # it averages the encoders' probabilities, for any number of classes
    if fusion.calibrate:
        kwargs["calibrated"] = True
    return {"name": kind, "kwargs": kwargs}


def build(spec: Mapping[str, Any]) -> Any:
    """Return the module of a spec, of its class in ``MODULES``, with random weights from torch's current seed.

    Raises:
        ConfigError: there is no such architecture, or it does not accept these settings.
    """
    if spec.get("name") not in MODULES:
        raise ConfigError.at("model", expected=", ".join(MODULES), found=repr(spec.get("name")), remedy="train again")
    try:
        return MODULES[spec["name"]](**spec["kwargs"])
    except TypeError as error:
        raise ConfigError.at(
            f"model {spec['name']}", expected="settings of this version", found=str(error), remedy="train again"
        ) from error


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the module's parameters and buffers as safetensors, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    write_atomic(path, lambda file: file.write(save(tensors)))


def load_weights(module: Module, path: Path) -> Module:
    """Load the weights of :func:`save_weights` strictly, and return ``module``.

    Raises:
        IntegrityError: the file is missing, damaged, or belongs to another model.
    """
    remedy = "restore the file or train the run again"
    try:
        tensors = load_file(require_regular(path))
    except (OSError, SafetensorError) as error:
        raise IntegrityError.at(path, expected="weights", found=str(error) or "none", remedy=remedy) from error
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        found = " ".join(str(error).split())
        raise IntegrityError.at(path, expected="the weights of this model", found=found, remedy=remedy) from error
    return module


def _of_a_library(modality: str, config: StudyConfig, classes: int, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a library's encoder, whose sizes the library defines."""
    library, _, name = config.modality(modality).encoder.partition(":")
    kwargs: dict[str, Any] = {"classes": classes, "model": name}
    if modality == "vision":
        vision = config.vision
        kwargs |= {"size": vision.size, "dropout": vision.dropout, "temporal": vision.temporal}
    else:
        kwargs |= encoder_kwargs(config, name, model_class(name), shape["channels"], int(shape["samples"]))
    return {"name": library, "kwargs": kwargs}


def _of_a_table(part: Any, classes: int, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of the encoder of a table of features; ``part``: the modality's configuration."""
    sizes = {"columns": len(shape["columns"]), "step": step_of(part.table.rate)}
    sizes |= {"width": part.width, "depth": part.depth, "heads": part.heads}
    return {"name": TABLE, "kwargs": {"classes": classes, **sizes, "dropout": part.dropout}}


def _check_windows(path: str, modality: str, asked: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    """Refuse windows that do not match the sizes of a checkpoint, which override the configured sizes."""
    window = "size" if modality == "vision" else "mels"
    if sizes[window] != asked[window]:
        raise ConfigError.at(
            f"{modality}.{window}",
            expected=f"{sizes[window]}, with which {path} was trained",
            found=str(asked[window]),
            remedy=f"set {modality}.{window}={sizes[window]}",
        )
    if modality == "audio" and asked["pad_to"] > sizes["frames"]:
        raise ConfigError.at(
            "audio.frames",
            expected=f"at most {sizes['frames']}, with which {path} was trained",
            found=str(asked["pad_to"]),
            remedy=f"set audio.frames={sizes['frames']}",
        )


def _audio(config: StudyConfig, frames: int, mels: int, published: Mapping[str, Any]) -> dict[str, Any]:
    audio = config.audio
    grid = published.get("frames") or audio.frames or frames
    if frames > grid:
        raise ConfigError.at(
            "audio window" if published else "audio.frames",
            expected=f"at most {grid} frames, with which {audio.weights} was trained"
            if published
            else f"at least the {frames} frames of a window",
            found=f"{frames if published else grid}",
            remedy="use a shorter window" + ("" if published else " or raise audio.frames (0: the length of a window)"),
        )
    silence = "zero" if audio.scaling == "ast" else "mean"
    pool = "class" if published else audio.pool  # published weights were trained with the class tokens as output
    sizes = {"mels": mels, "frames": grid, "pad_to": audio.frames, "stride": audio.stride}
    return {**sizes, "silence": silence, "pool": pool}
