"""The settings of each modality's windows: how its recordings are read, and the encoder that reads them.

The defaults of these classes are the values of studies that were made before a setting existed
(``eavdash.config.schema``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eavdash.config.bounded import count_setting, heads_setting, layers_setting, share_setting, width_setting
from eavdash.config.choices import CHANNELS
from eavdash.config.feature_table import FeatureTableConfig
from eavdash.config.setting import setting


@dataclass(frozen=True)
class VisionConfig:
    """A window's video frames and their encoder."""

    encoder: str = setting(
        "vit", "Encoder: vit, table, or timm:NAME (such as vit_small_patch16_dinov3), with its sizes."
    )
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
    table: FeatureTableConfig = field(default_factory=FeatureTableConfig)


@dataclass(frozen=True)
class AudioConfig:
    """A window's sound and its encoder."""

    encoder: str = setting("ast", "Encoder: ast, voice (of speakers, pretrained), wav2vec2 (or HuBERT, WavLM), table.")
    weights: str = setting(
        "", "Folder or file of the encoder's Hugging Face checkpoint; empty: from scratch, or voice's own."
    )
    from_video: bool = setting(False, "Use the video's sound track for trials without an audio file.")
    channel: str = setting(
        "mix",
        "Channel of a recording that is heard: the mean of all (mix), left, right, its number from 1, or the loudest "
        "one of each trial (loudest).",
        examples=CHANNELS,
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
    table: FeatureTableConfig = field(default_factory=FeatureTableConfig)


@dataclass(frozen=True)
class EegConfig:
    """A window's EEG, its preprocessing (data/eeg/prepare.py) and its encoder."""

    encoder: str = setting("eegformer", "Encoder: eegformer, yin, tangent, or braindecode:NAME (its models).")
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
    width: int = width_setting(32, "EEGformer's D: width of the transformers; tangent's width of a band's token.")
    depth: int = layers_setting(1, "Blocks in each of EEGformer's three transformers.")
    heads: int = heads_setting(4)
    segments: int = setting(10, "EEGformer's M: segments of a window.", at_least=1, at_most=10_000)
    dropout: float = share_setting(0.1, "Dropout.")
