"""Does a map find what was planted? The pointing game (Zhang et al. 2018) on simulated recordings.

In: maps with their axes (numpy arrays), and what was planted (:mod:`eavdash.explain.truth`). Out: whether the highest
value of a map lies at a planted place, time or frequency, beside chance: the share of the map that would be a hit.

The highest *signed* value counts: evidence for the explained class, never made absolute. Electrodes are summed over
time, electrode x time over :data:`SECONDS`, electrode x frequency over :data:`HERTZ`, bands of sound over time, and
spectrograms over :data:`SYLLABLE` x :data:`BANDS`; pictures are taken as they are. A cell is a hit if its centre is;
bands of sound are as wide as the spectrogram shows them (:data:`LEAKAGE`), as a tone is seen beside its frequency too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.data.audio.reading import FRAME_LENGTH
from eavdash.explain.truth import Planted
from eavdash.results.statistics import wilson

SECONDS = 1.0  # of a cell of electrode x time
HERTZ = 4.0  # of a cell of electrode x frequency, about the width of the narrowest planted band
SYLLABLE = 0.2  # seconds of a cell of a spectrogram
BANDS = 4  # neighbouring mel bands of a cell of a spectrogram
#: How far beyond a band of sound, in Hz, a spectrogram of :data:`FRAME_LENGTH` shows it: half its window's main lobe.
LEAKAGE = 2000 / FRAME_LENGTH
COLUMNS = ("modality", "measure", "hits", "n", "share", "low", "high", "chance", "control", "noise_hits", "noise_n")


@dataclass(frozen=True)
class Axes:
    """The axes of a modality's map."""

    times: np.ndarray  # (W, L) seconds of the trial; NaN where nothing was recorded
    channels: tuple[str, ...] = ()
    frequencies: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (mel,) or (bin,) Hz
    crops: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 4)))  # (W, F, 4) as boxes of the frame


@dataclass(frozen=True)
class Pointing:
    """One map of one trial: whether its highest value is where it should be, and the chance that any value is.

    ``control``: the same of a map made without a model; None without one. ``noise``: the modality's expression is
    unrelated to the label in this subject, so that no more than chance is expected.
    """

    modality: str
    measure: str
    hit: bool
    chance: float
    control: bool | None = None
    noise: bool = False


def point(
    modality: str,
    values: np.ndarray,
    axes: Axes,
    planted: Planted,
    control: np.ndarray | None = None,
    noise: bool = False,
) -> tuple[Pointing, ...]:
    """Return where the highest values of a map (W, ...) and of its ``control``, of the same shape, are.

    Maps: vision (W, F, H, W), audio (W, L, mel), eeg (W, C, T). Nothing of EEG that lacks all planted electrodes.
    """
    return _point(modality, _MEASURES[modality], values, axes, planted, control, noise)


def point_frequency(
    spectrum: np.ndarray, axes: Axes, planted: Planted, control: np.ndarray | None = None, noise: bool = False
) -> tuple[Pointing, ...]:
    """The same of EEG by frequency, (W, C, bin) with ``axes.frequencies`` (bin,): the highest electrode x frequency."""
    return _point("eeg", _eeg_frequency, spectrum, axes, planted, control, noise)


def table(points: Iterable[Pointing]) -> pd.DataFrame:
    """Return a row per modality and measure with :data:`COLUMNS`; without any point an empty frame.

    ``share`` of hits with Wilson's interval (95 %), mean ``chance``, ``control``: share of hits of the controls, NaN if
    there are none; ``noise_hits`` of ``noise_n``: the same of subjects in whom the modality is noise.
    """
    frame = pd.DataFrame([vars(p) for p in points], columns=list(Pointing.__dataclass_fields__))
    rows = []
    frame = frame.sort_values("modality", key=lambda names: names.map(MODALITIES.index), kind="stable")
    for (modality, measure), found in frame.groupby(["modality", "measure"], sort=False):
        noise = found["noise"].astype(bool)
        matched = found[~noise]
        hits, n = int(matched["hit"].sum()), len(matched)
        low, high = wilson(hits, n)
        share = hits / n if n else np.nan
        control = matched["control"].dropna().astype(float).mean()
        chance = (matched if n else found)["chance"].mean()
        count = (int(found.loc[noise, "hit"].sum()), int(noise.sum()))
        rows.append((modality, measure, hits, n, share, low, high, chance, control, *count))
    return pd.DataFrame(rows, columns=list(COLUMNS))


_Measured = tuple[str, np.ndarray, np.ndarray]  # measure, map, True where a hit is


def _point(
    modality: str,
    measures: Callable[[np.ndarray, Axes, Planted], Iterator[_Measured]],
    values: np.ndarray,
    axes: Axes,
    planted: Planted,
    control: np.ndarray | None,
    noise: bool,
) -> tuple[Pointing, ...]:
    maps = [values] if control is None else [values, control]
    measured = (measures(np.asarray(each, dtype=np.float64), axes, planted) for each in maps)
    return tuple(_pointing(modality, several, noise) for several in zip(*measured, strict=True))


def _pointing(modality: str, measured: Iterable[_Measured], noise: bool) -> Pointing:
    """Look up the highest value of a map, and of its control; cells that are NaN count for nothing."""
    hits = []
    for measure, values, target in measured:
        known = np.isfinite(values)
        best = int(np.where(known, values, -np.inf).argmax())
        hits.append((measure, bool(target.flat[best]), float(target[known].mean())))
    measure, hit, chance = hits[0]
    return Pointing(modality, measure, hit, chance, hits[1][1] if len(hits) > 1 else None, noise)


def _inside(times: np.ndarray, planted: Planted) -> np.ndarray:
    return np.asarray((times >= planted.start) & (times <= planted.stop))  # NaN is outside


def _eeg(values: np.ndarray, axes: Axes, planted: Planted) -> Iterator[_Measured]:
    here = np.array([channel in planted.where for channel in axes.channels])
    if not here.any():
        return
    yield "electrode", np.where(np.isfinite(axes.times)[:, None], values, 0).sum(axis=(0, 2)), here
    cells, times = _by_time(values.transpose(0, 2, 1), axes.times, SECONDS)
    yield "electrode x time", cells, _inside(times, planted)[:, None] & here


def _eeg_frequency(values: np.ndarray, axes: Axes, planted: Planted) -> Iterator[_Measured]:
    if not set(planted.where) & set(axes.channels):
        return
    cell = (axes.frequencies / HERTZ).astype(int)
    centres = (np.arange(cell.max() + 1) + 0.5) * HERTZ
    target = np.zeros((len(axes.channels), len(centres)), dtype=bool)
    for row, channel in enumerate(axes.channels):
        if channel in planted.where:
            low, high = planted.where[channel]
            target[row] = (centres >= low) & (centres <= high)
    cells = np.zeros(target.shape)
    np.add.at(cells.T, cell, values.sum(axis=0).T)
    yield "electrode x frequency", cells, target


def _vision(values: np.ndarray, axes: Axes, planted: Planted) -> Iterator[_Measured]:
    height, width = values.shape[2:]
    left, top, right, bottom = (axes.crops[..., n, None] for n in range(4))  # (W, F, 1)
    x = left + (right - left) * (np.arange(width) + 0.5) / width  # (W, F, width) in fractions of the frame
    y = top + (bottom - top) * (np.arange(height) + 0.5) / height
    region = np.zeros(values.shape, dtype=bool)
    for box in (box for boxes in planted.where.values() for box in boxes):
        across, down = (x >= box[0]) & (x < box[2]), (y >= box[1]) & (y < box[3])
        region |= down[..., :, None] & across[..., None, :]
    values = np.where(np.isfinite(axes.times)[..., None, None], values, np.nan)
    yield "region", values, region
    yield "region and time", values, region & _inside(axes.times, planted)[..., None, None]


def _audio(values: np.ndarray, axes: Axes, planted: Planted) -> Iterator[_Measured]:
    cells, times = _by_time(values, axes.times, SYLLABLE)
    first = np.arange(0, len(axes.frequencies), BANDS)
    during = _inside(times, planted)
    yield "time", cells.sum(axis=1), during
    if not len(axes.frequencies):  # of an encoder of samples
        return
    cells = np.add.reduceat(cells, first, axis=1)
    centres = np.add.reduceat(axes.frequencies, first) / np.diff([*first, len(axes.frequencies)])
    for cue, band in planted.where.items():
        if band is not None:
            heard = (centres >= band[0] - LEAKAGE) & (centres <= band[1] + LEAKAGE)
            yield f"{cue} band", np.where(np.isfinite(cells), cells, 0).sum(axis=0), heard
            yield f"{cue} band and time", cells, during[:, None] & heard


def _by_time(values: np.ndarray, times: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Sum values (W, L, n) over cells of time: (cell, n), NaN where nothing was recorded, and the cells' centres."""
    known = np.isfinite(times)
    cell = (times[known] / seconds).astype(int)
    count = int(cell.max(initial=0)) + 1
    cells = np.zeros((count, values.shape[2]))
    np.add.at(cells, cell, values[known])
    cells[np.bincount(cell, minlength=count) == 0] = np.nan
    return cells, (np.arange(count) + 0.5) * seconds


_MEASURES = {"vision": _vision, "audio": _audio, "eeg": _eeg}
