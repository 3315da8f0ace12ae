"""Frames by time, damaged files, and copies that a browser plays."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from failing import fails
from made_media import movie, steps, wav
from PIL import Image

from eavdash.data.recording import release
from eavdash.data.video import decoding
from eavdash.data.video import reading as video
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
    monkeypatch.setattr(decoding, "SEEK_FROM", float("inf"))
    assert np.array_equal(video.read_frames(path, late, 16), sought)


def test_only_wanted_frames_are_converted(tmp_path: Path, monkeypatch) -> None:
    path = movie(tmp_path / "a.mp4", REGULAR)
    converted = []
    whole = video.upright
    monkeypatch.setattr(video, "upright", lambda *a: converted.append(a) or whole(*a))
    video.read_frames(path, [0.5, 0.51, 0.52, 1.0], 16)
    assert len(converted) == 2


def moving(path: Path, codec: str = "libx264", frames: int = 150, **options: str) -> str:
    """A video of 30 frames per second in which everything moves, 64 x 48."""
    blob = np.random.default_rng(0).integers(0, 256, (48, 256, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(frames):
            picture = np.ascontiguousarray(blob[:, k : k + 64] // 4 + k)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return str(path)


SPARSE = [0.1, 0.31, 0.333, 1.017, 1.5, 2.9, 4.1, 4.4, 4.967]
B_FRAMES = {"bf": "3", "g": "40", "x264-params": "b-adapt=0"}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("times", [SPARSE, SPARSE[-2:], [4.967]])
def test_frames_that_are_not_needed_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, times: list[float]
) -> None:
    path = moving(tmp_path / f"a{suffix}", **B_FRAMES)
    decoded = []
    whole = decoding._frames
    monkeypatch.setattr(decoding, "_frames", lambda *a: (decoded.append(f) or f for f in whole(*a)))
    sparing = video.read_frames(path, times, 32)
    few = len(decoded)
    decoded.clear()
    decoding._index.cache_clear()
    monkeypatch.setattr(decoding, "_SKIPPABLE", ())
    assert np.array_equal(video.read_frames(path, times, 32), sparing)
    assert few < 0.85 * len(decoded)


def test_packets_whose_times_are_not_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first frame that is not as the index promised, it is not believed any more."""
    path = moving(tmp_path / "a.mp4", **B_FRAMES)
    right = video.read_frames(path, SPARSE, 32)
    stamps, unit = decoding._index(path)
    for wrong in (stamps + 1, stamps - 1000, stamps[:40]):
        monkeypatch.setattr(decoding, "_index", lambda *_, wrong=wrong: (wrong, unit))
        assert np.array_equal(video.read_frames(path, SPARSE, 32), right)


@pytest.mark.parametrize("side", [7, 40, 64, 100])
def test_resizing_is_within_two_grey_levels_of_pillow(side: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(video.resized(picture, side, side) - expected).max() <= 2
    mirrored = np.rot90(picture)
    assert np.array_equal(video.resized(mirrored, side, side), video.resized(mirrored.copy(), side, side))


class Corner:
    """Wants the upper right eighth of every frame, and remembers when it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def steps(self, pictures: Sequence[np.ndarray], times: Sequence[float]) -> list[video.Square]:
        self.asked.extend(times)
        return [(picture.shape[1] - 8, 0, 8) for picture in pictures]


def test_a_tracker_is_asked_once_per_frame_in_order_of_time(tmp_path: Path) -> None:
    path, corner = movie(tmp_path / "a.mp4", REGULAR), Corner()
    frames = video.read_frames(path, [1.5, 0.2, 0.25, 1.0, 0.2], 16, corner)
    assert corner.asked == [0.2, 1.0, 1.5]
    assert steps(frames) == [15, 2, 2, 10, 2]


def test_a_tracker_chooses_the_square(tmp_path: Path) -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:8, -8:] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert (video.read_frames(str(tmp_path / "a.png"), [0.0], 20, Corner()) == 200).all()


@pytest.fixture
def pickled(tmp_path: Path) -> str:
    """Seven published windows; every picture is as grey as its number, 10 times the window's more."""
    grey_levels = 10 * np.arange(7)[:, None] + np.arange(25)
    pictures = np.broadcast_to(grey_levels[..., None, None, None], (7, 25, 56, 56, 3)).astype(np.uint8)
    with (tmp_path / "subject_01_vis.pkl").open("wb") as file:
        pickle.dump([pictures[:5], np.arange(5), pictures[5:], np.arange(2)], file)
    yield str(tmp_path / "subject_01_vis.pkl")
    release()


def test_published_pictures_are_taken_by_time_as_they_are(pickled: str) -> None:
    corner = Corner()
    frames = video.read_frames(f"{pickled}#6", [4.95, 0.0, 0.19, 0.2, 1.0, 5.2], 24, corner)
    assert frames.shape == (6, 24, 24, 3)
    assert frames[:, 3, 5, 0].tolist() == [74, 50, 50, 51, 55, 74]
    assert not corner.asked, "they are faces already"
    assert video.video_info(f"{pickled}#7") == video.VideoInfo(5.0, 5.0, 56, 56, 25)


def test_published_pictures_that_are_not_there(pickled: str) -> None:
    with fails(RecordingError, expected="1 to 7", found="window 8"):
        video.video_info(f"{pickled}#8")
    with fails(RecordingError, expected="1 to 7", found="window 0"):
        video.read_frames(f"{pickled}#0", [0.0], 8)
    with fails(RecordingError, expected="6.00 s", found="5.00 s"):
        video.read_frames(f"{pickled}#1", [6.0], 8)


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
    with fails(RecordingError, where="cut.mkv", expected="5.90 s", found=" s"):
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
    with fails(RecordingError, where="cut.mp4"):
        video.video_info(str(cut))
    with fails(RecordingError, where="cut.mp4"):
        video.read_frames(str(cut), [0.0, 5.9], 16)


@pytest.mark.parametrize("content", [b"", b"nothing at all", bytes(5000)])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    for call in (video.video_info, lambda p: video.read_frames(p, [0.0], 8)):
        with fails(RecordingError, where="a.mp4"):
            call(str(path))


def test_sound_without_pictures(tmp_path: Path) -> None:
    with fails(RecordingError, expected="video", found="picture"):
        video.video_info(wav(tmp_path / "a.wav", np.zeros(1000)))


def test_real_mpeg(real_data: Path, tmp_path: Path) -> None:
    path = str(sorted((real_data / "video").glob("*.mpg"))[0])
    info = video.video_info(path)
    assert (info.width, info.height, info.frames) == (360, 288, 75)
    assert info.duration == pytest.approx(3.0, abs=0.05)
    frames = video.read_frames(path, [0, 1, 2, 2.9], 64)
    assert frames.std() > 20
