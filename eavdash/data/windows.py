"""Windows: the segments of a trial that a model reads, and their arrays.

Windows tile a trial from its start. A remainder of at least half a window is kept; a trial shorter than a window gives
one window. Both are padded, and the padding is masked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

#: Columns of :attr:`WindowSet.index`.
INDEX_COLUMNS = ("subject", "trial", "group", "label", "window", "start", "stop")


@dataclass(frozen=True)
class WindowSet:
    """The windows of some trials in one modality.

    ``values`` and ``mask`` (True where there is data) by modality:

    * vision: (window, frame, height, width, 3) uint8 RGB; mask (window, frame)
    * audio: (window, time, mel) float32 log-mel energies, 10 ms steps, not scaled, or what another front end gives
      (data/audio/front_ends.py); mask (window, time)
    * eeg: (window, channel, time) float32 volt; mask (window, time)
    * of the kind ``table``, in any of them: (window, step, column) float32 features in their own units; mask (window,
      step)

    ``index`` has one row per window: subject, trial, group, label (strings), window (int from 0), start and stop
    (seconds from the trial's start). ``meta`` describes the axes: eeg ``channels`` and ``rate``, vision
    ``frames_per_second``, audio ``rate``, ``mels`` and ``front_end`` (absent: log-mel), tables ``columns`` and
    ``rate``.
    """

    modality: str
    index: pd.DataFrame
    values: np.ndarray
    mask: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def kind(self) -> str:
        """The kind of the values: "table", or the modality's own (pictures, spectrograms, EEG)."""
        return str(self.meta.get("kind", self.modality))


def tile(duration: float, window: float) -> list[tuple[float, float]]:
    """Start and stop (seconds) of each window of a trial of ``duration`` seconds; no stop exceeds the duration.

    A container's duration is often a few frames longer or shorter than the recording; 20.1 s of video is still four
    windows of 5 s, because the remainder is less than half a window.
    """
    if duration <= 0:
        return []
    full = int(np.floor(duration / window + 1e-6))
    spans = [(k * window, (k + 1) * window) for k in range(full)]
    rest = duration - full * window
    if not spans or rest >= window / 2 - 1e-6:
        spans.append((full * window, duration))
    return spans
