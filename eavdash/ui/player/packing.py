"""Packing of a trial and of maps for the player's JavaScript into one block of bytes, small enough for every rerun.

In: a :class:`~eavdash.data.preview.TrialPreview` and overlays. Out: ``EAVP``, the header's length (uint32), the header
(JSON), and arrays, each aligned to 4 bytes; the header's ``arrays`` has their type, offset and shape, little-endian.
20 s of 30 channels take about 0.7 MB and maps over them 0.1 MB: EEG as int16, colours as int8 or uint8, with scales.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eavdash.report import theme
from eavdash.report.figures.window_maps import cell_means

if TYPE_CHECKING:
    from eavdash.data.preview import AudioPreview, EegPreview, TrialPreview

LANES = ("video", "waveform", "spectrogram", "eeg", "scalp")
#: Axes of an overlay's values by lane, and the maximum number of cells and time steps that are sent.
_SHAPES = {"video": "(time, height, width)", "spectrogram": "(time, mel)", "eeg": "(channel, time)"}
_SHAPES |= {"waveform": "(time,)", "scalp": "(time, channel)"}
_CELLS = 32  # a video overlay's rows and columns, a spectrogram's mel bands
_MAX_STEPS = 600
_HERTZ = {250: "250 Hz", 1000: "1 kHz", 4000: "4 kHz"}  # labels of a spectrogram's axis
MAGIC = b"EAVP"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Overlay:
    """Values drawn translucently over a lane: red above zero, blue below.

    ``values`` by lane: video (time, height, width), over the largest centred square of the frame unless ``boxes``
    (time, 4) has left, top, width and height as fractions of the frame; waveform (time,); spectrogram (time, mel);
    eeg (channel, time) and scalp (time, channel), channels as in the preview. ``times`` are seconds from the start of
    the preview: the centre of each step (time,), or its start and stop (time, 2), between which alone it is drawn.
    ``limit``: the magnitude with the full colour; 0: near the largest one. ``unit``: of the values, at colour bars.
    Overlays with one ``label`` are switched on and off together. Of several over the scalp one is shown, by ``name``.
    """

    lane: str
    values: np.ndarray
    times: np.ndarray
    label: str
    opacity: float = 0.6
    boxes: np.ndarray | None = None
    limit: float = 0.0
    unit: str = ""
    name: str = ""


def describe(preview: TrialPreview, overlays: Sequence[Overlay] = ()) -> tuple[dict[str, Any], Arrays]:
    """Return the header, without media, and its arrays.

    ``header["id"]`` changes with the recording, ``header["maps"]`` with the overlays.

    Raises:
        ValueError: an overlay does not match its lane.
    """
    arrays: Arrays = {}
    header: dict[str, Any] = {
        "title": f"subject {preview.subject}, trial {preview.trial}",
        "begin": preview.begin,
        "duration": preview.duration,
        "colours": theme.COLOURS,
        "audio": _audio(preview.audio, arrays) if preview.audio else None,
        "eeg": _eeg(preview.eeg, arrays) if preview.eeg else None,
    }
    header["id"] = _digest(header, arrays)
    drawn, maps = describe_overlays(preview, overlays)
    return header | drawn, arrays | maps


def describe_overlays(preview: TrialPreview, overlays: Sequence[Overlay]) -> tuple[dict[str, Any], Arrays]:
    """Return the part of the header and the arrays that belong to the overlays alone.

    Raises:
        ValueError: an overlay does not match its lane.
    """
    arrays: Arrays = {}
    drawn = [_overlay(n, overlay, preview, arrays) for n, overlay in enumerate(overlays)]
    return {"overlays": drawn, "maps": _digest(drawn, arrays)}, arrays


def _digest(header: object, arrays: Arrays) -> str:
    content = hashlib.sha256(json.dumps(header).encode())
    for name, array in arrays.items():
        content.update(f"{name}{array.shape}".encode())
        content.update(array.tobytes())
    return content.hexdigest()[:16]


def pack(header: dict[str, Any], arrays: Arrays) -> bytes:
    """Return header and arrays as one block."""
    blocks, entries, at = [], {}, 0
    for name, array in arrays.items():
        block = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        entries[name] = {"type": array.dtype.name, "at": at, "shape": list(array.shape)}
        blocks.append(block + b"\0" * (-len(block) % 4))
        at += len(blocks[-1])
    text = json.dumps({**header, "arrays": entries}).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, *blocks])


def _audio(audio: AudioPreview, arrays: Arrays) -> dict[str, Any]:
    peak = float(max(np.abs(audio.low).max(initial=0), np.abs(audio.high).max(initial=0))) or 1.0
    arrays["low"] = np.round(audio.low / peak * 32767).astype(np.int16)
    arrays["high"] = np.round(audio.high / peak * 32767).astype(np.int16)
    if len(audio.logmel):
        low, high = np.percentile(audio.logmel, (1, 99.8))
        arrays["logmel"] = _bytes(audio.logmel, low, high)
    return {"duration": audio.duration, "peak": peak, "hertz": _ticks(audio.hertz)}


def _ticks(hertz: Sequence[float]) -> list[tuple[float, str]]:
    """Return the height of each labelled frequency in a spectrogram of these bands, in parts from the bottom."""
    if not hertz:
        return []
    places = (np.arange(len(hertz)) + 0.5) / len(hertz)
    return [
        (round(float(np.interp(f, hertz, places)), 4), name) for f, name in _HERTZ.items() if hertz[0] <= f <= hertz[-1]
    ]


def _eeg(eeg: EegPreview, arrays: Arrays) -> dict[str, Any]:
    signal = np.nan_to_num(eeg.microvolt)
    scale = np.abs(signal).max(axis=1, initial=0) / 32767
    scale[scale == 0] = 1.0
    arrays["eeg"] = np.round(signal / scale[:, None]).astype(np.int16)
    ranges = [(float(b.min()), float(b.max())) for b in eeg.power.decibel]
    arrays["power"] = np.stack([_bytes(b, *r) for b, r in zip(eeg.power.decibel, ranges, strict=True)])
    header: dict[str, Any] = {
        "duration": eeg.duration,
        "rate": eeg.rate,
        "channels": list(eeg.channels),
        "scale": scale.tolist(),
        "spread": float(np.percentile(np.abs(signal), 99)) or 1.0,
        "bands": list(eeg.power.bands),
        "ranges": ranges,
        "note": eeg.note,
        "scalp": None,
    }
    if eeg.scalp is not None and eeg.power.bands:
        largest = float(np.abs(eeg.scalp.weights).max())
        arrays["weights"] = np.round(eeg.scalp.weights / largest * 32767).astype(np.int16)
        arrays["cells"] = eeg.scalp.cells.astype(np.uint16)
        header["scalp"] = {
            "electrodes": list(eeg.scalp.electrodes),
            "positions": eeg.scalp.positions.round(4).tolist(),
            "extent": eeg.scalp.extent,
            "weight": largest / 32767,
        }
    return header


def _overlay(n: int, overlay: Overlay, preview: TrialPreview, arrays: Arrays) -> dict[str, Any]:
    values, times = np.asarray(overlay.values, float), np.asarray(overlay.times, float)
    if overlay.lane not in LANES:
        raise ValueError(f"overlay {overlay.label!r}: expected a lane among {', '.join(LANES)}, found {overlay.lane!r}")
    if overlay.lane == "eeg":
        values = np.moveaxis(values, -1, 0)  # time first, as everywhere else
    channels = len(preview.eeg.channels) if preview.eeg else 0
    dimensions = _SHAPES[overlay.lane].count(",") + (overlay.lane != "waveform")
    matches = values.ndim == dimensions and len(times) == len(values) > 0
    if not matches or (overlay.lane in ("eeg", "scalp") and values.shape[1] != channels):
        raise ValueError(
            f"overlay {overlay.label!r}: expected values {_SHAPES[overlay.lane]} and a time for each step "
            f"(channels: {channels}), found {np.shape(overlay.values)} and {len(times)} times"
        )
    spans = _spans(times, preview.duration)
    keep = np.unique(np.linspace(0, len(times) - 1, min(len(times), _MAX_STEPS)).round().astype(int))
    values, spans = np.nan_to_num(values[keep]), spans[keep]
    if overlay.lane in ("video", "spectrogram"):
        values = cell_means(values, _CELLS if overlay.lane == "video" else len(values), _CELLS)
    limit = overlay.limit or float(np.percentile(np.abs(values), 99.5)) or float(np.abs(values).max()) or 1.0
    arrays[f"overlay{n}"] = np.clip(np.round(values / limit * 127), -127, 127).astype(np.int8)
    arrays[f"overlay{n}spans"] = spans.astype(np.float32)
    if overlay.boxes is not None:
        arrays[f"overlay{n}boxes"] = np.asarray(overlay.boxes, np.float32)[keep]
    names = {name: getattr(overlay, name) for name in ("lane", "label", "opacity", "unit", "name")}
    return {**names, "limit": limit, "signed": bool((values < 0).any())}


def _spans(times: np.ndarray, duration: float) -> np.ndarray:
    """Return start and stop (time, 2) of each step; of centres, they are halfway to the next ones."""
    if times.ndim == 2:
        return times
    if len(times) == 1:
        return np.array([[0.0, duration]])
    middles = (times[1:] + times[:-1]) / 2
    starts = np.concatenate([[2 * times[0] - middles[0]], middles])
    return np.stack([starts, np.concatenate([middles, [2 * times[-1] - middles[-1]]])], axis=1)


def _bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale ``values`` to 0 (``low``) to 255 (``high``)."""
    span = (high - low) or 1.0
    return np.asarray(np.clip(np.round((values - low) / span * 255), 0, 255), dtype=np.uint8)
