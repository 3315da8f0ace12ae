"""Tables of features as OpenFace and openSMILE write them, whose action units tell the label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

UNITS = ("AU01_r", "AU04_r", "AU06_r", "AU12_r", "AU45_r", "AU46_c")
RATE = 30.0  # rows per second
LABELS = ("calm", "happy")


def openface(path: Path, label: str, seconds: float = 6.0, seed: int = 0, lost: Sequence[int] = ()) -> Path:
    """Write a file as OpenFace does: blanks after the commas of its header, and rows ``lost`` without a face.

    A happy face raises AU06 and AU12 by one standard deviation.
    """
    random, rows = np.random.default_rng(seed), round(seconds * RATE)
    units = random.normal(1.0, 0.5, (rows, len(UNITS)))
    units[:, 2:4] += 0.5 * (label == "happy")
    units[:, 5] = units[:, 3] > 1.2
    header = ["frame", "face_id", "timestamp", "confidence", "success", *UNITS]
    lines = []
    for n in range(rows):
        found = n not in lost
        row = [f"{v:.2f}" for v in units[n]] if found else ["0"] * len(UNITS)
        lines.append([str(n + 1), "0", f"{n / RATE:.3f}", "0.98" if found else "0.02", str(int(found)), *row])
    return write(path, header, lines, ", ")


def opensmile(path: Path, label: str, seconds: float = 6.0, seed: int = 0) -> Path:
    """Write a file as openSMILE's csv sink does: semicolons, a text column, 100 rows per second."""
    random, rows = np.random.default_rng(seed), round(seconds * 100)
    values = random.normal(0, 1, (rows, 3)) + 0.5 * (label == "happy")
    header = ["name", "frameTime", "F0final_sma", "pcm_RMSenergy_sma", "jitterLocal_sma"]
    lines = [["'unknown'", f"{n / 100:.6f}", *(f"{v:.6e}" for v in values[n])] for n in range(rows)]
    return write(path, header, lines, ";")


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], separator: str = ",") -> Path:
    """Write a table of texts; ``separator`` may have blanks after it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(separator.join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table with commas, to change them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    return rows[0], rows[1:]


def make_dataset(folder: Path, subjects: int = 2, trials: int = 12, seconds: float = 6.0, sound: bool = False) -> Path:
    """Write a trial table with a table of OpenFace per trial (and one of openSMILE); return its path."""
    lines = ["subject,trial,label,group,video,audio"]
    for s in range(1, subjects + 1):
        for t in range(1, trials + 1):
            label, seed = LABELS[t % 2], 1000 * s + t
            video = openface(folder / f"s{s}-{t}_of.csv", label, seconds, seed, range(10, 14) if t == 3 else ())
            audio = opensmile(folder / f"s{s}-{t}_os.csv", label, seconds, seed).name if sound else ""
            lines.append(f"s{s},{t},{label},g{(t - 1) // 2},{video.name},{audio}")
    table = folder / "trials.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table
