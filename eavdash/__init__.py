"""eavdash: train, compare and explain emotion recognition from EEG, audio and video."""

__version__ = "0.1.0"
