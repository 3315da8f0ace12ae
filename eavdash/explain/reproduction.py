"""Agreement with a run's stored probabilities, computed again from its weights and the recordings as they are now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eavdash.store import RunDir


def reproduction(
    run: RunDir, subject: str, trial: str, classes: Sequence[str], windows: Sequence[int], found: np.ndarray
) -> float | None:
    """Return the largest difference between ``found`` (window, class) and the run's predictions; None without any."""
    frame = pd.read_parquet(run.verify("predictions.parquet"))
    rows = frame[(frame["subject"] == subject) & (frame["trial"] == trial) & (frame["frame"] == -1)]
    stored = rows.set_index("window").reindex(list(windows))[[f"p_{c}" for c in classes]].to_numpy()
    difference = np.abs(stored - found)
    return None if np.isnan(difference).all() else float(np.nanmax(difference))
