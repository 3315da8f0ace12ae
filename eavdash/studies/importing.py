"""Import of the reference method's published checkpoints of one subject as a study.

In: the state dicts of its encoders and its fusion (.pth, .bin or .safetensors; nothing is unpickled), the recordings
and the subject. Out: a study with preset and protocol ``paper`` whose runs have these weights; the code that scores
trained runs computes their predictions. Nothing is trained, so baselines that need training are left out. Importing
other subjects under the same name adds them to the study.

The files do not contain the order of the classes or the order in which the fusion joins the features; both are
arguments. The published EEG encoder expects microvolts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection, StudyConfig
from eavdash.data.table import open_table, select
from eavdash.errors import DataError, UsageError
from eavdash.models import build
from eavdash.models.architecture import architecture
from eavdash.models.base import Encoder
from eavdash.models.published import fusion_tensors, yin_tensors
from eavdash.models.seeds import reproducible
from eavdash.models.tensorfiles import read_tensors
from eavdash.models.weights import fill, load_pretrained
from eavdash.store import StudyDir
from eavdash.studies.imported_runs import LABELS, MICROVOLT, Imported, class_rows, finish_run, reorder_classes
from eavdash.studies.write import prepare
from eavdash.training.run import torch_device


def import_checkpoint(
    root: str | Path,
    name: str,
    subject: str,
    files: Mapping[str, Path],
    checkpoints: Path,
    *,
    labels: Sequence[str] = LABELS,
    order: Sequence[str] = MODALITIES,
    settings: Sequence[str] = (),
    device: str = "auto",
) -> StudyDir:
    """Make the study ``name`` with runs of ``subject`` from the weights ``files``, by stage.

    Args:
        labels: the classes in the order of the files' last layers.
        order: the modalities in the order in which the fusion joins their features.
        settings: ``key=value`` changes of the preset for reading the recordings; sizes are those of the files, protocol
            and fusion those of the publication.

    Raises:
        ConfigError: a file is not the published model; all tensors must match.
        UsageError: the request is invalid; nothing was written.
        DataError: the recordings do not match the models.
    """
    stages = tuple(s for s in STAGES if s in files)
    _check_request(stages, files, order)
    where = torch_device(device)
    read = {stage: read_tensors(Path(files[stage])) for stage in stages}
    models = {stage: _encoder(stage, *read[stage]) for stage in stages if stage != "fusion"}
    if "fusion" in stages:
        encoders = {m: read[m][1] for m in models}
        models["fusion"] = _fusion(*read["fusion"], models, [m for m in order if m in models], encoders)
    config = _config(models, stages, settings)
    table = select(open_table(root), config)
    rows = class_rows(labels, table.classes)
    for one in models.values():
        reorder_classes(one, rows)
    plan = prepare(root, name, config, Selection((subject,)), checkpoints, imported=True)
    names = {run.config.stage: run.name for run in plan.planned if not run.problem}
    if missing := [stage for stage in stages if stage not in names]:
        reasons = [*(run.problem for run in plan.planned if run.problem), *plan.left_out.values(), *plan.notes]
        raise DataError(reasons[0] if reasons else f"{root}: there are no recordings for {', '.join(missing)}.")
    with reproducible(where, 1):
        for stage in stages:
            finish_run(plan.study.run(names[stage]), models[stage], where, labels)
    return plan.study


def _check_request(stages: Sequence[str], files: Mapping[str, Path], order: Sequence[str]) -> None:
    if not stages or (stages == ("fusion",)):
        raise UsageError.at(
            "import-checkpoint",
            expected="the file of at least one encoder",
            found=", ".join(files) or "no file",
            remedy="add --vision, --audio or --eeg, as the fusion needs the features of the encoders",
        )
    if sorted(order) != sorted(MODALITIES):
        raise UsageError.at(
            "--order",
            expected=", ".join(MODALITIES) + " in any order",
            found=", ".join(order),
            remedy="name each modality once",
        )


def _encoder(stage: str, file: Path, tensors: Mapping[str, Tensor]) -> Imported:
    """Return the encoder of a file, with its own classifier."""
    if stage == "eeg":
        sizes, found = yin_tensors(file, tensors)
        spec = {"name": "yin", "kwargs": {**sizes, "heads": 4, "dropout": 0.1}}
        model: Encoder = build.build(spec)
        model.set_scaling(torch.zeros(sizes["channels"]), torch.full((sizes["channels"],), MICROVOLT))
        scaling = {name: model.get_buffer(name) for name in ("shift", "scale")}
        fill(file, model, {**found, **scaling}, [], "give the EEG encoder of the reference method, trained alone")
        return Imported(stage, file, model.eval(), spec)
    sizes = architecture(file, stage)
    last = "classifier.weight" if stage == "vision" else "classifier.dense.weight"
    classes = len(tensors[last]) if last in tensors else len(LABELS)  # a missing head is reported when it is loaded
    kwargs: dict[str, Any] = {"classes": classes, **sizes, "dropout": 0.0}
    kwargs |= {"temporal": 0} if stage == "vision" else {"pad_to": sizes["frames"], "silence": "zero"}
    spec = {"name": "vit" if stage == "vision" else "ast", "kwargs": kwargs}
    model = build.build(spec)
    left_out = load_pretrained(model, file, head=True)
    return Imported(stage, file, model.eval(), spec, left_out)


def _fusion(
    file: Path,
    tensors: Mapping[str, Tensor],
    encoders: Mapping[str, Imported],
    order: Sequence[str],
    own: Mapping[str, Mapping[str, Tensor]],
) -> Imported:
    dims = {m: cast(Encoder, encoders[m].model).feature_dim for m in encoders}
    classes, found, notes = fusion_tensors(file, tensors, dims, order, own)
    spec = {"name": "paper", "kwargs": {"dims": dims, "classes": classes, "heads": 4, "dropout": 0.5}}
    model = build.build(spec)
    scaling = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(("shift_", "scale_"))}
    fill(file, model, {**found, **scaling}, [], "give the fusion of the reference method")
    return Imported("fusion", file, model.eval(), spec, [], notes)


def _config(models: Mapping[str, Imported], stages: tuple[str, ...], settings: Sequence[str]) -> StudyConfig:
    """Return the preset ``paper`` with ``settings`` and the sizes of the files."""
    published = preset("paper")
    config = replace(with_settings(published, settings), stages=stages)
    if (config.protocol, config.fusion) != (published.protocol, published.fusion):
        raise UsageError.at(
            "--set",
            expected="settings for reading the recordings",
            found="another protocol or fusion",
            remedy="keep the published ones, as the checkpoint was trained on that protocol's training trials",
        )
    for stage, one in models.items():
        if stage == "fusion":
            continue
        part = config.modality(stage)
        # The file determines the number of EEG channels, the configuration their names.
        known = {k: v for k, v in one.spec["kwargs"].items() if hasattr(part, k) and k != "channels"}
        read: dict[str, Any] = {stage: replace(part, **known)}
        config = replace(config, **read)
    return config
