"""Choice of the run that explains a trial: one that tested it, never one that was trained on it."""

from __future__ import annotations

import pandas as pd

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.scaling import CALIBRATION
from eavdash.errors import IntegrityError, UsageError
from eavdash.results.columns import study_table
from eavdash.store import RunDir, StudyDir


def testing_run(
    study: StudyDir,
    subject: str,
    trial: str,
    fold: int | None,
    seed: int | None,
    stage: str = "",  # noqa: PT028 - this is no test
) -> RunDir:
    """Return the finished run whose predictions contain the trial as a test trial.

    Without a ``stage`` fusion comes before the single modalities (in canonical order), then lower folds and seeds
    before higher ones. Runs with unreadable files are skipped; other checks report them.

    Raises:
        UsageError: there is none; the message lists the runs there are. Or there is no such stage.
    """
    if stage and stage not in STAGES:
        raise UsageError.at("stage", expected=", ".join(STAGES), found=repr(stage), remedy="choose one")
    finished = [r for r in study.runs() if not r.unreadable() and r.status().state == "done"]
    other_splits: list[str] = []
    candidates = []
    for run in finished:
        config = run.config()
        if config.subject not in ("", subject):
            continue
        if fold not in (None, config.fold) or seed not in (None, config.seed) or stage not in ("", config.stage):
            continue
        order = ("fusion", *MODALITIES).index(config.stage)
        candidates.append((order, config.fold, config.seed, run))
    for _, _, _, run in sorted(candidates, key=lambda c: c[:3]):
        split = _split(run, subject, trial)
        if split == "test":
            return run
        if split:
            other_splits.append(f"a {split} trial of {run.name}")
    if candidates and _for_calibration(study, subject, trial):
        other_splits.append("a trial for calibration, which no run scores")
    raise UsageError.at(
        f"study {study.name}, subject {subject}, trial {trial}",
        expected="a finished run" + _asked(fold, seed, stage) + " that tested this trial",
        found=_found(other_splits, candidates, finished),
        remedy=f"train the fold that tests it, or choose another trial (see eavdash status {study.name})",
    )


def _for_calibration(study: StudyDir, subject: str, trial: str) -> bool:
    """Return True if the study keeps the trial for calibration; False if its splits cannot be read."""
    try:
        splits = study_table(study.splits_file, ("subject", "trial", "split"))
    except IntegrityError:
        return False
    here = (splits["subject"] == subject) & (splits["trial"] == trial)
    return bool((splits["split"][here] == CALIBRATION).any())


def _split(run: RunDir, subject: str, trial: str) -> str:
    """Return the split of a trial in a run's predictions; empty if it is not there."""
    frame = pd.read_parquet(run.verify("predictions.parquet"), columns=["subject", "trial", "split"])
    rows = frame.loc[(frame["subject"] == subject) & (frame["trial"] == trial), "split"]
    return "" if rows.empty else str(rows.iloc[0])


def _asked(fold: int | None, seed: int | None, stage: str) -> str:
    asked = (("fold", fold), ("seed", seed), ("stage", stage or None))
    return "".join(f" of {name} {value}" for name, value in asked if value is not None)


def _found(other_splits: list[str], candidates: list[tuple[int, int, int, RunDir]], finished: list[RunDir]) -> str:
    if other_splits:
        return ", ".join(other_splits[:3])
    if candidates:
        names = ", ".join(run.name for *_, run in candidates[:3])
        return f"{names}, without this trial"
    if finished:
        return f"finished runs of other subjects, stages, folds or seeds ({', '.join(r.name for r in finished[:3])})"
    return "no finished run"
