"""The program of a :class:`~eavdash.data.readers.pool.ReaderPool` (:mod:`eavdash.store.processes.program`).

``python -m eavdash.data.readers.worker MODALITY DESCRIPTOR`` loads the libraries for reading that modality once, so
that all processes share their memory (half a gigabyte). In: requests: the reader's configuration, a trial, the spans
of its windows. Out: readings.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from functools import lru_cache
from typing import Any

from eavdash.config.convert import from_dict
from eavdash.data.readers import Reader, TrialRow, reader_of
from eavdash.store.processes.program import Answer, serve

_LIBRARIES = {
    "vision": ("torch", "facenet_pytorch.models.mtcnn"),
    "audio": ("torch", "torchaudio.functional", "torchaudio.compliance.kaldi"),
    "eeg": ("mne", "scipy.io", "scipy.signal"),
}


def load() -> None:
    """Load the libraries for the modality that the command line names."""
    for library in _LIBRARIES[sys.argv[1]]:
        with contextlib.suppress(ImportError):  # reading reports what is missing
            importlib.import_module(library)


def answer(request: dict[str, Any]) -> Answer:
    """Read one trial."""
    reading = _reader(request["reader"]).read(TrialRow(**request["row"]), [(a, b) for a, b in request["spans"]])
    return reading.facts, [reading.values, reading.mask]


@lru_cache(maxsize=1)
def _reader(settings: str) -> Reader:
    modality, study, channels = json.loads(settings)
    reader = reader_of(modality, from_dict(study))
    reader.channels = tuple(channels)
    return reader


if __name__ == "__main__":
    serve(answer, load)
