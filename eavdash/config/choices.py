"""The values that a setting can be chosen from, and what the modalities are called in a trial table."""

from __future__ import annotations

MODALITIES = ("vision", "audio", "eeg")
STAGES = (*MODALITIES, "fusion")
#: Column of the trial table that holds each modality's file.
COLUMN = {"vision": "video", "audio": "audio", "eeg": "eeg"}
PROTOCOLS = ("conversation", "blocks", "paper", "loso", "subject-kfold")
ENCODERS = {"vision": ("vit",), "audio": ("ast",), "eeg": ("eegformer", "yin")}
#: Encoders by a library's own names: ``timm:deit_tiny_patch16_224``, ``braindecode:EEGNet`` (an optional extra).
LIBRARIES = {"vision": "timm:", "eeg": "braindecode:"}
PRECISIONS = ("auto", "float32", "bf16")
FUSIONS = ("attention", "concat", "paper")
EXECUTORS = ("local", "ray", "slurm")
