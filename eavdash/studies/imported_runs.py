"""Runs made from published checkpoints: weights, classes in the study's order, and predictions.

In: a planned run of a study, and a module with the checkpoint's tensors. Out: the files of a finished run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from torch import nn

from eavdash.errors import DataError, EavdashError, UsageError
from eavdash.models.fusion import Fusion
from eavdash.models.published import reorder_rows
from eavdash.store import RunDir, locks
from eavdash.store.atomic import host, sha256
from eavdash.text import printable
from eavdash.training import baselines, evaluate, stage1
from eavdash.training.coalitions import write_coalitions
from eavdash.training.features import features
from eavdash.training.fusion_features import FeatureSource, join_features
from eavdash.training.run_context import RunContext, labels_of, open_run_context, read_windows, rows_of, window_counts

#: Classes in the order of the published code.
LABELS = ("Neutral", "Sadness", "Anger", "Happiness", "Calmness")
MICROVOLT = 1e-6
#: The last layer of each stage; its rows are the classes.
_LAST = {"vision": "head", "audio": "head.1", "eeg": "head.3", "fusion": "head.3"}


@dataclass(frozen=True)
class Imported:
    """A checkpoint file as a model of this package."""

    stage: str
    file: Path
    model: nn.Module
    spec: dict[str, Any]
    left_out: list[str] = field(default_factory=list)  # tensors of the file that the classifier does not need
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the origin of the weights, for config.json."""
        named = {"file": printable(str(self.file)), "sha256": sha256(self.file)}
        return {**named, "left_out": self.left_out, "notes": self.notes}


def class_rows(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return the row of the files' last layers for each of the study's classes.

    Raises:
        UsageError: the classes differ.
    """
    position = {label.casefold(): number for number, label in enumerate(labels)}
    if sorted(position) != sorted(c.casefold() for c in classes):
        raise UsageError.at(
            "--labels",
            expected=f"the classes of the recordings ({', '.join(classes)})",
            found=", ".join(labels),
            remedy="name them in the order of the checkpoint's last layer",
        )
    return [position[c.casefold()] for c in classes]


def reorder_classes(one: Imported, rows: Sequence[int]) -> None:
    """Put the classes of a model's last layer in the study's order.

    Raises:
        UsageError: the number of classes differs.
    """
    layer = cast(nn.Linear, one.model.get_submodule(_LAST[one.stage]))
    if layer.out_features != len(rows):
        raise UsageError.at(
            one.file,
            expected=f"a classifier of {len(rows)} classes",
            found=f"{layer.out_features}",
            remedy="give the checkpoint that was trained on these classes",
        )
    with torch.no_grad():
        layer.weight.copy_(reorder_rows(layer.weight, rows))
        layer.bias.copy_(reorder_rows(layer.bias, rows))


def finish_run(run: RunDir, one: Imported, device: torch.device, labels: Sequence[str]) -> None:
    """Score the model on the run's windows and write the files of a finished run.

    Raises:
        UsageError: the run was computed already, or is running.
        DataError: the recordings do not match the model.
    """
    lock = locks.acquire(run.lock_file)
    if lock is None or run.status().state != "queued":
        if lock is not None:
            os.close(lock)
        raise UsageError.at(
            run.path,
            expected="a new run",
            found=f"a run with the state {run.status().state}",
            remedy="choose another study name",
        )
    try:
        locks.sign(lock, os.getpid())
        now = time.time()
        run.transition("running", pid=os.getpid(), host=host(), heartbeat=now, started=now)
        try:
            context = open_run_context(run, device)
            one.model.to(device)
            context.describe(model=one.spec, imported={**one.to_dict(), "labels": list(labels)})
            (_score_fusion if one.stage == "fusion" else _score_encoder)(context, one.model)
        except BaseException as error:
            reason = str(error) if isinstance(error, EavdashError) else f"{type(error).__name__}: {error}"
            run.transition("failed", reason=f"import: {reason}", finished=time.time())
            raise
        run.update(epoch=0, epochs=0, best_epoch=0)
        run.transition("done", checksums=run.seal(), finished=time.time(), reason="")
    finally:
        os.close(lock)


def _score_encoder(context: RunContext, model: nn.Module) -> None:
    windows = read_windows(context, context.stage)
    if windows is None:
        raise DataError.at(
            context.run.name, expected=f"{context.stage} recordings", found="none", remedy="leave its file out"
        )
    shape = stage1.shape_of(windows.values)
    kwargs = context.run.config().architecture["kwargs"]
    sizes = {"vision": ("size", "size"), "audio": ("mels", "mels"), "eeg": ("channels", "channels")}
    ours, theirs = sizes[context.stage]
    found = len(shape[ours]) if context.stage == "eeg" else shape[ours]
    if found != kwargs[theirs]:
        raise DataError.at(
            f"{context.stage} recordings",
            expected=f"{theirs} {kwargs[theirs]}, as in the checkpoint's training",
            found=str(found),
            remedy="import it with the recordings on which it was trained",
        )
    context.describe(input=stage1.described_input(windows), left_out=windows.missing)
    source = stage1.WindowSource(windows, labels_of(windows.index, context.classes), context.device, augment=False)
    predicted = evaluate.predict(
        model, source, range(len(windows.index)), context.settings.batch, context.settings.precision
    )
    stage1.finish(
        context, model, evaluate.table(windows.index, predicted, context.classes, context.fold, context.study_seed), 0
    )


def _score_fusion(context: RunContext, model: nn.Module) -> None:
    parts, left_out = {}, []
    for modality, name in context.info.parents.items():
        parent = context.run.sibling(name)
        windows = read_windows(context, modality, parent.config().input.channels)
        if windows is not None:
            parts[modality] = features(parent, windows, context.device)
            left_out += windows.missing
    joined = join_features(parts)
    train, validation = rows_of(joined.index, "train"), rows_of(joined.index, "validation")
    described = {"modalities": list(joined.tokens), "dims": joined.dims, "windows": window_counts(joined.index)}
    context.describe(input=described, left_out=left_out)
    labels = labels_of(joined.index, context.classes)
    source = FeatureSource(joined, labels, train, {}, context.device)
    predicted = evaluate.predict(
        model, source, range(len(joined.index)), context.settings.batch, context.settings.precision
    )
    predictions = evaluate.table(
        joined.index, predicted, context.classes, context.fold, context.study_seed, tuple(joined.tokens)
    )
    given = joined.logits, joined.masks
    ranking = baselines.rank(*given, labels, train, validation)
    temperatures = baselines.temperatures(*given, labels, validation)
    made = {
        "fusion:best": baselines.best_single(*given, ranking.order),
        "fusion:mean": baselines.mean_of_modalities(*given),
        "fusion:calibrated": baselines.calibrated_mean(*given, temperatures),
        "majority": baselines.majority(joined.index, context.classes),
    }
    where = context.classes, context.fold, context.study_seed
    tables = [evaluate.table(joined.index, d, *where).assign(stage=stage) for stage, d in made.items()]
    tables.append(predictions[predictions["frame"] == -1].assign(stage="fusion:paper"))  # the run itself is that
    evaluate.write(context.run.baselines_file, pd.concat(tables, ignore_index=True))
    write_coalitions(context, cast(Fusion, model), joined, predictions)
    stage1.finish(context, model, predictions, 0)
