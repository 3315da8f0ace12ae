"""Measures of a video, from its packets and a few pictures spread over it.

In: any file that is read as video (:mod:`eavdash.data.video.reading`), and segments of it. Out: numbers. All packets
are read (their times give the number of frames and show a variable rate), but only some pictures are decoded: key
frames if there are enough, as they need no other frames. Only if two of these are equal is the whole segment checked,
to distinguish a frozen video from a person who does not move. Delegated to PyAV: packets; to decoding.py: frames by
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from eavdash.health.measures.base import Facts, Part, content_hash

#: Pictures checked in each part, and the minimum number of key frames to use instead.
PICTURES = 5
_ENOUGH = 3
#: A picture is black if its mean is below this (of 255): a face by candlelight is brighter.
BLACK = 10.0
#: Two pictures are the same if no pixel (of 64 x 48) differs by more (of 255). Compression alone changes a still scene
#: by 3 at usual qualities; a face that talks or only breathes, by 20 and more.
SAME = 4.0
_WIDTH, _HEIGHT = 64, 48
#: The rate is variable if this share of frame intervals differs from the median by this fraction of it.
VARYING, JITTER = 0.05, 0.25
_CHECKS_PER_SECOND, _MOST = 5.0, 3000  # per second and in total, if a whole segment is checked
_RATE = 5.0  # frames per second of pictures in arrays


def measure(file: str, parts: Sequence[Part]) -> tuple[Facts, Callable[[Part], Facts]]:
    """Return facts of the whole file, and a function that measures a part of it."""
    if parts and parts[0].number is not None:
        return {}, lambda part: _of_array(file, part)
    from eavdash.data.video.reading import video_info

    info = video_info(file)
    facts: Facts = {"width": info.width, "height": info.height}
    if info.still:
        return {}, lambda part: {**facts, "frames": 1, **_pictures(file, [0.0], [])}
    times, keys, found = _packet_times(file)
    facts |= found
    return {"length": info.duration}, lambda part: _part(file, part, info.duration, times, keys, facts)


def measure_faces(file: str, parts: Sequence[Part]) -> tuple[Facts, Callable[[Part], Facts]]:
    """Search the whole file for faces; the result is the same for all parts."""
    from eavdash.data.video.faces import face_share

    found, checked = face_share(file, PICTURES)
    return {}, lambda part: {"faces_found": found, "faces_looked": checked}


def _of_array(file: str, part: Part) -> Facts:
    from eavdash.data.formats.eav_pickle import frames

    pictures = np.asarray(frames(file, part.number or 1))
    facts = {"frames": len(pictures), "height": pictures.shape[1], "width": pictures.shape[2]}
    measures = {
        **_brightness(list(pictures)),
        "frozen": _longest_still_run(map(_grey, pictures)) / max(1, len(pictures)),
    }
    return {**facts, "duration": len(pictures) / _RATE, "rate": _RATE, **measures, "content": content_hash(pictures)}


def _part(file: str, part: Part, length: float, times: np.ndarray, keys: np.ndarray, facts: Facts) -> Facts:
    start, stop = part.start or 0.0, min(part.stop or length, length)
    if stop <= start:
        return {**facts, "duration": 0.0, "frames": 0}
    inside = times[(times >= start - 1e-3) & (times < stop)]
    gaps = np.diff(inside)
    usual = float(np.median(gaps)) if len(gaps) else stop - start
    varying = bool(len(gaps)) and float((np.abs(gaps - usual) > JITTER * usual).mean()) > VARYING
    wanted = np.linspace(start, max(start, stop - 2 * usual), PICTURES)
    return {
        **facts,
        **{"duration": stop - start, "frames": len(inside), "rate": len(inside) / (stop - start)},
        **{"variable_rate": float(varying), "longest_gap": float(gaps.max()) if len(gaps) else 0.0},
        **_pictures(file, list(wanted), list(keys[(keys >= start - 1e-3) & (keys < stop)])),
    }


def _packet_times(file: str) -> tuple[np.ndarray, np.ndarray, Facts]:
    """Times of all frames and of the key frames (seconds from the first), and facts about the sound track."""
    from eavdash.data.video.decoding import open_video

    stamps: list[tuple[float, bool]] = []
    sound = float("inf")
    with open_video(file) as (container, stream):
        tracks = container.streams.audio[:1]
        facts: Facts = {"sound_track": float(bool(tracks)), "rotation": 0.0}
        units = {s.index: float(s.time_base) for s in (stream, *tracks)}
        for packet in container.demux(stream, *tracks):
            stamped = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or stamped is None or packet.is_discard:
                continue
            begin = stamped * units[packet.stream.index]
            if packet.stream.index == stream.index:
                stamps.append((begin, bool(packet.is_keyframe)))
            else:
                sound = min(sound, begin)
    stamps.sort()
    times = np.array([t for t, _ in stamps])
    keys = np.array([key for _, key in stamps], dtype=bool)
    if len(times) and np.isfinite(sound):
        facts["sound_offset"] = sound - float(times[0])
    return times - times[:1], (times - times[:1])[keys], facts


def _pictures(file: str, wanted: list[float], keys: list[float]) -> Facts:
    """Measure brightness and rotation of some pictures of a segment, and the frozen share of it."""
    from eavdash.data.video.decoding import open_video, shown_frames
    from eavdash.data.video.upright import turn_of

    chosen: list[Any] = []
    if len(keys) >= _ENOUGH:
        positions = sorted({int(np.abs(np.subtract(keys, t)).argmin()) for t in wanted})
        with open_video(file) as (container, stream):
            chosen = list(_key_pictures(container, stream, [keys[n] for n in positions]))
    if len(chosen) < min(_ENOUGH, len(wanted)):
        chosen = [frame for frame, _ in shown_frames(file, wanted)]
    if not chosen:
        return {}
    small = [_small(frame) for frame in chosen]
    turn, mirrored = turn_of(chosen[0])
    facts = {"rotation": float(turn), "mirrored": float(mirrored), **_brightness(small)}
    if len(small) < 2:
        return facts
    if not any(_same(_grey(a), _grey(b)) for a, b in pairwise(small)):
        return {**facts, "frozen": 0.0}
    count = min(_MOST, max(2, round(_CHECKS_PER_SECOND * (wanted[-1] - wanted[0]))))
    times = [float(t) for t in np.linspace(wanted[0], wanted[-1], count)]
    shown = (_grey(_small(frame)) for frame, positions in shown_frames(file, times) for _ in positions)
    return {**facts, "frozen": _longest_still_run(shown) / count}


def _key_pictures(container: Any, stream: Any, times: list[float]) -> Iterator[Any]:
    stream.codec_context.thread_count = 1  # several threads would decode frames that are not needed
    stream.codec_context.skip_frame = "NONKEY"
    origin = stream.start_time or 0
    for time in times:
        container.seek(origin + round(time / stream.time_base), stream=stream)
        frame = next(container.decode(stream), None)
        if frame is not None:
            yield frame


def _small(frame: Any) -> np.ndarray:
    return np.asarray(frame.reformat(width=_WIDTH, height=_HEIGHT, format="rgb24").to_ndarray())


def _grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture.astype(np.float32).mean(axis=2))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.abs(a - b).max()) < SAME


def _longest_still_run(pictures: Iterable[np.ndarray]) -> int:
    """The length of the longest run of grey pictures that are the same as its first."""
    longest = length = 0
    first: np.ndarray | None = None
    for picture in pictures:
        if first is not None and _same(first, picture):
            length += 1
        else:
            first, length = picture, 1
        longest = max(longest, length)
    return longest


def _brightness(pictures: Sequence[np.ndarray]) -> Facts:
    means = [float(picture.mean()) for picture in pictures]
    return {"brightness": float(np.mean(means)), "black": float(np.mean([mean < BLACK for mean in means]))}
