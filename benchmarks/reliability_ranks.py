"""Do shares and Shapley values rank the modalities as the demo planted them?

    eavdash make-demo graded --subjects 9
    eavdash train graded/EAV/EAV --study graded --subjects 4-9 --folds 0 --wait
    python benchmarks/reliability_ranks.py graded          # several studies are taken together

From the fourth subject on, the modalities follow the label never, sometimes and mostly, in every order (the study's
recordings have a truth.json that says how often). Per subject and modality the benchmark takes the mean attention share
of the test trials, and the mean |Shapley value| of the decided class over the test windows (log-probabilities), and
prints Spearman's rank correlation of each with the planted reliability, and of the accuracy of the encoder alone.
Intervals (95 %) are bootstrapped over subjects, as the three modalities of a subject are not independent.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from eavdash.config.choices import MODALITIES
from eavdash.results import shapley, tables
from eavdash.store import StudyDir, checkpoints_root, find_study

DRAWS = 10_000
KEYS = ["subject", "modality"]
MEASURES = {"share": "attention share", "shapley": "mean abs. Shapley value", "accuracy": "accuracy of the encoder"}


def planted(dataset: Path) -> pd.Series:
    """Return the reliability by (subject, modality) from the truth.json of the recordings."""
    truth = json.loads((dataset / "truth.json").read_text(encoding="utf-8"))
    cells = {(s, m): value for s, of in truth["reliability"].items() for m, value in of.items()}
    return pd.Series(cells, name="reliability").rename_axis(KEYS)


def measured(study: StudyDir) -> pd.DataFrame:
    """Return a row per (subject, modality) with the columns of :data:`MEASURES`; NaN where there is none."""
    trials = tables.trials(study)
    fused = trials[trials["stage"] == "fusion"]
    alone = trials[trials["stage"].isin(MODALITIES) & trials["subject"].isin(fused["subject"])]
    accuracy = (alone["predicted"] == alone["label"]).groupby([alone["subject"], alone["stage"]]).mean()
    shares = {m: fused.groupby("subject")[f"attention_{m}"].mean() for m in MODALITIES if f"attention_{m}" in fused}
    found = {"accuracy": accuracy.rename_axis(KEYS)}
    if shares:
        found["share"] = pd.concat(shares, names=["modality"]).swaplevel()
    coalitions = shapley.coalitions(study).table
    if len(coalitions):
        values = shapley.shapley_values(coalitions).merge(shapley.decided(coalitions))
        found["shapley"] = values["value"].abs().groupby([values["subject"], values["modality"]]).mean()
    return pd.DataFrame(found).reindex(columns=list(MEASURES))


def rank_correlation(cells: pd.DataFrame, measure: str) -> tuple[float, float, float]:
    """Return Spearman's correlation with the reliability over all cells, and its interval over subjects."""
    subjects = cells["subject"].unique()
    groups = {s: cells.loc[cells["subject"] == s, ["reliability", measure]].to_numpy() for s in subjects}
    random = np.random.default_rng(0)

    def correlation(drawn: np.ndarray) -> float:
        pairs = np.concatenate([groups[s] for s in drawn])
        return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)

    draws = [correlation(random.choice(subjects, len(subjects))) for _ in range(DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return correlation(subjects), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", help="studies of different subjects, which are taken together")
    parser.add_argument("--checkpoints")
    options = parser.parse_args()
    parts = []
    for name in options.studies:
        study = find_study(checkpoints_root(options.checkpoints), name)
        cells = measured(study).join(planted(Path(study.study().dataset.path))).reset_index()
        parts.append(cells.assign(subject=name + " " + cells["subject"]))
    every = pd.concat(parts, ignore_index=True)
    print("| measure | subjects × modalities | Spearman | 95 % interval over subjects | lowest is the noise |")
    print("|---|---|---|---|---|")
    for measure, words in MEASURES.items():
        known = every.dropna(subset=[measure, "reliability"])
        if known.empty:
            continue
        value, low, high = rank_correlation(known, measure)
        lowest = known.loc[known.groupby("subject")[measure].idxmin(), "reliability"] == 0
        subjects = known["subject"].nunique()
        print(
            f"| {words} | {subjects} × {len(known) // subjects} = {len(known)} | {value:.2f} "
            f"| {low:.2f} to {high:.2f} | {lowest.sum()}/{len(lowest)} |"
        )
    print()
    print(every.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
