"""Epochs: EEGLAB's epoched .set and MNE's -epo.fif, whose epochs are trials.

In: a file and an epoch's number. Out: its properties, or one epoch; the last file is cached. Delegated to MNE
and formats/eeglab.py: reading, after the checks that continuous recordings pass (:mod:`eavdash.data.eeg.guard`).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from eavdash.config.limits import CHANNELS, EEG_VALUES
from eavdash.data.eeg.arrays import ArrayInfo
from eavdash.data.eeg.guard import check_before_opening
from eavdash.data.formats import eeglab
from eavdash.data.formats.companions import epoch_samples
from eavdash.data.recording import per_file, refuse_beyond, unreadable
from eavdash.errors import EavdashError
from eavdash.store.readable import check_readable, checked_opens


def info(file: str) -> ArrayInfo:
    """The file's properties (see :class:`eavdash.data.eeg.arrays.ArraySource`)."""
    return _read(file)[0]


def trial(file: str, number: int) -> np.ndarray:
    """Epoch ``number`` (from 1): (channel, time) float64 volt; the file stays in memory."""
    return np.asarray(_read(file)[1][number - 1])


@per_file(1)
def _read(file: str) -> tuple[ArrayInfo, np.ndarray]:
    """The properties, and the epochs (epoch, channel, time) float64 volt.

    Raises:
        RecordingError: they cannot be read, or the file is no file of epochs.
    """
    import mne

    check_before_opening(file)
    fif = Path(file).suffix.lower() == ".fif"
    with warnings.catch_warnings(action="ignore"), checked_opens(mne.get_config_path()):
        try:
            if not fif and not eeglab.is_hdf5(file):
                read = eeglab.read_epochs(file, epoch_samples(file))
                kinds, bad, names, rate, data = read.kinds, (), read.channels, read.rate, read.data
            else:
                read_epochs = mne.read_epochs if fif else mne.io.read_epochs_eeglab
                epochs = read_epochs(file, verbose="ERROR")
                kinds, bad = tuple(epochs.get_channel_types()), tuple(epochs.info["bads"])
                names, rate = tuple(epochs.ch_names), float(epochs.info["sfreq"])
                data = epochs.get_data(copy=False, verbose="ERROR")
        except EavdashError:
            raise
        except Exception as error:  # readers raise errors of their own
            raise unreadable(file, "epochs, as an item number follows the file's name", error) from error
    check_readable(file)
    refuse_beyond(file, "channels", len(names), CHANNELS)
    refuse_beyond(file, "samples", data.size, EEG_VALUES)
    return ArrayInfo(data.shape[2], rate, names, len(data), kinds, bad), data
