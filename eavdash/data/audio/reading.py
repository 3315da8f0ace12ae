"""Sound of one trial, and its spectrogram as AST reads it.

In: a path of a sound file (EAV: 32-bit float WAV), of a video with a sound track, or of an item of EAV's published
pickles (``x.pkl#41``), with start and stop in seconds. Out: one mono waveform at the requested rate; its log-mel
energies. A recording is read in pieces, so it takes no more memory than the resulting waveform.

Delegated to files.py and track.py: decoding; to torchaudio: resampling and the Kaldi filter bank, with the
settings of the Audio Spectrogram Transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np

from eavdash.config.choices import MIX
from eavdash.config.limits import SOUND_VALUES
from eavdash.data.audio import files as soundfiles
from eavdash.data.audio import track as soundtrack
from eavdash.data.audio.channels import chosen_channel, heard
from eavdash.data.audio.samples import BLOCK, Sound
from eavdash.data.polyphase import Decimator
from eavdash.data.recording import check_item, refuse_beyond, sample_range, split_item, stamp
from eavdash.errors import RecordingError
from eavdash.store.readable import open_readable

FRAME_LENGTH = 25.0  # milliseconds of sound in a frame of the spectrogram
FRAME_SHIFT = 10.0  # milliseconds between frames
_LOWEST = 20.0  # Hz, the lower edge of the filter bank
#: Log-mel energy of digital silence: the filter bank takes log(max(energy, float32's epsilon)).
SILENCE = float(np.log(np.finfo(np.float32).eps))
_LARGEST_FILTER = 2**23  # taps of a resampling filter: rates without a common divisor would need gigabytes
_NEAREST = 2000  # denominator of the ratio used instead
_VIDEO = (b"\x1aE\xdf\xa3", b"\0\0\1\xba")
_FILTER_WIDTH, _ROLLOFF = 6, 0.99  # torchaudio's own: zero crossings, and the cut-off as a share of Nyquist's rate


def audio_duration(path: str) -> float:
    """Return the length of a recording in seconds; of a sound track, from the video's first frame to the end of the
    sound.

    Raises:
        RecordingError: it cannot be read, holds no sound, or is shorter than its header states.
    """
    sound = open_sound(path)
    return float(sound.length / sound.rate)


def read_audio(
    path: str, start: float | None = None, stop: float | None = None, rate: int = 16000, channel: str = MIX
) -> np.ndarray:
    """Read the sound from ``start`` to ``stop`` (seconds; None: the file's own): (time,) float32 in -1..1 at ``rate``.

    ``channel``: as the setting ``audio.channel``; by default channels are averaged. Times in a video count
    from its first frame; gaps in its track are silence.

    Raises:
        RecordingError: unreadable, truncated, without sound or that channel, outside the file, or with samples that
            are not finite.
    """
    sound = open_sound(path)
    first, last = sample_range(path, sound.length, sound.rate, start, stop)
    refuse_beyond(path, f"samples at {rate} Hz in a trial", (last - first) * rate // sound.rate, SOUND_VALUES)
    heard_one = chosen_channel(sound, channel, first, last)
    return _resample(_mono(sound, first, last, heard_one), sound.rate, rate)


def open_sound(path: str) -> Sound:
    """Open a recording to read its samples in pieces; only the header is read here.

    Raises:
        RecordingError: as :func:`audio_duration`.
    """
    stamp(path)
    file, number = split_item(path)
    if number is not None or file.lower().endswith(".pkl"):
        return _pickled(path, file, number)
    unknown_format = None
    if not _is_video(file):
        try:
            if (sound := soundfiles.open_file(file)) is not None:
                return sound
        except soundfiles.UnknownFormatError as error:
            unknown_format = error
    try:
        return soundtrack.open_track(file)
    except RecordingError as error:
        if unknown_format is not None and Path(file).suffix.lower() in soundfiles.SUFFIXES:
            raise unknown_format from error
        raise error


def logmel(wave: np.ndarray, rate: int, mels: int = 128, mean_subtraction: bool = False) -> np.ndarray:
    """Compute log-mel energies (frame, mel) float32 of a waveform (time,), a frame every 10 ms, not normalised.

    5 s at 16 kHz are 498 frames; less than 25 ms gives none. ``mean_subtraction`` subtracts the waveform's mean first,
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
    """The number of frames that :func:`logmel` returns for ``duration`` seconds."""
    samples, length = round(duration * rate), _samples(FRAME_LENGTH, rate)
    return 0 if samples < length else 1 + (samples - length) // _samples(FRAME_SHIFT, rate)


def shift_samples(rate: int) -> int:
    """The number of samples from one frame of :func:`logmel` to the next."""
    return _samples(FRAME_SHIFT, rate)


def mel_hertz(rate: int, mels: int) -> list[float]:
    """Return the centre of each mel band of :func:`logmel` in Hz, as Kaldi's filter bank places them from 20 Hz on."""
    low, high = (1127 * np.log1p(hertz / 700) for hertz in (_LOWEST, rate / 2))
    mel = np.linspace(low, high, mels + 2)[1:-1]
    return [float(value) for value in 700 * np.expm1(mel / 1127)]


def _samples(milliseconds: float, rate: int) -> int:
    return int(rate * milliseconds * 0.001)  # rounded as the filter bank rounds it


def _is_video(file: str) -> bool:
    """True if a file begins like a video, which libsndfile need not try."""
    try:
        with open_readable(file) as stream:
            head = stream.read(12)
    except OSError:
        return False  # soundfiles reports the reason
    return head[4:8] in (b"ftyp", b"moov", b"mdat") or head[:4] in _VIDEO or head[8:] == b"AVI "


def _pickled(path: str, file: str, number: int | None) -> Sound:
    """Open an item of one of EAV's published pickles."""
    if not file.lower().endswith(".pkl") or number is None:
        raise RecordingError.at(
            path,
            expected="a sound file, a video, or an item number as in x.pkl#41",
            found="no number" if number is None else f"item {number} of a file without sound",
            remedy="fix the path in the trial table",
        )
    from eavdash.data.formats import eav_pickle as eav_pickles

    def blocks(first: int, last: int) -> Iterator[np.ndarray]:
        yield eav_pickles.sound(file, number)[first:last, None]

    check_item(path, number, eav_pickles.windows_in(file, "aud"), "window")
    return Sound(path, eav_pickles.SOUND_RATE, eav_pickles.SHAPES["aud"][0], 1, blocks)


def _mono(sound: Sound, first: int, last: int, channel: int | None) -> Iterator[np.ndarray]:
    """One channel, or the mean of all, in pieces of about :data:`BLOCK` samples.

    Raises:
        RecordingError: some samples are not finite; raised after the last piece, when their number is known.
    """
    bad, first_bad, at, yielded = 0, 0, first, first
    held: list[np.ndarray] = []
    for block in sound.blocks(first, last):
        used = block if channel is None else block[:, [channel]]
        wrong = np.flatnonzero(~np.isfinite(used).all(axis=1))
        if len(wrong):
            first_bad = first_bad if bad else at + int(wrong[0])
            bad += len(wrong)
        at += len(block)
        held.append(heard(block, channel))
        if at - yielded >= BLOCK:
            yield np.concatenate(held)
            held, yielded = [], at
    if bad:
        raise RecordingError.at(
            sound.path,
            expected="finite samples",
            found=f"{bad} that are not, the first at {first_bad / sound.rate:.3f} s",
            remedy="record or export the file again, or leave the trial out",
        )
    yield np.concatenate(held) if held else np.zeros(0, np.float32)


def _resample(pieces: Iterator[np.ndarray], rate: int, target: int) -> np.ndarray:
    """Resample and join the pieces, with overlapping edges, so that the result equals resampling the whole."""
    if rate == target:
        return np.concatenate(list(pieces))
    ratio = Fraction(target, rate)
    if ratio.numerator * ratio.denominator > _LARGEST_FILTER:
        ratio = Fraction(target / rate).limit_denominator(_NEAREST)
    up, down = ratio.numerator, ratio.denominator
    width = ceil(_FILTER_WIDTH * down / (min(up, down) * _ROLLOFF))
    edge = down * ceil(width / down)  # samples on either side within the filter's reach, in whole steps

    convert = _converter(up, down, edge)
    done: list[np.ndarray] = []
    held, before = np.zeros(0, np.float32), 0
    for piece in pieces:
        held = np.concatenate([held, piece])
        ready = (len(held) - before - edge) // down * down
        if ready >= BLOCK:
            wave = convert(held[: before + ready + edge])
            done.append(wave[before // down * up :][: ready // down * up].copy())
            held, before = held[before + ready - edge :], edge
    done.append(convert(held)[before // down * up :])
    return np.concatenate(done)


@lru_cache(maxsize=8)
def _converter(up: int, down: int, edge: int) -> Callable[[np.ndarray], np.ndarray]:
    """torchaudio's resampling of (..., time) from ``down`` to ``up``; faster, with equal results, for whole factors."""
    from torch import from_numpy
    from torchaudio.functional import resample

    def convert(wave: np.ndarray) -> np.ndarray:
        return np.asarray(resample(from_numpy(wave), down, up).numpy(), np.float32)

    return Decimator.like(convert, down, edge, np.float32) if up == 1 else convert
