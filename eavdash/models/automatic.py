"""The encoders of a configuration that leaves them open (``MODALITY.encoder=auto``), as the preset ``frozen`` does.

In: a configuration, and that of the study if it exists. Out: the configuration with an encoder for each modality, and a
sentence about each choice. An encoder whose pretrained weights are at hand is chosen: that of ``MODALITY.weights`` as
its folder names it, otherwise one that needs no such folder (catalogue.py). Where there is none, it is the encoder
of the preset ``quick``, trained as there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eavdash.config import scaling
from eavdash.config.choices import AUTO, MODALITIES
from eavdash.config.convert import with_settings
from eavdash.config.presets import FROZEN, preset
from eavdash.config.schema import SETTINGS, StudyConfig
from eavdash.config.setting import value_of
from eavdash.errors import ConfigError
from eavdash.models.catalogue import entry_of, offered

#: The settings that a choice decides, besides the stage's training.
_DECIDED = {
    "vision": ("encoder", "size", "temporal"),
    "audio": ("encoder", "mels", "scaling"),
    "eeg": ("encoder", "rate"),
}


def resolved(config: StudyConfig, earlier: StudyConfig | None = None) -> tuple[StudyConfig, list[str]]:
    """Return ``config`` with an encoder for each modality, and a sentence about each that was left open.

    ``earlier``: the configuration of the study as it is, whose choices stay whatever is at hand today.

    Raises:
        ConfigError: weights are given from which no encoder follows.
        OutsideError: they may not be read.
    """
    sentences = []
    for modality in (m for m in MODALITIES if config.modality(m).encoder == AUTO):
        if earlier is not None:
            keys = [f"{modality}.{name}" for name in _DECIDED[modality]]
            keys += [f"train.{modality}.{name}" for name in FROZEN]
            settings, why = {key: value_of(earlier, key) for key in keys}, "as the study was planned"
        else:
            settings, why = _chosen(config, modality)
        config = with_settings(config, [f"{key}={value}" for key, value in settings.items()])
        if modality in config.modalities:
            sentences.append(f"{modality}: {_sentence(config, modality, why)}")
    return config, sentences


def is_frozen(config: StudyConfig, stage: str) -> bool:
    """Return True if a stage's encoder stays as it is and only its last layer is trained."""
    train: Any = getattr(config.train, stage)
    return getattr(train, "fit", "") == "linear" or train.head_epochs >= train.epochs


def has_features(config: StudyConfig, modality: str) -> bool:
    """Return True if an encoder has features before it is trained: from pretrained weights, or fixed ones."""
    entry = entry_of(modality, config.modality(modality).encoder)
    return bool(config.modality(modality).weights) or (entry is not None and entry.weights == "included")


def _chosen(config: StudyConfig, modality: str) -> tuple[dict[str, Any], str]:
    """Return the settings that decide a modality's encoder by what is at hand, and why it is this one."""
    path = config.modality(modality).weights
    if path and os.path.exists(path):  # noqa: PTH110 -- returns False for an impossible name; planning refuses it
        settings = {"vision": _vision, "audio": _audio, "eeg": _eeg}[modality](config, path)
        return {f"{modality}.{key}": value for key, value in settings.items()}, f"from {path}"
    for entry in offered(modality):
        if entry.at_hand():
            return {f"{modality}.encoder": entry.name}, entry.size
    quick = preset("quick")
    settings = {f"train.{modality}.{name}": value_of(getattr(quick.train, modality), name) for name in FROZEN}
    settings[f"{modality}.encoder"] = quick.modality(modality).encoder
    ways = [entry.missing for entry in offered(modality) if entry.weights == "included"]
    named = f"{modality}.encoder=braindecode:NAME and " if modality == "eeg" else ""
    remedy = ", or ".join([*ways, f"set {named}{modality}.weights=FOLDER"])
    return settings, f"as in the preset quick, as no pretrained weights are at hand ({remedy})"


def _vision(config: StudyConfig, path: str) -> dict[str, Any]:
    from eavdash.models.architecture import architecture

    saved, quick = _settings(path), preset("quick").vision
    own: dict[str, Any]
    if name := saved.get("architecture"):  # as timm writes it
        shape = saved["pretrained_cfg"].get("input_size") if isinstance(saved.get("pretrained_cfg"), dict) else None
        own = {"encoder": f"timm:{name}", "size": shape[-1] if isinstance(shape, list) and shape else quick.size}
    else:
        own = {"encoder": "vit", "size": architecture(path, "vision")["size"]}
    # Layers over time are in no checkpoint: a frozen encoder would keep them random.
    own["temporal"] = 0
    asked = {name: getattr(config.vision, name) for name in ("size", "temporal")}
    return {**own, **{name: value for name, value in asked.items() if value != getattr(quick, name)}}


def _audio(config: StudyConfig, path: str) -> dict[str, Any]:
    from eavdash.models.architecture import architecture

    if _settings(path).get("model_type") in ("wav2vec2", "hubert", "wavlm"):
        return {"encoder": "wav2vec2"}
    own = config.audio.scaling if config.protocol.subject_scaling != scaling.OFF else "ast"
    return {"encoder": "ast", "mels": architecture(path, "audio")["mels"], "scaling": own}


def _eeg(config: StudyConfig, path: str) -> dict[str, Any]:
    from eavdash.models.braindecode_known import known
    from eavdash.models.named_weights import eeg_encoder_of

    if encoder := eeg_encoder_of(Path(path)):
        facts = known(encoder.partition(":")[2])
        rate = _settings(path).get("sfreq") or (facts.rate if facts else None)
        known_rate = isinstance(rate, int | float) and SETTINGS["eeg.rate"].bounds.hold(rate)
        own = known_rate and config.eeg.rate == preset("quick").eeg.rate
        return {"encoder": encoder, "rate": rate if own else config.eeg.rate}
    raise ConfigError.at(
        "eeg.encoder",
        expected=f"the encoder whose weights {path} holds",
        found=AUTO,
        remedy="name it, such as eeg.encoder=braindecode:NAME, and set eeg.rate to its own; see eavdash encoders",
    )


def _settings(path: str) -> dict[str, Any]:
    """Return the config.json of a folder of weights, or of the folder of a file; empty if there is none."""
    from eavdash.models.tensorfiles import read_settings

    return read_settings(Path(path) / "config.json" if Path(path).is_dir() else Path(path))


def _sentence(config: StudyConfig, modality: str, why: str) -> str:
    """Return the encoder, why it is this one, and whether it stays frozen."""
    encoder = config.modality(modality).encoder
    entry = entry_of(modality, encoder)
    title = f" ({entry.title})" if entry else ""
    kept = "; only its last layer is fitted" if is_frozen(config, modality) else ""
    return f"encoder {encoder}{title}, {why}{kept}"
