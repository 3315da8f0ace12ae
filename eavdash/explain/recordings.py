"""Windows of one trial as the encoders read them, from the recordings or the cache of windows.

In: a study, a run and a trial. Out: the window set of each modality that was recorded, and per window the encoders'
inputs. Only the cache of windows is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eavdash.config.choices import COLUMN, TABLE
from eavdash.config.convert import recorded_config
from eavdash.config.schema import StudyConfig
from eavdash.data.axes import times_of
from eavdash.data.frozen import planned_table
from eavdash.data.inputs import load_windows
from eavdash.data.segments import segment
from eavdash.data.standardise import standardise
from eavdash.data.table import select
from eavdash.data.video.crops import crop_boxes
from eavdash.data.windows import WindowSet
from eavdash.errors import TableError
from eavdash.explain.fused import encoder_runs
from eavdash.models.base import to_encoder_input
from eavdash.store import RunDir, StudyDir


@dataclass(frozen=True)
class TrialWindow:
    """Encoder input of one window: a batch of one per present modality."""

    number: int
    start: float
    stop: float
    rows: dict[str, int]  # row of each modality's window set
    inputs: dict[str, Tensor]
    masks: dict[str, Tensor]


def planned_trials(study: StudyDir, config: StudyConfig, subjects: Sequence[str]) -> pd.DataFrame:
    """Return the rows of the trial table of some subjects, as the study was planned with them."""
    path = study.study().dataset.path
    return select(planned_table(study.table_file, path, subjects), config, subjects).frame


def trial_row(study: StudyDir, config: StudyConfig, subject: str, trial: str) -> pd.DataFrame:
    """Return the trial's row of the trial table, as a frame of one row.

    Raises:
        TableError: there is no such trial, or several.
    """
    frame = planned_trials(study, config, (subject,))
    row = frame[frame["trial"] == trial].reset_index(drop=True)
    if len(row) != 1:
        raise TableError.at(
            study.study().dataset.path,
            expected=f"one trial {trial} of subject {subject}, as when the study was planned",
            found=f"{len(row)}",
            remedy="restore the dataset",
        )
    return row


def encoder_windows(study: StudyDir, encoder: RunDir, rows: pd.DataFrame) -> WindowSet:
    """Return the windows of trials in the modality of an encoder's run, with the EEG channels used in training."""
    info = encoder.config()
    config = recorded_config(info)
    if info.stage == "eeg":
        config = replace(config, eeg=replace(config.eeg, channels=info.input.channels))
    return scaled_as_trained(load_windows(rows, info.stage, config, study.cache_dir), encoder)


def scaled_as_trained(windows: WindowSet, encoder: RunDir) -> WindowSet:
    """Return the windows standardised by their people, if the encoder was trained on such windows."""
    statistics = encoder.config().input.subject_scaling
    return standardise(windows, statistics) if statistics else windows


def window_sets(study: StudyDir, run: RunDir, row: pd.DataFrame) -> dict[str, WindowSet]:
    """Return the trial's windows in each recorded modality of the model."""
    return {
        modality: encoder_windows(study, encoder, row)
        for modality, encoder in encoder_runs(study, run).items()
        if row[COLUMN[modality]].iloc[0] != ""
    }


def crops_of(study: StudyDir, run: RunDir, row: pd.DataFrame, windows: WindowSet) -> np.ndarray | None:
    """Return the box of each picture (window, frame, 4) in fractions of the upright frame, NaN where masked.

    None for a table of features. The video is read and the face followed once more, as when the windows were made.

    Raises:
        RecordingError: the video cannot be decoded.
    """
    if windows.kind == TABLE:
        return None
    return places_of(study, run, row, times_of(windows))


def places_of(study: StudyDir, run: RunDir, row: pd.DataFrame, times: np.ndarray) -> np.ndarray:
    """Return the box of the picture at each of the ``times`` (window, frame) of a trial, as :func:`crops_of` does."""
    vision = recorded_config(encoder_runs(study, run)["vision"].config()).vision
    found, known = np.full((*times.shape, 4), np.nan), np.isfinite(times)
    start = segment(row.iloc[0], COLUMN["vision"])[0] or 0.0
    found[known] = crop_boxes(str(row[COLUMN["vision"]].iloc[0]), (start + times[known]).tolist(), vision)
    return found


def trial_windows(sets: Mapping[str, WindowSet], device: torch.device) -> list[TrialWindow]:
    """Return the windows in order of their numbers, each with the modalities that are long enough."""
    rows_by_number: dict[int, dict[str, int]] = {}
    for modality, windows in sets.items():
        for row, number in enumerate(windows.index["window"]):
            rows_by_number.setdefault(int(number), {})[modality] = row
    made = []
    for number in sorted(rows_by_number):
        rows = rows_by_number[number]
        spans = [sets[m].index.iloc[i][["start", "stop"]].astype(float) for m, i in rows.items()]
        read = {m: encoder_input(sets[m], slice(i, i + 1), device) for m, i in rows.items()}
        inputs, masks = {m: x for m, (x, _) in read.items()}, {m: mask for m, (_, mask) in read.items()}
        start, stop = min(s["start"] for s in spans), max(s["stop"] for s in spans)
        made.append(TrialWindow(number, float(start), float(stop), rows, inputs, masks))
    return made


def encoder_input(windows: WindowSet, rows: slice | list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return encoder input and mask of some rows of a window set."""
    values = to_encoder_input(windows.modality, torch.from_numpy(np.array(windows.values[rows])))
    return values.to(device), torch.from_numpy(np.array(windows.mask[rows], dtype=bool)).to(device)


def aligned(windows: WindowSet, values: np.ndarray, every: Sequence[TrialWindow], fill: float = 0) -> np.ndarray:
    """Align the ``values`` of one modality to the windows of all modalities, with ``fill`` where a window lacks it."""
    out = np.full((len(every), *values.shape[1:]), fill, dtype=values.dtype)
    for i, window in enumerate(every):
        if windows.modality in window.rows:
            out[i] = values[window.rows[windows.modality]]
    return out
