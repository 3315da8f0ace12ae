"""Input scaling, fitted on the recorded samples of training windows only.

* eeg: per channel, mean and robust standard deviation (1.4826 times the median absolute deviation), in volt, so that a
  blink or a loose electrode in a few windows does not affect the rest of the channel.
* audio: per mel band, mean and standard deviation of the log energies. With ``audio.scaling = ast`` the encoder keeps
  AudioSet's constants, with which the published AST was trained.
  An encoder of voices or samples does not apply it; its features are standardised instead (:func:`fit_features`).
* vision: per colour, mean and standard deviation of the pixels. Faces in front of a plain wall use a small part of the
  range, and on -1..1 a transformer hardly learns from scratch. A pretrained encoder keeps 0.5 and 0.5.
* tables of features: per column, as for eeg, since one lost face gives wild numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from eavdash.config.choices import FRONT_ENDS, LOGMEL, TABLE
from eavdash.config.schema import StudyConfig
from eavdash.data.standardise import mean_and_robust_std, mean_and_std
from eavdash.data.windows import WindowSet
from eavdash.models import packaged
from eavdash.models.base import Encoder
from eavdash.training import inputs

_AT_ONCE = 32  # windows in memory for the statistics of features

_TOGETHER = 32  # columns of a table


def fit_scaling(windows: WindowSet, rows: Sequence[int], fitted: bool = True) -> tuple[Tensor, Tensor] | None:
    """Fit shift and scale, float32: (channel,) for eeg, (mel,) for audio, (3,) for vision, (column,) for tables.

    Return None if the encoder keeps its own scaling.

    Args:
        rows: the training windows, as rows of ``windows``.
        fitted: False if audio and images must be scaled as in the encoder's pretraining.
    """
    if not fitted and windows.kind not in ("eeg", TABLE):
        return None
    chosen = np.sort(np.asarray(rows))
    mask = np.asarray(windows.mask[chosen], dtype=bool)
    if windows.kind == "eeg":
        parts = [
            mean_and_robust_std(np.asarray(windows.values[chosen, c])[mask]) for c in range(windows.values.shape[1])
        ]
    elif windows.kind == TABLE:
        parts = _columns(windows, chosen, mask)
    elif windows.kind == "audio":
        parts = [mean_and_std(np.asarray(windows.values[chosen, :, m])[mask]) for m in range(windows.values.shape[2])]
    else:
        parts = _colours(windows, chosen)
    shift, scale = np.array(parts, dtype=np.float64).T
    return torch.from_numpy(shift.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))


def keeps_scaling(config: StudyConfig, modality: str) -> bool:
    """Return True if the encoder of a modality keeps the input scaling of its pretraining."""
    if modality == "audio" and config.audio.encoder != TABLE:
        heard = FRONT_ENDS.get(config.audio.encoder, LOGMEL)
        return heard == "wave" or (heard == LOGMEL and config.audio.scaling == "ast")
    return packaged.is_pretrained(config, modality)


def fit_features(model: Encoder, windows: WindowSet, rows: Sequence[int]) -> None:
    """Fit the standardisation of the encoder's own features, if it has one, on the training windows ``rows``."""
    if (fit := getattr(model, "fit_features", None)) is not None:
        fit(inputs.raw(windows, part) for part in torch.split(torch.as_tensor(sorted(rows)), _AT_ONCE))


def _columns(windows: WindowSet, rows: np.ndarray, mask: np.ndarray) -> list[tuple[float, float]]:
    """Return mean and robust standard deviation of each column, some columns at a time to read the rows few times."""
    found = []
    for first in range(0, windows.values.shape[2], _TOGETHER):
        values = np.asarray(windows.values[rows, :, first : first + _TOGETHER])[mask]
        found += [mean_and_robust_std(column) for column in values.T]
    return found


def _colours(windows: WindowSet, rows: np.ndarray) -> list[tuple[float, float]]:
    """Return mean and standard deviation (0..1) per colour, accumulated by window to limit memory use."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for row in rows:
        pixels = np.asarray(windows.values[row])[np.asarray(windows.mask[row], dtype=bool)].reshape(-1, 3) / 255
        count, total, squares = count + len(pixels), total + pixels.sum(axis=0), squares + (pixels**2).sum(axis=0)
    mean = total / max(count, 1)
    spread = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    # A standard deviation below one grey level is only rounding.
    return [(float(m), float(s) if s > 1 / 255 else 1.0) for m, s in zip(mean, spread, strict=True)]
