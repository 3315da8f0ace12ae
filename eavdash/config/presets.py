"""The presets, and when to take which.

``quick`` is small enough for a laptop, ``frozen`` is quick with pretrained encoders where they are at hand
(models/automatic.py), ``paper`` is the configuration of Yin et al. (2025).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eavdash.config.choices import AUTO, MODALITIES
from eavdash.config.schema import (
    AudioConfig,
    EegConfig,
    FusionConfig,
    ProtocolConfig,
    StudyConfig,
    TrainConfig,
    TrainConfigs,
    VisionConfig,
)
from eavdash.errors import ConfigError
from eavdash.text import plural


def _quick() -> StudyConfig:
    return StudyConfig()


def _paper() -> StudyConfig:
    return StudyConfig(
        preset="paper",
        protocol=ProtocolConfig(name="paper"),
        vision=VisionConfig(
            frames_per_second=5.0,
            margin=0.0,
            detect_every=0.0,
            smoothing=0.0,
            size=224,
            patch=16,
            width=768,
            depth=12,
            heads=12,
            temporal=0,
            dropout=0.0,
        ),
        audio=AudioConfig(
            frames=1024, scaling="ast", stride=10, pool="class", width=768, depth=12, heads=12, dropout=0.0
        ),
        eeg=EegConfig(
            encoder="yin",
            chain="published",
            bad_rules="all",
            montage="auto",
            gaps="refuse",
            marked_channels=True,
            reject_marked=True,
            tokens="pooled",
            width=60,
            depth=6,
            heads=4,
            dropout=0.1,
        ),
        fusion=FusionConfig(kind="paper", dropout=0.5, modality_dropout=0.0),
        train=TrainConfigs(
            vision=TrainConfig(  # 4 windows of 25 frames: 100 frames per batch; published: 64 to 128
                epochs=15,
                batch=4,
                head_epochs=10,
                head_learning_rate=5e-4,
                learning_rate=5e-6,
                augment=False,
                fit="auto",
            ),
            audio=TrainConfig(
                epochs=30,
                batch=32,
                head_epochs=20,
                head_learning_rate=5e-4,
                learning_rate=5e-6,
                augment=False,
                fit="auto",
            ),
            # AdamW without decay is the published Adam. As published, early stopping starts after epoch 150
            # (training/loop.py) and uses test trials, so only with protocol.test_epoch; otherwise all 300 epochs run.
            eeg=TrainConfig(
                epochs=300, batch=32, learning_rate=1e-3, weight_decay=0.0, patience=15, augment=False, fit="auto"
            ),
            fusion=TrainConfig(epochs=10, batch=128, learning_rate=3e-4, augment=False),
            recipe="published",
        ),
    )


#: The settings by which the preset ``frozen`` trains nothing but an encoder's last layer, and their values.
FROZEN: dict[str, Any] = {"fit": "linear"}


def _frozen() -> StudyConfig:
    quick = _quick()
    parts: dict[str, Any] = {m: replace(quick.modality(m), encoder=AUTO) for m in MODALITIES}
    stages: dict[str, Any] = {m: replace(getattr(quick.train, m), **FROZEN) for m in MODALITIES}
    return replace(quick, preset="frozen", **parts, train=replace(quick.train, **stages))


PRESETS = {"quick": _quick, "frozen": _frozen, "paper": _paper}
#: What each preset is, and when to take it.
PRESET_HELP = {
    "quick": "small encoders from scratch, on a laptop: to try everything, or with hundreds of trials per person",
    "frozen": "pretrained encoders as they are where their weights are at hand, minutes on a laptop: with 20 to 60 "
    "trials per person",
    "paper": "the published configuration, with a GPU and weights: to compare with the published figures",
}
#: Trials per person up to which encoders that are trained from scratch are hardly worth it, and from which they are.
FEW, MANY = 60, 200
#: Trials per person below which a person's own folds are too small.
TOO_FEW = 20


def advice(subjects: int, trials: int) -> str:
    """Return a sentence about which preset to take for so many subjects with about ``trials`` trials each."""
    name = "frozen" if trials <= FEW else "frozen or quick, compared on validation trials" if trials < MANY else "quick"
    across = ", across subjects (protocol loso or subject-kfold)" if trials < TOO_FEW and subjects > 2 else ""
    each = plural(subjects, "subject") + f" with about {plural(trials, 'trial')} each"
    return f"{each}: take {name}{across}. " + "; ".join(f"{key}: {text}" for key, text in PRESET_HELP.items()) + "."


def preset(name: str) -> StudyConfig:
    """Return the configuration of a preset.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError.at(
            "preset", expected=f"one of {', '.join(PRESETS)}", found=repr(name), remedy="choose one of them"
        )
    return PRESETS[name]()
