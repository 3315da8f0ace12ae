"""Training windows of a run as baselines: expected gradients measure attributions from what the model was trained on.

In: a run. Out: :data:`~eavdash.explain.baselines.DRAWS` windows, the same for every trial that the run explains. They
are drawn in an order that follows from the study's seed and the run's fold and stage, windows with most modalities
first and the classes in turn, so that together they favour none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config.convert import recorded_config
from eavdash.data.cache.window_set_spec import window_set_spec
from eavdash.data.inputs import load_windows
from eavdash.data.windows import WindowSet
from eavdash.errors import UsageError
from eavdash.explain.baselines import DRAWS
from eavdash.explain.fused import encoder_runs
from eavdash.explain.recordings import encoder_input, encoder_windows, planned_trials, scaled_as_trained
from eavdash.models.seeds import seeder
from eavdash.results.columns import study_table
from eavdash.store import RunDir, StudyDir

_KEYS = ["subject", "trial", "window"]


@dataclass(frozen=True)
class TrainingWindows:
    """D training windows: encoder inputs (D, ...) and masks (D, L) of some modalities, masked where one lacks it."""

    names: tuple[str, ...]  # subject/trial/window
    inputs: dict[str, Tensor]
    masks: dict[str, Tensor]

    def baseline(self, modality: str, mean: Tensor) -> Tensor:
        """Return the windows (D, ...) of a modality, with the ``mean`` baseline (1, ...) where nothing is recorded."""
        if modality not in self.inputs:
            return mean.expand(len(self.names), *mean.shape[1:])
        x, mask = self.inputs[modality], self.masks[modality]
        time = 2 if modality == "eeg" else 1
        shape = [len(mask), *(mask.shape[1] if axis == time else 1 for axis in range(1, x.ndim))]
        return torch.where(mask.view(shape), x, mean)


def training_windows(
    study: StudyDir, run: RunDir, modalities: tuple[str, ...], device: torch.device
) -> TrainingWindows:
    """Draw training windows and read them in some modalities of the run.

    Raises:
        UsageError: the run's predictions have no training window.
        EavdashError: a file is damaged, or a recording cannot be read.
    """
    encoders = encoder_runs(study, run)
    chosen, trained = _draw(run, encoders)
    inputs, masks = {}, {}
    for modality in modalities:
        if trained[modality].any():
            found = _read(study, encoders[modality], chosen, trained[modality], device)
            inputs[modality], masks[modality] = found
    return TrainingWindows(tuple("/".join(map(str, key)) for key in chosen), inputs, masks)


def _draw(run: RunDir, encoders: dict[str, RunDir]) -> tuple[list[tuple[str, str, int]], dict[str, np.ndarray]]:
    """Return the drawn windows, and which of them each encoder was trained on."""
    rows = _training_rows(run)
    if rows.empty:
        raise UsageError.at(
            run.name,
            expected="training windows among its predictions, as baselines",
            found="none",
            remedy="choose --method integrated_gradients, whose baseline is the mean input",
        )
    of_encoders = {m: pd.MultiIndex.from_frame(_training_rows(each)[_KEYS]) for m, each in encoders.items()}
    there = {m: pd.MultiIndex.from_frame(rows[_KEYS]).isin(index) for m, index in of_encoders.items()}
    info = run.config()
    order = np.random.default_rng(seeder(info.seed, info.fold, info.stage)("explain", "baselines"))
    shuffled = rows.assign(lacking=-sum(found.astype(int) for found in there.values()))
    shuffled = shuffled.iloc[order.permutation(len(rows))]
    shuffled["turn"] = shuffled.groupby(["lacking", "label"], sort=False).cumcount()
    places = shuffled.sort_values(["lacking", "turn"], kind="stable").index[:DRAWS].to_numpy()
    keys = rows.loc[places, _KEYS].itertuples(index=False, name=None)
    return [(str(s), str(t), int(w)) for s, t, w in keys], {m: found[places] for m, found in there.items()}


def _training_rows(run: RunDir) -> pd.DataFrame:
    rows = pd.read_parquet(run.verify("predictions.parquet"), columns=[*_KEYS, "label", "split", "frame"])
    return rows[(rows["split"] == "train") & (rows["frame"] == -1)].reset_index(drop=True)


def _read(
    study: StudyDir, encoder: RunDir, chosen: list[tuple[str, str, int]], trained: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the chosen windows of one modality: zeros, masked, where its encoder was not trained on one."""
    wanted = [key for key, known in zip(chosen, trained, strict=True) if known]
    windows = _cached(study, encoder) or _drawn(study, encoder, wanted)
    keys = windows.index[_KEYS].itertuples(index=False, name=None)
    rows = {(str(s), str(t), int(w)): row for row, (s, t, w) in enumerate(keys)}
    x, mask = encoder_input(windows, [rows[key] for key in wanted], device)
    values, valid = x.new_zeros(len(chosen), *x.shape[1:]), mask.new_zeros(len(chosen), *mask.shape[1:])
    places = torch.from_numpy(np.flatnonzero(trained)).to(device)
    values[places], valid[places] = x, mask
    return values, valid


def _cached(study: StudyDir, encoder: RunDir) -> WindowSet | None:
    """Return the windows that the encoder was trained with, if they are in the cache."""
    info = encoder.config()
    config = recorded_config(info)
    splits = study_table(study.splits_file, ("subject", "trial", "fold", "split"))
    splits = splits[splits["fold"] == info.fold]
    splits = splits[splits["subject"] == info.subject] if info.subject else splits
    left_out = {(each["subject"], each["trial"]) for each in info.left_out or () if each.get("kind")}
    frame = planned_trials(study, config, tuple(dict.fromkeys(splits["subject"])))
    frame = frame.merge(splits[["subject", "trial"]], on=["subject", "trial"])
    kept = [key not in left_out for key in zip(frame["subject"], frame["trial"], strict=True)]
    spec = window_set_spec(frame[kept], info.stage, config, study.cache_dir)
    if not spec.folder.is_dir():
        return None
    windows = load_windows(frame[kept], info.stage, config, study.cache_dir)
    if info.stage == "eeg" and tuple(windows.meta["channels"]) != info.input.channels:
        return None
    return scaled_as_trained(windows, encoder)


def _drawn(study: StudyDir, encoder: RunDir, wanted: list[tuple[str, str, int]]) -> WindowSet:
    """Return the windows of the drawn trials alone, from the cache or the recordings."""
    info = encoder.config()
    frame = planned_trials(study, recorded_config(info), tuple(dict.fromkeys(s for s, _, _ in wanted)))
    trials = {(s, t) for s, t, _ in wanted}
    mine = [key in trials for key in zip(frame["subject"], frame["trial"], strict=True)]
    return encoder_windows(study, encoder, frame[mine])
