"""The runs of a study: one per stage, fold and seed of each subject, with its parents and its config.json.

In: the study's document, its trials and splits. Out: :class:`PlannedRun` in the order of their dependencies, and the
runs that are left out, with the reason (no recordings of a modality).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from eavdash.config.choices import ACROSS, COLUMN, MODALITIES, STAGES
from eavdash.config.convert import recorded_config
from eavdash.config.schema import StudyConfig
from eavdash.errors import SplitError
from eavdash.jobs.tested import in_words
from eavdash.store import unit_name
from eavdash.store.documents import Naming, RunConfig, StudyDocument


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan: its name, the content of its config.json, and the reason if it cannot start."""

    name: str
    config: RunConfig
    problem: str = ""


def recorded_stages(config: StudyConfig, trials: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the stages for which this dataset has recordings, and a note about the others.

    A modality that no subject has is not a problem of single subjects, and fusion needs at least two modalities.
    """
    recorded = [m for m in config.modalities if (trials[COLUMN[m]] != "").any()]
    absent = [m for m in config.modalities if m not in recorded]
    notes = [f"no trial has {' or '.join(absent)} recordings: {', '.join(absent)} not trained"] if absent else []
    stages = [s for s in config.stages if s not in absent]
    if "fusion" in stages and len(recorded) == 1:
        stages.remove("fusion")
        notes.append(f"fusion not trained: {recorded[0]} is the only modality")
    return stages, notes


def make_runs(
    document: StudyDocument,
    stages: Sequence[str],
    trials: pd.DataFrame,
    splits: pd.DataFrame,
    subjects: Sequence[str],
    folds: Sequence[int],
    seeds: Sequence[int],
    problems: dict[str, str],
) -> tuple[list[PlannedRun], dict[str, str]]:
    """Return the runs, parents before children, and the reason for each run that is left out.

    ``problems``: reasons of the subjects that cannot be used; their runs are planned but cannot start.
    """
    protocol = recorded_config(document).protocol
    cross = protocol.name in ACROSS
    modalities = [m for m in MODALITIES if m in stages]
    planned: list[PlannedRun] = []
    left_out: dict[str, str] = {}
    merged = splits.merge(trials[["subject", "trial", *COLUMN.values()]], on=["subject", "trial"])
    pooled: dict[tuple[int, int], dict[str, str]] = {}  # fold, seed → modality → run of all subjects
    if protocol.pooled:
        runs, pooled = _pooled(document, modalities, merged, folds, seeds)
        planned += runs
    for subject in [""] if cross else subjects:
        mine = merged if cross else merged[merged["subject"] == subject]
        problem = "" if cross else problems.get(subject, "")
        for fold in folds:
            rows = mine[mine["fold"] == fold]
            for seed in seeds:
                names = {s: _run_name(subject, s, fold, seed, document.naming) for s in stages}
                missing = {} if problem else _missing(rows, modalities, subject, fold)
                left_out |= {names[m]: reason for m, reason in missing.items()}
                parents = {m: names[m] for m in modalities if m not in missing}
                for stage in STAGES:
                    if stage not in stages or stage in missing:
                        continue
                    if stage == "fusion" and not parents:
                        left_out[names[stage]] = "none of its modalities was recorded"
                        continue
                    start = pooled.get((fold, seed), {}).get(stage)
                    needed = parents if stage == "fusion" else {stage: start} if start else {}
                    content = _content(document, names[stage], stage, fold, seed, subject, needed)
                    planned.append(PlannedRun(names[stage], content, problem))
    return planned, left_out


def _pooled(
    document: StudyDocument,
    modalities: Sequence[str],
    rows: pd.DataFrame,
    folds: Sequence[int],
    seeds: Sequence[int],
) -> tuple[list[PlannedRun], dict[tuple[int, int], dict[str, str]]]:
    """Return the runs on all subjects from which each subject's runs start, and their names by fold, seed and modality.

    They are trained and validated on the training and validation trials of a fold, never on test trials.

    Raises:
        SplitError: there is only one subject.
    """
    subjects = sorted(set(rows["subject"]))
    if len(subjects) < 2:
        raise SplitError.at(
            "protocol.pooled",
            expected="at least 2 subjects to train on together",
            found=", ".join(subjects) or "none",
            remedy="choose more subjects, or set protocol.pooled=false",
        )
    runs: list[PlannedRun] = []
    names: dict[tuple[int, int], dict[str, str]] = {}
    for fold in folds:
        train = rows[(rows["fold"] == fold) & (rows["split"] == "train")]
        for seed in seeds:
            for modality in modalities:
                if (train[COLUMN[modality]] == "").all():
                    continue
                name = _run_name("", modality, fold, seed, document.naming)
                names.setdefault((fold, seed), {})[modality] = name
                content = _content(document, name, modality, fold, seed, "", {})
                runs.append(PlannedRun(name, content.replace(pooled=True)))
    return runs, names


def _content(
    document: StudyDocument, name: str, stage: str, fold: int, seed: int, subject: str, parents: dict[str, str]
) -> RunConfig:
    """Return a run's config.json; ``subject`` is empty for a run on all subjects."""
    return RunConfig(
        study=document.name,
        run=name,
        unit=unit_name(subject) if subject else "all",
        stage=stage,
        fold=fold,
        seed=seed,
        subject=subject,
        classes=document.classes,
        parents=parents,
        config=document.config,
    )


def _missing(rows: pd.DataFrame, modalities: Sequence[str], subject: str, fold: int) -> dict[str, str]:
    """Return the modalities that cannot be trained or tested for this subject and fold, with the reason."""
    reasons = {}
    who = f"subject {subject}" if subject else "the subjects"
    of = f"fold {fold}" if subject else in_words(rows["subject"][rows["split"] == "test"].unique(), fold)
    for modality in modalities:
        recorded = rows[rows[COLUMN[modality]] != ""]
        for split in ("train", "test"):
            if (recorded["split"] != split).all():
                reasons[modality] = f"no {modality} recording of {who} among the {split} trials of {of}"
    return reasons


def _run_name(subject: str, stage: str, fold: int, seed: int, naming: Naming) -> str:
    unit = unit_name(subject) if subject else "all"
    fold_part = "" if naming.fold == fold else f"-fold{fold}"
    seed_part = "" if naming.seed == seed else f"-seed{seed}"
    return f"{unit}-{stage}{fold_part}{seed_part}"
