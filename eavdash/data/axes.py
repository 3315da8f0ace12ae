"""Axes of windows: the time of each frame, spectrogram row, sample or row of a table, and the bands of spectrograms.

In: a :class:`~eavdash.data.windows.WindowSet`. Out: seconds from the trial's start, which are those of the whole trial
also in a window that is padded; Hz. They follow how the readers cut windows (readers/): index 0 is at the window's
start, and a frame in the middle of its interval.
"""

from __future__ import annotations

import numpy as np

from eavdash.config.choices import LOGMEL, TABLE
from eavdash.data.audio.front_ends import step_seconds, voice_hertz
from eavdash.data.audio.reading import mel_hertz
from eavdash.data.windows import WindowSet


def times_of(windows: WindowSet) -> np.ndarray:
    """Return the time (window, step) float64 of each index of the mask, in seconds; NaN where it is masked.

    It is the time at which an EEG sample, a row of a spectrogram or of a table begins, and at which a frame was taken.
    """
    mask = np.asarray(windows.mask, dtype=bool)
    start, stop = (windows.index[name].to_numpy(np.float64)[:, None] for name in ("start", "stop"))
    times = start + (np.arange(mask.shape[1]) + (0.5 if windows.kind == "vision" else 0.0)) * _step(windows)
    if windows.kind == "vision":  # a window that ends before its first frame's time is read at its middle
        times = np.where(times < stop, times, (start + stop) / 2)
    return np.where(mask, times, np.nan)


def frequencies_of(windows: WindowSet) -> np.ndarray | None:
    """Return the centre (band,) float64 of each band of a spectrogram in Hz; None for windows without bands."""
    front_end = windows.meta.get("front_end", LOGMEL)
    if windows.kind != "audio" or front_end == "wave":
        return None
    hertz = mel_hertz(windows.meta["rate"], windows.meta["mels"]) if front_end == LOGMEL else voice_hertz()
    return np.array(hertz, dtype=np.float64)


def _step(windows: WindowSet) -> float:
    """Return the seconds from one index to the next."""
    if windows.kind == "audio":
        return step_seconds(windows.meta.get("front_end", LOGMEL), windows.meta["rate"])
    names = {"vision": "frames_per_second", "eeg": "rate", TABLE: "rate"}
    return 1 / float(windows.meta[names[windows.kind]])
