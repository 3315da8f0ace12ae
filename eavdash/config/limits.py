"""The largest files, recordings and requests that are accepted: what exceeds a limit is refused before it fills memory.

The limits are far above real use (docs/adapters.md has them in one table): EAV has 42 subjects and 8,400 trials, its
EEG files 60 million numbers each; a long recording is 256 channels at 1 kHz for two hours. A file is judged by the size
that its header declares, before its content is read.
"""

from __future__ import annotations

# Requests.
NUMBERS = 10_000  #: folds, seeds ... in a list such as ``0-9``
RUNS = 100_000  #: runs of one plan: subjects x folds x seeds x stages
SPLIT_ROWS = 20_000_000  #: trials x folds of one plan
WINDOW_BYTES = 4 * 2**30  #: one window's array
WINDOWS = 100_000  #: windows of one trial

# Trial tables and other tables of text.
TABLE_BYTES = 256 * 2**20
TABLE_ROWS = 500_000
TABLE_COLUMNS = 10_000
TABLE_CELLS = 10_000_000
LINE = 2**20  #: characters of one row of a CSV file

# Recordings.
SECONDS = 1_000_000  #: of a recording, 11 days; larger times in a trial table are milliseconds or mistakes
CHANNELS = 2_048  #: of an EEG recording
EEG_VALUES = 2_000_000_000  #: channels x samples of one trial, at the recording's rate
SOUND_VALUES = 500_000_000  #: samples of one trial, at the rate of the spectrogram: 8 hours at 16 kHz
FRAME_PIXELS = 40_000_000  #: of a video's frame: 8K
PICTURE_PIXELS = 100_000_000  #: of a still image
ARRAY_VALUES = 200_000_000  #: numbers in one array of a .mat or pickle
HEADER_BYTES = 10 * 2**20  #: of a text or JSON header, which is read as a whole

#: A compressed part of a file may unfold to so many times its size, or to so many bytes: constant numbers compress a
#: thousandfold, recordings and weights less than tenfold.
UNFOLD, UNFOLD_BYTES = 100, 64 * 2**20


def unfolds(packed: int, declared: int) -> bool:
    """Return True if ``packed`` bytes of a file declare more content than compressed recordings have."""
    return declared > max(UNFOLD_BYTES, UNFOLD * packed)


# Weights.
WEIGHTS_BYTES = 16 * 2**30
