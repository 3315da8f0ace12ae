"""Small recordings in a trial table, easy to distinguish, for tests that train for real in seconds."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pandas as pd
import soundfile
from scipy.io import savemat

LABELS = ("calm", "glad", "tense")
SECONDS = 2.0
#: Settings under which a stage trains in a second or two.
FAST = (
    "window=2",
    *("vision.size=32", "vision.width=16", "vision.depth=1"),
    *("audio.width=16", "audio.depth=1", "audio.mels=64"),
    *("eeg.width=16", "eeg.filters=4", "eeg.segments=4"),
    *("fusion.width=16",),
)


def make_recordings(folder: Path, subjects: int = 2, groups: int = 4, seed: int = 0) -> Path:
    """A table of ``subjects * groups * 3`` trials with sound, video and EEG; the label is plain in each of them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for subject in range(1, subjects + 1):
        rng = np.random.default_rng((seed, subject))
        trials = [(group, label) for group in range(groups) for label in LABELS]
        eeg = np.stack([_eeg(rng, LABELS.index(label)) for _, label in trials], axis=-1)
        savemat(folder / f"eeg{subject}.mat", {"seg": eeg.astype("float32")})
        for number, (group, label) in enumerate(trials, start=1):
            stem = f"{subject}-{number}"
            soundfile.write(folder / f"{stem}.wav", _tone(rng, LABELS.index(label)), 16000, subtype="FLOAT")
            _video(folder / f"{stem}.mp4", rng, LABELS.index(label))
            rows.append(
                {
                    "subject": subject,
                    "trial": number,
                    "label": label,
                    "group": f"g{group}",
                    "eeg": f"eeg{subject}.mat#{number}",
                    "audio": f"{stem}.wav",
                    "video": f"{stem}.mp4",
                }
            )
    path = folder / "trials.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def _tone(rng: np.random.Generator, kind: int) -> np.ndarray:
    time = np.arange(int(16000 * SECONDS)) / 16000
    tone = np.sin(2 * np.pi * (220, 600, 1500)[kind] * time + rng.uniform(0, 6))
    return (0.3 * tone + 0.02 * rng.standard_normal(time.size)).astype("float32")


def _eeg(rng: np.random.Generator, kind: int) -> np.ndarray:
    """(1000 time, 30 channels) microvolt at 500 Hz."""
    time = np.arange(int(500 * SECONDS))[:, None] / 500
    data = 10 * rng.standard_normal((time.size, 30)) + rng.uniform(-50, 50, 30)
    data[:, kind * 10 : kind * 10 + 10] += 30 * np.sin(2 * np.pi * (6, 10, 20)[kind] * time + rng.uniform(0, 6))
    return np.asarray(data)


def _video(path: Path, rng: np.random.Generator, kind: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(int(10 * SECONDS)):
            picture = np.full((48, 64, 3), 90, dtype="uint8") + rng.integers(0, 20, (48, 64, 3), dtype="uint8")
            picture[8 + 12 * kind : 18 + 12 * kind, 16:48] = (220, 220, 220)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
