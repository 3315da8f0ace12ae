"""The presets: ``quick`` is small enough for a laptop, ``paper`` is the configuration of Yin et al. (2025)."""

from __future__ import annotations

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
                epochs=15, batch=4, head_epochs=10, head_learning_rate=5e-4, learning_rate=5e-6, augment=False
            ),
            audio=TrainConfig(
                epochs=30, batch=32, head_epochs=20, head_learning_rate=5e-4, learning_rate=5e-6, augment=False
            ),
            # AdamW without decay is the published Adam. As published, early stopping starts after epoch 150
            # (training/loop.py) and uses test trials, so only with protocol.test_epoch; otherwise all 300 epochs run.
            eeg=TrainConfig(epochs=300, batch=32, learning_rate=1e-3, weight_decay=0.0, patience=15, augment=False),
            fusion=TrainConfig(epochs=10, batch=128, learning_rate=3e-4, augment=False),
            recipe="published",
        ),
    )


PRESETS = {"quick": _quick, "paper": _paper}


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
