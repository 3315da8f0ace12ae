"""EAV's layout with tiny files, for tests: right names, numbers, shapes and labels; a few samples of signal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io

EMOTIONS = ("Neutral", "Sadness", "Anger", "Happiness", "Calmness")
SEQUENCE = "AACCSSHACHHSSAACCHHS"  # of the 20 conversations
LETTER = {"A": "Anger", "C": "Calmness", "S": "Sadness", "H": "Happiness"}


def trial(number: int) -> tuple[str, str]:
    """Condition and emotion of trial NNN in EAV's order."""
    conversation, place = divmod(number - 1, 10)
    return ("Listening", "Speaking")[place % 2], "Neutral" if place < 2 else LETTER[SEQUENCE[conversation]]


def label_matrix(trials: int = 200) -> np.ndarray:
    matrix = np.zeros((10, trials))
    for n in range(1, trials + 1):
        condition, emotion = trial(n)
        matrix[2 * EMOTIONS.index(emotion) + (condition == "Speaking"), n - 1] = 1
    return matrix


def video_name(n: int) -> str:
    condition, emotion = trial(n)
    return f"{n:03d}_Trial_{(n - 1) % 20 + 1:02d}_{condition}_{emotion}.mp4"


def audio_name(n: int, suffix: str = "aud") -> str:
    return f"{n:03d}_Trial_{2 * -(-n // 40):02d}_Speaking_{trial(n)[1]}_{suffix}.wav"


def make_subject(root: Path, name: str = "subject1", trials: int = 200, key: str = "seg1", samples: int = 4) -> Path:
    """One subject's folder; sounds and videos are empty files, the EEG has ``samples`` per trial."""
    folder = root / name
    number = "".join(c for c in name if c.isdigit()).lstrip("0")
    for part in ("EEG", "Audio", "Video"):
        (folder / part).mkdir(parents=True)
    eeg = np.arange(samples * 30 * trials, dtype="float32").reshape(samples, 30, trials)
    scipy.io.savemat(folder / "EEG" / f"subject{number}_eeg.mat", {key: eeg})
    scipy.io.savemat(folder / "EEG" / f"subject{number}_eeg_label.mat", {"label": label_matrix(trials)})
    for n in range(1, trials + 1):
        (folder / "Video" / video_name(n)).touch()
        if n % 2 == 0:
            (folder / "Audio" / audio_name(n)).touch()
    return folder
