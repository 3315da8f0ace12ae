"""Agreement of the modalities, and who is right when the others are wrong, on the same trials.

In: a table of ``tables.trials``. Out: tables over the (subject, trial, fold, seed) that every modality of the study has
been tested on; decisions of one trial by several folds or seeds share its weight.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.results.metrics import trial_weights

_KEYS = ["subject", "trial", "fold", "seed"]


@dataclass(frozen=True)
class Together:
    """Decisions on common trials.

    ``items``: subject, trial, fold, seed, label, weight, then ``predicted_<stage>`` and ``right_<stage>`` of each of
    ``modalities`` and, with ``fused``, of fusion. ``left_out``: trials that not all of them have been tested on.
    """

    items: pd.DataFrame
    modalities: tuple[str, ...]
    fused: bool
    left_out: int

    @property
    def trials(self) -> int:
        """The number of distinct trials."""
        return round(float(self.items["weight"].sum()))

    def right(self) -> np.ndarray:
        """Return whether each modality was right (item, modality)."""
        return self.items[[f"right_{m}" for m in self.modalities]].to_numpy(bool)


def together(trials: pd.DataFrame) -> Together | None:
    """Return the decisions on common trials; None with fewer than two modalities, or without a common trial."""
    modalities = tuple(m for m in MODALITIES if m in set(trials["stage"]))
    fused = "fusion" in set(trials["stage"])
    stages = [*modalities, *(["fusion"] if fused else [])]
    if len(modalities) < 2:
        return None
    wide = trials[trials["stage"].isin(stages)].pivot(index=[*_KEYS, "label"], columns="stage", values="predicted")
    every = wide.reset_index()[["subject", "trial"]].drop_duplicates()
    wide = wide.dropna(subset=stages)
    if wide.empty:
        return None
    items = wide.index.to_frame(index=False)
    items["weight"] = trial_weights(items)
    for stage in stages:
        items[f"predicted_{stage}"] = wide[stage].to_numpy(str)
        items[f"right_{stage}"] = items[f"predicted_{stage}"] == items["label"]
    return Together(items, modalities, fused, len(every) - len(items[["subject", "trial"]].drop_duplicates()))


def patterns(found: Together) -> pd.DataFrame:
    """Return who is right together: a row per combination that occurs, the most frequent first.

    Columns: right (modalities, joined by "+"; empty: none), share (of the trials), n (distinct trials, fractional over
    seeds), fusion (its accuracy on these trials; NaN without fusion).
    """
    right, weight = found.right(), found.items["weight"].to_numpy(float)
    code = right @ (1 << np.arange(len(found.modalities)))
    rows = []
    for value in np.unique(code):
        mine = code == value
        n = float(weight[mine].sum())
        fused = found.items.loc[mine, "right_fusion"].to_numpy(float) if found.fused else np.full(mine.sum(), np.nan)
        names = "+".join(m for number, m in enumerate(found.modalities) if value >> number & 1)
        rows.append((names, n / float(weight.sum()), n, float((fused * weight[mine]).sum() / n)))
    table = pd.DataFrame(rows, columns=["right", "share", "n", "fusion"])
    return table.sort_values("n", ascending=False, kind="stable").reset_index(drop=True)


def pairs(found: Together) -> pd.DataFrame:
    """Return how two modalities decide, in shares of the trials: a, b, same, kappa, both, only_a, only_b, neither.

    ``same``: the same class was predicted; ``kappa``: Cohen's (1960) of the predicted classes, 1 for equal decisions
    and 0 for as much agreement as independent ones would have. The others: who was right.
    """
    weight = found.items["weight"].to_numpy(float)
    total, rows = float(weight.sum()), []
    for a, b in itertools.combinations(found.modalities, 2):
        x, y = (found.items[f"predicted_{m}"].to_numpy(str) for m in (a, b))
        first, second = (found.items[f"right_{m}"].to_numpy(bool) for m in (a, b))
        same = float(weight[x == y].sum()) / total
        by_chance = sum(float(weight[x == c].sum() * weight[y == c].sum()) for c in np.unique(x)) / total**2
        kappa = (same - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")
        shares = [
            float(weight[mine].sum()) / total
            for mine in (first & second, first & ~second, ~first & second, ~first & ~second)
        ]
        rows.append((a, b, same, kappa, *shares))
    return pd.DataFrame(rows, columns=["a", "b", "same", "kappa", "both", "only_a", "only_b", "neither"])


def ceiling(found: Together) -> float:
    """Return the accuracy of an oracle that follows a modality that is right wherever one is."""
    weight = found.items["weight"].to_numpy(float)
    return float(weight[found.right().any(axis=1)].sum() / weight.sum())


def alone(found: Together, modality: str) -> pd.DataFrame:
    """Return the items that only this modality was right about."""
    right = found.right()
    mine = right[:, found.modalities.index(modality)] & (right.sum(axis=1) == 1)
    items: pd.DataFrame = found.items[mine]
    return items.reset_index(drop=True)
