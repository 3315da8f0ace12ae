"""A small BIDS EEG dataset, written by MNE-BIDS from EDF files made here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import mne
import mne_bids
import numpy as np

CHANNELS = ("Fp1", "Fp2", "C3", "C4", "O1", "O2")
RATE = 100


def edf(path: Path, seconds: int = 20, frequency: float = 10.0) -> Path:
    """A complete EDF file: a sine of 50 microvolt in each channel, one record per second."""
    time = np.arange(seconds * RATE) / RATE
    digital = np.round(50 * np.sin(2 * np.pi * frequency * time) * 32767 / 200).astype("<i2")
    count = len(CHANNELS)
    fields = [
        *("0".ljust(8), "X X X X".ljust(80), "Startdate X X X X".ljust(80), "01.01.2020.00.00"),
        *(str(256 * (count + 1)).ljust(8), " " * 44, str(seconds).ljust(8), "1".ljust(8), str(count).ljust(4)),
    ]
    fields[3] = "01.01.2000.00.00"
    for values, width in (
        (CHANNELS, 16),
        ([""] * count, 80),
        (["uV"] * count, 8),
        (["-200"] * count, 8),
        (["200"] * count, 8),
        (["-32767"] * count, 8),
        (["32767"] * count, 8),
        ([""] * count, 80),
        ([str(RATE)] * count, 8),
        ([""] * count, 32),
    ):
        fields += [value.ljust(width) for value in values]
    header = "".join(fields).encode("ascii")
    assert len(header) == 256 * (count + 1)
    records = np.repeat(digital.reshape(seconds, 1, RATE), count, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + records.tobytes())
    return path


def write(
    root: Path,
    subject: str,
    events: Sequence[tuple[float, float, str]] = (),
    *,
    task: str = "talk",
    session: str | None = None,
    run: str | None = None,
    bad: Sequence[str] = (),
    seconds: int = 20,
) -> Path:
    """Add one recording with events (onset, duration, trial_type) to a BIDS dataset; its file."""
    source = edf(root.parent / "sources" / f"{subject}-{session}-{task}-{run}.edf", seconds)
    path = mne_bids.BIDSPath(subject=subject, session=session, task=task, run=run, datatype="eeg", root=root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne.io.read_raw(source, verbose="ERROR")
        raw.info["line_freq"] = 50
        raw.info["bads"] = list(bad)
        raw.set_annotations(mne.Annotations(*zip(*events, strict=True)) if events else mne.Annotations([], [], []))
        written = mne_bids.write_raw_bids(raw, path, overwrite=True, verbose="ERROR")
        raw.close()
    return Path(written.fpath)
