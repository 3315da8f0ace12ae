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
from dataclasses import dataclass, field

from eavdash.config.bounded import (
    count_setting,
    heads_setting,
    layers_setting,
    learning_rate_setting,
    share_setting,
    width_setting,
)
from eavdash.config.checks import check
from eavdash.config.choices import FUSIONS, MODALITIES, PRECISIONS, PROTOCOLS, RECIPES, SPELLINGS, STAGES
from eavdash.config.execution import Execution, Selection
from eavdash.config.setting import setting, settings_of

__all__ = ["Execution", "Selection"]  # beside what is defined here

#: Minimum steps per epoch of the preset quick's encoders: 30 epochs give 240 steps even with few windows.
EPOCH_STEPS = 8


@dataclass(frozen=True)
class VisionConfig:
    """A window's video frames and their encoder."""

    encoder: str = setting("vit", "Encoder: vit, or timm:NAME (such as vit_small_patch16_dinov3), with its own sizes.")
    weights: str = setting(
        "", "Folder or file of a Hugging Face ViT checkpoint or of timm weights; empty: train from scratch."
    )
    frames_per_second: float = setting(1.0, "Frames per second that are read.", above=0, at_most=1_000)
    crop: str = setting(
        "face", "Crop of each frame: the detected face, or the largest centred square.", choices=("face", "centre")
    )
    margin: float = setting(0.2, "Margin on each side of the face, as a share of its size.", at_least=0, at_most=2)
    detect_every: float = setting(
        1.0, "Seconds between face detections; 0: at every frame that is read.", at_least=0, at_most=3_600
    )
    smoothing: float = share_setting(0.5, "Weight of the face's previous position in the tracked one; 0: no smoothing.")
    size: int = setting(64, "Side of the square pictures, in pixels.", at_least=1, at_most=4_096)
    patch: int = setting(8, "Side of a patch, in pixels.", at_least=1, at_most=4_096)
    width: int = width_setting(64)
    depth: int = layers_setting(4)
    heads: int = heads_setting(4)
    temporal: int = setting(
        1, "Transformer layers over the sequence of frames; 0: frames are averaged.", at_least=0, at_most=200
    )
    dropout: float = share_setting(0.1, "Dropout.")


@dataclass(frozen=True)
class AudioConfig:
    """A window's log-mel spectrogram and its encoder."""

    encoder: str = setting("ast", "Encoder of the spectrogram: ast.")
    weights: str = setting("", "Folder or file of a Hugging Face AST checkpoint; empty: train from scratch.")
    from_video: bool = setting(False, "Use the video's sound track for trials without an audio file.")
    channel: str = setting(
        "mix",
        "Channel of a recording that is heard: the mean of all (mix), left, right, its number from 1, or the loudest "
        "one of each trial (loudest).",
    )
    rate: int = setting(16000, "Sampling rate, in Hz.", at_least=8_000, at_most=192_000)
    mels: int = setting(128, "Mel bands.", at_least=1, at_most=4_096)
    frames: int = count_setting(
        0, "Length of the spectrogram in frames of 10 ms; 0: the window's own length.", at_least=0
    )
    scaling: str = setting(
        "training",
        "Scaling per mel band: by the training windows, or by AudioSet's constants (ast).",
        choices=("training", "ast"),
    )
    stride: int = setting(16, "Stride of the patches.", at_least=1, at_most=1_000)
    pool: str = setting(
        "mean",
        "Pooling of the patch tokens: per frequency band, over all, or the class token as published.",
        choices=("bands", "mean", "class"),
    )
    width: int = width_setting(64)
    depth: int = layers_setting(4)
    heads: int = heads_setting(4)
    dropout: float = share_setting(0.1, "Dropout.")


@dataclass(frozen=True)
class EegConfig:
    """A window's EEG, its preprocessing (data/eeg/prepare.py) and its encoder."""

    encoder: str = setting("eegformer", "Encoder: eegformer, yin, or braindecode:NAME, a classifier of braindecode.")
    weights: str = setting("", "Weights published for braindecode:NAME, or trained here; empty: train from scratch.")
    chain: str = setting(
        "trial",
        "Filter each trial separately, or EAV's own chain across trial boundaries (published).",
        choices=("trial", "published"),
    )
    rate: float = setting(100.0, "Sampling rate after resampling, in Hz.", above=0, at_most=100_000)
    low: float = setting(0.5, "Lower edge of the pass band, in Hz.", at_least=0, at_most=100_000)
    high: float = setting(45.0, "Upper edge of the pass band, in Hz.", above=0, at_most=100_000)
    notch: float = setting(
        0.0, "Mains frequency to remove with its harmonics, in Hz; 0: none.", at_least=0, at_most=100_000
    )
    reference: str = setting("", "`average`, or channels such as `A1+A2`; empty: as recorded.")
    bad_channels: str = setting(
        "keep",
        "Channels that are bad in a trial or missing from it: keep, or interpolate.",
        choices=("keep", "interpolate"),
    )
    bad_rules: str = setting(
        "prep", "Which rules find bad channels: those of earlier versions (prep), or all.", choices=("prep", "all")
    )
    reject: float = setting(
        0.0,
        "Peak-to-peak amplitude in µV above which a training window is left out; 0: none is.",
        at_least=0,
        at_most=1e9,
    )
    clip: float = setting(0.0, "Amplitude in µV at which signals are clipped; 0: none.", at_least=0, at_most=1e9)
    channels: tuple[str, ...] = setting((), "Channels to read; empty: the scalp channels that all recordings share.")
    montage: str = setting(
        "10-05",
        "Which channels are EEG: electrodes of the 10-05 system, a BioSemi cap or an EGI net, and pairs of electrodes "
        "(auto), all that the file calls EEG (file), or as in earlier versions (10-05).",
        choices=("auto", "file", "10-05"),
    )
    repeated: str = setting(
        "leave-out",
        "A channel's name that stands more than once in a file: leave all of them out, or read the first.",
        choices=("leave-out", "first"),
    )
    gaps: str = setting(
        "ignore",
        "A trial with a gap of an interrupted recording (EDF+D): refuse it, or count samples as if there were no gaps, "
        "as earlier versions did (ignore).",
        choices=("refuse", "ignore"),
    )
    marked_channels: bool = setting(
        False, "Count channels that a recording or BIDS marks as bad among those that bad_channels interpolates."
    )
    reject_marked: bool = setting(False, "Leave training windows under a BAD annotation out.")
    tokens: str = setting(
        "whole", "Features of braindecode's pretrained models: their mean, or all.", choices=("pooled", "whole")
    )
    filters: int = setting(8, "EEGformer's C: filters of its convolutions.", at_least=1, at_most=10_000)
    width: int = width_setting(32, "EEGformer's D: width of the transformers.")
    depth: int = layers_setting(1, "Blocks in each of EEGformer's three transformers.")
    heads: int = heads_setting(4)
    segments: int = setting(10, "EEGformer's M: segments of a window.", at_least=1, at_most=10_000)
    dropout: float = share_setting(0.1, "Dropout.")


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
    precision: str = setting(
        "auto", "Number format: auto is bf16 on devices where it is fast, float32 elsewhere.", choices=PRECISIONS
    )


@dataclass(frozen=True)
class TrainConfigs:
    """One :class:`TrainConfig` per stage, and the recipe that they share."""

    vision: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS))
    audio: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS))
    eeg: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS))
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
    subject_scaling: bool = setting(False, "Standardise each subject with all of its unlabelled windows; transductive.")
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
    fusion: FusionConfig = field(default_factory=FusionConfig)
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
        """Return the optimisation settings of one stage."""
        return typing.cast(TrainConfig, getattr(self.train, stage))


#: The settings of a study by their dotted keys: ``SETTINGS["eeg.low"].help``.
SETTINGS = settings_of(StudyConfig)
