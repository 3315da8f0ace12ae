"""EEG of windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from eavdash.config.schema import StudyConfig
from eavdash.data.eeg import electrodes
from eavdash.data.eeg import reading as eeg
from eavdash.data.eeg.arrays import array_info
from eavdash.data.eeg.prepare import clip, exceeding, reference_channels, touching
from eavdash.data.eeg.sidecar import sidecar
from eavdash.data.eeg.signal import EegRules
from eavdash.data.readers.base import Reader, Reading, Span, TrialRow
from eavdash.data.recording import split_item

#: Bytes per number in an open file of arrays: float64 and derived arrays (measured: 9.3).
_OPEN = 10
#: Copies of a trial in float64 during filtering.
_COPIES = 8


class EegReader(Reader):
    """The trial's preprocessed EEG, cut into windows.

    Facts of a trial, if any: ``interpolated`` (channels), ``bad`` (bad channels that were kept: reason), ``rejected``
    (numbers of the windows that exceed ``eeg.reject`` or are under a BAD annotation; they are not removed here).
    """

    modality, dtype = "eeg", np.float32

    def __init__(self, config: StudyConfig) -> None:
        super().__init__(config)
        self.config, self.rules = config.eeg, EegRules.of(config.eeg)
        self.counting = "" if self.rules.gaps == "ignore" else f" gaps {self.rules.gaps}"
        # Of the recordings: channels, Hz, numbers in a file.
        self.width, self.fastest, self.held = 1, config.eeg.rate, 0

    @property
    def settings(self) -> dict[str, Any]:
        own = self.config
        names = ("chain", "rate", "low", "high", "notch", "bad_channels", "reject", "clip")
        # The rules of earlier versions have no name here, and without interpolation they have no effect: such window
        # sets keep their keys.
        rules = {} if own.bad_channels == "keep" or own.bad_rules == "prep" else {"bad_rules": own.bad_rules}
        # The same is true of the settings below with the values of earlier versions.
        later = {"montage": "10-05", "repeated": "leave-out", "gaps": "ignore", "reject_marked": False}
        if own.bad_channels != "keep":
            later["marked_channels"] = False
        return {
            **{name: getattr(own, name) for name in names},
            **rules,
            **{name: getattr(own, name) for name, before in later.items() if getattr(own, name) != before},
            "reference": "+".join(reference_channels(own.reference)) or own.reference,
            "channels": [electrodes.canonical(name) for name in own.channels],
        }

    def beside(self, path: str) -> str:
        """Text of what BIDS says beside a recording, as far as the arrays depend on it."""
        found = sidecar(path)
        bad = found.bad if self.config.marked_channels and self.config.bad_channels != "keep" else ()
        types = sorted(found.types.items()) if self.rules.montage != "10-05" else []
        spans = found.spans if self.config.reject_marked else ()
        return repr((sorted(bad), types, spans)) if bad or types or spans else ""

    def prepare(self, rows: list[TrialRow]) -> None:
        paths = [row.path for row in rows]
        interpolate = self.config.bad_channels == "interpolate"
        references = reference_channels(self.config.reference)
        self.channels = eeg.common_channels(paths, self.config.channels, interpolate, references, self.rules)
        for path in {split_item(path)[0]: path for path in paths}.values():
            info = eeg.eeg_info(path, self.rules)
            self.width = max(self.width, len(info.channels) + len(references))
            self.fastest = max(self.fastest, info.rate)
            file, number = split_item(path)
            if number is not None:
                array = array_info(file, number)
                self.held = max(self.held, array.samples * len(array.channels) * array.trials)

    @property
    def meta(self) -> dict[str, Any]:
        return {"channels": list(self.channels), "rate": self.config.rate}

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.channels), self.steps)

    @property
    def steps(self) -> int:
        return max(1, round(self.window * self.config.rate))

    def bytes_of(self, seconds: float) -> int:
        """A trial at its file's rate during filtering, and the whole file if trials are items of an array."""
        trial = int(seconds * self.fastest) * max(self.width, len(self.channels)) * 8
        return super().bytes_of(seconds) + _COPIES * trial + _OPEN * self.held

    def read(self, row: TrialRow, spans: list[Span]) -> Reading:
        prepared = eeg.read_prepared(row.path, row.start, row.stop, self.config, self.channels, self.threads)
        rejected = exceeding(prepared.signal, spans, self.config.reject)
        if self.config.reject_marked:
            bad = eeg.eeg_info(row.path, self.rules).remarks.spans
            rejected = sorted({*rejected, *touching(spans, bad, row.start or 0.0)})
        signal = clip(prepared.signal, self.config.clip)
        values = np.zeros((len(spans), *self.shape), dtype=self.dtype)
        mask = np.zeros((len(spans), self.steps), dtype=bool)
        for k, (begin, end) in enumerate(spans):
            part = signal.data[:, round(begin * signal.rate) : round(end * signal.rate)][:, : self.steps]
            values[k, :, : part.shape[1]], mask[k, : part.shape[1]] = part, True
        facts = {"interpolated": list(prepared.interpolated), "bad": prepared.left, "rejected": rejected}
        return Reading(values, mask, {name: value for name, value in facts.items() if value})
