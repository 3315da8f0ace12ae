"""The allowed values of settings, and the trial table's column for each modality."""

from __future__ import annotations

MODALITIES = ("vision", "audio", "eeg")
STAGES = (*MODALITIES, "fusion")
#: The column of the trial table with each modality's file.
COLUMN = {"vision": "video", "audio": "audio", "eeg": "eeg"}
PROTOCOLS = ("conversation", "blocks", "paper", "loso", "subject-kfold")
ENCODERS = {"vision": ("vit",), "audio": ("ast",), "eeg": ("eegformer", "yin")}
#: Prefixes of library encoders: ``timm:deit_tiny_patch16_224``, ``braindecode:EEGNet`` (an optional extra).
LIBRARIES = {"vision": "timm:", "eeg": "braindecode:"}
PRECISIONS = ("auto", "float32", "bf16")
FUSIONS = ("attention", "concat", "paper")
EXECUTORS = ("local", "ray", "slurm")
