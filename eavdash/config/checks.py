"""Validation of a study's settings: the bounds of each (config/schema.py), and the rules between several of them.

In: a :class:`~eavdash.config.schema.StudyConfig` and its settings. Out: nothing, or a ConfigError for the first invalid
setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eavdash.config import scaling
from eavdash.config.choices import (
    ACROSS,
    AUTO,
    CHANNELS,
    ENCODERS,
    FRONT_ENDS,
    LIBRARIES,
    MODALITIES,
    MOST_CHANNELS,
    RATES,
    STAGES,
)
from eavdash.config.setting import Setting, value_of
from eavdash.errors import ConfigError
from eavdash.text import is_utf8, shortened

if TYPE_CHECKING:
    from eavdash.config.schema import EegConfig, StudyConfig

Need = Callable[[bool, str, str, Any], None]


def check(config: StudyConfig, settings: Mapping[str, Setting]) -> None:
    """Reject settings that would otherwise fail only later, in a worker.

    Raises:
        ConfigError: a setting is invalid.
    """

    def need(ok: bool, where: str, expected: str, found: Any) -> None:
        if not ok:
            raise ConfigError.at(where, expected=expected, found=shortened(repr(found)), remedy="change the setting")

    for key, setting in settings.items():
        value = value_of(config, key)
        need(setting.bounds.hold(value), key, str(setting.bounds), value)
        texts = value if isinstance(value, tuple) else (value,)
        need(all(is_utf8(text) for text in texts if isinstance(text, str)), key, "text in UTF-8", value)
    _stages(config, need)
    _protocol(config, need)
    for name in MODALITIES:
        encoder = config.modality(name).encoder
        library = LIBRARIES.get(name, "")
        known = ", ".join(ENCODERS[name]) + (f" or {library}NAME" if library else "")
        named = bool(library) and encoder.startswith(library) and encoder != library
        need(encoder in (*ENCODERS[name], AUTO) or named, f"{name}.encoder", f"one of {known}", encoder)
    for name in (*MODALITIES, "fusion"):
        part = config.fusion if name == "fusion" else config.modality(name)
        need(part.width % part.heads == 0, f"{name}.width", f"a multiple of {name}.heads ({part.heads})", part.width)
    # Models of a library and checkpoints have patch sizes of their own.
    if config.vision.encoder == "vit" and not config.vision.weights:
        whole = config.vision.size % config.vision.patch == 0
        need(whole, "vision.size", "a multiple of vision.patch", config.vision.size)
    channel = config.audio.channel
    numbered = channel.isascii() and channel.isdecimal() and 1 <= int(channel[:9]) <= MOST_CHANNELS
    choices = f"one of {', '.join(CHANNELS)}, or a number from 1 to {MOST_CHANNELS:,}"
    need(channel in CHANNELS or (numbered and len(channel) < 5), "audio.channel", choices, channel)
    rate = RATES.get(config.audio.encoder, config.audio.rate)
    need(
        config.audio.rate == rate,
        "audio.rate",
        f"{rate}, with which {config.audio.encoder} was trained",
        config.audio.rate,
    )
    given = config.audio.encoder != "wav2vec2" or bool(config.audio.weights)
    need(given, "audio.weights", "the folder of a wav2vec 2.0, HuBERT or WavLM model", config.audio.weights)
    if not config.audio.weights and config.audio.encoder not in FRONT_ENDS:
        need(config.audio.mels >= 16, "audio.mels", "at least 16, the height of a patch", config.audio.mels)
    _eeg(config.eeg, need)
    _fit(config, need)


def _stages(config: StudyConfig, need: Need) -> None:
    need(bool(config.stages), "stages", "at least one stage", config.stages)
    for stage in config.stages:
        need(stage in STAGES, "stages", f"some of {', '.join(STAGES)}", stage)
    need(len(set(config.stages)) == len(config.stages), "stages", "each stage once", config.stages)
    if "fusion" in config.stages:
        need(bool(config.modalities), "stages", "at least one encoder before fusion", config.stages)


def _eeg(eeg: EegConfig, need: Need) -> None:
    need(eeg.low < eeg.high, "eeg.low", f"below eeg.high ({eeg.high:g})", eeg.low)
    named = eeg.reference in ("", "average") or all(part.strip() for part in eeg.reference.split("+"))
    need(named, "eeg.reference", 'empty, "average", or channels joined by "+"', eeg.reference)
    if eeg.chain == "published":
        for name in ("notch", "reference", "bad_channels", "clip"):
            usual, value = getattr(type(eeg)(), name), getattr(eeg, name)
            need(value == usual, f"eeg.{name}", f'{usual!r}: the chain "published" has no such step', value)


def _fit(config: StudyConfig, need: Need) -> None:
    """Check that a linear fit is asked for only where there is one encoder that stays frozen."""
    fusion = config.train.fusion.fit
    need(fusion != "linear", "train.fusion.fit", "gradient: a fusion has no frozen encoder of its own", fusion)
    linear = [f"train.{name}.fit" for name in config.modalities if getattr(config.train, name).fit == "linear"]
    key = gradients_needed(config)
    if linear and key:
        usual, reason = _NEED_GRADIENTS[key]
        kept = "the preset frozen keeps" if config.preset == "frozen" else f"{linear[0]}=linear keeps"
        other = "take another preset" if config.preset == "frozen" else f"{', '.join(linear)} to gradient"
        raise ConfigError.at(
            key,
            expected=f"{usual}: {kept} pretrained encoders as they are, and {key} {reason}",
            found=str(value_of(config, key)).lower(),
            remedy=f"set {key}={usual}, or {other}",
        )


#: Settings with which no encoder can be fitted linearly: the value without that effect, and what they do.
_NEED_GRADIENTS = {
    "protocol.pooled": ("false", "trains each subject's encoder further"),
    "protocol.test_epoch": ("false", "chooses among epochs, of which a linear fit has one"),
    "fusion.joint_epochs": ("0", "trains the encoders further"),
}


def gradients_needed(config: StudyConfig) -> str:
    """Return the setting by which the encoders of a study cannot be fitted linearly; empty if they can."""
    keys = [key for key in _NEED_GRADIENTS if value_of(config, key)]
    return next((key for key in keys if "fusion" in config.stages or not key.startswith("fusion")), "")


def _protocol(config: StudyConfig, need: Need) -> None:
    """Check the settings that depend on the protocol."""
    protocol = config.protocol
    across = protocol.name in ACROSS
    given = protocol.subject_scaling
    need(scaling.is_valid(given), "protocol.subject_scaling", scaling.VALUES, given)
    need(
        across or not scaling.calibration_trials(given),
        "protocol.subject_scaling",
        f"off or all: trials are kept for calibration only under {' and '.join(ACROSS)}, not under {protocol.name}",
        given,
    )
    need(
        not (protocol.pooled and across),
        "protocol.pooled",
        f"false: the protocol {protocol.name} already trains on all subjects",
        protocol.pooled,
    )
    need(
        not protocol.test_epoch or protocol.name == "paper",
        "protocol.test_epoch",
        f"false: only the protocol paper chooses the epoch on the test trials, not {protocol.name}",
        protocol.test_epoch,
    )
    constants = (
        given != scaling.OFF and "audio" in config.stages and config.audio.scaling == config.audio.encoder == "ast"
    )
    need(
        not constants,
        "audio.scaling",
        "training: AudioSet's constants do not fit sound that protocol.subject_scaling has standardised",
        config.audio.scaling,
    )
