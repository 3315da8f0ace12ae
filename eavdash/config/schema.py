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

from eavdash.config.checks import check
from eavdash.config.choices import MODALITIES, STAGES

#: Minimum steps per epoch of the preset quick's encoders: 30 epochs give 240 steps even with few windows.
EPOCH_STEPS = 8


@dataclass(frozen=True)
class VisionConfig:
    """A window's video frames and their encoder."""

    encoder: str = "vit"  # or "timm:NAME", a ViT-like model of timm, which has its own sizes
    weights: str = ""  # folder or file of a Hugging Face ViT checkpoint or of timm weights; empty: train from scratch
    frames_per_second: float = 1.0
    crop: str = "face"  # the detected face (data/video/faces.py), or "centre": the largest centred square
    margin: float = 0.2  # added on each side of the face, as a share of its size
    detect_every: float = 1.0  # seconds between face detections; 0: at every frame that is read
    smoothing: float = 0.5  # weight of the face's previous position in the tracked one; 0: no smoothing
    size: int = 64  # pixels, square
    patch: int = 8
    width: int = 64
    depth: int = 4
    heads: int = 4
    temporal: int = 1  # transformer layers over the sequence of frames; 0: frames are averaged
    dropout: float = 0.1


@dataclass(frozen=True)
class AudioConfig:
    """A window's log-mel spectrogram and its encoder."""

    encoder: str = "ast"
    weights: str = ""  # folder or file of a Hugging Face AST checkpoint; empty: train from scratch
    from_video: bool = False  # trials without an audio file use the sound track of their video
    rate: int = 16000  # Hz
    mels: int = 128
    frames: int = 0  # length of the spectrogram in 10 ms frames; 0: the window's own length
    scaling: str = "training"  # per-mel statistics of the training windows, or "ast": AudioSet's constants
    stride: int = 16
    #: pooling of the patch tokens: "bands" per frequency band, "mean" over all, "class": the class token, as published
    pool: str = "mean"
    width: int = 64
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1


@dataclass(frozen=True)
class EegConfig:
    """A window's EEG, its preprocessing (data/eeg/prepare.py) and its encoder."""

    encoder: str = "eegformer"  # or "yin", or "braindecode:NAME", a classifier of braindecode
    weights: str = ""
    chain: str = "trial"  # filter each trial separately, or "published": EAV's own chain, across trial boundaries
    rate: float = 100.0  # Hz, after resampling
    low: float = 0.5  # Hz, pass band
    high: float = 45.0
    notch: float = 0.0  # Hz, mains frequency, removed with its harmonics; 0: none
    reference: str = ""  # "average", or channels joined by "+"; empty: as recorded
    bad_channels: str = "keep"  # or "interpolate": channels that are bad in a trial or missing from it
    bad_rules: str = "prep"  # how bad channels are found (data/eeg/bad.py): "prep", as in earlier versions, or "all"
    reject: float = 0.0  # µV peak to peak; training windows that exceed it in a channel are left out; 0: none
    clip: float = 0.0  # µV; larger amplitudes are clipped; 0: none
    channels: tuple[str, ...] = ()  # empty: the scalp channels that all recordings of the run share
    filters: int = 8  # EEGformer's C
    width: int = 32  # EEGformer's D
    depth: int = 1  # blocks in each of its three transformers
    heads: int = 4
    segments: int = 10  # EEGformer's M
    dropout: float = 0.1


@dataclass(frozen=True)
class FusionConfig:
    """The fusion of the modalities' tokens into one decision."""

    kind: str = "attention"
    width: int = 64
    heads: int = 4
    depth: int = 1  # layers of attention between modalities
    dropout: float = 0.2
    modality_dropout: float = 0.2  # probability of hiding a modality of a training window
    match_reliability: bool = True  # train on features as reliable as those of unseen trials (training/reliability.py)
    calibrate: bool = False  # divide the logits by a temperature fitted on validation windows
    joint_epochs: int = 0  # epochs of joint fine-tuning of encoders and fusion afterwards; not in the paper
    joint_learning_rate: float = 1e-5


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation of one stage."""

    epochs: int = 30
    batch: int = 16  # windows
    #: minimum steps per epoch: few windows make smaller batches, then several passes (training/batching.py)
    epoch_steps: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    head_epochs: int = 0  # initial epochs that train only the head (pretrained encoders)
    head_learning_rate: float = 5e-4
    patience: int = 0  # epochs without a better validation loss before stopping; 0: never
    augment: bool = True
    micro_batch: int = 0  # windows in memory at once, with gradient accumulation; 0: the whole batch
    precision: str = "auto"  # bf16 on devices where it is fast, float32 elsewhere; or one of the two


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
    """The split of trials into train / validation / test (docs/guide.md, "Protocols")."""

    name: str = "conversation"
    folds: int = 5  # at most; limited by the number of groups (or subjects)
    test_share: float = 0.3  # of `paper`
    subject_scaling: bool = False  # standardise each subject with all of its unlabelled windows; transductive
    pooled: bool = False  # train on all subjects' training trials of the fold first, then fine-tune per subject
    test_epoch: bool = False  # keep the epoch with the best test score, as published; biased upwards


@dataclass(frozen=True)
class StudyConfig:
    """The settings that are fixed when a study is created."""

    preset: str = "quick"
    stages: tuple[str, ...] = STAGES
    window: float = 5.0  # seconds
    where: tuple[str, ...] = ("auto",)  # "column=value" filters on the trial table; "auto": EAV's speaking trials
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    audio: AudioConfig = field(default_factory=lambda: AudioConfig(pool="bands"))  # works best with few recordings
    eeg: EegConfig = field(default_factory=lambda: EegConfig(bad_rules="all"))
    fusion: FusionConfig = field(default_factory=FusionConfig)
    train: TrainConfigs = field(default_factory=TrainConfigs)

    def __post_init__(self) -> None:
        check(self)

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


@dataclass(frozen=True)
class Selection:
    """The part of a study that is run. ``subjects`` and ``folds`` empty: all of them."""

    subjects: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Execution:
    """The way runs are computed; never part of a study's identity."""

    device: str = "auto"  # auto, cpu, cuda, cuda:1 ...
    executor: str = "local"
    threads: int = 1  # torch threads per worker
    compile: bool = False  # torch.compile
    memory: float = 0.0  # GiB of device memory that a batch may use; 0: all of it
    priority: int = 0  # higher starts first, among the runs of all studies
    runs_per_gpu: int = 1  # runs that share a GPU, each with its share of the memory
    ram: float = 0.0  # GiB of main memory that a run needs; 0: as much as earlier runs of its stage used
    ray_address: str = ""  # address of the Ray head; empty: RAY_API_SERVER_ADDRESS, or this machine
    slurm: tuple[str, ...] = ()  # options of sbatch, such as "partition=gpu" or "time=04:00:00"
