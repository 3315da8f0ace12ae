"""Data as strict JSON."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd


def strict(data: Any) -> Any:
    """Return plain data as JSON can hold it: numbers that are not finite become null."""
    if isinstance(data, dict):
        return {str(k): strict(v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return [strict(v) for v in data]
    if hasattr(data, "item") and getattr(data, "ndim", 0) == 0:
        data = data.item()
    if data is pd.NA or (isinstance(data, float) and not math.isfinite(data)):
        return None
    return data
