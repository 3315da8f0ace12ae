"""Faces tracked through videos, and the share of frames with a face."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from failing import fails
from made_faces import clip, drawn_head, on_wall, real_head
from PIL import Image

from eavdash.config.schema import VisionConfig
from eavdash.data.video import decoding, faces
from eavdash.data.video import reading as video
from eavdash.data.video.faces import Face, Tracker
from eavdash.errors import RecordingError

PLAIN = VisionConfig(margin=0.0, detect_every=0.0, smoothing=0.0)
HERE = Face(100, 100, 80, 0.99)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return drawn_head()


@pytest.fixture(scope="module")
def real(real_data: Path) -> np.ndarray:
    return real_head(real_data)


def test_a_face_is_followed_across_a_video(drawn: np.ndarray, tmp_path: Path) -> None:
    """20 frames, 8 pixels to the right and 4 down each: the square's centre stays within 12 pixels of the head's."""
    path = clip(tmp_path / "a.mp4", [on_wall(drawn, 20 + 8 * k, 20 + 4 * k) for k in range(20)])
    asked: list[video.Square] = []

    class Witness(Tracker):
        def steps(self, pictures: Sequence[np.ndarray], times: Sequence[float]) -> list[video.Square]:
            asked.extend(squares := super().steps(pictures, times))
            return squares

    tracker = Witness(replace(PLAIN, margin=0.2))
    frames = video.read_frames(path, [k / 5 + 0.1 for k in range(20)], 32, tracker)
    assert frames.shape == (20, 32, 32, 3)
    assert tracker.checked == 20
    assert tracker.found >= 16
    for k, (left, top, side) in enumerate(asked):
        assert abs(left + side / 2 - (70 + 8 * k)) <= 12
        assert abs(top + side / 2 - (70 + 4 * k)) <= 12
    # The head keeps its position in the crop: any two crops are nearly the same picture.
    assert np.abs(frames[3].astype(int) - frames[15]).mean() < 25


def test_a_real_face_is_followed_across_a_video(real: np.ndarray, tmp_path: Path) -> None:
    """12 frames, 20 pixels to the right and 10 down each, in 640 x 480: within 8 pixels, its size within 10 %."""
    alone = faces.find_faces([real])[0][0]
    path = clip(tmp_path / "a.mp4", [on_wall(real, 20 * k, 10 * k, (480, 640)) for k in range(12)])
    asked: list[video.Square] = []

    class Witness(Tracker):
        def steps(self, pictures: Sequence[np.ndarray], times: Sequence[float]) -> list[video.Square]:
            asked.extend(squares := super().steps(pictures, times))
            return squares

    tracker = Witness(PLAIN)
    video.read_frames(path, [k / 5 + 0.1 for k in range(12)], 32, tracker)
    assert (tracker.found, tracker.checked) == (12, 12)
    for k, (left, top, side) in enumerate(asked):
        assert abs(left + side / 2 - (alone.x + 20 * k)) <= 8
        assert abs(top + side / 2 - (alone.y + 10 * k)) <= 8
        assert abs(side / alone.side - 1) < 0.1


def test_the_first_face_comes_late(drawn: np.ndarray, tmp_path: Path) -> None:
    wall = np.empty((240, 320, 3), np.uint8)
    wall[:] = drawn[5, 5]
    path = clip(tmp_path / "a.mp4", [wall] * 5 + [on_wall(drawn, 200, 100)] * 5)
    times = [k / 5 + 0.1 for k in range(10)]
    tracker = Tracker(PLAIN)
    frames, centred = video.read_frames(path, times, 48, tracker), video.read_frames(path, times, 48)
    assert np.array_equal(frames[:5], centred[:5]), "the centre square until then"
    assert (tracker.found, tracker.checked) == (5, 10)
    seen = on_wall(drawn, 200, 100)
    expected = video.crop(seen, Tracker(PLAIN).steps([seen], [0.0])[0], 48)
    assert np.abs(frames[9].astype(int) - expected).mean() < 10
    assert np.abs(centred[9].astype(int) - expected).mean() > 20


def test_a_video_without_a_face_is_read_as_with_crop_centre(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    path = clip(tmp_path / "a.mp4", [noise.integers(0, 256, (96, 130, 3), dtype=np.uint8) for _ in range(6)])
    times = [0.1, 0.5, 1.1]
    tracker = Tracker(VisionConfig())
    assert np.array_equal(video.read_frames(path, times, 40, tracker), video.read_frames(path, times, 40))
    assert tracker.found == 0


def test_times_may_be_asked_for_in_any_order_and_again(drawn: np.ndarray, tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", [on_wall(drawn, 20 + 15 * k, 40) for k in range(10)])
    times = [k / 5 + 0.1 for k in range(10)]
    settings = replace(PLAIN, smoothing=0.5, detect_every=0.4)
    first = video.read_frames(path, times, 32, Tracker(settings))
    assert np.array_equal(video.read_frames(path, times, 32, Tracker(settings)), first)
    shuffled = np.random.default_rng(0).permutation(10)
    assert np.array_equal(video.read_frames(path, [times[k] for k in shuffled], 32, Tracker(settings)), first[shuffled])


def test_a_face_that_lies_on_its_side_in_the_file(real: np.ndarray, tmp_path: Path) -> None:
    """Encoded sideways with a rotation in its display matrix: the face is detected in the upright picture."""
    upright = on_wall(real, 20, 250, (640, 480))
    path = tmp_path / "a.mp4"
    clip(path, [np.ascontiguousarray(np.rot90(upright))] * 5)
    data = path.read_bytes()
    one, unit, zero = (1 << 16).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big"), bytes(4)
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    at = data.index(one + zero * 3 + one + zero * 3 + unit, data.index(b"tkhd"))
    path.write_bytes(data[:at] + zero + one + zero + minus + zero * 4 + unit + data[at + 36 :])
    tracker = Tracker(PLAIN)
    frames = video.read_frames(str(path), [0.1, 0.5], 64, tracker)
    assert (tracker.found, tracker.checked) == (2, 2)
    expected = tracker.steps([upright], [9.0])[0]
    assert np.abs(frames[0].astype(int) - video.crop(upright, expected, 64)).mean() < 4
    assert faces.face_share(str(path), 2) == (2, 2)


def test_a_still_image_is_checked_once(drawn: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(on_wall(drawn, 200, 100)).save(tmp_path / "a.png")
    tracker = Tracker(PLAIN)
    frames = video.read_frames(str(tmp_path / "a.png"), [0.5, 1.5, 40.0], 32, tracker)
    assert (tracker.found, tracker.checked) == (1, 1)
    assert (frames == frames[0]).all()
    assert faces.face_share(str(tmp_path / "a.png")) == (1, 1)


def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path: Path) -> None:
    """600 frames of 640 x 480 are 553 MB in RGB; what Python holds of them at once stays under 20."""
    path = clip(tmp_path / "a.mp4", (np.full((480, 640, 3), k % 250, np.uint8) for k in range(600)), fps=30)
    video.read_frames(path, [0.0], 16, Tracker(PLAIN, lambda some: [[HERE] for _ in some]))
    tracemalloc.start()
    try:
        tracker = Tracker(PLAIN, lambda some: [[HERE] for _ in some])
        video.read_frames(path, [k / 30 + 0.01 for k in range(600)], 16, tracker)
        assert tracemalloc.get_traced_memory()[1] < 20e6
        assert tracker.checked == 600
    finally:
        tracemalloc.stop()


# --- the share of frames with a face ---


def test_face_share_of_a_clip_with_a_face_in_its_second_half(real: np.ndarray, tmp_path: Path) -> None:
    wall = np.zeros((480, 640, 3), np.uint8)
    seen = on_wall(real, 200, 100, (480, 640))
    path = clip(tmp_path / "a.mp4", [wall] * 50 + [seen] * 50)
    assert faces.face_share(path, 4) == (2, 4)
    assert faces.face_share(path, 10) == (5, 10)


def test_face_share_of_real_clips(real_data: Path) -> None:
    for path in sorted((real_data / "video").glob("*.mpg"))[:2]:
        assert faces.face_share(str(path), 3) == (3, 3)


def test_face_share_checks_only_key_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [np.full((48, 64, 3), k % 250, np.uint8) for k in range(200)]
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=20, options={"g": "20", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    keys = [int(frame.mean().round()) for frame in video.spread_pictures(str(path), 5)]
    assert np.allclose(keys, [20, 60, 100, 140, 180], atol=3)
    monkeypatch.setattr(decoding, "shown_frames", None)
    monkeypatch.setattr(video, "shown_frames", None)
    assert faces.face_share(str(path), 5) == (0, 5)


def test_face_share_of_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing at all")
    with fails(RecordingError, where="a.mp4"):
        faces.face_share(str(tmp_path / "a.mp4"))
