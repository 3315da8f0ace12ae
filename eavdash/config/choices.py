"""The allowed values of settings, and the trial table's column for each modality."""

from __future__ import annotations

#: The encoder of recordings that are tables of features.
TABLE = "table"
MODALITIES = ("vision", "audio", "eeg")
STAGES = (*MODALITIES, "fusion")
#: The column of the trial table with each modality's file.
COLUMN = {"vision": "video", "audio": "audio", "eeg": "eeg"}
#: The values of ``audio.channel`` besides a channel's number, and the numbers that two of them stand for.
MIX, LOUDEST = "mix", "loudest"
CHANNELS = (MIX, "left", "right", LOUDEST)
CHANNEL_NUMBERS = {"left": 1, "right": 2}
MOST_CHANNELS = 1024
PROTOCOLS = ("conversation", "blocks", "paper", "loso", "subject-kfold")
ENCODERS = {"vision": ("vit", TABLE), "audio": ("ast", TABLE), "eeg": ("eegformer", "yin")}
#: Prefixes of library encoders: ``timm:deit_tiny_patch16_224``, ``braindecode:EEGNet`` (an optional extra).
LIBRARIES = {"vision": "timm:", "eeg": "braindecode:"}
PRECISIONS = ("auto", "float32", "bf16")
#: What a stage's optimisation does besides AdamW (training/loop.py).
RECIPES = ("default", "published")
#: How labels and subjects are written: as they are, in one Unicode form, or without differences in case and the like.
SPELLINGS = ("written", "unicode", "merged")
FUSIONS = ("attention", "concat", "paper")
EXECUTORS = ("local", "ray", "slurm")
