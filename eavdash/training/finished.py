"""shapley.parquet of fusion runs that were finished without one, from their weights and the windows of their trials.

In: a finished fusion run. Out: the same file that training writes, with its checksum in status.json. Windows come from
the cache or the recordings, features from the cache or the encoders. A model that no longer gives the run's predictions
is refused, because its coalitions would explain other decisions.
"""

from __future__ import annotations

from typing import cast

import pandas as pd
from torch import nn

from eavdash.errors import IntegrityError, UsageError
from eavdash.models import build
from eavdash.models.base import Encoder
from eavdash.models.fusion import Fusion
from eavdash.models.people import read_people
from eavdash.models.seeds import reproducible
from eavdash.store import RunDir
from eavdash.store.atomic import sha256
from eavdash.training.coalitions import COARSE_ROUNDING, ROUNDING, write_coalitions
from eavdash.training.features import features
from eavdash.training.fusion_features import FeatureSource, FusionFeatures, join_features
from eavdash.training.joint import JointModel, JointSource, joint_features
from eavdash.training.parents import parent, windows_of_parents
from eavdash.training.run import torch_device
from eavdash.training.run_context import RunContext, labels_of, open_run_context, rows_of


def add_coalitions(run: RunDir, device: str = "cpu", threads: int = 1) -> None:
    """Write shapley.parquet of a finished fusion run that lacks it.

    Raises:
        UsageError: it is no finished fusion run.
        EavdashError: its files or recordings are damaged or have changed; nothing was written.
    """
    status, info = run.status(), run.config()
    if info.stage != "fusion" or status.state != "done":
        raise UsageError.at(
            run.path,
            expected="a finished fusion run",
            found=f"a run of {info.stage} that is {status.state}",
            remedy="wait until it is done" if info.stage == "fusion" else "choose a fusion run",
        )
    if damage := run.damage(status):
        raise IntegrityError(damage)
    where = torch_device(device)
    with reproducible(where, threads):
        context = open_run_context(run, where)
        predictions = pd.read_parquet(run.verify("predictions.parquet"))
        fusion, joined = load_finished(context)
        before = info.computed or {}
        same = before.get("device", "cpu") == where.type and before.get("precision", "float32") == "float32"
        write_coalitions(context, fusion, joined, predictions, ROUNDING if same else COARSE_ROUNDING)
    if status.checksums:
        checksums = {**status.checksums, run.shapley_file.name: sha256(run.shapley_file)}
        run.update({"state": "done", "checksums": status.checksums}, checksums=checksums)


def load_finished(context: RunContext) -> tuple[Fusion, FusionFeatures]:
    """Return a finished run's fusion and the features of its windows, from the encoders that were fine-tuned with it.

    Raises:
        EavdashError: weights or recordings are missing or damaged.
    """
    run, info = context.run, context.info
    windows, _ = windows_of_parents(context)
    windows = {m: w for m, w in windows.items() if m in info.input.modalities}
    joined = join_features({m: features(parent(context, m), w, context.device) for m, w in windows.items()})
    if tuple(joined.tokens) != info.input.modalities:
        raise IntegrityError.at(
            run.path,
            expected=f"recordings of {', '.join(info.input.modalities)}",
            found=", ".join(joined.tokens) or "none",
            remedy="restore the recordings that it was trained on",
        )
    fusion = build.build(info.architecture)
    build.load_weights(fusion, run.verify("model.safetensors"))
    fusion.to(context.device).eval().requires_grad_(False)
    if info.encoders:
        encoders: dict[str, Encoder] = {m: build.build(spec.document()) for m, spec in info.encoders.items()}
        build.load_weights(nn.ModuleDict(encoders), run.verify("encoders.safetensors"))
        model = JointModel(encoders, cast(Fusion, fusion)).to(context.device)
        labels = labels_of(joined.index, context.classes)
        source = FeatureSource(joined, labels, rows_of(joined.index, "train"), {}, context.device)
        people = {m: read_people(parent(context, m)) for m in windows}
        whole = JointSource(source, windows, (), people)
        settings = min(context.config.training(m).batch for m in encoders)
        joined = joint_features(model, whole, settings, context.settings.precision, run.name)
    return fusion, joined
