"""Effective number of a subject's test trials: trials of one conversation are decided alike.

In: a table of ``tables.trials``. Out: effective numbers of trials, for intervals, whiskers and the chance line. The
correlation of decisions within groups is estimated by one-way analysis of variance over all subjects of a stage (Donner
1986, Int. Stat. Rev. 54:67); a subject's n trials then count as n / (1 + (m - 1) r), m being their mean number per
group weighted by size (Kish 1965). Groups of one trial change nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def decided_alike(trials: pd.DataFrame) -> float:
    """Return the correlation (0..1) of right and wrong within groups, of the trials of one stage.

    ``trials``: subject, trial, group, correct; a trial's decisions by several seeds or folds are averaged. 0 if no
    subject has two groups, one of them of two trials: then it cannot be told.
    """
    items = _items(trials)
    people, groups = items.groupby("subject")["correct"], items.groupby(["subject", "group"])["correct"]
    sizes = groups.size()
    between, within = len(sizes) - people.ngroups, len(items) - len(sizes)
    if between <= 0 or within <= 0:
        return 0.0
    own, mean = groups.transform("mean"), people.transform("mean")
    spread_between = float(((own - mean) ** 2).sum()) / between
    spread_within = float(((items["correct"] - own) ** 2).sum()) / within
    shares = (sizes**2).groupby("subject").sum() / sizes.groupby("subject").sum()
    typical = (len(items) - float(shares.sum())) / between
    total = spread_between + (typical - 1) * spread_within
    return float(np.clip((spread_between - spread_within) / total, 0, 1)) if total > 0 else 0.0


def effective_trials(trials: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the effective number of test trials by subject and stage, at least their number of groups.

    ``trials``: from ``tables.trials``, any stages.
    """
    found: dict[tuple[str, str], float] = {}
    for stage, rows in trials.groupby("stage", sort=False):
        items, alike = _items(rows), decided_alike(rows)
        sizes = items.groupby(["subject", "group"]).size()
        total = sizes.groupby(level="subject").sum()
        size = (sizes**2).groupby(level="subject").sum() / total
        effective = total / (1 + (size - 1) * alike)
        found |= {(str(subject), str(stage)): float(n) for subject, n in effective.items()}
    return found


def _items(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per subject, group and trial: the share of right decisions."""
    keys = ["subject", "group", "trial"]
    items: pd.DataFrame = trials[keys].assign(correct=trials["correct"].astype(float))
    return items.groupby(keys)["correct"].mean().reset_index()
