"""How the fusion shared its attention among the modalities, window by window.

In: the decision on a window. Out: arrays over *all* modalities of the model, zeros where one is absent. Only the
fusion ``attention`` has anything to show; the published layer attends to a single token, and concatenation to none.
"""

from __future__ import annotations

import numpy as np

from eavdash.explain.fused import Decided


def shares(decided: Decided) -> np.ndarray | None:
    """Attention of the class token (window, head, modality) float32, which sums to 1 over the modalities; or None."""
    attention = decided.fused.attention
    return None if attention is None else attention.detach().float().cpu().numpy()


def modality_map(decided: Decided) -> np.ndarray | None:
    """(window, modality, modality) float32: how much the row's tokens attend to the column's; or None."""
    found = decided.fused.map
    return None if found is None else found.detach().float().cpu().numpy()
