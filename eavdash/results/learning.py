"""Learning curves of a stage over its seeds, from the runs' metrics.jsonl.

In: a study. Out: the mean over runs (subjects and folds) of a quantity by seed and epoch.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd

from eavdash.errors import EavdashError
from eavdash.store import StudyDir

QUANTITIES = ("validation_accuracy", "validation_loss", "accuracy", "loss")


def curves(study: StudyDir, stage: str, quantity: str) -> pd.DataFrame:
    """Return seed, epoch, value (mean over the runs that have reached the epoch) and runs (their number).

    Runs whose files are damaged are left out; the page of results reports them.
    """
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for run in study.runs():
        try:
            if run.place().stage != stage:
                continue
            seed = run.config().seed
            for line in run.metrics():
                if (value := line.get(quantity)) is not None:
                    found[seed, int(line["epoch"])].append(float(value))
        except EavdashError:
            continue
    rows = [(seed, epoch, float(np.mean(values)), len(values)) for (seed, epoch), values in sorted(found.items())]
    return pd.DataFrame(rows, columns=["seed", "epoch", "value", "runs"])
