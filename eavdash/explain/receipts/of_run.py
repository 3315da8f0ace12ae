"""The checks of a run, on a few of its test windows: computed once and kept in receipts.json."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from eavdash.config.convert import recorded_config
from eavdash.data.recording import release
from eavdash.errors import UsageError
from eavdash.explain.attributions import Output
from eavdash.explain.baselines import BASELINES, kind_for
from eavdash.explain.devices import device_of
from eavdash.explain.fused import FusedModel, encoder_runs, load_fused_model
from eavdash.explain.question import METHOD
from eavdash.explain.receipts.of_trial import quickly
from eavdash.explain.receipts.registry import check_run
from eavdash.explain.receipts.run_question import RunQuestion, RunWindow
from eavdash.explain.recordings import trial_row, trial_windows, window_sets
from eavdash.explain.run_receipts import RunReceipts, other_seeds, save_run_receipts
from eavdash.explain.training_windows import training_windows
from eavdash.explain.window_method import WindowMethod
from eavdash.models.fusion import Tensors
from eavdash.models.seeds import reproducible, seeder
from eavdash.results.decision import mean_logs
from eavdash.results.statistics import chance_line
from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import sha256

#: Test windows, each of another trial, whose maps are compared.
WINDOWS = 4


def check_and_save(study: StudyDir, run: RunDir, device: str = "cpu") -> RunReceipts:
    """Check a finished run with the deterministic settings of training, on one thread, and keep the outcome.

    Raises:
        EavdashError: the run's files are damaged, or recordings cannot be read.
    """
    where = device_of(device)
    try:
        with reproducible(where, threads=1):
            made = _check(study, run, where)
    finally:
        release()
    save_run_receipts(run, made)
    return made


def _check(study: StudyDir, run: RunDir, where: torch.device) -> RunReceipts:
    info = run.config()
    seed = seeder(info.seed, info.fold, info.stage)
    decided = _decided(run, info.classes)
    majority = float(decided["label"].value_counts(normalize=True).max()) if len(decided) else 0.0
    order = decided.iloc[np.random.default_rng(seed("receipts", "windows")).permutation(len(decided))]
    chosen = order[order["subject"] == order["subject"].iloc[0]][:WINDOWS] if len(order) else order
    subject = str(chosen["subject"].iloc[0]) if len(chosen) else ""
    model = load_fused_model(study, run, where, subject)
    method, name = _method(study, run, model, where)
    windows, names = [], []
    for trial, predicted in chosen[["trial", "predicted"]].itertuples(index=False, name=None):
        sets = window_sets(study, run, trial_row(study, recorded_config(info), subject, str(trial)))
        first = trial_windows(sets, where)[0]
        windows.append(RunWindow(first.inputs, first.masks, info.classes.index(str(predicted))))
        names.append(f"{subject}/{trial}/{first.number}")
    others = other_seeds(study, run)
    asked = [run, *encoder_runs(study, run).values(), *others]
    asked += [each for other in others for each in encoder_runs(study, other).values()]

    def attribute(with_model: FusedModel, window: RunWindow) -> Tensors:
        changed = quickly(replace(method, model=with_model), window.inputs)
        return changed.attribute(window.inputs, window.masks, Output(window.target)).values

    question = RunQuestion(
        model=model,
        windows=windows,
        attribute=attribute,
        others=[load_fused_model(study, other, where, subject) for other in others],
        correct=int((decided["predicted"] == decided["label"]).sum()),
        trials=len(decided),
        line=chance_line(len(decided), len(info.classes), majority=majority),
        seed=seed,
    )
    return RunReceipts(
        method=name,
        windows=tuple(names),
        seeds=tuple(other.config().seed for other in others),
        checks=check_run(question),
        checksums={each.name: sha256(each.model_file) for each in asked},
    )


def _decided(run: RunDir, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the run's decided test trials: subject, trial, label, predicted."""
    frame = pd.read_parquet(run.verify("predictions.parquet"))
    rows = frame[(frame["split"] == "test") & (frame["frame"] == -1)]
    labels = rows[["subject", "trial", "label"]].drop_duplicates(["subject", "trial"])
    decided: pd.DataFrame = mean_logs(rows, classes, ["subject", "trial"])[["subject", "trial", "predicted"]]
    return decided.merge(labels, on=["subject", "trial"])


def _method(study: StudyDir, run: RunDir, model: FusedModel, where: torch.device) -> tuple[WindowMethod, str]:
    """Return the default method and its name, or that from the mean input if the run has no training windows."""
    drawn = tuple(m for m in model.modalities if kind_for(m, BASELINES[METHOD][0]) == "training")
    try:
        trained = training_windows(study, run, drawn, where) if drawn else None
    except UsageError:
        return WindowMethod(model), "integrated_gradients"
    return WindowMethod(model, trained, drawn, name=METHOD), METHOD
