"""Front ends: what each encoder of sound hears, from the waveform of a window.

In: a waveform (time,) float32 in -1..1. Out: an array (step, band) float32. Which front end a study has follows from
its encoder (``FRONT_ENDS`` in config/choices.py):

* ``logmel``: log-mel energies of AST's filter bank, a frame every 10 ms (reading.py);
* ``voice``: the logarithm of the power in 40 mel bands, frames of 25 ms every 10 ms, of a trial that is made louder to
  -30 dBFS where it is quieter. The speaker encoder of the package Resemblyzer was trained with that power itself,
  which the encoder makes of it again (models/voice.py); pauses are not cut out, so that times stay those of the
  recording;
* ``wave``: the samples themselves, at 16 kHz, which networks such as wav2vec 2.0 read (models/wave.py).

Delegated to torchaudio: the filter banks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np

from eavdash.config.choices import FRONT_ENDS, LOGMEL
from eavdash.config.schema import AudioConfig
from eavdash.data.audio import reading as audio
from eavdash.data.audio.samples import BLOCK

VOICE_RATE, VOICE_BANDS = 16_000, 40
_VOICE_FRAME, _VOICE_SHIFT = 400, 160  # samples
_VOICE_FLOOR = 1e-10  # power of digital silence
_VOICE_LEVEL = 10 ** (-30 / 20)  # root mean square of a waveform at -30 dBFS


class FrontEnd(ABC):
    """A front end at ``rate`` Hz with ``bands`` values per step; ``fill`` stands where nothing was recorded."""

    rate: int
    bands: int
    fill: float = 0.0

    @property
    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """The description of the axes; the arrays depend on nothing else."""

    @abstractmethod
    def steps(self, seconds: float) -> int:
        """The number of steps of a window of ``seconds``; 0 if it is too short for one."""

    def of_trial(self, wave: np.ndarray) -> np.ndarray:
        """Return the waveform (time,) of a whole trial as its windows are cut from it."""
        return wave

    @abstractmethod
    def values(self, wave: np.ndarray) -> np.ndarray:
        """Return the steps (step, band) float32 of one window's waveform (time,)."""


class LogMel(FrontEnd):
    """AST's log-mel energies."""

    fill = audio.SILENCE

    def __init__(self, rate: int, mels: int) -> None:
        self.rate, self.bands = rate, mels

    @property
    def meta(self) -> dict[str, Any]:
        return {"rate": self.rate, "mels": self.bands}  # window sets of earlier versions have these keys alone

    def steps(self, seconds: float) -> int:
        return audio.frames_of(seconds, self.rate)

    def values(self, wave: np.ndarray) -> np.ndarray:
        return audio.logmel(wave, self.rate, self.bands)


class VoiceMel(FrontEnd):
    """Logarithms of the power that the speaker encoder hears; frames are centred on multiples of 10 ms."""

    rate, bands = VOICE_RATE, VOICE_BANDS
    fill = float(np.log(_VOICE_FLOOR))

    @property
    def meta(self) -> dict[str, Any]:
        return {"rate": self.rate, "mels": self.bands, "front_end": "voice"}

    def steps(self, seconds: float) -> int:
        return _voice_frames(round(seconds * self.rate))

    def of_trial(self, wave: np.ndarray) -> np.ndarray:
        blocks = (wave[n : n + BLOCK] for n in range(0, len(wave), BLOCK))
        power = sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks) / max(1, len(wave))
        level = power**0.5
        return wave * np.float32(_VOICE_LEVEL / level) if 0 < level < _VOICE_LEVEL else wave

    def values(self, wave: np.ndarray) -> np.ndarray:
        import torch

        if not _voice_frames(len(wave)):
            return np.zeros((0, self.bands), dtype=np.float32)
        power = _mel_power()(torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32)))
        return np.ascontiguousarray(power.clamp_min(_VOICE_FLOOR).log().T.numpy(), dtype=np.float32)


class Wave(FrontEnd):
    """The samples as one band, for networks that read sound itself."""

    rate, bands = VOICE_RATE, 1

    @property
    def meta(self) -> dict[str, Any]:
        return {"rate": self.rate, "mels": self.bands, "front_end": "wave"}

    def steps(self, seconds: float) -> int:
        samples = round(seconds * self.rate)
        return samples if samples >= _VOICE_FRAME else 0

    def values(self, wave: np.ndarray) -> np.ndarray:
        return wave[: self.steps(len(wave) / self.rate), None].astype(np.float32)


def front_end(config: AudioConfig) -> FrontEnd:
    """Return the front end of the configured encoder."""
    kind = FRONT_ENDS.get(config.encoder, LOGMEL)
    if kind == LOGMEL:
        return LogMel(config.rate, config.mels)
    return VoiceMel() if kind == "voice" else Wave()


def step_seconds(kind: str, rate: int) -> float:
    """Return the seconds from one step of a front end at ``rate`` Hz to the next; ``kind`` as in FRONT_ENDS."""
    if kind == LOGMEL:
        return audio.shift_samples(rate) / rate
    return (_VOICE_SHIFT if kind == "voice" else 1) / rate


def voice_hertz() -> list[float]:
    """Return the centre of each of :class:`VoiceMel`'s bands in Hz: evenly spaced on Slaney's scale of mel."""
    linear, step = 200 / 3, np.log(6.4) / 27  # Hz per mel up to 1 kHz, logarithm per mel above
    highest = 15 + np.log(VOICE_RATE / 2 / 1000) / step
    mel = np.linspace(0, highest, VOICE_BANDS + 2)[1:-1]
    hertz = np.where(mel < 15, mel * linear, 1000 * np.exp((mel - 15) * step))
    return [float(value) for value in hertz]


def _voice_frames(samples: int) -> int:
    return 1 + samples // _VOICE_SHIFT if samples >= _VOICE_FRAME else 0


@lru_cache(maxsize=1)
def _mel_power() -> Any:
    """Return librosa's ``melspectrogram`` with these sizes, as a function of a waveform."""
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(
        sample_rate=VOICE_RATE,
        n_fft=_VOICE_FRAME,
        hop_length=_VOICE_SHIFT,
        n_mels=VOICE_BANDS,
        power=2.0,
        center=True,
        pad_mode="constant",
        norm="slaney",
        mel_scale="slaney",
    )
