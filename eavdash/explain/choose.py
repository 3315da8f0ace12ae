"""Which run's decision on a trial is explained: one that tested it, never one that was trained on it."""

from __future__ import annotations

import pandas as pd

from eavdash.config.choices import MODALITIES
from eavdash.errors import UsageError
from eavdash.store import RunDir, StudyDir


def testing_run(study: StudyDir, subject: str, trial: str, fold: int | None, seed: int | None) -> RunDir:
    """The finished run whose predictions hold the trial as a test trial.

    Fusion comes before the single modalities (in canonical order), then lower folds and seeds before higher ones. Runs
    whose own files cannot be read are for others to name.

    Raises:
        UsageError: there is none; the message says what there is.
    """
    finished = [r for r in study.runs() if not r.unreadable() and r.status()["state"] == "done"]
    seen: list[str] = []
    candidates = []
    for run in finished:
        config = run.config()
        if config.get("subject") not in ("", None, subject):
            continue
        if fold not in (None, config["fold"]) or seed not in (None, config["seed"]):
            continue
        order = ("fusion", *MODALITIES).index(config["stage"])
        candidates.append((order, int(config["fold"]), int(config["seed"]), run))
    for _, _, _, run in sorted(candidates, key=lambda c: c[:3]):
        split = _split(run, subject, trial)
        if split == "test":
            return run
        if split:
            seen.append(f"a {split} trial of {run.name}")
    raise UsageError.at(
        f"study {study.name}, subject {subject}, trial {trial}",
        expected="a finished run" + _asked(fold, seed) + " that tested this trial",
        found=_found(seen, candidates, finished),
        remedy="train the fold that tests it, or choose another trial: eavdash status " + study.name,
    )


def _split(run: RunDir, subject: str, trial: str) -> str:
    """The split of a trial in a run's predictions; empty if it has none."""
    frame = pd.read_parquet(run.verify("predictions.parquet"), columns=["subject", "trial", "split"])
    rows = frame.loc[(frame["subject"] == subject) & (frame["trial"] == trial), "split"]
    return "" if rows.empty else str(rows.iloc[0])


def _asked(fold: int | None, seed: int | None) -> str:
    return "".join(f" of {name} {value}" for name, value in (("fold", fold), ("seed", seed)) if value is not None)


def _found(seen: list[str], candidates: list, finished: list[RunDir]) -> str:
    if seen:
        return ", ".join(seen[:3])
    if candidates:
        names = ", ".join(run.name for *_, run in candidates[:3])
        return f"{names}, without such a trial"
    if finished:
        return f"finished runs of other subjects, folds or seeds ({', '.join(r.name for r in finished[:3])})"
    return "no finished run"
