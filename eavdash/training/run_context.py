"""What a run is asked to do, read from its files: the trials of its fold, their splits, its configuration and seeds."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from eavdash.config.choices import COLUMN
from eavdash.config.convert import from_dict, to_dict
from eavdash.config.schema import Execution, StudyConfig, TrainConfig
from eavdash.data import standardise
from eavdash.data.gates import check_windows
from eavdash.data.inputs import load_windows
from eavdash.data.table import natural_sort, open_table, select
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, SplitError, TrainingError
from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import write_json
from eavdash.training.loop import Report
from eavdash.training.seeds import Seeder, seeder

log = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class RunContext:
    """One run's task. ``trials`` has the trial table's columns and ``split``, in natural order."""

    run: RunDir
    info: dict[str, Any]  # config.json
    config: StudyConfig
    trials: pd.DataFrame
    device: torch.device
    report: Report | None = None
    should_stop: Callable[[], bool] = lambda: False
    execution: Execution = field(default_factory=Execution)

    @property
    def stage(self) -> str:
        return str(self.info["stage"])

    @property
    def fold(self) -> int:
        return int(self.info["fold"])

    @property
    def study_seed(self) -> int:
        """The study's seed of this run."""
        return int(self.info["seed"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.info["classes"])

    @property
    def settings(self) -> TrainConfig:
        return self.config.training(self.stage)

    @property
    def seed(self) -> Seeder:
        return seeder(self.study_seed, self.fold, self.stage)

    def describe(self, **keys: Any) -> None:
        """Add keys to config.json: what the model is and what went into it."""
        write_json(self.run.config_file, {**self.run.config(), **keys})

    def mark_start(self, epoch: int) -> None:
        """Show after which epoch the run goes on: 0 where what it was to go on from is damaged or of other data."""
        self.run.update(epoch=epoch, from_epoch=epoch)

    def epoch_done(self, row: dict[str, Any]) -> None:
        """Show an epoch in status.json and to whoever asked."""
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
    """The windows of a run in one modality: their values, and which of them belong to which split."""

    values: WindowSet
    index: pd.DataFrame  # canonical order; columns of the predictions and `row`, the row of `values`
    missing: list[dict[str, str]] = field(default_factory=list)  # trials without that recording


def open_run_context(
    run: RunDir,
    device: torch.device,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    people: Sequence[str] = (),
) -> RunContext:
    """Read the run's configuration, its study's splits and the trial table.

    ``people``: subjects whose trials of the fold are taken, in the place of the run's own.

    Raises:
        EavdashError: a file of the study is damaged, or the dataset no longer fits the study.
    """
    info = run.config()
    config = from_dict(info["config"])
    file = run.study.splits_file
    try:
        splits = pd.read_csv(file, dtype=str, keep_default_na=False)
        splits = splits[splits["fold"].astype(int) == int(info["fold"])]
    except (OSError, ValueError, KeyError) as error:
        raise SplitError.at(
            file, expected="the study's splits", found=str(error), remedy="plan the study again"
        ) from error
    if people:
        splits = splits[splits["subject"].isin(people)]
    elif info.get("subject"):
        splits = splits[splits["subject"] == info["subject"]]
    # What all subjects start from must not have seen anybody's test trials.
    splits = splits[splits["split"].isin(SPLITS[:2] if info.get("pooled") else SPLITS)]
    subjects = tuple(dict.fromkeys(splits["subject"]))
    if not subjects:
        raise SplitError.at(
            file,
            expected=f"trials of fold {info['fold']}" + (f" of subject {info['subject']}" if info["subject"] else ""),
            found="none",
            remedy="plan the study again with eavdash train",
        )
    dataset = StudyDir.of(run).study()["dataset"]["path"]
    frame = select(open_table(dataset), config, subjects).frame
    trials = frame.merge(splits[["subject", "trial", "split"]], on=["subject", "trial"], validate="one_to_one")
    if len(trials) != len(splits):
        found = set(zip(trials["subject"], trials["trial"], strict=True))
        lost = next(k for k in zip(splits["subject"], splits["trial"], strict=True) if k not in found)
        raise SplitError.at(
            dataset,
            expected=f"the {len(splits)} trials that the study was planned with",
            found=f"{len(trials)} of them (subject {lost[0]}, trial {lost[1]} is gone)",
            remedy="restore the dataset or train a new study",
        )
    return RunContext(run, info, config, natural_sort(trials), device, report, should_stop)


def read_windows(context: RunContext, modality: str, channels: Sequence[str] = ()) -> Windows | None:
    """The windows of the job's trials in one modality, ready from the cache or read now; None if no trial has it.

    ``channels`` fixes the EEG channels, where an encoder has been trained on a certain set. Training windows that
    ``eeg.reject`` rules out are left out; validation and test keep all of theirs, or they would be made easier.
    With ``protocol.subject_scaling`` EEG and sound are standardised by all windows of each subject.

    Raises:
        SplitError: a window of a run's own stage is in two splits.
        DataError, RecordingError: the recordings do not allow it.
    """
    recorded = context.trials[COLUMN[modality]] != ""
    missing = [
        {"subject": s, "trial": t, "reason": f"no {modality} recording"}
        for s, t in context.trials.loc[~recorded, ["subject", "trial"]].itertuples(index=False)
    ]
    if not recorded.any():
        return None
    config = context.config
    trials = context.trials[recorded].reset_index(drop=True)
    values = load_windows(trials.drop(columns="split"), modality, config, context.run.study.cache_dir)
    if channels and tuple(values.meta["channels"]) != tuple(channels):
        config = from_dict({**to_dict(config), "eeg": {**to_dict(config)["eeg"], "channels": list(channels)}})
        values = load_windows(trials.drop(columns="split"), modality, config, context.run.study.cache_dir)
    values = _standardised(context, values)
    # Places among all trials, so that fusion finds the same order in every modality, whatever each has recorded.
    order = trials[["subject", "trial", "split"]].assign(place=np.flatnonzero(recorded))
    index = values.index.reset_index(drop=True)
    index = index.assign(row=np.arange(len(index))).merge(order, on=["subject", "trial"], validate="many_to_one")
    index = index.sort_values(["place", "window"], kind="stable").reset_index(drop=True)
    if modality == context.stage:  # once: fusion reads what its encoders have read
        check_windows(values, index)
    index, lost = _without_rejected(context, values, index)
    return Windows(values, index, missing + lost)


def _standardised(context: RunContext, values: WindowSet) -> WindowSet:
    """The windows, by each subject's own statistics where the protocol asks for it."""
    if not context.config.protocol.subject_scaling or values.modality not in standardise.MODALITIES:
        return values
    made = standardise.standardised(values, standardise.subject_statistics(values))
    # Other values than those that the key names: what is computed from them is kept apart.
    return replace(made, meta={**made.meta, "key": f"{values.meta['key']}-by-subject"})


def _without_rejected(
    context: RunContext, values: WindowSet, index: pd.DataFrame
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """``index`` without training windows that the reader's facts call rejected, and the trials that lose all windows.

    Raises:
        DataError: no training window is left.
    """
    facts = {(subject, trial): found for subject, trial, found in values.meta.get("facts", [])}
    keys = zip(index["subject"], index["trial"], index["window"], strict=True)
    marked = np.array([w in facts.get((s, t), {}).get("rejected", ()) for s, t, w in keys], dtype=bool)
    rejected = marked & (index["split"] == "train").to_numpy()
    if not rejected.any():
        return index, []
    log.info(
        "%s: %d of %d training windows exceed %g µV peak to peak and are not learned from",
        context.run.name,
        rejected.sum(),
        (index["split"] == "train").sum(),
        context.config.eeg.reject,
    )
    kept = index[~rejected].reset_index(drop=True)
    if not (kept["split"] == "train").any():
        raise DataError.at(
            context.run.name,
            expected=f"training windows within {context.config.eeg.reject:g} µV peak to peak",
            found=f"none: all {rejected.sum()} exceed it",
            remedy="raise eeg.reject or set it to 0",
        )
    gone = index[rejected].merge(kept[["subject", "trial"]], how="left", indicator=True)
    gone = gone.loc[gone["_merge"] == "left_only", ["subject", "trial"]].drop_duplicates()
    reason = f"every window exceeds eeg.reject ({context.config.eeg.reject:g} µV)"
    return kept, [{"subject": s, "trial": t, "reason": reason} for s, t in gone.itertuples(index=False)]


def rows_of(index: pd.DataFrame, split: str) -> list[int]:
    """Positions in ``index`` of a split's windows."""
    return [int(i) for i in np.flatnonzero((index["split"] == split).to_numpy())]


def labels_of(index: pd.DataFrame, classes: Sequence[str]) -> torch.Tensor:
    """(window,) int64 class indices.

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
    """Refuse to train where nothing could be learned or what is asked for was never shown.

    Raises:
        SplitError: training has fewer than two classes, or lacks a class that is tested.
    """
    shown = set(index.loc[index["split"] == "train", "label"])
    lacking = sorted(set(index.loc[index["split"] != "train", "label"]) - shown)
    if len(shown) < 2 or lacking:
        raise SplitError.at(
            f"{context.run.name}, {context.stage} training trials",
            expected="two classes or more, and each class that is tested",
            found=f"{', '.join(sorted(shown)) or 'no trials'}" + (f" without {', '.join(lacking)}" if lacking else ""),
            remedy="check the dataset's recordings and labels, or choose another protocol or fold",
        )


def window_counts(index: pd.DataFrame) -> dict[str, int]:
    """Number of windows per split, for config.json."""
    return {split: int((index["split"] == split).sum()) for split in SPLITS}


def signature(context: RunContext, *data: str) -> str:
    """A name for everything that a half-trained state depends on: the task, and the data by their cache keys."""
    keys = ("stage", "fold", "seed", "subject", "classes", "parents")
    task = {key: context.info.get(key) for key in keys}
    trials = context.trials[["subject", "trial", "label", "split"]].to_csv(index=False)
    # The configuration counts only as far as it reaches this stage, but a study's configuration never changes anyway.
    text = json.dumps([task, context.info["config"], trials, data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
