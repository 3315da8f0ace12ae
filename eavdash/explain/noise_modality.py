"""Does the fusion see which modality is noise? Its attention share, and how often its Shapley value is the smallest.

In: a study of simulated recordings and their truth. Out: a row per subject and one of all. Needs no torch.
"""

from __future__ import annotations

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.explain.truth import Truth
from eavdash.results import shapley, tables
from eavdash.results.statistics import wilson
from eavdash.store import StudyDir

COLUMNS = (
    "subject",
    "noise",
    "trials",
    "share",
    "lowest",
    "windows",
    "rate",
    "low",
    "high",
    "lowest_all",
    "windows_all",
)
_TRIAL = ["subject", "trial", "fold", "seed"]


def noise_modalities(study: StudyDir, truth: Truth, trials: list[tuple[str, str]]) -> pd.DataFrame:
    """Return :data:`COLUMNS` of the fusion's test trials among ``trials`` (subject, trial), for subjects with a noise.

    ``share``: mean attention of the noise modality, NaN if the fusion has none. ``lowest`` of ``windows``: in how many
    its |Shapley value| of the decided class is the lowest, with ``rate`` and Wilson's interval, of *matched* trials,
    whose label another modality's encoder alone decides; ``lowest_all`` of ``windows_all``: the same of all trials.
    """
    decided = tables.trials(study)
    decided = decided[pd.MultiIndex.from_frame(decided[["subject", "trial"]]).isin(trials)]
    fused = decided[decided["stage"] == "fusion"]
    found = shapley.coalitions(study).table
    windows = _windows(found) if len(found) else pd.DataFrame(columns=[*_TRIAL, "lowest"])
    rows = []
    for subject in fused["subject"].unique():
        noise = [m for m in MODALITIES if m in truth.reliability[subject] and truth.is_noise(subject, m)]
        if len(noise) != 1:
            continue
        own = fused[fused["subject"] == subject]
        column = f"attention_{noise[0]}"
        share = float(own[column].mean()) if column in own else float("nan")
        others = decided[decided["stage"].isin(MODALITIES) & (decided["stage"] != noise[0])]
        right = others[(others["subject"] == subject) & others["correct"].astype(bool)]
        mine = windows.merge(own[_TRIAL])
        matched = mine.merge(right[_TRIAL].drop_duplicates())
        counts = [int((each["lowest"] == noise[0]).sum()) for each in (matched, mine)]
        rows.append((subject, noise[0], len(own), share, counts[0], len(matched), counts[1], len(mine)))
    made = pd.DataFrame(rows, columns=["subject", "noise", "trials", "share", "lowest", "windows", *COLUMNS[-2:]])
    if len(made) > 1:
        sums = made[["trials", "lowest", "windows", *COLUMNS[-2:]]].sum()
        share = (made["share"] * made["trials"]).sum(skipna=False) / sums["trials"]
        made.loc[len(made)] = {"subject": "all", "noise": "", "share": share, **sums}
    spans = [wilson(k, n) for k, n in zip(made["lowest"], made["windows"], strict=True)]
    made["rate"] = made["lowest"] / made["windows"].where(made["windows"] > 0)
    made["low"], made["high"] = [low for low, _ in spans], [high for _, high in spans]
    return made[list(COLUMNS)]


def _windows(coalitions: pd.DataFrame) -> pd.DataFrame:
    """Return per window of several modalities the one whose |Shapley value| of the decided class is the ``lowest``."""
    values = shapley.shapley_values(coalitions).merge(shapley.decided(coalitions))
    keys = [*_TRIAL, "run", "window"]
    values = values.assign(size=values["value"].abs())
    values = values[values.groupby(keys)["modality"].transform("size") > 1]
    lowest = values.loc[values.groupby(keys)["size"].idxmin(), [*keys, "modality"]]
    return lowest.rename(columns={"modality": "lowest"})
