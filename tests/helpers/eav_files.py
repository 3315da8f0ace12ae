"""EAV's layout with tiny files, for tests: right names, numbers, shapes and labels; a few samples of signal."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.io

EMOTIONS = ("Neutral", "Sadness", "Anger", "Happiness", "Calmness")
SEQUENCE = "AACCSSHACHHSSAACCHHS"  # of the 20 conversations
LETTER = {"A": "Anger", "C": "Calmness", "S": "Sadness", "H": "Happiness"}


def trial(number: int) -> tuple[str, str]:
    """Condition and emotion of trial NNN in EAV's order."""
    conversation, position = divmod(number - 1, 10)
    return ("Listening", "Speaking")[position % 2], "Neutral" if position < 2 else LETTER[SEQUENCE[conversation]]


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


@dataclass
class Plan:
    """One made-up subject: how its copy differs from the dataset as it was published, and which files it lacks."""

    number: int
    folder: str = "subject{n}"
    inner: bool = False  # unzipped into a folder of its own name
    trials: int = 20
    key: str = "seg1"
    parts: tuple[str, str, str] = ("EEG", "Audio", "Video")
    digits: int = 3  # of NNN
    upper: bool = False  # suffixes
    eeg: bool = True
    labels: bool = True
    lost: frozenset[str] = frozenset()  # "video 7"
    extra: tuple[str, ...] = ()  # below the subject's folder; {0}, {1} and {2} are its parts
    fault: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.format(n=self.number)

    @property
    def there(self) -> dict[str, list[int]]:
        """Numbers of the sounds and videos that are there."""
        numbers = {"audio": range(2, self.trials + 1, 2), "video": range(1, self.trials + 1)}
        return {kind: [n for n in of if f"{kind} {n}" not in self.lost] for kind, of in numbers.items()}

    def rows(self) -> list[tuple[str, ...]]:
        """What the trial table must hold: subject, trial, label, group, condition, and number of EEG, sound, video."""
        there = self.there
        known = range(1, self.trials + 1) if self.labels else sorted({*there["audio"], *there["video"]})
        return [
            (
                *(str(self.number), str(n), trial(n)[1], str((n - 1) // 10), trial(n)[0]),
                str(n) if self.eeg else "",
                *(str(n) if n in there[kind] else "" for kind in ("audio", "video")),
            )
            for n in known
        ]


def make_plan(root: Path, plan: Plan, rng: random.Random) -> Path:
    """The subject's folder below ``root``; files are made in any order, and TT of the names is any number."""
    folder = root / plan.name / plan.name if plan.inner else root / plan.name
    eeg, audio, video = (folder / part for part in plan.parts)
    steps = [(folder / name.format(*plan.parts), b"x") for name in plan.extra]
    for kind, numbers in plan.there.items():
        for n in numbers:
            condition, emotion = trial(n)
            tail = rng.choice(["_aud.wav", "_Aud.wav", "_AUD.wav"]) if kind == "audio" else ".mp4"
            stem, suffix = tail.split(".")
            name = f"{n:0{plan.digits}d}_Trial_{rng.randint(0, 99):02d}_{condition}_{emotion}{stem}"
            suffix = suffix.upper() if plan.upper else suffix
            steps.append(((audio if kind == "audio" else video) / f"{name}.{suffix}", b"x"))
    if plan.eeg:
        steps.append((eeg / f"subject{plan.number}_eeg.mat", _mat(plan.key, plan.trials)))
    if plan.labels:
        steps.append((eeg / f"subject{plan.number}_eeg_label.mat", _mat("label", plan.trials)))
    rng.shuffle(steps)
    for parent in {path.parent for path, _ in steps}:
        parent.mkdir(parents=True, exist_ok=True)
    for path, content in steps:
        path.write_bytes(content)
    return folder


@lru_cache
def _mat(key: str, trials: int) -> bytes:
    file = io.BytesIO()
    array = label_matrix(trials) if key == "label" else np.zeros((4, 30, trials), dtype="int16")
    scipy.io.savemat(file, {key: array})
    return file.getvalue()
