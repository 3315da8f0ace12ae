"""The form of a rule of the health check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Rule:
    """One kind of finding about ``modalities``: the rows that it ``applies`` to, and a text to ``describe`` each."""

    modalities: tuple[str, ...]
    what: str
    severity: str
    remedy: str
    applies: Callable[[pd.DataFrame], pd.Series]
    describe: Callable[[dict[str, Any]], str]


def share(column: str, of: str) -> Callable[[dict[str, Any]], str]:
    """Describe the share in ``column`` as per cent ``of`` something."""
    return lambda row: f"{100 * row[column]:.{0 if row[column] >= 0.1 else 1}f} % {of}"
