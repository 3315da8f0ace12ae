"""Attention of the fusion among the modalities, per window.

In: the model's output for a window. Out: arrays over *all* modalities of the model, zeros where one is absent: the
class token's shares per head and, for the layers before it, the attention between modalities per layer and head. Only
the fusion ``attention`` has any: the published layer attends to a single token, and concatenation to none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # reading a stored explanation needs no torch
    from torch import Tensor

    from eavdash.explain.fused import FusedModelOutput


def shares(output: FusedModelOutput) -> np.ndarray | None:
    """Return the class token's attention (window, head, modality) float32, which sums to 1 over modalities; or None."""
    return _array(output.fused.attention)


def modality_map(output: FusedModelOutput) -> np.ndarray | None:
    """Return the attention of the row modality to the column modality (window, modality, modality) float32; or None.

    It is the mean of :func:`layer_maps` over layers and heads.
    """
    return _array(output.fused.map)


def layer_maps(output: FusedModelOutput) -> np.ndarray | None:
    """Return attention (window, layer, head, modality, modality) float32, or None.

    Rows of present modalities sum to 1.
    """
    return _array(output.fused.maps)


def mean_maps(maps: np.ndarray) -> np.ndarray:
    """Average over the windows that have the row's modality: (layer, head, modality, modality) float64.

    Rows of a modality that no window has are 0.
    """
    rows = (maps.sum(axis=-1, dtype=np.float64) > 0.5)[..., None]  # present rows sum to 1, absent ones to 0
    return np.asarray(maps.sum(axis=0, dtype=np.float64) / np.maximum(rows.sum(axis=0), 1))


def _array(values: Tensor | None) -> np.ndarray | None:
    return None if values is None else values.detach().float().cpu().numpy()
