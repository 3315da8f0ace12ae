"""Measures of how expressive each modality was in a trial, taken on the recordings themselves, without any model.

In: a study. Out: the rows of :mod:`eavdash.results.expressiveness`. Pictures and EEG are those of the cached windows,
sound is read from the recordings. Tables of features have none of these measures. Delegated: Welch's spectrum to SciPy,
pitch (normalised cross-correlation) to torchaudio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from eavdash.config.choices import COLUMN, MODALITIES
from eavdash.config.convert import recorded_config
from eavdash.config.schema import StudyConfig
from eavdash.data.audio.reading import read_audio
from eavdash.data.eeg.bandpower import BANDS, FLOOR
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.inputs import load_windows
from eavdash.data.segments import segment
from eavdash.data.windows import WindowSet
from eavdash.errors import EavdashError
from eavdash.explain.recordings import planned_trials
from eavdash.results.expressiveness import EEG_BANDS
from eavdash.store import StudyDir

RATE = 16_000  # Hz
FRAME, SHIFT = 400, 160  # samples of a frame of loudness and from one to the next
QUIET = 25.0  # dB below the loud frames, under which a frame has no pitch
LOWEST, HIGHEST = 75, 500  # Hz of a voice
Row = tuple[str, str, str, str, float, str]  # of results.expressiveness.COLUMNS


def measure(study: StudyDir, trials: pd.DataFrame, report: Callable[[int, int, str], None]) -> list[Row]:
    """Measure the test trials of ``tables.trials``; a recording that cannot be read is a row with its problem.

    ``report(done, total, subject)`` is called before each subject.
    """
    config = recorded_config(study.study())
    tested = trials.groupby("subject", sort=False)["trial"].agg(set)
    stages = [m for m in MODALITIES if m in set(trials["stage"])]
    rows: list[Row] = []
    for number, (subject, names) in enumerate(tested.items()):
        report(number, len(tested), f"subject {subject}")
        planned = planned_trials(study, config, (str(subject),))
        for modality in stages:
            there = planned[planned[COLUMN[modality]] != ""]
            there = there[~there[COLUMN[modality]].map(is_feature_table).astype(bool)].reset_index(drop=True)
            if len(there):
                rows += _measured(study, config, there, modality, names)
    report(len(tested), len(tested), "")
    return rows


def _measured(
    study: StudyDir, config: StudyConfig, planned: pd.DataFrame, modality: str, names: set[str]
) -> Iterator[Row]:
    if modality == "audio":
        for record in planned[planned["trial"].isin(names)].to_dict("records"):
            start, stop = segment(record, COLUMN["audio"])
            subject, trial = str(record["subject"]), str(record["trial"])
            try:
                wave = read_audio(str(record[COLUMN["audio"]]), start, stop, RATE, config.audio.channel)
            except EavdashError as error:
                yield subject, trial, modality, "", float("nan"), str(error)
                continue
            for name, value in voice(wave).items():
                yield subject, trial, modality, name, value, ""
        return
    try:
        windows = load_windows(planned, modality, config, study.cache_dir)
    except EavdashError as error:
        yield str(planned["subject"].iloc[0]), "", modality, "", float("nan"), str(error)
        return
    index = windows.index.reset_index(drop=True)
    of_windows = face if modality == "vision" else bands
    for (person, tested), mine in index.groupby(["subject", "trial"], sort=False):
        if tested in names:
            for name, value in of_windows(windows, mine.index.to_numpy()).items():
                yield str(person), str(tested), modality, name, value, ""


def face(windows: WindowSet, rows: np.ndarray) -> dict[str, float]:
    """Return ``motion``: the mean absolute change of the crop's grey values between neighbouring frames, in per cent.

    NaN without two recorded frames in a row. Changes of light and of the crop count as motion too.
    """
    changes = []
    for row in rows:
        grey = np.asarray(windows.values[row], np.float32).mean(axis=-1)  # (frame, height, width)
        both = windows.mask[row, 1:] & windows.mask[row, :-1]
        changes += list(np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))[both])
    return {"motion": float(100 / 255 * np.mean(changes)) if changes else float("nan")}


def voice(wave: np.ndarray) -> dict[str, float]:
    """Return the ranges of a sound (time,) at :data:`RATE`: ``loudness`` (dB) and ``pitch`` (semitones).

    Loudness: from the 5th to the 95th percentile of the frames' levels, those 60 dB below the loudest left out. Pitch:
    from the 10th to the 90th percentile over the frames that are at most :data:`QUIET` dB below the 95th percentile.
    NaN for silence or less than a tenth of a second.
    """
    if len(wave) < RATE // 10 or not np.any(wave):
        return {"loudness": float("nan"), "pitch": float("nan")}
    pieces = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), FRAME)[::SHIFT]
    level = 10 * np.log10(np.mean(pieces**2, axis=1) + 1e-12)
    level = level[level > level.max() - 60]
    low, high = np.percentile(level, (5, 95))
    return {"loudness": float(high - low), "pitch": _pitch_range(wave)}


def _pitch_range(wave: np.ndarray) -> float:
    import torch
    from torchaudio.functional import detect_pitch_frequency

    found = detect_pitch_frequency(
        torch.from_numpy(np.ascontiguousarray(wave, np.float32)), RATE, freq_low=LOWEST, freq_high=HIGHEST
    ).numpy()
    length = len(wave) // max(1, len(found))
    level = 10 * np.log10(np.square(wave[: length * len(found)].reshape(len(found), length)).mean(axis=1) + 1e-12)
    loud = found[(level > np.percentile(level, 95) - QUIET) & (found >= LOWEST) & (found <= HIGHEST)]
    if len(loud) < 5:
        return float("nan")
    low, high = np.percentile(loud, (10, 90))
    return float(12 * np.log2(high / low))


def bands(windows: WindowSet, rows: np.ndarray) -> dict[str, float]:
    """Return the power of :data:`~eavdash.results.expressiveness.EEG_BANDS` in dB re 1 µV².

    Means of the decibels over windows and channels; NaN for a band that the rate does not reach.
    """
    from scipy.signal import welch

    rate = float(windows.meta["rate"])
    found: dict[str, list[float]] = {name: [] for name in EEG_BANDS}
    for row in rows:
        signal = 1e6 * np.asarray(windows.values[row], np.float64)[:, windows.mask[row]]
        if signal.shape[1] < rate:
            continue
        frequency, density = welch(signal, rate, nperseg=round(rate), axis=-1)  # (channel, frequency), 1 Hz wide
        for band in EEG_BANDS:
            low, high = BANDS[band]
            inside = (frequency >= low) & (frequency < high)
            if inside.any() and low < rate / 2:
                power = density[:, inside].sum(axis=-1) * (frequency[1] - frequency[0])
                found[band].append(float(10 * np.log10(np.maximum(power, FLOOR)).mean()))
    return {band: float(np.mean(values)) if values else float("nan") for band, values in found.items()}
