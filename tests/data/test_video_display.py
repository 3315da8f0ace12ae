"""The pictures that models, player and check get of a video are those that players show."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from made_media import trials
from PIL import Image
from streams import cut, film, picture, with_aperture, with_cover, with_matrix, with_pixel_crop, with_pixel_shape

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.data.video import reading as video
from eavdash.data.video.contact_sheet import TILE, contact_sheet
from eavdash.data.video.muxing import Cut
from eavdash.data.video.playable import playable
from eavdash.data.video.upright import display_of
from eavdash.health.measures.base import MeasureRequest, Part
from eavdash.health.measures.measure import measure_file

MATRICES = [(a, 0, 0, d) for a, d in product((1, -1), repeat=2)] + [(0, b, c, 0) for b, c in product((1, -1), repeat=2)]
CENTRE = with_settings(preset("quick"), ["vision.crop=centre"])


def moved(shown: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Each pixel (x, y) at (ax + cy, bx + dy), by definition of a display matrix."""
    rows, columns = np.mgrid[: shown.shape[0], : shown.shape[1]]
    x, y = a * columns + c * rows, b * columns + d * rows
    result = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1, 3), np.uint8)
    result[y - y.min(), x - x.min()] = shown
    return result


def shown(path: Path | str, time: float = 0.0) -> np.ndarray:
    """(height, width, 3): the picture at a time, as a model's reader gets it before it crops."""
    return next(picture for picture, _ in video._upright(str(path), [time]))


def scaled(pixels: np.ndarray, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, pixels.shape[0]), Image.Resampling.BICUBIC))


def alike(a: np.ndarray, b: np.ndarray, most: float = 3.0) -> None:
    assert a.shape == b.shape
    assert np.abs(a.astype(int) - b.astype(int)).mean() < most


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_whole_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = with_matrix(film(tmp_path / "a.mp4"), *matrix) if matrix != (1, 0, 0, 1) else film(tmp_path / "a.mp4")
    expected = moved(picture(), *matrix)
    alike(shown(path), expected)
    side = min(expected.shape[:2])
    top, left = (expected.shape[0] - side) // 2, (expected.shape[1] - side) // 2
    alike(video.read_frames(str(path), [0.0], side)[0], expected[top : top + side, left : left + side])
    alike(next(video.spread_pictures(str(path), 2)), expected, 15)  # another frame, up to 20 levels brighter
    measures = measure_file(MeasureRequest("video", str(path), (Part(),)))["parts"][0]
    a, b, c, d = matrix
    assert measures["mirrored"] == float(a * d - b * c < 0)


@pytest.mark.parametrize("matrix", MATRICES)
def test_non_square_pixels_are_scaled_before_turning(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = film(tmp_path / "a.mp4")
    if matrix != (1, 0, 0, 1):
        with_matrix(path, *matrix)
    with_pixel_shape(path, 4, 3)
    alike(shown(path), moved(scaled(picture(), 128), *matrix))
    info = video.video_info(str(path))
    assert (info.width, info.height) == (128, 64)


@pytest.mark.parametrize(
    ("wide", "high", "width"), [(1, 2, 48), (12, 11, 105), (1001, 1000, 96), (1, 1, 96), (3, 1, 288)]
)
def test_pixel_shapes(tmp_path: Path, wide: int, high: int, width: int) -> None:
    path = with_pixel_shape(film(tmp_path / "a.mp4"), wide, high)
    alike(shown(path), scaled(picture(), width), 4)


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (-1, 0, 0, 1), (0, 1, 1, 0), (0, 1, -1, 0)])
@pytest.mark.parametrize(("right", "down"), [(0, 0), (8, -4)])
def test_what_a_clean_aperture_hides_is_cut_off(
    tmp_path: Path, matrix: tuple[int, int, int, int], right: int, down: int
) -> None:
    path = film(tmp_path / "a.mp4")
    if matrix != (1, 0, 0, 1):
        with_matrix(path, *matrix)
    with_aperture(path, 64, 40, right, down)
    alike(shown(path), moved(picture()[12 + down : 52 + down, 16 + right : 80 + right], *matrix))


def test_margins_outside_the_picture_are_ignored(tmp_path: Path) -> None:
    alike(shown(with_aperture(film(tmp_path / "a.mp4"), 640, 400)), picture())


def test_matroska_pixels_that_are_cropped(tmp_path: Path) -> None:
    path = with_pixel_crop(film(tmp_path / "a.mkv"), (10, 4, 20, 8))
    assert display_of(str(path)).margins == (10, 4, 20, 8)
    alike(shown(path), picture()[4:56, 10:76])


def test_cropping_inside_the_stream_is_the_decoders(tmp_path: Path) -> None:
    """H.264 codes whole blocks of 16 pixels and hides the rest."""
    path = film(tmp_path / "a.mp4", size=(90, 58))
    alike(shown(path), picture(90, 58))


@pytest.mark.parametrize("start", [0.5, 0.7, 1.2])
def test_frames_that_a_cut_hides_do_not_count(tmp_path: Path, start: float) -> None:
    path = cut(tmp_path / "cut.mp4", film(tmp_path / "a.mp4", 30), start)
    info = video.video_info(str(path))
    kept = 30 - round(10 * start)
    assert (info.frames, info.duration) == (kept, pytest.approx(kept / 10, abs=0.01))
    times = [0.0, 0.3, (kept - 1) / 10]
    levels = [float(frame.mean()) for frame in video.read_frames(str(path), times, 64)]
    whole = video.read_frames(str(tmp_path / "a.mp4"), [start + time for time in times], 64)
    assert levels == pytest.approx([float(frame.mean()) for frame in whole], abs=0.2)
    answer = measure_file(MeasureRequest("video", str(path), (Part(),)))
    assert (answer["parts"][0]["frames"], answer["length"]) == (kept, pytest.approx(kept / 10, abs=0.01))


def test_a_cover_before_the_pictures(tmp_path: Path) -> None:
    cover = tmp_path / "cover.jpg"
    Image.fromarray(np.full((200, 200, 3), (255, 0, 255), np.uint8)).save(cover)
    path = with_cover(film(tmp_path / "a.mp4"), cover.read_bytes())
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mjpeg"
    info = video.video_info(str(path))
    assert (info.width, info.height, info.frames) == (96, 64, 20)
    alike(shown(path), picture())
    assert measure_file(MeasureRequest("video", str(path), (Part(),)))["parts"][0]["frames"] == 20


def test_the_contact_sheet_shows_the_same(tmp_path: Path) -> None:
    path = with_matrix(film(tmp_path / "a.mp4"), -1, 0, 0, 1)
    sheet = np.asarray(contact_sheet(trials([{"video": str(path)}]), CENTRE))
    tile = sheet[10 : 10 + TILE, 10 : 10 + TILE]
    alike(tile, video.read_frames(str(path), [1.0], TILE)[0])
    assert tile[:20, -20:].mean() < tile[:20, :20].mean() + 200


@pytest.mark.parametrize("matrix", [(-1, 0, 0, 1), (0, 1, 1, 0)])
def test_the_player_gets_a_mirrored_video_as_it_is_shown(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Not every browser mirrors it."""
    path = with_matrix(film(tmp_path / "a.mp4"), *matrix)
    made = playable(Cut(str(path), 0.0, 2.0), None, tmp_path)
    assert made.media not in (None, path)
    with av.open(str(made.media)) as container:
        frame = next(container.decode(video=0))
    assert not frame.rotation
    alike(frame.to_ndarray(format="rgb24"), moved(picture(), *matrix), 6)


def test_the_player_plays_a_turned_video_itself(tmp_path: Path) -> None:
    path = with_matrix(film(tmp_path / "a.mp4"), 0, 1, -1, 0)
    assert playable(Cut(str(path), 0.0, 2.0), None, tmp_path).media == path


def test_a_part_of_a_cut_video_is_not_copied_with_what_was_hidden(tmp_path: Path) -> None:
    path = cut(tmp_path / "cut.mp4", film(tmp_path / "a.mp4", 30), 0.7)
    silence = tmp_path / "a.wav"
    import soundfile

    soundfile.write(silence, np.zeros(16000, np.float32), 16000)
    made = playable(Cut(str(path), 0.0, 1.0), Cut(str(silence), 0.0, 1.0), tmp_path)
    alike(shown(made.media or path, made.offset), shown(path), 3)
