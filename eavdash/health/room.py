"""The disk space that the windows of recordings take, from their measures alone: nothing is opened.

In: the measures of every recording (look.py) and a configuration. Out: bytes. It is an upper bound, as recordings that
are equal share their windows and those of earlier studies are there already; ``eavdash cache build --dry-run`` says
exactly what is missing.
"""

from __future__ import annotations

import math
from math import prod

import numpy as np
import pandas as pd

from eavdash.config.choices import TABLE
from eavdash.config.schema import StudyConfig
from eavdash.data.readers import reader_of
from eavdash.data.windows import tile


def window_bytes(rows: pd.DataFrame, config: StudyConfig, channels: int) -> int:
    """Return the bytes of all windows; ``channels``: the most that an EEG file has.

    ``rows``: as :func:`eavdash.health.look.measured`, of which ``start``, ``stop`` and ``duration`` are in seconds.
    """
    total = 0
    for modality in config.modalities:
        mine = rows[(rows["modality"] == modality) & (rows["problem"] == "")]
        if mine.empty:
            continue
        reader = reader_of(modality, config)
        columns = mine["columns"].max() if config.modality(modality).encoder == TABLE else channels
        lengths = [length or (0 if math.isnan(columns) else int(columns)) for length in reader.shape]
        each = prod(lengths) * np.dtype(reader.dtype).itemsize + reader.steps + 24
        seconds = (mine["stop"] - mine["start"]).fillna(mine["duration"]).fillna(config.window)  # a still image
        total += each * sum(len(tile(float(s), config.window)) for s in seconds)
    return total
