"""The maps of one trial on cells that all trials of a study share, normalised so that every trial weighs the same.

In: an :class:`~eavdash.explain.explanation.Explanation`. Out: :class:`TrialCells`. A trial's map is the mean over its
windows of the attributions summed in each cell (what a window has not recorded adds nothing), divided by the sum of
its magnitudes over the cells of the modality. A cell is thus a signed share of what the modality contributes: the
shares of a modality have magnitudes that sum to 1, in a trial that was decided narrowly as in one that was not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eavdash.explain.explanation import Explanation

#: Cells: steps of time in a window, bands of mel, rows and columns of a face crop.
STEPS, MELS, FACE = 10, 16, 16


@dataclass(frozen=True)
class TrialCells:
    """Maps of one trial by modality.

    ``shares``: vision (:data:`FACE`, :data:`FACE`), audio (:data:`MELS`, :data:`STEPS`), eeg (channel, :data:`STEPS`),
    tables (column,), float32. ``sums``: what the modality adds, in the explanation's unit; ``sizes``: the sum of the
    magnitudes by which the shares were divided. A modality without any attribution is missing.
    """

    shares: dict[str, np.ndarray]
    sums: dict[str, float]
    sizes: dict[str, float]
    face: np.ndarray | None  # (H, W, 3) float32, mean picture of the trial's crops; None without vision


def trial_cells(explanation: Explanation) -> TrialCells:
    """Return the normalised maps of a trial."""
    shares, sums, sizes = {}, {}, {}
    for modality, values in explanation.attributions.items():
        windows = [modality in window.modalities for window in explanation.windows]
        if not any(windows):
            continue
        mean = values[windows].mean(axis=0, dtype=np.float64)
        cells = mean.sum(axis=0) if modality in explanation.columns else _CELLS[modality](mean)
        size = float(np.abs(cells).sum())
        if size > 0:
            shares[modality] = (cells / size).astype(np.float32)
            sums[modality], sizes[modality] = float(cells.sum()), size
    return TrialCells(shares, sums, sizes, _face(explanation))


def window_seconds(explanation: Explanation, modality: str) -> float:
    """Return how long the windows of a modality are, in seconds, padding included."""
    times = explanation.times.get(modality)
    steps = (
        np.diff(times[np.isfinite(times).sum(axis=1).argmax()]) if times is not None and times.size else np.array([])
    )
    if np.isfinite(steps).any():
        return float(np.nanmedian(steps) * explanation.masks[modality].shape[1])
    return float(max(window.stop - window.start for window in explanation.windows))


def bands(frequencies: np.ndarray) -> np.ndarray:
    """Return the centre in Hz of each cell of the mel axis."""
    return np.array([part.mean() for part in np.array_split(frequencies, min(MELS, len(frequencies)))])


def _vision(mean: np.ndarray) -> np.ndarray:
    return _sums(_sums(mean.sum(axis=0), 0, FACE), 1, FACE)


def _audio(mean: np.ndarray) -> np.ndarray:
    if mean.ndim == 1:  # samples of the sound itself
        return _sums(mean[None], 1, STEPS)
    return _sums(_sums(mean.T, 0, MELS), 1, STEPS)


def _eeg(mean: np.ndarray) -> np.ndarray:
    return _sums(mean, 1, STEPS)


_CELLS = {"vision": _vision, "audio": _audio, "eeg": _eeg}


def _sums(values: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Return the sums over at most ``count`` parts of an axis."""
    parts = np.array_split(values, min(count, values.shape[axis]), axis=axis)
    return np.stack([part.sum(axis=axis) for part in parts], axis=axis)


def _face(explanation: Explanation) -> np.ndarray | None:
    if "vision" not in explanation.inputs or "vision" in explanation.columns:
        return None
    frames = explanation.inputs["vision"][explanation.masks["vision"]]
    return frames.mean(axis=0, dtype=np.float32) if len(frames) else None
