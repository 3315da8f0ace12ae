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
#: Those whose folds are over subjects.
ACROSS = ("loso", "subject-kfold")
#: Those whose number of folds is protocol.folds, at most.
FOLDED = ("conversation", "blocks", "subject-kfold")
ENCODERS = {
    "vision": ("vit", TABLE),
    "audio": ("ast", "voice", "wav2vec2", TABLE),
    "eeg": ("eegformer", "yin", "tangent"),
}
#: Prefixes of library encoders: ``timm:deit_tiny_patch16_224``, ``braindecode:EEGNet`` (an optional extra).
LIBRARIES = {"vision": "timm:", "eeg": "braindecode:"}
#: What an encoder of sound hears, where it is not the log-mel spectrogram (data/audio/front_ends.py).
LOGMEL = "logmel"
FRONT_ENDS = {"voice": "voice", "wav2vec2": "wave"}
#: The only sampling rate of these encoders, in Hz.
RATES = {"voice": 16_000, "wav2vec2": 16_000}
#: Encoders whose weights come inside an installed package (models/packaged.py), so that they are always pretrained.
PACKAGED = ("voice",)
PRECISIONS = ("auto", "float32", "bf16")
#: What a stage's optimisation does besides AdamW (training/loop.py).
RECIPES = ("default", "published")
#: How a stage is fitted; ``auto`` becomes one of the others when a study is planned (config/fitting.py).
FITS = ("auto", "gradient", "linear")
#: How labels and subjects are written: as they are, in one Unicode form, or without differences in case and the like.
SPELLINGS = ("written", "unicode", "merged")
FUSIONS = ("attention", "transformer", "concat", "paper")
EXECUTORS = ("local", "ray", "slurm")
#: An encoder that planning chooses by what is at hand (models/automatic.py); no study's record has it.
AUTO = "auto"
#: What may become of trials whose recordings cannot be used, besides being left out by name: options of ``train``, also
#: in the launch form.
UNUSABLE = {
    "--strict": "refuse to train if there is one",
    "--leave-out": "also leave out trials with these findings, such as silent or black",
    "--keep": "use trials of these kinds without that recording, such as not-finite",
}
