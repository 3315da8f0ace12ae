"""How the fusion shared its attention among the modalities, window by window.

In: the decision on a window. Out: arrays over *all* modalities of the model, zeros where one is absent: the shares of
the decision per head, and before it, per layer and head, how modality attended to modality. Only the fusion
``attention`` has anything to show; the published layer attends to a single token, and concatenation to none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # reading a stored explanation needs no torch
    from torch import Tensor

    from eavdash.explain.fused import FusedModelOutput


def shares(output: FusedModelOutput) -> np.ndarray | None:
    """Attention of the class token (window, head, modality) float32, which sums to 1 over the modalities; or None."""
    return _array(output.fused.attention)


def modality_map(output: FusedModelOutput) -> np.ndarray | None:
    """(window, modality, modality) float32: how much the row's tokens attend to the column's; or None.

    The mean of :func:`layer_maps` over layers and heads.
    """
    return _array(output.fused.map)


def layer_maps(output: FusedModelOutput) -> np.ndarray | None:
    """(window, layer, head, modality, modality) float32; each row of a modality that is there sums to 1; or None."""
    return _array(output.fused.maps)


def mean_maps(maps: np.ndarray) -> np.ndarray:
    """(layer, head, modality, modality) float64: the mean over the windows that have the row's modality.

    Rows of a modality that no window has are 0.
    """
    rows = (maps.sum(axis=-1, dtype=np.float64) > 0.5)[..., None]  # present rows sum to 1, absent ones to 0
    return np.asarray(maps.sum(axis=0, dtype=np.float64) / np.maximum(rows.sum(axis=0), 1))


def _array(values: Tensor | None) -> np.ndarray | None:
    return None if values is None else values.detach().float().cpu().numpy()
