"""The readers, which turn recordings into arrays of windows: one module per modality, and one for tables of features.

In: one trial's file and the windows' spans; the settings of the modality. Out: values and mask of those windows, in the
shapes of :class:`~eavdash.data.windows.WindowSet`. Padding is zero for frames and EEG, and silence for spectrograms.
"""

from eavdash.config.choices import TABLE
from eavdash.config.schema import StudyConfig
from eavdash.data.readers.audio import AudioReader
from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.data.readers.eeg import EegReader
from eavdash.data.readers.table import TableReader
from eavdash.data.readers.vision import VisionReader

READERS: dict[str, type[Reader]] = {"vision": VisionReader, "audio": AudioReader, "eeg": EegReader}

__all__ = ["READERS", "Reader", "Reading", "Span", "TrialRow", "reader_of"]


def reader_of(modality: str, config: StudyConfig) -> Reader:
    """Return the reader of a modality's recordings for the encoder that ``config`` names."""
    if config.modality(modality).encoder == TABLE:
        return TableReader(config, modality)
    return READERS[modality](config)
