"""Pictures and videos with a face at a known position."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

from eavdash.data.video import reading as video
from eavdash.demo import face as drawing
from eavdash.demo.plan import SMALL, plan_subject


def clip(path: Path, pictures: Iterable[np.ndarray], fps: int = 5) -> str:
    """A sharp H.264 video of pictures (height, width, 3) uint8."""
    with av.open(str(path), "w") as out:
        stream = None
        for picture in pictures:
            if stream is None:
                stream = out.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        assert stream is not None
        out.mux(stream.encode(None))
    return str(path)


def drawn_head() -> np.ndarray:
    """A drawn head that the detector knows as one, (100, 100, 3)."""
    trial = plan_subject(5, 1, SMALL).trials[0]
    picture = next(drawing.face_frames(trial, drawing.appearance(5, 1), [], SMALL))
    return video.resized(np.ascontiguousarray(picture[:, 40:280]), 100, 100)


def real_head(real_data: Path) -> np.ndarray:
    """The head and shoulders of GRID's first speaker, (288, 288, 3)."""
    path = str(sorted((real_data / "video").glob("*.mpg"))[0])
    return next(iter(video.spread_pictures(path, 1)))[:, 36:324]


def on_wall(head: np.ndarray, left: int, top: int, shape: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A head pasted on a wall of its own background's colour."""
    picture = np.empty((*shape, 3), np.uint8)
    picture[:] = head[5, 5]
    picture[top : top + len(head), left : left + len(head)] = head
    return picture
