"""Attributions of one modality and window as they are drawn: what is recorded, on the clock, and per area of the map.

In: an ``eavdash.explain.explanation.Explanation``. Out: a :class:`WindowMap`. A map's values are attributions times the
number of values in it: a map of one colour would add that colour's number to the decision, whatever its resolution.
Maps of all modalities, which differ in it by orders of magnitude, can therefore share one scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation

#: Attributions are drawn as means over this many cells, as those of single pixels are too fine to see.
FRAME_CELLS = (16, 16)  # height, width
AUDIO_CELLS = (100, 32)  # time, mel
EEG_STEPS = 125


@dataclass(frozen=True)
class WindowMap:
    """The recorded part of a window: T frames, rows or samples.

    ``heat`` per area: vision (T, height, width), audio (T, mel), eeg (T, channel), tables (T, column). ``values``: the
    inputs with the same first axis; ``times`` (T,) seconds on the trial's clock; ``total``: the sum of attributions.
    """

    heat: np.ndarray
    values: np.ndarray
    times: np.ndarray
    total: float


def window_map(explanation: Explanation, modality: str, window: int) -> WindowMap:
    """Return the map of a modality in a window, cut to what is recorded.

    Explanations of earlier versions have no times: theirs are evenly spaced over the window.
    """
    heat = explanation.attributions[modality][window].astype(np.float64)
    values = explanation.inputs[modality][window]
    if modality == "eeg" and modality not in explanation.columns:
        heat, values = heat.T, values.T
    recorded = np.flatnonzero(explanation.masks[modality][window])
    if modality in explanation.times:
        times = np.asarray(explanation.times[modality][window], float)[recorded]
    else:
        span = explanation.windows[window]
        times = span.start + (np.arange(len(recorded)) + 0.5) * (span.stop - span.start) / max(len(recorded), 1)
    heat = heat[recorded]
    return WindowMap(heat * heat.size, values[recorded], times, float(heat.sum()))


def totals(explanation: Explanation, window: int) -> dict[str, float]:
    """Return the sum of the attributions of each modality of a window, the largest magnitude first."""
    found = {
        m: float(explanation.attributions[m][window].sum(dtype=np.float64))
        for m in explanation.windows[window].modalities
        if m in explanation.attributions
    }
    return dict(sorted(found.items(), key=lambda item: -abs(item[1])))


def limits(explanation: Explanation) -> dict[str, float]:
    """Return by modality the magnitude with the full colour in all its windows, per area."""
    found: dict[str, float] = {}
    for number, window in enumerate(explanation.windows):
        for modality in (m for m in window.modalities if m in explanation.attributions):
            shown = window_map(explanation, modality, number).heat
            if len(shown):
                found[modality] = max(found.get(modality, 0.0), colour_limit(cells(shown, modality)))
    return found


def electrode_limits(explanation: Explanation) -> dict[str, float]:
    """Return the magnitudes with the full colour of a scalp map, in attribution per electrode.

    ``own``: the largest sum of an electrode over a window. ``common``: at least what an electrode would have if the
    strongest modality's attributions came from all electrodes evenly, so that a scalp which adds little is pale.
    """
    if not explanation.channels or "eeg" not in explanation.attributions:
        return {}
    heat = explanation.attributions["eeg"]
    own = float(np.abs(heat.sum(axis=2, dtype=np.float64)).max()) or 1.0
    found = [abs(v) for n in range(len(explanation.windows)) for v in totals(explanation, n).values()]
    return {"own": own, "common": max(own, max(found, default=0.0) / heat.shape[1])}


def cells(heat: np.ndarray, modality: str) -> np.ndarray:
    """Return means over the cells that are drawn of ``heat``, as in a :class:`WindowMap`."""
    if heat.ndim == 3:
        return cell_means(heat, *FRAME_CELLS)
    return cell_means(heat, *(AUDIO_CELLS if modality == "audio" else (EEG_STEPS, 10**6)))


def cell_means(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return means over at most ``rows`` x ``columns`` equal cells of the last two axes."""
    out = np.asarray(values, float)
    for axis, count in ((-2, rows), (-1, columns)):
        length = out.shape[axis]
        edges = np.linspace(0, length, min(count, length) + 1).astype(int)
        shape = [1] * out.ndim
        shape[axis] = -1
        out = np.add.reduceat(out, edges[:-1], axis=axis) / np.diff(edges).reshape(shape)
    return out


def colour_limit(heat: np.ndarray) -> float:
    """Return the magnitude with the full colour: the 99th percentile, so that outliers do not whiten the rest."""
    return float(np.percentile(np.abs(heat), 99)) or float(np.abs(heat).max()) or 1.0
