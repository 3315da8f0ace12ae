"""Validation of a study's settings: the bounds of each (config/schema.py), and the rules between several of them.

In: a :class:`~eavdash.config.schema.StudyConfig` and its settings. Out: nothing, or a ConfigError for the first invalid
setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eavdash.config.choices import CHANNELS, ENCODERS, LIBRARIES, MODALITIES, MOST_CHANNELS, STAGES, TABLE
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
        need(encoder in ENCODERS[name] or named, f"{name}.encoder", f"one of {known}", encoder)
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
    if not config.audio.weights:
        need(config.audio.mels >= 16, "audio.mels", "at least 16, the height of a patch", config.audio.mels)
    _eeg(config.eeg, need)


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


def _protocol(config: StudyConfig, need: Need) -> None:
    """Check the settings that depend on the protocol."""
    protocol = config.protocol
    across = protocol.name in ("loso", "subject-kfold")
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
    constants = protocol.subject_scaling and "audio" in config.stages and config.audio.scaling == "ast"
    constants = constants and config.audio.encoder != TABLE
    need(
        not constants,
        "audio.scaling",
        "training: AudioSet's constants do not fit sound that protocol.subject_scaling has standardised",
        config.audio.scaling,
    )
