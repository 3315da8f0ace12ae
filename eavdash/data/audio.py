"""Sound of one trial, and the spectrogram that AST sees.

In: a path of any file that libsndfile reads (EAV: 32-bit float WAV), with start and stop in seconds. Out: one mono
waveform at the rate asked for; its log-mel energies.

Delegated to soundfile: file formats; to torchaudio: resampling and the Kaldi filter bank, with the settings of the
Audio Spectrogram Transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from eavdash.data.recording import stamp, stretch, unreadable
from eavdash.errors import RecordingError

FRAME_LENGTH = 25.0  # milliseconds of sound in a frame of the spectrogram
FRAME_SHIFT = 10.0  # milliseconds between frames
#: Log-mel energy of digital silence: the filter bank takes log(max(energy, float32's epsilon)).
SILENCE = float(np.log(np.finfo(np.float32).eps))
_UNKNOWN_LENGTH = (0, 0xFFFFFFFF)  # of a WAV written into a pipe


def audio_duration(path: str) -> float:
    """Length of a recording in seconds, from its header.

    Raises:
        RecordingError: it cannot be read, or is shorter than its header promises.
    """
    with _open(path) as sound:
        return float(sound.frames / sound.samplerate)


def read_audio(path: str, start: float | None = None, stop: float | None = None, rate: int = 16000) -> np.ndarray:
    """The sound between ``start`` and ``stop`` (seconds; None: the file's own): (time,) float32 in -1..1 at ``rate``.

    Channels are averaged.

    Raises:
        RecordingError: unreadable, truncated, outside the file, or with samples that are not finite.
    """
    with _open(path) as sound:
        own_rate = sound.samplerate
        first, last = stretch(path, sound.frames, own_rate, start, stop)
        try:
            sound.seek(first)
            samples = sound.read(last - first, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise unreadable(path, "samples that can be read", error) from error
    if len(samples) < last - first:
        raise _cut_short(path, f"{last} samples", f"{first + len(samples)}")
    bad = np.flatnonzero(~np.isfinite(samples).all(axis=1))
    if len(bad):
        raise RecordingError.at(
            path,
            expected="finite samples",
            found=f"{len(bad)} that are not, the first at {(first + bad[0]) / own_rate:.3f} s",
            remedy="record or export the file again, or leave the trial out",
        )
    return _resample(samples.mean(axis=1), own_rate, rate)


def logmel(wave: np.ndarray, rate: int, mels: int = 128, mean_subtraction: bool = False) -> np.ndarray:
    """Log-mel energies (frame, mel) float32 of a waveform (time,), a frame every 10 ms, not normalised.

    5 s at 16 kHz are 498 frames; less than 25 ms is none. ``mean_subtraction`` takes the waveform's mean away first,
    as AST's own code does and its Hugging Face extractor does not.
    """
    import torch
    from torchaudio.compliance import kaldi

    if len(wave) < _samples(FRAME_LENGTH, rate):
        return np.zeros((0, mels), dtype=np.float32)
    samples = torch.tensor(wave, dtype=torch.float32)
    if mean_subtraction:
        samples = samples - samples.mean()
    energies = kaldi.fbank(
        samples[None],
        sample_frequency=rate,
        htk_compat=True,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=mels,
        dither=0.0,
        frame_length=FRAME_LENGTH,
        frame_shift=FRAME_SHIFT,
    )
    return np.asarray(energies.numpy(), dtype=np.float32)


def frames_of(duration: float, rate: int) -> int:
    """How many frames :func:`logmel` makes of ``duration`` seconds."""
    samples, length = round(duration * rate), _samples(FRAME_LENGTH, rate)
    return 0 if samples < length else 1 + (samples - length) // _samples(FRAME_SHIFT, rate)


def _samples(milliseconds: float, rate: int) -> int:
    return int(rate * milliseconds * 0.001)  # rounded as the filter bank rounds it


def _resample(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    if rate == target:
        return wave
    import torch
    from torchaudio.functional import resample

    return np.asarray(resample(torch.from_numpy(wave), rate, target).numpy(), dtype=np.float32)


def _open(path: str) -> soundfile.SoundFile:
    stamp(path)
    try:
        _check_complete(path)
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise unreadable(path, "a sound file", error) from error


def _check_complete(path: str) -> None:
    """Refuse a WAV that ends before its data chunk does: libsndfile would read what is left without a word."""
    with Path(path).open("rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return
        size = Path(path).stat().st_size
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                rest = size - file.tell()
                if length not in _UNKNOWN_LENGTH and length > rest:
                    raise _cut_short(path, f"{length} bytes of samples", f"{rest}")
                return
            _skip(file, length)
        raise _cut_short(path, "a data chunk", "none")


def _skip(file: BinaryIO, length: int) -> None:
    file.seek(length + length % 2, 1)  # chunks are padded to even lengths


def _cut_short(path: str, expected: str, found: str) -> Exception:
    return RecordingError.at(
        path, expected=expected, found=f"{found} (the file was cut short)", remedy="copy it again, or leave it out"
    )
