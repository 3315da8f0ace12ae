"""Epochs: EEGLAB's epoched .set and MNE's -epo.fif, whose epochs are trials.

In: a file and an epoch's number. Out: its properties, or one epoch; the last file is cached. Delegated to MNE: reading,
between the checks that continuous recordings pass (:mod:`eavdash.data.eeg.guard`).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from eavdash.data.eeg.arrays import ArrayInfo
from eavdash.data.eeg.guard import check_before_opening
from eavdash.data.recording import per_file, refuse_beyond, unreadable
from eavdash.errors import EavdashError
from eavdash.limits import CHANNELS, EEG_VALUES
from eavdash.store.readable import check_readable, checked_opens


def info(file: str) -> ArrayInfo:
    """The file's properties (see :class:`eavdash.data.eeg.arrays.ArraySource`)."""
    found, data = _read(file)
    return ArrayInfo(
        data.shape[2],
        float(found["sfreq"]),
        tuple(found["ch_names"]),
        len(data),
        tuple(found.get_channel_types()),
        tuple(found["bads"]),
    )


def trial(file: str, number: int) -> np.ndarray:
    """Epoch ``number`` (from 1): (channel, time) float64 volt; the file stays in memory."""
    return np.asarray(_read(file)[1][number - 1])


@per_file(1)
def _read(file: str) -> tuple[Any, np.ndarray]:
    """MNE's info, and the epochs (epoch, channel, time) float64 volt.

    Raises:
        RecordingError: they cannot be read, or the file is no file of epochs.
    """
    import mne

    check_before_opening(file)
    with warnings.catch_warnings(action="ignore"), checked_opens(mne.get_config_path()):
        try:
            if Path(file).suffix.lower() == ".set":
                epochs = mne.io.read_epochs_eeglab(file, verbose="ERROR")
            else:
                epochs = mne.read_epochs(file, preload=False, verbose="ERROR")
            refuse_beyond(file, "channels", len(epochs.ch_names), CHANNELS)
            refuse_beyond(file, "samples", len(epochs) * len(epochs.ch_names) * len(epochs.times), EEG_VALUES)
            data = epochs.get_data(copy=False, verbose="ERROR")
        except EavdashError:
            raise
        except Exception as error:  # MNE's readers raise their own errors
            raise unreadable(file, "epochs that MNE reads, as an item number follows the name", error) from error
    check_readable(file)
    return epochs.info, data
