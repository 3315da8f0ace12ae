"""Tables and data as text: cells, LaTeX, strict JSON."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from eavdash.text import latex


def cell(value: Any) -> str:
    """Return the text of a table's cell; empty if it has no value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def latex_table(frame: pd.DataFrame) -> str:
    """Return a booktabs tabular; pandas' own needs Jinja."""
    lines = ["\\begin{tabular}{" + "l" * len(frame.columns) + "}", "\\toprule"]
    lines.append(" & ".join(latex(c) for c in frame.columns) + " \\\\")
    lines.append("\\midrule")
    lines += [" & ".join(latex(cell(v)) for v in row) + " \\\\" for row in frame.itertuples(index=False)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


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
