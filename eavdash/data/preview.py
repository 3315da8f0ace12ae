"""The preview of one trial for the player, small enough for a browser even for long recordings.

In: a row of the trial table and the study's configuration. Out: a :class:`TrialPreview` of NumPy arrays. A missing
modality is None; an unreadable one leaves its error's sentence in ``errors`` and does not hide the others. A trial
longer than :data:`LIMIT` is shown in parts. Delegated to the readers of this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from eavdash.config.choices import COLUMN, MIX
from eavdash.config.schema import StudyConfig
from eavdash.data.audio import reading as audio
from eavdash.data.cache.window_set_spec import trial_duration
from eavdash.data.eeg import reading as eeg
from eavdash.data.eeg.bandpower import BandPower, band_power
from eavdash.data.eeg.scalp import MIN_ELECTRODES, ScalpMap, front_to_back, scalp_map
from eavdash.data.eeg.signal import EegRules
from eavdash.data.formats.feature_columns import is_feature_table
from eavdash.data.formats.feature_table import read_feature_table
from eavdash.data.segments import segment
from eavdash.data.video import reading as video
from eavdash.errors import EavdashError

LIMIT = 60.0  # seconds shown at a time
WAVE_BINS = 2400
SPECTROGRAM_BINS = 800
EEG_RATE = 250.0  # Hz
MICROVOLT = 1e6  # per volt
Preview = TypeVar("Preview", "VideoPreview", "AudioPreview", "EegPreview", "TablePreview")


@dataclass(frozen=True)
class Segment:
    """The segment of a recording to show: ``start`` to ``stop`` seconds in its file, None for the file's end."""

    path: str
    start: float
    stop: float | None
    config: StudyConfig


@dataclass(frozen=True)
class VideoPreview:
    """The file to play from ``start`` (seconds in the file) for ``duration`` seconds (infinite for a still image)."""

    path: str
    start: float
    duration: float
    info: video.VideoInfo


@dataclass(frozen=True)
class AudioPreview:
    """Sound from ``start`` (seconds in the file) for ``duration`` seconds, as an envelope and as a spectrogram.

    Each has equal bins over the whole duration.
    """

    path: str
    start: float
    duration: float
    low: np.ndarray  # (bin,) float32, least sample of the bin, -1..1
    high: np.ndarray  # (bin,)
    logmel: np.ndarray  # (time, mel) float32, not scaled; times are those of the frames' middles
    channel: str = MIX  # as audio.channel
    hertz: tuple[float, ...] = ()  # the centre of each mel band


@dataclass(frozen=True)
class EegPreview:
    """Filtered EEG of ``duration`` seconds in microvolt, channels from front to back.

    ``scalp`` is None if too few channels have a standard position; ``note`` names those without one, and interpolated
    channels.
    """

    duration: float
    channels: tuple[str, ...]
    rate: float
    microvolt: np.ndarray  # (channel, time) float32
    power: BandPower
    scalp: ScalpMap | None
    note: str


@dataclass(frozen=True, eq=False)
class TablePreview:
    """Rows of a table of features from ``times`` (row,), seconds from the preview's start.

    ``values`` (row, column) float32, NaN where not recorded; ``note``: which of several faces is read, or "".
    """

    duration: float
    columns: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray
    note: str = ""


@dataclass(frozen=True)
class TrialPreview:
    """``duration`` seconds of a trial from second ``begin`` on, of ``length`` in all (0: no recording has a length).

    ``tables`` has the modalities whose recordings are tables of features; ``errors`` a sentence for each unreadable
    modality, ``notes`` a remark for each modality that needs one.
    """

    subject: str
    trial: str
    label: str
    begin: float = 0.0
    duration: float = 0.0
    length: float = 0.0
    vision: VideoPreview | None = None
    audio: AudioPreview | None = None
    eeg: EegPreview | None = None
    tables: dict[str, TablePreview] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """The number of parts in which the trial is shown."""
        return max(1, math.ceil(self.length / LIMIT - 1e-6))


def trial_preview(row: Mapping[Any, Any], config: StudyConfig, part: int = 0) -> TrialPreview:
    """Make the preview of one row of a trial table (a mapping or a pandas Series); a bad recording never raises.

    ``part``: number of the segment of :data:`LIMIT` seconds, from 0. If there is a video but no sound file, the video's
    sound track is shown.
    """
    errors: dict[str, str] = {}
    notes: dict[str, str] = {}
    lengths = [0.0]

    def attempt(modality: str, make: Callable[[Segment], Preview], path: str, column: str = "") -> Preview | None:
        if not path:
            return None
        try:
            first, stop = segment(row, column or COLUMN[modality])
            start = first or 0.0
            length = trial_duration(path, modality, start, stop, config)
            if math.isfinite(length):
                lengths.append(length)
                if length <= part * LIMIT:
                    notes[modality] = f"ends after {length:.1f} s"
                    return None
            begin = start + part * LIMIT if math.isfinite(length) else start
            rest = length - part * LIMIT
            return make(Segment(path, begin, begin + LIMIT if LIMIT < rest < math.inf else stop, config))
        except EavdashError as error:
            errors[modality] = str(error)
            return None

    paths = {modality: str(row[column] or "") for modality, column in COLUMN.items()}
    tables = {}
    for modality in [m for m, path in paths.items() if m != "eeg" and is_feature_table(path)]:
        table = attempt(modality, partial(_table, modality), paths[modality])
        paths[modality] = ""
        if table is not None:
            tables[modality] = table
    vision = attempt("vision", _vision, paths["vision"])
    sound = attempt("audio", _audio, paths["audio"])
    if not row[COLUMN["audio"]] and vision is not None and not vision.info.still:
        sound = attempt("audio", _audio, paths["vision"], COLUMN["vision"])
        if errors.pop("audio", None) is None and sound is not None:
            notes["audio"] = "the video's own sound track"
    eeg_part = attempt("eeg", _eeg, paths["eeg"])
    shown = (vision, sound, eeg_part, *tables.values())
    durations = [p.duration for p in shown if p is not None and math.isfinite(p.duration)]
    return TrialPreview(
        subject=str(row["subject"]),
        trial=str(row["trial"]),
        label=str(row["label"]),
        begin=part * LIMIT,
        duration=max(durations, default=0.0),
        length=max(lengths),
        vision=vision,
        audio=sound,
        eeg=eeg_part,
        tables=tables,
        errors=errors,
        notes=notes,
    )


def envelope(wave: np.ndarray, bins: int = WAVE_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum of each of at most ``bins`` equal segments of a waveform (time,)."""
    edges = np.linspace(0, len(wave), min(bins, len(wave)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(wave, edges), np.maximum.reduceat(wave, edges)


def _vision(segment: Segment) -> VideoPreview:
    info = video.video_info(segment.path)
    # The header of a damaged file may be intact: decode one picture to detect that.
    video.read_frames(segment.path, [segment.start], 16)
    end = segment.stop if segment.stop is not None else math.inf if info.still else info.duration
    return VideoPreview(segment.path, segment.start, math.inf if info.still else end - segment.start, info)


def _audio(segment: Segment) -> AudioPreview:
    rate = segment.config.audio.rate
    wave = audio.read_audio(segment.path, segment.start, segment.stop, rate, segment.config.audio.channel)
    low, high = envelope(wave)
    energies = audio.logmel(wave, rate, segment.config.audio.mels)
    duration = len(wave) / rate
    if len(energies):
        bins = min(SPECTROGRAM_BINS, len(energies))
        times = (audio.FRAME_LENGTH / 2 + audio.FRAME_SHIFT * np.arange(len(energies))) / 1000
        firsts = np.minimum(np.searchsorted(times, np.arange(bins) * (duration / bins)), len(energies) - 1)
        # For a bin without a frame, reduceat returns the one at its border.
        counts = np.maximum(1, np.diff(firsts, append=len(energies)))[:, None]
        energies = (np.add.reduceat(energies, firsts, axis=0, dtype=np.float64) / counts).astype(np.float32)
    hertz = tuple(audio.mel_hertz(rate, segment.config.audio.mels))
    return AudioPreview(segment.path, segment.start, duration, low, high, energies, segment.config.audio.channel, hertz)


def _table(modality: str, segment: Segment) -> TablePreview:
    part: Any = segment.config.modality(modality)
    table = read_feature_table(segment.path, part.table)
    stop = table.duration if segment.stop is None else segment.stop
    inside = (table.times >= segment.start) & (table.times < stop)
    values = np.where(table.recorded[inside, None], table.values[inside], np.nan)
    return TablePreview(stop - segment.start, table.columns, table.times[inside] - segment.start, values, table.note)


def _eeg(segment: Segment) -> EegPreview:
    # The published chain filters across trials: it needs a subject's whole file and distorts a single trial.
    rate = min(EEG_RATE, eeg.eeg_info(segment.path, EegRules.of(segment.config.eeg)).rate)
    settings = replace(segment.config.eeg, chain="trial", rate=rate)
    ready = eeg.read_prepared(segment.path, segment.start, segment.stop, settings)
    names = ready.signal.channels
    signal = ready.signal.pick([names[n] for n in front_to_back(names, ready.signal.system)])
    microvolt = (signal.data * MICROVOLT).astype(np.float32)
    scalp = scalp_map(signal.channels, signal.system)
    without = [name for n, name in enumerate(signal.channels) if scalp is None or n not in scalp.electrodes]
    notes = []
    if scalp is None:
        there = len(signal.channels) - len(without)
        notes = [
            f"No scalp map: {there} of {len(signal.channels)} channels have a standard position; "
            f"at least {MIN_ELECTRODES} are needed."
        ]
    elif without:
        notes = [f"Not on the map, as they have no standard position: {', '.join(without)}."]
    if ready.interpolated:
        notes.append(f"Interpolated: {', '.join(ready.interpolated)}.")
    return EegPreview(
        microvolt.shape[1] / rate,
        signal.channels,
        rate,
        microvolt,
        band_power(microvolt, rate, settings.high),
        scalp,
        " ".join(notes),
    )
