"""Where do the receipts' thresholds lie between good maps and planted defects?

    eavdash make-demo demo-data
    eavdash train demo-data/EAV/EAV --study demo --folds 0 --wait
    python benchmarks/receipt_thresholds.py demo --minutes 20 --output receipts.csv
    python benchmarks/receipt_thresholds.py --from receipts.csv

Test trials of the finished fusion runs take turns over the subjects, in an order drawn by a seed. Of each one the map
of the predicted class is computed by the default method and checked as ``eavdash explain`` does; then the same checks
are asked about maps with a planted defect. A row of the table is one map and one check. The summary has the
distribution of each check's number by kind of map, the verdicts, and for other thresholds the share of good maps that
they would pass beside the share of each defect that they would catch. ``--minutes`` bounds the computation: no trial
begins later.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config.convert import recorded_config
from eavdash.explain.attributions import Output
from eavdash.explain.baselines import kind_for
from eavdash.explain.check_record import VERDICTS, worst
from eavdash.explain.fused import load_fused_model
from eavdash.explain.receipts.of_trial import question_of, quickly
from eavdash.explain.receipts.question import ExplainedInputs, ExplainedWindowInputs
from eavdash.explain.receipts.randomisation import redrawn
from eavdash.explain.receipts.registry import CHECKS, check_explanation
from eavdash.explain.recordings import trial_row, trial_windows, window_sets
from eavdash.explain.training_windows import training_windows
from eavdash.explain.window_method import WindowMethod
from eavdash.models.fusion import Tensors
from eavdash.models.seeds import reproducible, seeder
from eavdash.results import tables
from eavdash.store import RunDir, StudyDir, checkpoints_root, find_study

CPU = torch.device("cpu")
GOOD = "good"


def stretched(modality: str, found: Tensor) -> Tensor:
    """Return the map with its time axis stretched by a quarter, as one drawn over the padding is."""
    axis = 2 if modality == "eeg" else 1
    return found.index_select(axis, (torch.arange(found.shape[axis]) * 0.8).long())


def swapped(modality: str, found: Tensor) -> Tensor:
    """Return the map with each EEG channel's values at the next channel."""
    return found.roll(1, dims=1) if modality == "eeg" else found


def shuffled(_: str, found: Tensor) -> Tensor:
    """Return the map with its values in random places of each modality."""
    order = torch.randperm(found.numel(), generator=torch.Generator().manual_seed(0))
    return found.flatten()[order].reshape(found.shape)


def halved(_: str, found: Tensor) -> Tensor:
    """Return the map at half its scale."""
    return found / 2


#: Defects of a map's values; ``another class`` and ``other weights`` are computed.
DEFECTS = {
    "stretched axis": stretched,
    "swapped channels": swapped,
    "shuffled values": shuffled,
    "half the scale": halved,
}


class Remembering(ExplainedInputs):
    """A question that asks the model once about each variant of a window: most are the same for every kind of map."""

    def scores(self, window: ExplainedWindowInputs, removed: Tensor, by: Tensors) -> Tensor:
        known: dict[object, Tensor] = vars(self).setdefault("known", {})
        about = tuple(float(x.double().sum()) for x in (*window.inputs.values(), *by.values()))
        keys = [(about, bytes(row.numpy())) for row in removed]
        if new := [n for n, key in enumerate(keys) if key not in known]:
            found = super().scores(window, removed[new], by)
            known |= {keys[n]: score for n, score in zip(new, found, strict=True)}
        return torch.stack([known[key] for key in keys])


def with_maps(asked: ExplainedInputs, maps: list[Tensors]) -> ExplainedInputs:
    """Return the question with other maps; the noisy maps, which do not depend on them, are kept."""
    windows = [
        replace(window, attributions={m: found[m] for m in window.attributions})
        for window, found in zip(asked.windows, maps, strict=True)
    ]
    other = replace(asked, windows=windows)
    vars(other).update(noisy=asked.noisy, known=vars(asked)["known"])
    return other


def questions(study: StudyDir, run: RunDir, subject: str, trial: str) -> Iterator[tuple[str, ExplainedInputs]]:
    """Yield the kind of map and its question: first the model's own map of a trial, then those with defects."""
    info = run.config()
    model = load_fused_model(study, run, CPU, subject)
    sets = window_sets(study, run, trial_row(study, recorded_config(info), subject, trial))
    windows = trial_windows(sets, CPU)
    drawn = tuple(m for m in sets if kind_for(m, "mixed") == "training")
    trained = training_windows(study, run, tuple(sets), CPU)
    method = WindowMethod(model, trained, drawn)
    with torch.no_grad():
        logits = [model.predict(w.inputs, w.masks).fused.logits[0].log_softmax(0) for w in windows]
    ranked = torch.stack(logits).mean(dim=0).argsort(descending=True).tolist()
    output, rival = Output(ranked[0]), Output(ranked[1])
    seed = seeder(info.seed, info.fold, info.stage)
    found = [method.attribute(w.inputs, w.masks, output) for w in windows]
    made = question_of(method, windows, found, output, trained, seed)
    asked = Remembering(made.model, made.windows, made.output, made.attribute, made.seed)
    yield GOOD, asked
    for name, defect in DEFECTS.items():
        yield name, with_maps(asked, [{m: defect(m, a) for m, a in w.attributions.items()} for w in asked.windows])
    for name, of, target in (
        ("another class", model, rival),
        ("other weights", redrawn(model, seed("thresholds", "weights")), output),
    ):
        other = replace(method, model=of)
        maps = [quickly(other, w.inputs).attribute(w.inputs, w.masks, target).values for w in windows]
        yield name, with_maps(asked, maps)


def measure(study: StudyDir, minutes: float, output: Path | None) -> pd.DataFrame:
    """Return a row per map and check: subject, trial, map, check, value, verdict, reason."""
    decided = tables.trials(study, ["fusion"])
    order = decided.iloc[np.random.default_rng(0).permutation(len(decided))]
    turns = zip_longest(*(rows.itertuples() for _, rows in order.groupby("subject")))
    rows: list[dict[str, object]] = []
    began = time.monotonic()
    for row in (row for turn in turns for row in turn if row is not None):
        if time.monotonic() - began > 60 * minutes:
            break
        with reproducible(CPU, threads=1):
            for kind, asked in questions(study, study.run(row.run), str(row.subject), str(row.trial)):
                checks = check_explanation(asked)
                about = {"subject": row.subject, "trial": row.trial, "right": row.correct, "map": kind}
                about["explained"] = max(window.explained for window in asked.windows)
                rows += [{**about, "check": c.name, "value": c.value, "verdict": c.verdict} for c in checks]
                rows.append({**about, "check": "all", "value": None, "verdict": worst(checks)})
        if output:
            pd.DataFrame(rows).to_csv(output, index=False)
        print(f"subject {row.subject}, trial {row.trial}: {time.monotonic() - began:.0f} s", flush=True)
    return pd.DataFrame(rows)


def distributions(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the quantiles of each check's number and the counts of its verdicts, by kind of map."""
    found = []
    for (check, kind), of in rows.groupby(["check", "map"], sort=False):
        values, verdicts = of["value"].dropna(), of["verdict"].value_counts()
        quantiles = values.quantile([0, 0.1, 0.5, 0.9, 1]).round(2).tolist() if len(values) else [""] * 5
        names = dict(zip(("lowest", "10 %", "median", "90 %", "highest"), quantiles, strict=True))
        counts = {verdict: int(verdicts.get(verdict, 0)) for verdict in VERDICTS[1:]}
        found.append({"check": check, "map": kind, "n": len(of), **names, **counts})
    return pd.DataFrame(found)


def separations(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, for each check, a threshold and the share of each kind of map that it lets pass.

    The thresholds are the numbers of the good maps' 5th, 10th and 25th percentile from the worse end. ``area``: how
    often a good map has a better number than one with a defect (0.5: the check cannot tell them apart).
    """
    found = []
    for check, of in rows[rows["check"] != "all"].groupby("check", sort=False):
        kind = CHECKS[str(check)]
        sign = 1 if kind.good >= kind.poor else -1
        values = {name: sign * group["value"].dropna().to_numpy() for name, group in of.groupby("map", sort=False)}
        good = values.pop(GOOD, np.zeros(0))
        if not len(good):
            continue
        for name, others in values.items():
            pairs = good[:, None] - others[None, :]
            area = float((pairs > 0).mean() + (pairs == 0).mean() / 2) if pairs.size else float("nan")
            row: dict[str, object] = {"check": check, "defect": name, "n": len(others), "area": round(area, 2)}
            for share in (0.05, 0.1, 0.25):
                line = np.quantile(good, share, method="lower")
                passes = float((others >= line).mean()) if len(others) else float("nan")
                row[f"passes at {sign * line:.2f}"] = round(passes, 2)
            found.append(row)
    return pd.DataFrame(found)


def markdown(table: pd.DataFrame) -> str:
    lines = [table.columns.tolist(), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?")
    parser.add_argument("--minutes", type=float, default=20, help="no trial begins later (default: %(default)g)")
    parser.add_argument("--output", type=Path, help="table of all numbers, written after each trial (.csv)")
    parser.add_argument("--from", dest="table", type=Path, help="summarise this table instead of computing one")
    parser.add_argument("--checkpoints")
    options = parser.parse_args()
    if options.table:
        rows = pd.read_csv(options.table)
    else:
        rows = measure(
            find_study(checkpoints_root(options.checkpoints), options.study), options.minutes, options.output
        )
    print(f"\n{rows[['subject', 'trial']].drop_duplicates().shape[0]} trials\n")
    print(markdown(distributions(rows)))
    for _, table in separations(rows).groupby("check", sort=False):
        print(f"\n{markdown(table.dropna(axis=1, how='all'))}")


if __name__ == "__main__":
    main()
