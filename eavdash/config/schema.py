"""Everything that can be configured, as frozen dataclasses that become JSON and come back from it.

In: a configuration and ``key=value`` strings, or a dictionary read from ``study.json``.
Out: a :class:`StudyConfig`. It is what a study freezes; which subjects, folds and seeds of it are run
(:class:`Selection`) may grow later, and how they are run (:class:`Execution`) may change at any time.

:class:`StudyConfig`'s defaults are the preset ``quick`` (see ``eavdash.config.presets``). A setting that came later has
two: what ``quick`` says now stands there, and the setting's own default is how studies without it were made, so that
these mean what they meant.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

from eavdash.config.checks import check
from eavdash.config.choices import MODALITIES, STAGES

#: Of the preset quick's encoders, which 30 epochs then give 240 steps however few the windows.
EPOCH_STEPS = 8


@dataclass(frozen=True)
class VisionConfig:
    """Frames of a window and the transformer that reads them."""

    encoder: str = "vit"  # or "timm:NAME", a ViT-like model of timm; its sizes take the place of those below
    weights: str = ""  # folder or file of a Hugging Face ViT checkpoint, or of timm's weights; empty: from scratch
    frames_per_second: float = 1.0
    crop: str = "face"  # the face that a detector finds (data/video/faces.py), or "centre": the largest centred square
    margin: float = 0.2  # added on each side of the face, as a share of its size
    detect_every: float = 1.0  # seconds between two looks for the face; 0: at every frame that is read
    smoothing: float = 0.5  # weight of the face's earlier place in the tracked one; 0: the newest place alone
    size: int = 64  # pixels, square
    patch: int = 8
    width: int = 64
    depth: int = 4
    heads: int = 4
    temporal: int = 1  # transformer layers in which frames attend to frames, in their order; 0: frames are averaged
    dropout: float = 0.1


@dataclass(frozen=True)
class AudioConfig:
    """Log-mel spectrogram of a window and the transformer that reads it."""

    encoder: str = "ast"
    weights: str = ""  # folder or file of a Hugging Face AST checkpoint; empty: from scratch
    from_video: bool = False  # trials without a sound file take their video's sound track
    rate: int = 16000  # Hz
    mels: int = 128
    frames: int = 0  # length of the spectrogram in 10 ms frames; 0: the window's own length
    scaling: str = "training"  # per-mel statistics of the training windows, or "ast": AudioSet's constants
    stride: int = 16
    #: patches' tokens become one: "bands" keeps the frequencies apart, "mean" does not; "class" is as published
    pool: str = "mean"
    width: int = 64
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1


@dataclass(frozen=True)
class EegConfig:
    """EEG of a window, its preprocessing (data/eeg/prepare.py) and the transformer that reads it."""

    encoder: str = "eegformer"  # or "yin", or "braindecode:NAME", a classifier of braindecode
    weights: str = ""
    chain: str = "trial"  # each trial filtered by itself, or "published": EAV's own chain, across trials' borders
    rate: float = 100.0  # Hz, after resampling
    low: float = 0.5  # Hz, pass band
    high: float = 45.0
    notch: float = 0.0  # Hz, of the mains; its harmonics too; 0: none
    reference: str = ""  # "average", or channels joined by "+"; empty: as recorded
    bad_channels: str = "keep"  # or "interpolate": channels that are bad in a trial, and wanted ones that it lacks
    reject: float = 0.0  # µV peak to peak; training windows that exceed it in a channel are not learned from; 0: none
    clip: float = 0.0  # µV; larger deflections are cut off; 0: none
    channels: tuple[str, ...] = ()  # empty: the scalp channels common to the run's recordings
    filters: int = 8  # EEGformer's C
    width: int = 32  # EEGformer's D
    depth: int = 1  # blocks in each of its three transformers
    heads: int = 4
    segments: int = 10  # EEGformer's M
    dropout: float = 0.1


@dataclass(frozen=True)
class FusionConfig:
    """How the modalities' tokens become one decision."""

    kind: str = "attention"
    width: int = 64
    heads: int = 4
    depth: int = 1  # layers in which modality attends to modality
    dropout: float = 0.2
    modality_dropout: float = 0.2  # probability that a present modality is hidden from a training window
    match_reliability: bool = True  # train on features as reliable as new ones (training/reliability.py)
    calibrate: bool = False  # divide the logits by a temperature fitted on validation windows
    joint_epochs: int = 0  # epochs of fine-tuning encoders and fusion together afterwards; beyond the paper
    joint_learning_rate: float = 1e-5


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation of one stage."""

    epochs: int = 30
    batch: int = 16  # windows
    #: of an epoch, at least: with few windows batches are smaller, then shown several times (training/batching.py)
    epoch_steps: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    head_epochs: int = 0  # first epochs that train the head alone (pretrained encoders)
    head_learning_rate: float = 5e-4
    patience: int = 0  # epochs without a better validation loss before stopping; 0: never
    augment: bool = True
    micro_batch: int = 0  # windows in memory at once, whose gradients add up to a batch's; 0: the whole batch
    precision: str = "auto"  # bf16 where the device computes it fast, float32 elsewhere; or either of them


@dataclass(frozen=True)
class TrainConfigs:
    """One :class:`TrainConfig` per stage."""

    vision: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS))
    audio: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS))
    eeg: TrainConfig = field(default_factory=lambda: TrainConfig(epoch_steps=EPOCH_STEPS))
    # The fusion is small and learns from cached features: an epoch costs a fraction of an encoder's.
    fusion: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=60, learning_rate=3e-3))


@dataclass(frozen=True)
class ProtocolConfig:
    """How trials become train / validation / test (docs/guide.md, "Protocols")."""

    name: str = "conversation"
    folds: int = 5  # at most; never more than there are groups (or subjects)
    test_share: float = 0.3  # of `paper`
    subject_scaling: bool = False  # standardise each subject by all of its unlabelled windows; transductive
    pooled: bool = False  # train on all subjects' training trials of the fold first, then fine-tune on one's own
    test_epoch: bool = False  # keep the epoch that scores best on the test trials, as published; never honest


@dataclass(frozen=True)
class StudyConfig:
    """What a study freezes."""

    preset: str = "quick"
    stages: tuple[str, ...] = STAGES
    window: float = 5.0  # seconds
    where: tuple[str, ...] = ("auto",)  # "column=value" filters on the trial table; "auto": EAV's speaking trials
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    audio: AudioConfig = field(default_factory=lambda: AudioConfig(pool="bands"))  # learns from few recordings
    eeg: EegConfig = field(default_factory=EegConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    train: TrainConfigs = field(default_factory=TrainConfigs)

    def __post_init__(self) -> None:
        check(self)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities among the stages, in canonical order."""
        return tuple(m for m in MODALITIES if m in self.stages)

    def modality(self, name: str) -> VisionConfig | AudioConfig | EegConfig:
        """The configuration of one modality."""
        return typing.cast("VisionConfig | AudioConfig | EegConfig", getattr(self, name))

    def training(self, stage: str) -> TrainConfig:
        """The optimisation settings of one stage."""
        return typing.cast(TrainConfig, getattr(self.train, stage))


@dataclass(frozen=True)
class Selection:
    """Which parts of a study are run. ``subjects`` and ``folds`` empty: all there are."""

    subjects: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Execution:
    """Where runs are computed; never part of a study's identity."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...
    executor: str = "local"
    threads: int = 1  # torch threads per worker
    compile: bool = False  # torch.compile
    memory: float = 0.0  # GiB that a batch may take on the device; 0: as much as there is
    priority: int = 0  # higher goes first, among the runs of all studies
    runs_per_gpu: int = 1  # runs that share a GPU, each with its part of the memory
    ram: float = 0.0  # GiB of main memory that a run needs; 0: as earlier runs of its stage took
    ray_address: str = ""  # of the Ray cluster's head; empty: RAY_API_SERVER_ADDRESS, or this machine's
    slurm: tuple[str, ...] = ()  # options of sbatch, "partition=gpu", "time=04:00:00"
