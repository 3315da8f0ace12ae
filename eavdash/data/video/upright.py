"""The picture that players show of a decoded frame: cropped, with square pixels, turned and mirrored as the file says.

In: a frame as FFmpeg decodes it, and what the file says about all frames (:class:`Display`). Out: pixels. Equal to what
the ``ffmpeg`` program makes of a file, followed by its filter ``scale=iw*sar:ih``; a matrix that turns by other than
right angles is applied as the nearest one that does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

from eavdash.config.limits import FRAME_PIXELS
from eavdash.data.recording import per_file, refuse_beyond
from eavdash.data.video.cropping import Margins, margins
from eavdash.data.video.decoding import is_still, open_video, shown_frames

#: Pixels count as square within this share: containers round the sizes that they state.
_SQUARE = 0.01
_PLAIN = (1, 0, 0, 1)  # (a, b, c, d) of a display matrix: a pixel (x, y) is shown at (ax + cy, bx + dy)


@dataclass(frozen=True)
class Display:
    """The statements of a file about all of its frames.

    ``aspect``: width of a pixel in heights; ``margins``: pixels that are not shown; ``width`` and ``height``: those of
    the picture before it is turned.
    """

    width: int
    height: int
    aspect: float = 1.0
    margins: Margins = (0, 0, 0, 0)


@per_file(16384)
def display_of(path: str) -> Display:
    """Read from its header how a video is shown.

    Raises:
        RecordingError: it cannot be opened, or its frames are too large.
    """
    with open_video(path) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        if is_still(container):  # programs ignore the density that images state
            return Display(width, height)
        aspect = float(stream.sample_aspect_ratio or 1)
        left, top, right, bottom = margins(path, container.format.name, stream)
    if left + right >= width or top + bottom >= height:
        left = top = right = bottom = 0
    if aspect <= 0 or abs(aspect - 1) <= _SQUARE:
        aspect = 1.0
    width, height = max(1, round((width - left - right) * aspect)), height - top - bottom
    refuse_beyond(path, "pixels in a frame", width * height, FRAME_PIXELS)
    return Display(width, height, aspect, (left, top, right, bottom))


def upright(frame: Any, display: Display) -> np.ndarray:
    """Return the picture that is shown of a frame: (height, width, 3) uint8 RGB."""
    left, top, right, bottom = display.margins
    a, b, c, d = _matrix(frame)
    if any(display.margins):
        within = slice(top, frame.height - bottom), slice(left, frame.width - right)
        shown = np.ascontiguousarray(frame.to_ndarray(format="rgb24")[within])
        frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
    square = {}
    if display.aspect != 1:
        wide = max(1, round(frame.width * display.aspect))
        square = {"width": wide, "height": frame.height, "interpolation": "BICUBIC"}
    picture = np.asarray(frame.to_ndarray(format="rgb24", **square))
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture = picture.transpose(1, 0, 2)
        a, d = c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def upright_frame(frame: Any, display: Display) -> Any:
    """Return a frame as :func:`upright` shows it: itself if it is shown as it is."""
    if _matrix(frame) == _PLAIN and display.aspect == 1 and not any(display.margins):
        return frame
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(upright(frame, display)), format="rgb24")


def browsers_show(path: str) -> bool:
    """Return True if every browser shows a video as :func:`upright` does: they turn it, but some do not mirror it.

    Raises:
        RecordingError: it cannot be decoded.
    """
    frame, _ = next(shown_frames(path, [0.0]))
    return not turn_of(frame)[1] and not any(display_of(path).margins)


def turn_of(frame: Any) -> tuple[int, bool]:
    """Return by how many degrees a frame is turned to the left to be shown, and whether it is mirrored before."""
    a, b, c, d = _matrix(frame)
    mirrored = a * d - b * c < 0
    a, b = (-a, -b) if mirrored else (a, b)
    return round(float(np.degrees(np.arctan2(-b, a)))) % 360, mirrored


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """Of the frame's display matrix; only their proportions count."""
    found = frame.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return _PLAIN
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(found)[:36])
    return (a, b, c, d) if b or c or a != d or a < 0 else _PLAIN
