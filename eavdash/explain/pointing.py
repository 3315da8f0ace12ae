"""Does a map find what was planted? The pointing game (Zhang et al. 2018) on simulated recordings.

In: maps with their axes (numpy arrays), and the recordings' truth.json (:mod:`eavdash.demo`). Out: whether the highest
value of a map lies at a planted place, time or frequency, beside chance: the share of the map that would be a hit.

The highest *signed* value counts, of the map as it is: evidence for the explained class, neither smoothed nor made
absolute. Electrodes are summed over time, electrode x time over seconds and electrode x frequency over 2 Hz.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eavdash.errors import IntegrityError
from eavdash.results.statistics import wilson
from eavdash.store.record import read_json

SECONDS = 1.0  # of a cell of electrode x time
HERTZ = 2.0  # of a cell of electrode x frequency


@dataclass(frozen=True)
class Planted:
    """The emotion that one modality of one trial expresses, from ``start`` to ``stop`` seconds of the trial.

    ``where`` names its places: electrodes with their band (low, high) Hz; parts of the face with their boxes (left,
    top, right, bottom) in fractions of the frame; cues of the voice with their band (Hz), None if they have no band.
    """

    emotion: str
    start: float
    stop: float
    where: dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """The content of truth.json: (subject, trial) → modality → expression, and subject → modality → reliability."""

    planted: dict[tuple[str, str], dict[str, Planted]]
    reliability: dict[str, dict[str, float]]

    def evidence(self, subject: str, trial: str, modality: str, emotion: str) -> Planted | None:
        """Return what the modality shows of this emotion in the trial; None if it shows another one, or is noise.

        Neutral faces and voices have no place: None.
        """
        found = self.planted.get((subject, trial), {}).get(modality)
        if found is None or found.emotion != emotion or not self.reliability[subject][modality]:
            return None
        return found if found.where else None


@dataclass(frozen=True)
class Axes:
    """The axes of a modality's map."""

    times: np.ndarray  # (W, L) seconds of the trial; NaN where nothing was recorded
    channels: tuple[str, ...] = ()
    frequencies: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (mel,) Hz
    crops: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 4)))  # (W, F, 4) as boxes of the frame


@dataclass(frozen=True)
class Pointing:
    """One map of one trial: whether its highest value is where it should be, and the chance that any value is."""

    modality: str
    measure: str
    hit: bool
    chance: float


def read_truth(path: Path) -> Truth:
    """Read a demo's truth.json.

    Raises:
        IntegrityError: it is none, or of a version that does not tell where the face and the voice are.
    """
    try:
        content = read_json(path)
        planted = {
            (trial["subject"], trial["trial"]): {
                p["modality"]: Planted(
                    p["emotion"], p["start"], p["stop"], _where(p, content["places"][trial["subject"]])
                )
                for p in trial["planted"]
            }
            for trial in content["trials"]
        }
        return Truth(planted, content["reliability"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError.at(
            path,
            expected="a truth.json with the places of what was planted",
            found=f"{type(error).__name__}: {error}",
            remedy="make the recordings again with eavdash make-demo; the same seed gives the same ones",
        ) from error


def point(modality: str, values: np.ndarray, axes: Axes, planted: Planted) -> tuple[Pointing, ...]:
    """Return where the highest values of a map (W, ...) are: vision (W, F, H, W), audio (W, L, mel), eeg (W, C, T)."""
    return tuple(_MEASURES[modality](np.asarray(values, dtype=np.float64), axes, planted))


def point_frequency(values: np.ndarray, channels: tuple[str, ...], planted: Planted) -> Pointing:
    """The same of electrode x frequency (C, cell), cells of :data:`HERTZ` from 0 Hz: :func:`by_frequency`."""
    centres = (np.arange(values.shape[1]) + 0.5) * HERTZ
    target = np.zeros(values.shape, dtype=bool)
    for row, channel in enumerate(channels):
        if channel in planted.where:
            low, high = planted.where[channel]
            target[row] = (centres >= low) & (centres <= high)
    return _point("eeg", "electrode x frequency", values, target)


def by_frequency(attributions: np.ndarray, difference: np.ndarray, rate: float) -> np.ndarray:
    """Return EEG attributions (W, C, T) by frequency: (C, cell of :data:`HERTZ`), with the same sums per electrode.

    ``difference`` is input minus baseline, so that attributions / difference is the mean gradient G along the path.
    With X the spectrum of the difference, the attribution of a frequency is Re(X · conj(G)), summed over windows, and
    by Parseval's theorem all of them sum to the attribution of the electrode.
    """
    gradient = np.divide(attributions, difference, out=np.zeros(difference.shape), where=difference != 0)
    length = difference.shape[-1]
    spectrum = (np.fft.rfft(difference.astype(np.float64)) * np.fft.rfft(gradient).conj()).real / length
    both = np.full(spectrum.shape[-1], 2.0)  # a frequency stands for its negative too
    both[0] = 1.0
    if length % 2 == 0:
        both[-1] = 1.0
    cell = (np.fft.rfftfreq(length, 1 / rate) / HERTZ).astype(int)
    found = np.zeros((difference.shape[1], cell.max() + 1))
    np.add.at(found.T, cell, (spectrum * both).sum(axis=0).T)
    return found


def table(points: Iterable[Pointing], controls: Iterable[Pointing] = ()) -> pd.DataFrame:
    """Return modality, measure, hits, n, share, low, high (Wilson, 95 %), chance, control: a row per measure.

    ``controls`` are the same measures of maps made without a model; NaN if there are none.
    """
    frame, control = (pd.DataFrame([vars(p) for p in some], columns=_COLUMNS) for some in (points, controls))
    keys = ["modality", "measure"]
    made = frame.groupby(keys, sort=False).agg(
        hits=("hit", "sum"), n=("hit", "size"), share=("hit", "mean"), chance=("chance", "mean")
    )
    spans = [wilson(hits, n) for hits, n in zip(made["hits"], made["n"], strict=True)]
    made["low"], made["high"] = [low for low, _ in spans], [high for _, high in spans]
    made["control"] = control.astype({"hit": float}).groupby(keys)["hit"].mean()
    return made.reset_index()[[*keys, "hits", "n", "share", "low", "high", "chance", "control"]]


_COLUMNS = ["modality", "measure", "hit", "chance"]


def _where(planted: dict[str, Any], places: dict[str, Any]) -> dict[str, Any]:
    if planted["modality"] == "eeg":
        return dict(zip(planted["place"], planted["bands"], strict=True))
    if planted["modality"] == "vision":
        return {name: places[name] for name in planted["place"]}
    return {name: places.get(name) for name in planted["place"]}


def _point(modality: str, measure: str, values: np.ndarray, target: np.ndarray) -> Pointing:
    """Look up the highest value; cells that are NaN count for nothing."""
    known = np.isfinite(values)
    best = int(np.where(known, values, -np.inf).argmax())
    return Pointing(modality, measure, bool(target.flat[best]), float(target[known].mean()))


def _inside(times: np.ndarray, planted: Planted) -> np.ndarray:
    return np.asarray((times >= planted.start) & (times <= planted.stop))  # NaN is outside


def _eeg(values: np.ndarray, axes: Axes, planted: Planted) -> Iterable[Pointing]:
    here = np.array([channel in planted.where for channel in axes.channels])
    known = np.isfinite(axes.times)  # (W, T)
    values = np.where(known[:, None], values, 0)
    yield _point("eeg", "electrode", values.sum(axis=(0, 2)), here)
    second = np.where(known, axes.times / SECONDS, 0).astype(int)
    cells = np.zeros((int(second.max()) + 1, len(axes.channels)))
    np.add.at(cells, second[known], values.transpose(0, 2, 1)[known])
    during = _inside((np.arange(len(cells)) + 0.5) * SECONDS, planted)
    yield _point("eeg", "electrode x time", cells, during[:, None] & here)


def _vision(values: np.ndarray, axes: Axes, planted: Planted) -> Iterable[Pointing]:
    height, width = values.shape[2:]
    left, top, right, bottom = (axes.crops[..., n, None] for n in range(4))  # (W, F, 1)
    x = left + (right - left) * (np.arange(width) + 0.5) / width  # (W, F, width) in fractions of the frame
    y = top + (bottom - top) * (np.arange(height) + 0.5) / height
    region = np.zeros(values.shape, dtype=bool)
    for box in (box for boxes in planted.where.values() for box in boxes):
        across, down = (x >= box[0]) & (x < box[2]), (y >= box[1]) & (y < box[3])
        region |= down[..., :, None] & across[..., None, :]
    values = np.where(np.isfinite(axes.times)[..., None, None], values, np.nan)
    yield _point("vision", "region", values, region)
    yield _point("vision", "region and time", values, region & _inside(axes.times, planted)[..., None, None])


def _audio(values: np.ndarray, axes: Axes, planted: Planted) -> Iterable[Pointing]:
    values = np.where(np.isfinite(axes.times)[..., None], values, np.nan)
    during = np.broadcast_to(_inside(axes.times, planted)[..., None], values.shape)
    yield _point("audio", "time", values, during)
    for cue, band in planted.where.items():
        if band is not None:
            heard = (axes.frequencies >= band[0]) & (axes.frequencies <= band[1])
            yield _point("audio", f"{cue} band and time", values, during & heard)


_MEASURES = {"vision": _vision, "audio": _audio, "eeg": _eeg}
