"""Published checkpoints of the reference method, of one subject, as a study that is scored like any other.

In: the state dicts of its encoders and its fusion (.pth, .bin or .safetensors; nothing is unpickled), the recordings
and the subject. Out: a study of preset and protocol ``paper`` whose runs hold these weights; their predictions are
computed here, by the code that scores trained runs. Nothing is trained: the baselines that would have to be are left
out. Importing other subjects under the same name adds them to the study.

What a file cannot say is an argument: the order of its classes, and the order in which its fusion joins the features.
The published EEG encoder reads microvolt.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn

from eavdash.config.choices import MODALITIES, STAGES
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection, StudyConfig
from eavdash.data.table import open_table, select
from eavdash.errors import DataError, EavdashError, UsageError
from eavdash.models import build
from eavdash.models.architecture import architecture
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.base import Encoder
from eavdash.models.published import fusion_tensors, with_classes, yin_tensors
from eavdash.models.tensorfiles import read_tensors
from eavdash.models.vit import FrameViT
from eavdash.models.weights import fill, load_hf_ast, load_hf_vit
from eavdash.store import RunDir, StudyDir, locks
from eavdash.store.atomic import host, sha256
from eavdash.studies.write import prepare
from eavdash.training import baselines, evaluate, stage1
from eavdash.training.features import features
from eavdash.training.job import Job, labels_of, open_job, read_windows, rows_of, window_counts
from eavdash.training.joined import FeatureSource, join
from eavdash.training.run import torch_device
from eavdash.training.seeds import reproducible

#: Classes in the order of the published code, by their number there.
LABELS = ("Neutral", "Sadness", "Anger", "Happiness", "Calmness")
MICROVOLT = 1e-6
#: The last layer of each stage, whose rows are the classes.
_LAST = {"vision": "head", "audio": "head.1", "eeg": "head.3", "fusion": "head.3"}


@dataclass(frozen=True)
class Imported:
    """One file as a model of ours."""

    stage: str
    file: Path
    model: nn.Module
    spec: dict[str, Any]
    left_out: list[str] = field(default_factory=list)  # tensors of the file that no classifier needs
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For config.json: where the weights come from."""
        named = {"file": str(self.file), "sha256": sha256(self.file)}
        return {**named, "left_out": self.left_out, "notes": self.notes}


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
    """The study ``name`` with the runs of ``subject`` whose weights are ``files``, by stage.

    Args:
        labels: the classes in the order of the files' last layers.
        order: the modalities in the order in which the fusion joins their features.
        settings: ``key=value`` changes of the preset, about how recordings are read; sizes are the files', protocol and
            fusion those of the publication.

    Raises:
        ConfigError: a file does not hold the published model; every tensor must have its place.
        UsageError: the request cannot be carried out; nothing was written.
        DataError: the recordings do not fit the models.
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
    rows = _rows(labels, table.classes)
    for one in models.values():
        _reorder(one, rows)
    plan = prepare(root, name, config, Selection((subject,)), checkpoints)
    names = {run.config["stage"]: run.name for run in plan.planned if not run.problem}
    if missing := [stage for stage in stages if stage not in names]:
        reasons = [*(run.problem for run in plan.planned if run.problem), *plan.left_out.values(), *plan.notes]
        raise DataError(reasons[0] if reasons else f"{root}: there are no recordings for {', '.join(missing)}.")
    with reproducible(where, 1):
        for stage in stages:
            _finish(plan.study.run(names[stage]), models[stage], where, labels)
    return plan.study


def _check_request(stages: Sequence[str], files: Mapping[str, Path], order: Sequence[str]) -> None:
    if not stages or (stages == ("fusion",)):
        raise UsageError.at(
            "import-checkpoint",
            expected="the file of at least one encoder",
            found=", ".join(files) or "no file",
            remedy="give --vision, --audio or --eeg; the fusion needs the encoders whose features it reads",
        )
    if sorted(order) != sorted(MODALITIES):
        raise UsageError.at(
            "--order", expected=", ".join(MODALITIES) + " in some order", found=", ".join(order), remedy="name each"
        )


def _encoder(stage: str, file: Path, tensors: Mapping[str, Tensor]) -> Imported:
    """The encoder of a file, with its own classifier."""
    left_out: list[str] = []
    if stage == "eeg":
        sizes, found = yin_tensors(file, tensors)
        spec = {"name": "yin", "kwargs": {**sizes, "heads": 4, "dropout": 0.1}}
        model = cast(Encoder, build.build(spec))
        model.set_scaling(torch.zeros(sizes["channels"]), torch.full((sizes["channels"],), MICROVOLT))
        scaling = {name: model.get_buffer(name) for name in ("shift", "scale")}
        fill(file, model, {**found, **scaling}, [], "give the EEG encoder of the reference method, trained alone")
        return Imported(stage, file, model.eval(), spec)
    sizes = architecture(file, stage)
    last = "classifier.weight" if stage == "vision" else "classifier.dense.weight"
    classes = len(tensors[last]) if last in tensors else len(LABELS)  # without it, loading the head says so
    if stage == "vision":
        spec = {"name": "vit", "kwargs": {"classes": classes, **sizes, "dropout": 0.0, "temporal": 0}}
        vit = cast(FrameViT, build.build(spec))
        left_out = load_hf_vit(vit, file, head=True)
        return Imported(stage, file, vit.eval(), spec, left_out)
    padded = {"pad_to": sizes["frames"], "silence": "zero"}
    spec = {"name": "ast", "kwargs": {"classes": classes, **sizes, "dropout": 0.0, **padded}}
    ast = cast(AudioSpectrogramTransformer, build.build(spec))
    left_out = load_hf_ast(ast, file, head=True)
    return Imported(stage, file, ast.eval(), spec, left_out)


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
    """The preset ``paper`` with ``settings`` and the sizes of the files."""
    published = preset("paper")
    config = replace(with_settings(published, settings), stages=stages)
    if (config.protocol, config.fusion) != (published.protocol, published.fusion):
        raise UsageError.at(
            "--set",
            expected="settings of how the recordings are read",
            found="another protocol or fusion",
            remedy="leave these as published: the checkpoint has learned from the training trials of that protocol",
        )
    for stage, one in models.items():
        if stage == "fusion":
            continue
        part = config.modality(stage)
        # Of EEG channels the file says how many there are, the configuration which.
        known = {k: v for k, v in one.spec["kwargs"].items() if hasattr(part, k) and k != "channels"}
        config = replace(config, **{stage: replace(part, **known)})  # type: ignore[arg-type]
    return config


def _rows(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    """For each of the study's classes the row of the files' last layers.

    Raises:
        UsageError: they are not the same classes.
    """
    place = {label.casefold(): number for number, label in enumerate(labels)}
    if sorted(place) != sorted(c.casefold() for c in classes):
        raise UsageError.at(
            "--labels",
            expected=f"the classes of the recordings ({', '.join(classes)})",
            found=", ".join(labels),
            remedy="name them in the order of the checkpoint's last layer",
        )
    return [place[c.casefold()] for c in classes]


def _reorder(one: Imported, rows: Sequence[int]) -> None:
    layer = cast(nn.Linear, one.model.get_submodule(_LAST[one.stage]))
    if layer.out_features != len(rows):
        raise UsageError.at(
            one.file,
            expected=f"a decision between {len(rows)} classes",
            found=f"{layer.out_features}",
            remedy="give the checkpoint that was trained on these classes",
        )
    with torch.no_grad():
        layer.weight.copy_(with_classes(layer.weight, rows))
        layer.bias.copy_(with_classes(layer.bias, rows))


def _finish(run: RunDir, one: Imported, device: torch.device, labels: Sequence[str]) -> None:
    """Score the model on the run's windows and write the files of a run that is done.

    Raises:
        UsageError: the run exists and was computed, or is being computed.
        DataError: the recordings do not fit the model.
    """
    lock = locks.acquire(run.lock_file)
    if lock is None or run.status()["state"] != "queued":
        if lock is not None:
            os.close(lock)
        raise UsageError.at(
            run.path,
            expected="a run that is not there yet",
            found=f"one that is {run.status()['state']}",
            remedy="choose another study name",
        )
    try:
        locks.sign(lock, os.getpid())
        now = time.time()
        run.transition("running", pid=os.getpid(), host=host(), heartbeat=now, started=now)
        try:
            job = open_job(run, device)
            one.model.to(device)
            job.describe(model=one.spec, imported={**one.to_dict(), "labels": list(labels)})
            (_score_fusion if one.stage == "fusion" else _score_encoder)(job, one.model)
        except BaseException as error:
            reason = str(error) if isinstance(error, EavdashError) else f"{type(error).__name__}: {error}"
            run.transition("failed", reason=f"import: {reason}", finished=time.time())
            raise
        run.update(epoch=0, epochs=0, best_epoch=0)
        run.transition("done", checksums=run.seal(), finished=time.time(), reason="")
    finally:
        os.close(lock)


def _score_encoder(job: Job, model: nn.Module) -> None:
    windows = read_windows(job, job.stage)
    if windows is None:
        raise DataError.at(job.run.name, expected=f"{job.stage} recordings", found="none", remedy="leave its file out")
    shape = stage1.shape_of(windows.values)
    kwargs = job.run.config()["model"]["kwargs"]
    sizes = {"vision": ("size", "size"), "audio": ("mels", "mels"), "eeg": ("channels", "channels")}
    ours, theirs = sizes[job.stage]
    found = len(shape[ours]) if job.stage == "eeg" else shape[ours]
    if found != kwargs[theirs]:
        raise DataError.at(
            f"{job.stage} recordings",
            expected=f"{theirs} {kwargs[theirs]}, as the checkpoint was trained with",
            found=str(found),
            remedy="import it with the recordings that it was trained on",
        )
    described = {**shape, "key": windows.values.meta["key"], "windows": window_counts(windows.index)}
    if "rate" in windows.values.meta:
        described["rate"] = windows.values.meta["rate"]
    job.describe(input=described, left_out=windows.missing)
    source = stage1.WindowSource(windows, labels_of(windows.index, job.classes), job.device, augment=False)
    decided = evaluate.decide(model, source, range(len(windows.index)), job.settings.batch, job.settings.precision)
    stage1.finish(job, model, evaluate.table(windows.index, decided, job.classes, job.fold, job.number), 0)


def _score_fusion(job: Job, model: nn.Module) -> None:
    parts, left_out = {}, []
    for modality, name in job.info["parents"].items():
        parent = job.run.sibling(name)
        windows = read_windows(job, modality, parent.config()["input"].get("channels", ()))
        if windows is not None:
            parts[modality] = features(parent, windows, job.device)
            left_out += windows.missing
    joined = join(parts)
    train, validation = rows_of(joined.index, "train"), rows_of(joined.index, "validation")
    described = {"modalities": list(joined.tokens), "dims": joined.dims, "windows": window_counts(joined.index)}
    job.describe(input=described, left_out=left_out)
    labels = labels_of(joined.index, job.classes)
    source = FeatureSource(joined, labels, train, {}, job.device)
    decided = evaluate.decide(model, source, range(len(joined.index)), job.settings.batch, job.settings.precision)
    predictions = evaluate.table(joined.index, decided, job.classes, job.fold, job.number, tuple(joined.tokens))
    given = joined.logits, joined.masks
    ranking = baselines.rank(*given, labels, train, validation)
    heat = baselines.temperatures(*given, labels, validation)
    made = {
        "fusion:best": baselines.best_single(*given, ranking.order),
        "fusion:mean": baselines.mean_of_modalities(*given),
        "fusion:calibrated": baselines.calibrated_mean(*given, heat),
        "majority": baselines.majority(joined.index, job.classes),
    }
    where = job.classes, job.fold, job.number
    tables = [evaluate.table(joined.index, d, *where).assign(stage=stage) for stage, d in made.items()]
    tables.append(predictions[predictions["frame"] == -1].assign(stage="fusion:paper"))  # the run itself is that
    evaluate.write(job.run.baselines_file, pd.concat(tables, ignore_index=True))
    stage1.finish(job, model, predictions, 0)
