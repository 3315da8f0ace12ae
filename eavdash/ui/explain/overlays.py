"""The maps of an explanation as overlays of the player: each value at its time, band, channel and place in the frame.

In: an ``eavdash.explain.explanation.Explanation`` and the preview of its trial. Out: overlays in the unit and on the
scale of the page's other maps, and sentences about what cannot be drawn. A step of a map is drawn from its start to its
stop, so that nothing lies over what no window covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eavdash.data.audio.front_ends import voice_hertz
from eavdash.report import theme
from eavdash.report.figures.window_maps import AUDIO_CELLS, EEG_STEPS, FRAME_CELLS, cell_means, window_map
from eavdash.text import plural
from eavdash.ui.player.packing import Overlay

if TYPE_CHECKING:
    from eavdash.data.preview import TrialPreview
    from eavdash.explain.explanation import Explanation

STEPS = 600  # of all windows in the preview together
NO_PLACES = (
    "These maps were computed by an earlier version, which did not keep where the face was in the video: compute them "
    "again to see them over it."
)


class _Steps(NamedTuple):
    """A map's cells over the windows in the preview: ``values`` (step, ...) and ``spans`` (step, 2) seconds in it."""

    values: np.ndarray
    spans: np.ndarray


def overlays(
    explanation: Explanation, preview: TrialPreview, limits: Mapping[str, float], unit: str, cropped: bool = True
) -> tuple[tuple[Overlay, ...], list[str]]:
    """Return the overlays, and sentences about maps that cannot be drawn over this recording.

    ``limits``: by modality, the value with the full colour. ``unit``: of the values, at colour bars. ``cropped``: the
    encoder saw a face that was followed, not the centre of each frame.
    """
    made: list[Overlay] = []
    notes: list[str] = []
    for modality in explanation.attributions:
        if modality in explanation.columns:
            continue
        style: dict[str, Any] = {"label": theme.label(modality), "limit": limits.get(modality, 0.0), "unit": unit}
        if modality == "vision" and preview.vision is not None:
            if explanation.crops is None and cropped:
                notes.append(NO_PLACES)
            elif (steps := _steps(explanation, preview, "vision", FRAME_CELLS[0])) is not None:
                boxes = None if explanation.crops is None else _boxes(explanation, preview)
                made.append(Overlay("video", steps.values, steps.spans, boxes=boxes, **style))
        elif modality == "audio" and preview.audio is not None:
            if (steps := _steps(explanation, preview, "audio", AUDIO_CELLS[0])) is None:
                continue
            if explanation.front_end == "wave":
                made.append(Overlay("waveform", steps.values[:, 0], steps.spans, **style))
            elif len(preview.audio.logmel):
                values = _on_bands(steps.values, explanation, preview.audio.hertz)
                made.append(Overlay("spectrogram", values, steps.spans, **style))
        elif modality == "eeg" and preview.eeg is not None:
            if (steps := _steps(explanation, preview, "eeg", EEG_STEPS)) is None:
                continue
            values = _on_channels(steps.values, explanation.channels, preview.eeg.channels)
            made.append(Overlay("eeg", values.T, steps.spans, **style))
            if preview.eeg.scalp is not None:
                means = _window_means(explanation, preview)
                whole = _on_channels(means.values, explanation.channels, preview.eeg.channels)
                made.append(Overlay("scalp", values, steps.spans, name="at the playhead", **style))
                made.append(Overlay("scalp", whole, means.spans, name="mean of the window", **style))
            if hidden := [name for name in explanation.channels if name not in preview.eeg.channels]:
                notes.append(f"Not among the traces, but in the map: {', '.join(hidden)}.")
            if without := len(set(preview.eeg.channels) - set(explanation.channels)):
                notes.append(
                    f"{plural(without, 'channel')} of the recording were not used by the model: without a map."
                )
    return tuple(made), notes


def _shown(explanation: Explanation, preview: TrialPreview, modality: str) -> list[int]:
    """Return the numbers of the windows that have a map in the preview's stretch of the trial."""
    stop = preview.begin + preview.duration
    return [
        n
        for n, window in enumerate(explanation.windows)
        if modality in window.modalities
        and not explanation.nothing_to_explain[n]
        and window.start < stop
        and window.stop > preview.begin
    ]


def _steps(explanation: Explanation, preview: TrialPreview, modality: str, most: int) -> _Steps | None:
    """Return the cells of all windows, at most ``most`` steps of each (pictures: all); None if there is none."""
    chosen = _shown(explanation, preview, modality)
    count = max(1, min(most, STEPS // max(1, len(chosen))))
    values, spans = [], []
    for n in chosen:
        shown = window_map(explanation, modality, n)
        if not len(shown.times):
            continue
        if modality == "vision":
            values.append(cell_means(shown.heat, *FRAME_CELLS))
            spans.append(_spans(shown.times, len(shown.times), explanation, n, centred=True))
        else:
            values.append(cell_means(shown.heat, count, 10**6))
            spans.append(_spans(shown.times, len(values[-1]), explanation, n, centred=_evenly(explanation, modality)))
    if not values:
        return None
    return _Steps(np.concatenate(values), np.concatenate(spans) - preview.begin)


def _window_means(explanation: Explanation, preview: TrialPreview) -> _Steps:
    """Return the mean (window, channel) of each window of the EEG."""
    maps = {n: window_map(explanation, "eeg", n).heat for n in _shown(explanation, preview, "eeg")}
    maps = {n: heat for n, heat in maps.items() if len(heat)}
    spans = np.array([(explanation.windows[n].start, explanation.windows[n].stop) for n in maps])
    return _Steps(np.stack([heat.mean(axis=0) for heat in maps.values()]), spans - preview.begin)


def _evenly(explanation: Explanation, modality: str) -> bool:
    """Return True if times are made up by :func:`window_map`, which gives the middles."""
    return modality not in explanation.times


def _spans(times: np.ndarray, count: int, explanation: Explanation, window: int, centred: bool) -> np.ndarray:
    """Return start and stop (count, 2) in the trial of equal cells of steps at ``times``, within the window."""
    limits = explanation.windows[window]
    step = float(np.median(np.diff(times))) if len(times) > 1 else limits.stop - limits.start
    starts = times - step / 2 if centred else times
    edges = np.linspace(0, len(times), count + 1).astype(int)
    begin, end = starts[edges[:-1]], starts[edges[1:] - 1] + step
    return np.asarray(np.clip(np.stack([begin, end], axis=1), limits.start, limits.stop))


def _boxes(explanation: Explanation, preview: TrialPreview) -> np.ndarray:
    """Return the box (step, 4) of each picture with a map, in the order of :func:`_steps`."""
    assert explanation.crops is not None
    recorded = [
        explanation.crops[n][np.asarray(explanation.masks["vision"][n], bool)]
        for n in _shown(explanation, preview, "vision")
    ]
    return np.asarray(np.nan_to_num(np.concatenate(recorded)))


def _on_bands(values: np.ndarray, explanation: Explanation, lane: tuple[float, ...]) -> np.ndarray:
    """Return a spectrogram's map (step, band) on the bands of the lane, whose centres in Hz are ``lane``.

    Bands of the lane that the encoder does not hear have no map.
    """
    known = explanation.frequencies.get("audio")
    hertz = np.asarray(voice_hertz() if known is None and explanation.front_end == "voice" else known, float)
    bands = np.asarray(lane)
    if (known is None and explanation.front_end != "voice") or not len(bands) or np.array_equal(hertz, bands):
        return values
    nearest = np.abs(np.log(hertz)[:, None] - np.log(bands)).argmin(axis=0)
    heard = (bands >= hertz[0] * 0.9) & (bands <= hertz[-1] * 1.1)
    return np.where(heard, values[:, nearest], 0.0)


def _on_channels(values: np.ndarray, channels: tuple[str, ...], lane: tuple[str, ...]) -> np.ndarray:
    """Return a map (step, channel) in the order of the lane's channels; 0 for those without."""
    places = [channels.index(name) if name in channels else -1 for name in lane]
    return np.where(np.array(places) >= 0, values[:, places], 0.0)
