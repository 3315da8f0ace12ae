"""All settings, as frozen dataclasses that convert to and from JSON.

In: a configuration and ``key=value`` strings, or a dictionary read from ``study.json``.
Out: a :class:`StudyConfig`, which is fixed when the study is created. The subjects, folds and seeds that are run
(:class:`Selection`) may grow later, and the way they are run (:class:`Execution`) may change at any time.

The defaults of :class:`StudyConfig` are the preset ``quick`` (see ``eavdash.config.presets``). A setting that was added
later has two defaults: the one in :class:`StudyConfig` is the value of ``quick`` today, and the one in the setting's
own class is the value with which studies without this setting were made, so that old studies keep their meaning.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field, replace

from eavdash.config.bounded import (
    count_setting,
    heads_setting,
    layers_setting,
    learning_rate_setting,
    share_setting,
    width_setting,
)
from eavdash.config.checks import check
from eavdash.config.choices import FITS, FUSIONS, MODALITIES, PRECISIONS, PROTOCOLS, RECIPES, SPELLINGS, STAGES
from eavdash.config.execution import Execution, Selection
from eavdash.config.setting import setting, settings_of
from eavdash.config.windows import AudioConfig, EegConfig, VisionConfig

__all__ = ["AudioConfig", "EegConfig", "Execution", "Selection", "VisionConfig"]  # beside what is defined here

#: Minimum steps per epoch of the preset quick's encoders: 30 epochs give 240 steps even with few windows.
EPOCH_STEPS = 8


@dataclass(frozen=True)
class FusionConfig:
    """The fusion of the modalities' tokens into one decision."""

    kind: str = setting("attention", "Kind of fusion.", choices=FUSIONS)
    width: int = width_setting(64, "Common width of the projected tokens.")
    heads: int = heads_setting(4)
    depth: int = layers_setting(1, "Layers of attention between modalities.")
    dropout: float = share_setting(0.2, "Dropout.")
    modality_dropout: float = share_setting(0.2, "Probability of hiding a modality of a training window.")
    match_reliability: bool = setting(
        True, "Train on features as reliable as those of unseen trials (training/reliability.py)."
    )
    mute_noise: bool = setting(
        False,
        "transformer: an absent modality, and an encoder whose opinions validation trials show no evidence for, count "
        "as saying nothing (training/start.py).",
    )
    calibrate: bool = setting(False, "Divide the logits by a temperature fitted on validation windows.")
    joint_epochs: int = count_setting(
        0, "Epochs of joint fine-tuning of encoders and fusion afterwards; not in the paper.", at_least=0
    )
    joint_learning_rate: float = learning_rate_setting(1e-5, "Learning rate of the joint fine-tuning.")


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation of one stage."""

    epochs: int = count_setting(30, "Epochs.")
    batch: int = count_setting(16, "Windows per batch.")
    epoch_steps: int = count_setting(
        1, "Minimum steps per epoch: few windows make smaller batches, then several passes (training/batching.py)."
    )
    learning_rate: float = learning_rate_setting(1e-3, "Learning rate.")
    weight_decay: float = setting(0.01, "Weight decay.", at_least=0, at_most=1_000)
    head_epochs: int = count_setting(0, "Initial epochs that train only the head (pretrained encoders).", at_least=0)
    head_learning_rate: float = learning_rate_setting(5e-4, "Learning rate of the head-only epochs.")
    patience: int = count_setting(
        0, "Epochs without a better validation loss before stopping; 0: never stop early.", at_least=0
    )
    augment: bool = setting(True, "Augment training windows.")
    micro_batch: int = count_setting(
        0, "Windows in memory at once, with gradient accumulation; 0: the whole batch.", at_least=0
    )
    fit: str = setting(
        "gradient",
        "Fit of the stage: by gradients over epochs, or of a frozen encoder's last linear layer alone, by a regression "
        "whose L2 is chosen on validation windows (linear); auto: linear for tangent, otherwise gradient.",
        choices=FITS,
    )
    precision: str = setting(
        "auto", "Number format: auto is bf16 on devices where it is fast, float32 elsewhere.", choices=PRECISIONS
    )


@dataclass(frozen=True)
class TrainConfigs:
    """One :class:`TrainConfig` per stage, and the recipe that they share."""

    vision: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS, fit="auto"))
    audio: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS, fit="auto"))
    eeg: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS, fit="auto"))
    # The fusion is small and learns from cached features: an epoch costs a fraction of an encoder's.
    fusion: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=60, learning_rate=3e-3))
    recipe: str = setting(
        "default",
        "Label smoothing, warm-up, cosine schedule and gradient clipping (default), or a plain AdamW (published).",
        choices=RECIPES,
    )


@dataclass(frozen=True)
class ProtocolConfig:
    """The split of trials into train / validation / test (docs/guide.md, "Protocols")."""

    name: str = setting("conversation", "Protocol.", choices=PROTOCOLS)
    folds: int = setting(
        5, "Folds at most; limited by the number of groups (or subjects).", at_least=2, at_most=1_000_000
    )
    test_share: float = setting(0.3, "Share of test trials of the protocol paper.", above=0, below=1)
    subject_scaling: str = setting(
        "off",
        "Scale each person's EEG and audio by that person's own unlabelled trials: not at all (off), by the first K, "
        "which are then not scored (calibration:K, across subjects only), or by all (all; transductive).",
        examples=("off", "calibration:8", "all"),
    )
    pooled: bool = setting(
        False, "Train on all subjects' training trials of the fold first, then fine-tune per subject."
    )
    test_epoch: bool = setting(False, "Keep the epoch with the best test score, as published; biased upwards.")


@dataclass(frozen=True)
class NamesConfig:
    """The spelling of names in the trial table (data/spelling.py)."""

    labels: str = setting(
        "written",
        "Labels as written, in one Unicode form, or merged: also without differences in case, blanks and numbers.",
        choices=SPELLINGS,
    )
    subjects: str = setting("written", "Subjects and groups, likewise.", choices=SPELLINGS)


@dataclass(frozen=True)
class StudyConfig:
    """The settings that are fixed when a study is created."""

    preset: str = setting("quick", "The preset that the study started from; chosen with --preset.")
    stages: tuple[str, ...] = setting(STAGES, "Stages to train.")
    window: float = setting(5.0, "Length of a window, in seconds.", at_least=0.01, at_most=86_400)
    where: tuple[str, ...] = setting(
        ("auto",), "Filters `column=value` on the trial table; auto: EAV's speaking trials."
    )
    names: NamesConfig = field(default_factory=lambda: NamesConfig(labels="unicode", subjects="unicode"))
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    audio: AudioConfig = field(default_factory=lambda: AudioConfig(pool="bands"))  # works best with few recordings
    eeg: EegConfig = field(
        default_factory=lambda: EegConfig(
            bad_rules="all", montage="auto", gaps="refuse", marked_channels=True, reject_marked=True, tokens="pooled"
        )
    )
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(kind="transformer", mute_noise=True))
    train: TrainConfigs = field(default_factory=TrainConfigs)

    def __post_init__(self) -> None:
        check(self, SETTINGS)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities among the stages, in canonical order."""
        return tuple(m for m in MODALITIES if m in self.stages)

    def modality(self, name: str) -> VisionConfig | AudioConfig | EegConfig:
        """Return the configuration of one modality."""
        return typing.cast("VisionConfig | AudioConfig | EegConfig", getattr(self, name))

    def training(self, stage: str) -> TrainConfig:
        """Return the optimisation settings of one stage; a linear fit is one epoch without others before it."""
        settings = typing.cast(TrainConfig, getattr(self.train, stage))
        return replace(settings, epochs=1, head_epochs=0, patience=0) if settings.fit == "linear" else settings


#: The settings of a study by their dotted keys: ``SETTINGS["eeg.low"].help``.
SETTINGS = settings_of(StudyConfig)
