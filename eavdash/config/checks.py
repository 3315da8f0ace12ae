"""Validation of a study's settings.

In: a :class:`~eavdash.config.schema.StudyConfig`. Out: nothing, or a ConfigError for the first invalid setting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eavdash.config.choices import ENCODERS, FUSIONS, LIBRARIES, MODALITIES, PRECISIONS, PROTOCOLS, STAGES
from eavdash.errors import ConfigError

if TYPE_CHECKING:
    from eavdash.config.schema import StudyConfig


def check(config: StudyConfig) -> None:
    """Reject settings that would otherwise fail only later, in a worker.

    Raises:
        ConfigError: a setting is invalid.
    """

    def need(ok: bool, where: str, expected: str, found: Any) -> None:
        if not ok:
            raise ConfigError.at(where, expected=expected, found=repr(found), remedy="change the setting")

    need(bool(config.stages), "stages", "at least one stage", config.stages)
    for stage in config.stages:
        need(stage in STAGES, "stages", f"some of {', '.join(STAGES)}", stage)
    need(len(set(config.stages)) == len(config.stages), "stages", "each stage once", config.stages)
    if "fusion" in config.stages:
        need(bool(config.modalities), "stages", "at least one encoder before fusion", config.stages)
    need(0 < config.window < float("inf"), "window", "a length in seconds above 0", config.window)
    need(config.protocol.name in PROTOCOLS, "protocol.name", f"one of {', '.join(PROTOCOLS)}", config.protocol.name)
    need(config.protocol.folds >= 2, "protocol.folds", "2 or more", config.protocol.folds)
    need(0 < config.protocol.test_share < 1, "protocol.test_share", "between 0 and 1", config.protocol.test_share)
    _protocol(config, need)
    for name in MODALITIES:
        encoder = config.modality(name).encoder
        library = LIBRARIES.get(name, "")
        known = ", ".join(ENCODERS[name]) + (f" or {library}NAME" if library else "")
        named = bool(library) and encoder.startswith(library) and encoder != library
        need(encoder in ENCODERS[name] or named, f"{name}.encoder", f"one of {known}", encoder)
    need(config.fusion.kind in FUSIONS, "fusion.kind", f"one of {', '.join(FUSIONS)}", config.fusion.kind)
    need(config.vision.frames_per_second > 0, "vision.frames_per_second", "above 0", config.vision.frames_per_second)
    need(config.vision.size > 0, "vision.size", "at least one pixel", config.vision.size)
    need(config.vision.patch > 0, "vision.patch", "at least one pixel", config.vision.patch)
    if (
        config.vision.encoder in ENCODERS["vision"] and not config.vision.weights
    ):  # other models have their own patch size
        whole = config.vision.size % config.vision.patch == 0
        need(whole, "vision.size", "a multiple of vision.patch", config.vision.size)
    need(config.vision.crop in ("face", "centre"), "vision.crop", "face or centre", config.vision.crop)
    need(0 <= config.vision.margin <= 2, "vision.margin", "0 <= margin <= 2", config.vision.margin)
    need(config.vision.detect_every >= 0, "vision.detect_every", "0 seconds or more", config.vision.detect_every)
    need(0 <= config.vision.smoothing < 1, "vision.smoothing", "0 <= smoothing < 1", config.vision.smoothing)
    need(config.audio.scaling in ("training", "ast"), "audio.scaling", "training or ast", config.audio.scaling)
    pools = ("bands", "mean", "class")
    need(config.audio.pool in pools, "audio.pool", f"one of {', '.join(pools)}", config.audio.pool)
    need(8000 <= config.audio.rate <= 192_000, "audio.rate", "8000 to 192000 Hz", config.audio.rate)
    bands = 1 if config.audio.weights else 16  # the height of a patch; a checkpoint brings its own
    need(config.audio.mels >= bands, "audio.mels", f"at least {bands}", config.audio.mels)
    need(config.audio.stride >= 1, "audio.stride", "at least 1", config.audio.stride)
    need(config.audio.frames >= 0, "audio.frames", "0 (the window's own length) or more", config.audio.frames)
    need(config.eeg.filters >= 1, "eeg.filters", "at least 1", config.eeg.filters)
    need(config.eeg.segments >= 1, "eeg.segments", "at least 1", config.eeg.segments)
    need(0 <= config.eeg.low < config.eeg.high, "eeg.low", "0 <= eeg.low < eeg.high", config.eeg.low)
    need(config.eeg.rate > 0, "eeg.rate", "above 0 Hz", config.eeg.rate)
    need(config.eeg.chain in ("trial", "published"), "eeg.chain", "trial or published", config.eeg.chain)
    bad = config.eeg.bad_channels
    need(bad in ("keep", "interpolate"), "eeg.bad_channels", "keep or interpolate", bad)
    need(config.eeg.bad_rules in ("prep", "all"), "eeg.bad_rules", "prep or all", config.eeg.bad_rules)
    reference = config.eeg.reference
    named = reference in ("", "average") or all(part.strip() for part in reference.split("+"))
    need(named, "eeg.reference", 'empty, "average", or channels joined by "+"', reference)
    if config.eeg.chain == "published":
        for name in ("notch", "reference", "bad_channels", "clip"):
            usual, value = getattr(type(config.eeg)(), name), getattr(config.eeg, name)
            need(value == usual, f"eeg.{name}", f'{usual!r}: the chain "published" has no such step', value)
    for name, value in (("notch", config.eeg.notch), ("reject", config.eeg.reject), ("clip", config.eeg.clip)):
        need(value >= 0, f"eeg.{name}", "0 (none) or more", value)
    for name, part in (
        ("vision", config.vision),
        ("audio", config.audio),
        ("eeg", config.eeg),
        ("fusion", config.fusion),
    ):
        need(part.heads >= 1, f"{name}.heads", "at least 1", part.heads)
        need(part.width >= 1, f"{name}.width", "at least 1", part.width)
        need(part.width % part.heads == 0, f"{name}.width", f"a multiple of {name}.heads ({part.heads})", part.width)
        need(part.depth >= 1, f"{name}.depth", "at least 1", part.depth)
        need(0 <= part.dropout < 1, f"{name}.dropout", "0 <= dropout < 1", part.dropout)
    need(
        0 <= config.fusion.modality_dropout < 1, "fusion.modality_dropout", "0 <= p < 1", config.fusion.modality_dropout
    )
    need(config.vision.temporal >= 0, "vision.temporal", "0 or more", config.vision.temporal)
    need(config.fusion.joint_epochs >= 0, "fusion.joint_epochs", "0 or more", config.fusion.joint_epochs)
    rate = config.fusion.joint_learning_rate
    need(0 < rate < float("inf"), "fusion.joint_learning_rate", "a number above 0", rate)
    for stage in STAGES:
        train = config.training(stage)
        need(train.micro_batch >= 0, f"train.{stage}.micro_batch", "0 (the whole batch) or more", train.micro_batch)
        known = ", ".join(PRECISIONS)
        need(train.precision in PRECISIONS, f"train.{stage}.precision", f"one of {known}", train.precision)
        need(train.epochs >= 1, f"train.{stage}.epochs", "at least 1", train.epochs)
        need(train.batch >= 1, f"train.{stage}.batch", "at least 1", train.batch)
        need(train.epoch_steps >= 1, f"train.{stage}.epoch_steps", "at least 1", train.epoch_steps)
        for key in ("learning_rate", "head_learning_rate"):
            rate = getattr(train, key)
            need(0 < rate < float("inf"), f"train.{stage}.{key}", "a number above 0", rate)
        for key in ("weight_decay", "head_epochs", "patience"):
            need(getattr(train, key) >= 0, f"train.{stage}.{key}", "0 or more", getattr(train, key))


def _protocol(config: StudyConfig, need: Callable[[bool, str, str, Any], None]) -> None:
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
    need(
        not constants,
        "audio.scaling",
        "training: AudioSet's constants do not fit sound that protocol.subject_scaling has standardised",
        config.audio.scaling,
    )
