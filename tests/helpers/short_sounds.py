"""A trial table of short sounds, and the configuration of a study of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from eavdash.config.presets import preset

AUDIO = replace(preset("quick"), stages=("audio",))


def table(folder: Path, subjects: int = 3, groups: int = 5, video: bool = False) -> Path:
    """A trial table with two short sounds per group and subject (and the same file as its "video" if asked)."""
    rows = []
    rng = np.random.default_rng(0)
    for subject in range(1, subjects + 1):
        for group in range(groups):
            for label in ("calm", "tense"):
                name = f"{subject}-{group}-{label}.wav"
                soundfile.write(folder / name, rng.uniform(-0.5, 0.5, 1600), 16000)
                rows.append(
                    {
                        "subject": subject,
                        "trial": f"{group}-{label}",
                        "label": label,
                        "group": f"g{group}",
                        "audio": name,
                        "video": name if video else "",
                    }
                )
    path = folder / "trials.csv"
    pd.DataFrame(rows).sample(frac=1, random_state=0).to_csv(path, index=False)
    return path
