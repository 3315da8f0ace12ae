"""A quick look at one recording: can it be opened, is it whole, how long is it, does its signal look like one?

In: an entry of the trial table's eeg, audio or video column. Out: a :class:`Probe`; nothing is raised. Headers are read
in full; of the signal, only the first, middle and last second of a sound, the first second and last second of EEG, the
first frame and the last packets of a video, and all of an EAV .mat up to :data:`WHOLE_MAT` bytes (larger ones are
checked trial by trial when they are read for training).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile

from eavdash.data.eeg_mat import EAV_RATE, mat_array, mat_shape
from eavdash.data.recording import split_trial, stamp, unreadable
from eavdash.data.video import END_TOLERANCE, is_still, open_video, video_info
from eavdash.errors import EavdashError, RecordingError, sentence

WHOLE_MAT = 64 * 2**20


@dataclass(frozen=True)
class Probe:
    """``duration`` in seconds (None: not known, or a still image); sentences about what is wrong (``error``: it cannot
    be used) or odd (``warning``). For an EAV .mat, ``trials`` names those whose samples are not finite.
    """

    duration: float | None = None
    error: str = ""
    warning: str = ""
    trials: frozenset[int] = frozenset()


def probe(entry: str, column: str) -> Probe:
    """Look at the file of one entry of ``column`` ("eeg", "audio" or "video"); of ``x.mat#41``, at all of x.mat."""
    file = split_trial(entry)[0]
    look = {"eeg": _eeg, "audio": _audio, "video": _video}[column]
    try:
        stamp(file)
        return look(entry)
    except EavdashError as error:
        return Probe(error=str(error))
    except Exception as error:  # decoders raise anything on damaged bytes, and one file must not end the check
        return Probe(error=str(unreadable(file, "a recording that can be read", error)))


def _audio(path: str) -> Probe:
    from eavdash.data.audio import audio_duration

    duration = audio_duration(path)
    silent = True
    with soundfile.SoundFile(path) as sound:
        rate, frames = sound.samplerate, sound.frames
        for first in (0, max(0, frames // 2 - rate // 2), max(0, frames - rate)):
            sound.seek(first)
            samples = sound.read(rate, dtype="float32", always_2d=True)
            if not np.isfinite(samples).all():
                raise RecordingError.at(
                    path,
                    expected="finite samples",
                    found=f"some that are not within a second of {first / rate:.1f} s",
                    remedy="record or export the file again, or leave the trial out",
                )
            silent = silent and not samples.any()
    warning = sentence(path, "a voice", "digital silence", "check the microphone's file") if silent else ""
    return Probe(duration, warning=warning)


def _video(path: str) -> Probe:
    with open_video(path) as (container, stream):
        if next(container.decode(stream), None) is None:
            raise RecordingError.at(path, expected="a picture", found="none", remedy="copy the file again")
        if is_still(container):
            return Probe()
        stated = float(stream.duration * stream.time_base) if stream.duration else 0.0
    # Most containers state their length and can be looked at from near the end; of others, and where that picture is
    # missing (seeking is inexact in some formats), all packets are read, as for training.
    if stated and _last_picture(path, stated - 2) >= stated - END_TOLERANCE:
        return Probe(stated)
    return Probe(video_info(path).duration)


def _last_picture(path: str, seek: float) -> float:
    """Seconds from the stream's start to the end of its last packet, read from ``seek`` on without decoding."""
    last = 0.0
    with open_video(path) as (container, stream):
        start = (stream.start_time or 0) * float(stream.time_base or 0)
        if seek > 0:
            container.seek(int((start + seek) * av.time_base))
        for packet in container.demux(stream):
            if packet.pts is not None and packet.time_base and packet.size:
                stop = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                last = max(last, stop - start)
    return last


def _eeg(entry: str) -> Probe:
    file, trial = split_trial(entry)
    if trial is None:
        return _eeg_file(file)
    samples = mat_shape(file, stamp(file))[1][0]
    broken: frozenset[int] = frozenset()
    error = ""
    if Path(file).stat().st_size <= WHOLE_MAT:
        array = mat_array(file, stamp(file))
        broken = frozenset((np.flatnonzero(~np.isfinite(array).all(axis=(0, 1))) + 1).tolist())
    if broken:
        first = ", ".join(map(str, sorted(broken)[:5])) + (", ..." if len(broken) > 5 else "")
        error = sentence(
            file,
            "finite samples",
            f"some that are not in {len(broken)} trials ({first})",
            "mend the recording or leave the trials out",
        )
    return Probe(samples / EAV_RATE, error=error, trials=broken)


def _eeg_file(file: str) -> Probe:
    from eavdash.data.eeg import eeg_info, read_eeg

    duration = eeg_info(file).duration
    for start in {0.0, max(0.0, duration - 1)}:
        signal = read_eeg(file, start, min(start + 1, duration))
        flat = [c for c, x in zip(signal.channels, signal.data, strict=True) if np.ptp(x) == 0]
        if len(flat) == len(signal.channels):
            return Probe(duration, warning=sentence(file, "a signal", "flat channels only", "check the recording"))
    return Probe(duration)
