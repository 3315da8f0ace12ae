"""Where in the frame a picture was cropped: the box gives the same picture again."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from made_media import movie

from eavdash.config.schema import VisionConfig
from eavdash.data.video import faces, reading
from eavdash.data.video.crops import crop_boxes
from eavdash.data.video.faces import Face

TIMES = [2.05, 0.05, 0.07, 1.05]  # the second and the third are of the same frame


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return movie(tmp_path / "a.mp4", [k / 10 for k in range(40)])


def squares(clip: str, boxes: np.ndarray) -> list[tuple[int, ...]]:
    info = reading.video_info(clip)
    scale = np.array([info.width, info.height, info.width, info.height])
    return [tuple(np.round(box * scale).astype(int).tolist()) for box in boxes]


def test_the_centre(clip: str) -> None:
    info = reading.video_info(clip)
    found = squares(clip, crop_boxes(clip, TIMES, VisionConfig(crop="centre")))
    left, top, side = reading.centre_square(np.zeros((info.height, info.width, 3), np.uint8))
    assert found == [(left, top, left + side, top + side)] * 4


def test_a_followed_face(clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detections = iter([[Face(20, 20, 16, 0.9)], [Face(24, 20, 16, 0.9)], [Face(28, 22, 16, 0.9)]])
    monkeypatch.setattr(faces.Tracker.__init__, "__defaults__", (lambda some: [next(detections) for _ in some],))
    found = squares(clip, crop_boxes(clip, TIMES, VisionConfig(crop="face", margin=0.0, smoothing=0.0)))
    first, second, third = ((12, 12, 28, 28), (16, 12, 32, 28), (20, 14, 36, 30))
    assert found == [third, first, first, second]


def test_pictures_that_were_cropped_before_are_whole(tmp_path: Path) -> None:
    with (tmp_path / "x_vis.pkl").open("wb") as file:
        pictures = np.zeros((1, 25, 56, 56, 3), np.uint8)
        pickle.dump([pictures, np.array([0]), pictures, np.array([1])], file)
    boxes = crop_boxes(f"{tmp_path / 'x_vis.pkl'}#1", [0.0, 0.2], VisionConfig())
    assert boxes.tolist() == [[0, 0, 1, 1]] * 2
