"""Mean features of the training windows, which stand for absent modalities in fusions that know no absence.

In: a fusion's run and its encoders. Out: by modality, the mean token (D,) over the recorded tokens of the windows that
the fusion was trained on, as training/coalitions.py has it.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from eavdash.config.convert import recorded_config
from eavdash.errors import IntegrityError
from eavdash.explain.fused import FusedModel, encoder_runs
from eavdash.explain.recordings import encoder_input, encoder_windows, planned_trials
from eavdash.models.people import read_people
from eavdash.store import RunDir, StudyDir

_KEYS = ["subject", "trial", "window"]
_BATCH = 16  # windows at once


def training_means(study: StudyDir, run: RunDir, model: FusedModel, device: torch.device) -> dict[str, Tensor]:
    """Return the mean token (D,) of each modality on the CPU.

    Raises:
        EavdashError: a file is damaged, or a recording cannot be read.
    """
    frame = pd.read_parquet(run.verify("predictions.parquet"), columns=[*_KEYS, "split", "frame"])
    wanted = pd.MultiIndex.from_frame(frame[(frame["split"] == "train") & (frame["frame"] == -1)][_KEYS])
    return {m: _mean(study, each, m, model, wanted, device) for m, each in encoder_runs(study, run).items()}


def _mean(
    study: StudyDir, encoder: RunDir, modality: str, model: FusedModel, wanted: pd.MultiIndex, device: torch.device
) -> Tensor:
    subjects = tuple(dict.fromkeys(wanted.get_level_values("subject")))
    trials = planned_trials(study, recorded_config(encoder.config()), subjects)
    used = pd.MultiIndex.from_frame(trials[["subject", "trial"]]).isin(wanted.droplevel("window"))
    windows = encoder_windows(study, encoder, trials[used])
    here = [n for n, inside in enumerate(pd.MultiIndex.from_frame(windows.index[_KEYS]).isin(wanted)) if inside]
    people = read_people(encoder)
    total: Any = 0
    count = 0
    with torch.no_grad():
        for first in range(0, len(here), _BATCH):
            rows = here[first : first + _BATCH]
            x, mask = encoder_input(windows, rows, device)
            places = people.places(windows.index["subject"].iloc[rows])
            out = model.encode(modality, x, mask, dict(zip(people.values, people.tensors(places), strict=True)))
            total = total + out.tokens[out.mask].double().sum(dim=0)
            count += int(out.mask.sum())
    if not count:
        raise IntegrityError.at(
            encoder.path, expected="training windows in its predictions", found="none", remedy="train it again"
        )
    mean: Tensor = (total / count).float().cpu()
    return mean
