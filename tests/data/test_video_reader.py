"""Frames by time, damaged files, and copies that a browser plays."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from made_media import movie, steps, wav
from PIL import Image

from eavdash.data import video
from eavdash.errors import RecordingError

REGULAR = [k / 10 for k in range(20)]
IRREGULAR = [0, 0.1, 0.2, 0.5, 0.55, 0.6, 1.0, 1.3]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_frames_are_chosen_by_time(tmp_path: Path, suffix: str) -> None:
    path = movie(tmp_path / f"a{suffix}", IRREGULAR)
    frames = video.read_frames(path, [0.56, 0.0, 0.49, 0.5, 0.99, 1.0, 1.6, 0.05], 32)
    assert frames.shape == (8, 32, 32, 3)
    assert frames.dtype == np.uint8
    assert steps(frames) == [4, 0, 2, 3, 5, 6, 7, 0]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_count_from_the_first_frame(tmp_path: Path, suffix: str) -> None:
    path = movie(tmp_path / f"a{suffix}", REGULAR, begin=3.0)
    assert steps(video.read_frames(path, [0, 0.55, 1.9], 16)) == [0, 5, 19]
    assert abs(video.video_info(path).duration - 2.0) < 0.1


def test_info(tmp_path: Path) -> None:
    info = video.video_info(movie(tmp_path / "a.mkv", REGULAR, size=(80, 60)))
    assert (info.width, info.height, info.frames, info.still) == (80, 60, 20, False)
    assert abs(info.duration - 2) < 0.1
    assert abs(info.frames_per_second - 10) < 0.5


def test_late_frames_of_a_long_video_are_found_by_seeking(tmp_path: Path, monkeypatch) -> None:
    path = movie(tmp_path / "a.mp4", [k / 10 for k in range(200)])
    late = [12.0, 12.34, 15.0, 19.9]
    sought = video.read_frames(path, late, 16)
    assert steps(sought) == [120 % 24, 123 % 24, 150 % 24, 199 % 24]
    monkeypatch.setattr(video, "_SEEK_FROM", float("inf"))
    assert np.array_equal(video.read_frames(path, late, 16), sought)


def test_only_wanted_frames_are_converted(tmp_path: Path, monkeypatch) -> None:
    path = movie(tmp_path / "a.mp4", REGULAR)
    squares = []
    whole = video._square
    monkeypatch.setattr(video, "_square", lambda *a: squares.append(a) or whole(*a))
    video.read_frames(path, [0.5, 0.51, 0.52, 1.0], 16)
    assert len(squares) == 2


def test_the_centre_square_is_cut_out(tmp_path: Path) -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert (video.read_frames(str(tmp_path / "a.png"), [0.0], 20) == 200).all()


def test_a_telephone_held_upright(tmp_path: Path) -> None:
    """The left half of the coded picture is bright; the container says: turn it by 90 degrees clockwise."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[:, :32] = 220
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    data = path.read_bytes()
    one = (1 << 16).to_bytes(4, "big")
    minus, zero, unit = (-(1 << 16)).to_bytes(4, "big", signed=True), bytes(4), (1 << 30).to_bytes(4, "big")
    track = data.index(b"tkhd")
    at = data.index(one + zero * 3 + one + zero * 3 + unit, track)
    path.write_bytes(data[:at] + zero + one + zero + minus + zero * 4 + unit + data[at + 36 :])
    frame = video.read_frames(str(path), [0.0], 16)[0].astype(int)
    assert frame[:6].mean() > 180, "the bright left half is the top after turning clockwise"
    assert frame[10:].mean() < 40


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_still_image_is_shown_at_all_times(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.full((48, 64, 3), 120, np.uint8)).save(path)
    assert video.video_info(str(path)).still
    frames = video.read_frames(str(path), [0, 5, 5000], 16)
    assert np.abs(frames.astype(int) - 120).max() <= 1


def test_cut_short(tmp_path: Path) -> None:
    whole = Path(movie(tmp_path / "whole.mkv", [k / 10 for k in range(60)], size=(320, 240)))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert steps(video.read_frames(str(cut), [0.0], 16)) == [0]
    with pytest.raises(RecordingError, match=r"cut.mkv: expected a frame at 5.90 s, found the end after"):
        video.read_frames(str(cut), [0.0, 5.9], 16)


def test_an_index_that_promises_more_than_there_is(tmp_path: Path) -> None:
    """An mp4 with its index at the front opens well when its pictures are cut off."""
    whole = movie(tmp_path / "whole.mp4", [k / 10 for k in range(60)], size=(320, 240))
    front = tmp_path / "front.mp4"
    with av.open(whole) as source, av.open(str(front), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    cut = tmp_path / "cut.mp4"
    data = front.read_bytes()
    cut.write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2])
    with pytest.raises(RecordingError, match=r"cut\.mp4"):
        video.video_info(str(cut))
    with pytest.raises(RecordingError, match=r"cut\.mp4"):
        video.read_frames(str(cut), [0.0, 5.9], 16)


@pytest.mark.parametrize("content", [b"", b"nothing at all", bytes(5000)])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    for call in (video.video_info, lambda p: video.read_frames(p, [0.0], 8)):
        with pytest.raises(RecordingError, match=r"a\.mp4"):
            call(str(path))


def test_sound_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no picture"):
        video.video_info(wav(tmp_path / "a.wav", np.zeros(1000)))


def test_real_mpeg(real_data: Path, tmp_path: Path) -> None:
    path = str(sorted((real_data / "video").glob("*.mpg"))[0])
    info = video.video_info(path)
    assert (info.width, info.height, info.frames) == (360, 288, 75)
    assert info.duration == pytest.approx(3.0, abs=0.05)
    frames = video.read_frames(path, [0, 1, 2, 2.9], 64)
    assert frames.std() > 20
