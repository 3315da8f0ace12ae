"""Context of a run, read from its files: the trials of its fold, their splits, its configuration and seeds."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from eavdash.config import scaling
from eavdash.config.choices import COLUMN
from eavdash.config.convert import from_dict, recorded_config, to_dict
from eavdash.config.schema import Execution, StudyConfig, TrainConfig
from eavdash.data.frozen import planned_table
from eavdash.data.gates import check_windows
from eavdash.data.inputs import load_windows
from eavdash.data.table import natural_sort, select
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, IntegrityError, SplitError, TrainingError
from eavdash.models.seeds import Seeder, seeder
from eavdash.results.columns import study_table
from eavdash.store import RunDir, StudyDir
from eavdash.store.documents import RunConfig
from eavdash.training import phases
from eavdash.training.loop import Report
from eavdash.training.person_scaling import scaled_by_person
from eavdash.training.unreadable import load_readable

log = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")  # of the windows that are trained on or scored
READ = (*SPLITS, scaling.CALIBRATION)


@dataclass(frozen=True)
class RunContext:
    """Everything a run is trained with. ``trials`` has the trial table's columns and ``split``, in natural order."""

    run: RunDir
    info: RunConfig
    config: StudyConfig
    trials: pd.DataFrame
    device: torch.device
    report: Report | None = None
    should_stop: Callable[[], bool] = lambda: False
    execution: Execution = field(default_factory=Execution)

    @property
    def stage(self) -> str:
        return self.info.stage

    @property
    def fold(self) -> int:
        return self.info.fold

    @property
    def study_seed(self) -> int:
        """One of the study's seeds."""
        return self.info.seed

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    @property
    def settings(self) -> TrainConfig:
        return self.config.training(self.stage)

    @property
    def seed(self) -> Seeder:
        return seeder(self.study_seed, self.fold, self.stage)

    def describe(self, **keys: Any) -> None:
        """Add keys about the model and its inputs to config.json."""
        self.run.describe(**keys)

    def mark_start(self, epoch: int) -> None:
        """Write the epoch after which the run starts to status.json: 0 if there is no usable state to resume from."""
        self.run.update(epoch=epoch, from_epoch=epoch)

    def epoch_done(self, row: dict[str, Any]) -> None:
        """Report a finished epoch: in status.json, in the log and to ``report``."""
        epochs = self.settings.epochs
        self.run.update(epoch=row["epoch"], epochs=epochs)
        line = f"epoch {row['epoch']} of {epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.3f}"
        if row["validation_loss"] is not None:
            line += f", validation loss {row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.3f}"
        log.info("%s: %s, %.1f s", self.run.name, line, row["seconds"])
        if self.report:
            self.report({**row, "epochs": epochs})


@dataclass(frozen=True)
class Windows:
    """Windows of a run in one modality, with their splits."""

    values: WindowSet
    index: pd.DataFrame  # canonical order; columns of the predictions and `row`, the row of `values`
    missing: list[dict[str, str]] = field(default_factory=list)  # trials without this recording
    #: Rows of ``values`` from which an encoder that scales its own features takes each person's statistics.
    people: dict[str, np.ndarray] = field(default_factory=dict)


def open_run_context(
    run: RunDir,
    device: torch.device,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    subjects: Sequence[str] = (),
) -> RunContext:
    """Read the run's configuration, its study's splits and the trials that the study was planned with.

    ``subjects``: subjects whose trials of the fold are used instead of the run's own.

    Raises:
        EavdashError: a file of the study is damaged, or the dataset no longer matches the study.
    """
    info = run.config()
    config = recorded_config(info)
    file = run.study.splits_file
    try:
        splits = study_table(file, ("subject", "trial", "fold", "split"))
    except IntegrityError as error:
        remedy = "plan the study again"
        raise SplitError.at(file, expected="the study's splits", found=error.found, remedy=remedy) from error
    splits = splits[splits["fold"] == info.fold]
    if subjects:
        splits = splits[splits["subject"].isin(subjects)]
    elif info.subject:
        splits = splits[splits["subject"] == info.subject]
    # A pooled run, from whose weights every subject starts, must not see any test trials.
    splits = splits[splits["split"].isin(SPLITS[:2] if info.pooled else READ)]
    selected = tuple(dict.fromkeys(splits["subject"]))
    if not selected:
        raise SplitError.at(
            file,
            expected=f"trials of fold {info.fold}" + (f" of subject {info.subject}" if info.subject else ""),
            found="none",
            remedy="plan the study again with eavdash train",
        )
    dataset = StudyDir.of(run).study().dataset.path
    frame = select(planned_table(run.study.table_file, dataset, selected), config, selected).frame
    trials = frame.merge(splits[["subject", "trial", "split"]], on=["subject", "trial"], validate="one_to_one")
    if len(trials) != len(splits):
        found = set(zip(trials["subject"], trials["trial"], strict=True))
        lost = next(k for k in zip(splits["subject"], splits["trial"], strict=True) if k not in found)
        raise SplitError.at(
            dataset,
            expected=f"the {len(splits)} trials that the study was planned with",
            found=f"{len(trials)} of them (subject {lost[0]}, trial {lost[1]} is missing)",
            remedy="restore the dataset or train a new study",
        )
    return RunContext(run, info, config, natural_sort(trials), device, report, should_stop)


def read_windows(context: RunContext, modality: str, channels: Sequence[str] = ()) -> Windows | None:
    """Return the windows of the run's trials in one modality, cached or read now; None if no trial has it.

    ``channels`` selects the EEG channels on which an encoder was trained. Training windows rejected by ``eeg.reject``
    are dropped; validation and test keep all windows, since dropping would make them easier. With
    ``protocol.subject_scaling`` EEG, sound and tables are scaled by person (:mod:`eavdash.training.person_scaling`);
    windows of trials for calibration are in ``values`` only. Trials whose recording proves unreadable are left out, as
    planning left out those that it found (:mod:`eavdash.training.unreadable`).

    Raises:
        SplitError: a window of the run's own stage is in two splits.
        DataError, RecordingError: the recordings are unusable.
    """
    recorded = context.trials[COLUMN[modality]] != ""
    missing = [
        {"subject": s, "trial": t, "reason": f"no {modality} recording"}
        for s, t in context.trials.loc[~recorded, ["subject", "trial"]].itertuples(index=False)
    ]
    if not recorded.any():
        return None
    config = context.config
    report = phases.enter(phases.READING)
    load = partial(load_windows, report=report) if report else load_windows
    trials, values, unreadable = load_readable(context, modality, load)
    missing += unreadable
    if channels and tuple(values.meta["channels"]) != tuple(channels):
        config = from_dict({**to_dict(config), "eeg": {**to_dict(config)["eeg"], "channels": list(channels)}})
        values = load(trials.drop(columns="split"), modality, config, context.run.study.cache_dir)
    values, people = scaled_by_person(values, context.trials, config, context.run.name)
    # Positions among all trials give fusion the same order in every modality, also where recordings are missing.
    order = context.trials[["subject", "trial", "split"]].assign(place=np.arange(len(context.trials)))
    index = values.index.reset_index(drop=True)
    index = index.assign(row=np.arange(len(index))).merge(order, on=["subject", "trial"], validate="many_to_one")
    index = index.sort_values(["place", "window"], kind="stable").reset_index(drop=True)
    if modality == context.stage:  # the runs of its encoders have already checked the windows of a fusion
        check_windows(values, index)
    index = index[index["split"] != scaling.CALIBRATION].reset_index(drop=True)
    index, lost = _without_rejected(context, values, index)
    return Windows(values, index, missing + lost, people)


def _without_rejected(
    context: RunContext, values: WindowSet, index: pd.DataFrame
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Drop the training windows that the reader marked as rejected; return also the trials that lose all windows.

    Raises:
        DataError: no training window remains.
    """
    facts = {(subject, trial): found for subject, trial, found in values.meta.get("facts", [])}
    keys = zip(index["subject"], index["trial"], index["window"], strict=True)
    marked = np.array([w in facts.get((s, t), {}).get("rejected", ()) for s, t, w in keys], dtype=bool)
    rejected = marked & (index["split"] == "train").to_numpy()
    if not rejected.any():
        return index, []
    limit, count = context.config.eeg.reject, (index["split"] == "train").sum()
    what = f"exceed {limit:g} µV peak to peak" if values.kind == "eeg" else "have no recorded row"
    log.info("%s: %d of %d training windows %s and are not used", context.run.name, rejected.sum(), count, what)
    kept = index[~rejected].reset_index(drop=True)
    if not (kept["split"] == "train").any():
        raise DataError.at(
            context.run.name,
            expected=f"training windows that do not {what}",
            found=f"none: all {rejected.sum()} do",
            remedy="raise eeg.reject or set it to 0" if values.kind == "eeg" else "extract the features again",
        )
    gone = index[rejected].merge(kept[["subject", "trial"]], how="left", indicator=True)
    gone = gone.loc[gone["_merge"] == "left_only", ["subject", "trial"]].drop_duplicates()
    reason = f"every window exceeds eeg.reject ({limit:g} µV)" if values.kind == "eeg" else f"all windows {what}"
    return kept, [{"subject": s, "trial": t, "reason": reason} for s, t in gone.itertuples(index=False)]


def rows_of(index: pd.DataFrame, split: str) -> list[int]:
    """Return the positions in ``index`` of a split's windows."""
    return [int(i) for i in np.flatnonzero((index["split"] == split).to_numpy())]


def labels_of(index: pd.DataFrame, classes: Sequence[str]) -> torch.Tensor:
    """Return class indices (window,), int64.

    Raises:
        TrainingError: a label is not among the study's classes.
    """
    number = {name: i for i, name in enumerate(classes)}
    unknown = sorted(set(index["label"]) - set(number))
    if unknown:
        raise TrainingError.at(
            "labels", expected=", ".join(classes), found=", ".join(unknown), remedy="train a new study on this dataset"
        )
    return torch.tensor([number[label] for label in index["label"]], dtype=torch.int64)


def check_training(context: RunContext, index: pd.DataFrame) -> None:
    """Check that training has two classes or more, and every class of validation and test.

    Raises:
        SplitError: training has fewer than two classes, or lacks one that is validated or tested.
    """
    trained = set(index.loc[index["split"] == "train", "label"])
    lacking = sorted(set(index.loc[index["split"] != "train", "label"]) - trained)
    if len(trained) < 2 or lacking:
        found = ", ".join(sorted(trained)) or "no trials"
        raise SplitError.at(
            f"{context.run.name}, {context.stage} training trials",
            expected="two classes or more, and each class that is tested",
            found=found + (f" without {', '.join(lacking)}" if lacking else ""),
            remedy="check the dataset's recordings and labels, or choose another protocol or fold",
        )


def window_counts(index: pd.DataFrame) -> dict[str, int]:
    """Return the number of windows per split, for config.json."""
    return {split: int((index["split"] == split).sum()) for split in SPLITS}


def signature(context: RunContext, *data: str) -> str:
    """Return a hash of everything that a resume state depends on: configuration, trials, and cache keys of the data."""
    keys = ("stage", "fold", "seed", "subject", "classes", "parents")
    document = context.info.document()
    task = {key: document[key] for key in keys}
    trials = context.trials[["subject", "trial", "label", "split"]].to_csv(index=False)
    # Hashing the whole configuration is safe, because a study's configuration never changes.
    text = json.dumps([task, context.info.config, trials, data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
