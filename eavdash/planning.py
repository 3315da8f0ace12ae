"""From a dataset and a configuration to the plan of a study: its document, its splits and its runs.

In: where the recordings are, the study's name, a :class:`~eavdash.config.StudyConfig` and a
:class:`~eavdash.config.Selection`. Out: a :class:`Plan`, with nothing written. Reading recordings' tables and
splitting them is delegated to ``eavdash.data``, which is imported when a plan is made and not before: pages import
this module.

A study's configuration is frozen; subjects, folds and seeds may be added by planning again with the same name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash import config as cfg
from eavdash.config import COLUMN, Selection, StudyConfig
from eavdash.errors import ConfigError, DataError, SplitError, StudyConflictError, UsageError
from eavdash.provenance import git_commit, versions
from eavdash.store import StudyDir, check_study_name, unit_name

if TYPE_CHECKING:
    from eavdash.data.table import TrialTable

CROSS_SUBJECT = ("loso", "subject-kfold")
_SPLIT_COLUMNS = ["subject", "trial", "group", "fold", "split"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan: its name, the content of its config.json, and why it cannot start (empty if it can)."""

    name: str
    config: dict[str, Any]
    problem: str = ""


@dataclass(frozen=True)
class Plan:
    """What a study will hold. ``left_out`` says for each run that is not made why (no recordings of a modality)."""

    study: StudyDir
    document: dict[str, Any]  # study.json
    splits: pd.DataFrame
    trials: pd.DataFrame  # subject, trial, label and the further columns of the trial table, as text
    planned: tuple[PlannedRun, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[str]:
        """Names of the runs that were asked for, parents before children."""
        return [run.name for run in self.planned]

    @property
    def existing(self) -> list[str]:
        """Those of :attr:`runs` that are there already."""
        return [name for name in self.runs if self.study.run(name).config_file.exists()]


def plan(root: str | Path, name: str, config: StudyConfig, selection: Selection, checkpoints: Path) -> Plan:
    """The plan of a study, without writing anything.

    Raises:
        UsageError: a name, subject, fold or seed that cannot be; ``StudyConflictError`` when the name is taken.
        DataError, SplitError: no subject at all can be trained (the message is that of the first one), or a gate of
            ``eavdash.data.gates`` does not hold.
    """
    from eavdash.data.gates import check_study
    from eavdash.data.splits import make_splits
    from eavdash.data.table import fingerprint, natural, open_table, select

    study = StudyDir(checkpoints / check_study_name(name))
    _weights_are_there(config)
    _encoders_are_known(config)
    old = study.study() if study.exists else None
    refuse_archived(study)
    table = open_table(root)
    chosen = select(table, config, selection.subjects)
    # Subjects that cannot be used keep their place: their runs are made, as failed ones that say why.
    subjects = list(natural([*chosen.subjects, *chosen.problems]))
    if config.protocol.name in CROSS_SUBJECT or config.protocol.pooled:
        if config.protocol.name in CROSS_SUBJECT:
            subjects = list(chosen.subjects)
        if old is not None:
            _same_people(study, old, subjects)
    trials = chosen.frame
    # Classes come from every subject, so that adding subjects later cannot change them.
    classes = list(select(table, config).classes)
    if len(classes) < 2:
        raise DataError.at(
            table.root,
            expected="at least two classes in the column label",
            found=f"only {classes[0]!r}",
            remedy="check the labels or the filter `where`",
        )
    splits = make_splits(trials, config.protocol)
    check_study(trials, splits.frame, config.protocol, config.modalities, study.cache_dir)
    problems = {**chosen.problems, **splits.problems}

    folds = _folds(splits.frame, selection.folds, problems)
    naming = old["naming"] if old else _naming(folds, selection.seeds)
    document = _document(name, Path(root), table, config, selection, subjects, folds, classes, naming, old)
    document["dataset"]["fingerprint"] = {
        **(old["dataset"]["fingerprint"] if old else {}),
        **{s: h for s, h in fingerprint(chosen).items() if s not in problems},
    }
    if old:
        _refuse_conflict(study, old, document, fingerprint(chosen))

    stages, unrecorded = _recorded_stages(config, trials)
    planned, left_out = _runs(document, stages, trials, splits.frame, subjects, folds, selection.seeds, problems)
    left_out |= {f"subject {s}": p for s, p in chosen.problems.items() if s not in subjects}
    if not any(not run.problem for run in planned):
        reason = next((run.problem for run in planned if run.problem), None) or next(iter(left_out.values()), "")
        reason = reason or (f"{table.root}: {'; '.join(unrecorded)}." if unrecorded else "")
        raise SplitError(reason or f"{table.root}: nothing to train; choose other stages, subjects or folds.")
    notes = (*table.notes, *splits.notes, *unrecorded, *_unpretrained(config))
    tables = _merged(study.splits_file, splits.frame[_SPLIT_COLUMNS]), _merged(study.trials_file, _further(trials))
    return Plan(study, document, *tables, tuple(planned), left_out, notes)


def refuse_archived(study: StudyDir) -> None:
    """Nothing is added to an archived study, and nothing of it is run.

    Raises:
        UsageError: it is archived.
    """
    if study.archived:
        raise UsageError.at(
            study.path,
            expected="a study in use",
            found="an archived one",
            remedy=f"take it out of the archive first: eavdash unarchive {study.name}",
        )


def _recorded_stages(config: StudyConfig, trials: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The stages that this dataset has anything for, and a sentence about the others.

    A modality that nobody has is no fault of a subject, and of a single modality there is nothing to fuse.
    """
    recorded = [m for m in config.modalities if (trials[COLUMN[m]] != "").any()]
    absent = [m for m in config.modalities if m not in recorded]
    notes = [f"no trial has {' or '.join(absent)} recordings: {', '.join(absent)} not trained"] if absent else []
    stages = [s for s in config.stages if s not in absent]
    if "fusion" in stages and len(recorded) == 1:
        stages.remove("fusion")
        notes.append(f"fusion not trained: {recorded[0]} is the only modality, there is nothing to fuse it with")
    return stages, notes


def _weights_are_there(config: StudyConfig) -> None:
    for modality in config.modalities:
        path = config.modality(modality).weights
        if path and not Path(path).exists():
            raise ConfigError.at(
                f"{modality}.weights",
                expected="a checkpoint's folder or file",
                found=f"nothing at {path}",
                remedy="mend the path",
            )


def _encoders_are_known(config: StudyConfig) -> None:
    """Refuse a library's encoder that there is not; the library is loaded only where one is named."""
    for modality in config.modalities:
        prefix, colon, name = config.modality(modality).encoder.partition(":")
        if colon and prefix == "timm":
            from eavdash.models.timm_vit import check_name as known_to_timm

            known_to_timm(name)
        elif colon:
            from eavdash.models.braindecode_eeg import check_name as known_to_braindecode

            known_to_braindecode(name)


def _unpretrained(config: StudyConfig) -> list[str]:
    """Notes about encoders that are set up to be fine-tuned and have no weights to start from."""
    return [
        f"{m}: the settings fine-tune published weights (learning rate {config.training(m).learning_rate:g}), but "
        f"{m}.weights is empty: trained from scratch like this it will hardly learn; set {m}.weights"
        for m in config.modalities
        if config.training(m).head_epochs and not config.modality(m).weights
    ]


def _same_people(study: StudyDir, old: dict[str, Any], subjects: Sequence[str]) -> None:
    before = list(old["selection"]["subjects"])
    if sorted(before) != sorted(subjects):
        raise StudyConflictError.at(
            study.study_file,
            expected=f"the subjects {', '.join(before)} (across subjects, every fold depends on all of them)",
            found=", ".join(subjects),
            remedy="give the study another name",
        )


def _folds(splits: pd.DataFrame, wanted: Sequence[int], problems: dict[str, str]) -> list[int]:
    there = sorted({int(f) for f in splits["fold"]})
    missing = [f for f in wanted if f not in there]
    if missing and there:
        raise UsageError.at(
            "--folds", expected=f"some of {there}", found=", ".join(map(str, missing)), remedy="choose among them"
        )
    if not there:
        raise SplitError(next(iter(problems.values()), "no trial could be put into a fold."))
    return list(wanted) or there


def _naming(folds: Sequence[int], seeds: Sequence[int]) -> dict[str, int | None]:
    """Which fold and seed carry no suffix: the only one at creation. It is kept when more are added later."""
    return {
        "fold": folds[0] if len(folds) == 1 else None,
        "seed": seeds[0] if len(seeds) == 1 else None,
    }


def _document(
    name: str,
    root: Path,
    table: TrialTable,
    config: StudyConfig,
    selection: Selection,
    subjects: Sequence[str],
    folds: Sequence[int],
    classes: list[str],
    naming: dict[str, Any],
    old: dict[str, Any] | None,
) -> dict[str, Any]:
    before = old["selection"] if old else {"subjects": [], "folds": [], "seeds": []}
    return {
        "name": name,
        "created": old["created"] if old else time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": cfg.to_dict(config),
        "selection": {
            "subjects": list(dict.fromkeys([*before["subjects"], *subjects])),
            "folds": sorted({*before["folds"], *folds}),
            "seeds": sorted({*before["seeds"], *selection.seeds}),
        },
        "dataset": {
            "path": str(root.expanduser().resolve()),
            "kind": table.kind,
            "simulated": table.simulated,
            "trials": len(table.frame),
        },
        "classes": classes,
        "naming": naming,
        "versions": old["versions"] if old else versions(),
        "git_commit": old["git_commit"] if old else git_commit(),
    }


def _refuse_conflict(study: StudyDir, old: dict[str, Any], new: dict[str, Any], found: dict[str, str]) -> None:
    before = cfg.to_dict(cfg.from_dict(old["config"]))  # settings that came later have their defaults
    changed = cfg.differences(before, new["config"])
    changed += cfg.differences({"classes": old["classes"]}, {"classes": new["classes"]})
    recorded = old["dataset"]["fingerprint"]
    changed += [f"recordings of subject {s} have changed" for s, h in found.items() if recorded.get(s, h) != h]
    if changed:
        conflict = StudyConflictError.at(
            study.study_file,
            expected="the configuration that the study was made with",
            found="; ".join(changed),
            remedy="give the new study another name",
        )
        conflict.differences = tuple(changed)
        raise conflict


def _runs(
    document: dict[str, Any],
    stages: Sequence[str],
    trials: pd.DataFrame,
    splits: pd.DataFrame,
    subjects: Sequence[str],
    folds: Sequence[int],
    seeds: Sequence[int],
    problems: dict[str, str],
) -> tuple[list[PlannedRun], dict[str, str]]:
    cross = document["config"]["protocol"]["name"] in CROSS_SUBJECT
    modalities = [m for m in cfg.MODALITIES if m in stages]
    planned: list[PlannedRun] = []
    left_out: dict[str, str] = {}
    merged = splits.merge(trials[["subject", "trial", *COLUMN.values()]], on=["subject", "trial"])
    pooled: dict[tuple[int, int], dict[str, str]] = {}  # fold, seed → modality → run of all subjects
    if document["config"]["protocol"]["pooled"]:
        runs, pooled = _pooled(document, modalities, merged, folds, seeds)
        planned += runs
    for subject in [""] if cross else subjects:
        mine = merged if cross else merged[merged["subject"] == subject]
        problem = "" if cross else problems.get(subject, "")
        for fold in folds:
            rows = mine[mine["fold"] == fold]
            for seed in seeds:
                names = {s: _run_name(subject, s, fold, seed, document["naming"]) for s in stages}
                missing = {} if problem else _missing(rows, modalities, subject, fold)
                left_out |= {names[m]: reason for m, reason in missing.items()}
                parents = {m: names[m] for m in modalities if m not in missing}
                for stage in cfg.STAGES:
                    if stage not in stages or stage in missing:
                        continue
                    if stage == "fusion" and not parents:
                        left_out[names[stage]] = "no modality of its own was recorded"
                        continue
                    start = pooled.get((fold, seed), {}).get(stage)
                    needed = parents if stage == "fusion" else {stage: start} if start else {}
                    content = _content(document, names[stage], stage, fold, seed, subject, needed)
                    planned.append(PlannedRun(names[stage], content, problem))
    return planned, left_out


def _pooled(
    document: dict[str, Any],
    modalities: Sequence[str],
    rows: pd.DataFrame,
    folds: Sequence[int],
    seeds: Sequence[int],
) -> tuple[list[PlannedRun], dict[tuple[int, int], dict[str, str]]]:
    """The runs over all subjects that each subject's own runs start from, and their names by fold, seed and modality.

    They learn from the training trials of a fold and are validated on its validation trials; test trials of nobody.

    Raises:
        SplitError: there is only one subject.
    """
    people = sorted(set(rows["subject"]))
    if len(people) < 2:
        raise SplitError.at(
            "protocol.pooled",
            expected="at least 2 subjects to train on together",
            found=", ".join(people) or "none",
            remedy="choose more subjects or set protocol.pooled=false",
        )
    runs: list[PlannedRun] = []
    names: dict[tuple[int, int], dict[str, str]] = {}
    for fold in folds:
        shown = rows[(rows["fold"] == fold) & (rows["split"] == "train")]
        for seed in seeds:
            for modality in modalities:
                if (shown[COLUMN[modality]] == "").all():
                    continue
                name = _run_name("", modality, fold, seed, document["naming"])
                names.setdefault((fold, seed), {})[modality] = name
                content = _content(document, name, modality, fold, seed, "", {})
                runs.append(PlannedRun(name, {**content, "pooled": True}))
    return runs, names


def _content(
    document: dict[str, Any], name: str, stage: str, fold: int, seed: int, subject: str, parents: dict[str, str]
) -> dict[str, Any]:
    """A run's config.json; ``subject`` is empty where all are trained on together."""
    return {
        "study": document["name"],
        "run": name,
        "unit": unit_name(subject) if subject else "all",
        "stage": stage,
        "fold": fold,
        "seed": seed,
        "subject": subject,
        "classes": document["classes"],
        "parents": parents,
        "config": document["config"],
    }


def _missing(rows: pd.DataFrame, modalities: Sequence[str], subject: str, fold: int) -> dict[str, str]:
    """The modalities that this unit and fold cannot be trained or tested on, with the reason."""
    reasons = {}
    who = f"subject {subject}" if subject else "the subjects"
    for modality in modalities:
        recorded = rows[rows[COLUMN[modality]] != ""]
        for split in ("train", "test"):
            if (recorded["split"] != split).all():
                reasons[modality] = f"no {modality} recording of {who} among the {split} trials of fold {fold}"
    return reasons


def _run_name(subject: str, stage: str, fold: int, seed: int, naming: dict[str, Any]) -> str:
    unit = unit_name(subject) if subject else "all"
    fold_part = "" if naming["fold"] == fold else f"-fold{fold}"
    seed_part = "" if naming["seed"] == seed else f"-seed{seed}"
    return f"{unit}-{stage}{fold_part}{seed_part}"


def _further(trials: pd.DataFrame) -> pd.DataFrame:
    """What results can be split by, as text: the label and the columns beyond those that every trial table has."""
    known = {"group", "start", "stop", *COLUMN.values()}
    first = ["subject", "trial", "label"]
    return trials[[*first, *(c for c in trials.columns if c not in known and c not in first)]]


def _merged(file: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The study's table with the rows of newly planned subjects; rows of other subjects stay."""
    if not file.exists():
        return rows.reset_index(drop=True)
    old = pd.read_csv(file, dtype=str, keep_default_na=False)
    if "fold" in rows.columns:
        old = old.astype({"fold": int})
    others = old[~old["subject"].isin(set(rows["subject"]))]
    return pd.concat([others, rows], ignore_index=True) if len(others) else rows.reset_index(drop=True)
