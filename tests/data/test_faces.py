"""Face detection and tracking: planted tracks and distractions, real and drawn faces at known positions."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from failing import fails
from made_faces import drawn_head, on_wall, real_head

from eavdash.config.schema import VisionConfig
from eavdash.data.video import faces
from eavdash.data.video.faces import Face, Tracker
from eavdash.data.video.reading import centre_square
from eavdash.errors import DataError

PLAIN = VisionConfig(margin=0.0, detect_every=0.0, smoothing=0.0)
EMPTY = np.zeros((240, 320, 3), np.uint8)
HERE, AWAY = Face(100, 100, 80, 0.99), Face(270, 60, 60, 0.99)


def scripted(detections: Sequence[Sequence[Face]]) -> faces.Detector:
    """A detector that returns these faces, one detection after another."""
    rest = iter(detections)
    return lambda pictures: [next(rest) for _ in pictures]


def squares(detections: Sequence[Sequence[Face]], settings: VisionConfig = PLAIN, picture: np.ndarray = EMPTY) -> list:
    tracker = Tracker(settings, scripted(detections))
    return [tracker.steps([picture], [float(time)])[0] for time in range(len(detections))]


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return drawn_head()


@pytest.fixture(scope="module")
def real(real_data: Path) -> np.ndarray:
    return real_head(real_data)


# --- the track, with a scripted detector ---


def test_the_square_is_the_face_with_its_margin() -> None:
    assert squares([[HERE]]) == [(60, 60, 80)]
    assert squares([[HERE]], replace(PLAIN, margin=0.25)) == [(40, 40, 120)]


@pytest.mark.parametrize(
    ("face", "square"),
    [
        (Face(20, 30, 80, 1), (0, 0, 80)),
        (Face(310, 230, 80, 1), (240, 160, 80)),
        (Face(310, 100, 200, 1), (120, 0, 200)),
        (Face(300, 100, 900, 1), (80, 0, 240)),  # larger than the picture: its largest square, on the face's side
        (Face(10, 10, 0.2, 1), (10, 10, 1)),
    ],
)
def test_the_square_stays_inside_the_picture(face: Face, square: tuple[int, int, int]) -> None:
    assert squares([[face]]) == [square]


@pytest.mark.parametrize("shape", [(240, 320), (321, 240), (101, 100), (30, 200)])
def test_no_face_at_all_gives_the_centre_square(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    assert squares([[], [], []], replace(PLAIN, margin=0.5), picture) == [centre_square(picture)] * 3


def test_the_last_good_square_stays_where_no_face_is_found() -> None:
    assert squares([[], [HERE], [], []]) == [(40, 0, 240), (60, 60, 80), (60, 60, 80), (60, 60, 80)]


def test_smoothing_is_the_weight_of_the_previous_position() -> None:
    moved = replace(HERE, x=140.0, y=120.0, side=100.0)
    assert squares([[HERE], [moved]], replace(PLAIN, smoothing=0.25)) == [(60, 60, 80), (82, 68, 95)]
    assert squares([[HERE], [moved]]) == [(60, 60, 80), (90, 70, 100)]


def test_a_moving_face_is_followed_with_the_lag_that_smoothing_has() -> None:
    """At v pixels per detection, an exponential mean of weight s lags by v s / (1 - s)."""
    path = [[replace(HERE, x=60.0 + 8 * k, y=60.0 + 4 * k)] for k in range(20)]
    last = squares(path, replace(PLAIN, smoothing=0.5))[-1]
    assert last == (60 + 8 * 19 - 8 - 40, 60 + 4 * 19 - 4 - 40, 80)


def test_a_face_elsewhere_in_one_detection_does_not_move_the_square() -> None:
    for distraction in ([HERE, AWAY], [AWAY], [AWAY, HERE]):
        assert squares([[HERE], distraction, [HERE]]) == [(60, 60, 80)] * 3
    other = Face(40, 200, 60, 0.99)
    assert squares([[HERE], [AWAY], [other], [HERE]]) == [(60, 60, 80)] * 4, "two false faces that are not the same"
    assert squares([[HERE], [AWAY], [], [AWAY], [HERE]]) == [(60, 60, 80)] * 5, "not in a row"


def test_a_face_that_moved_away_is_followed_at_the_second_detection() -> None:
    smooth = replace(PLAIN, smoothing=0.9)
    assert squares([[HERE], [AWAY], [AWAY], [AWAY]], smooth)[1:] == [(60, 60, 80), (240, 30, 60), (240, 30, 60)]


def test_a_small_false_face_is_given_up_for_a_large_one() -> None:
    false, true = Face(30, 30, 25, 0.71), Face(200, 120, 90, 0.99)
    assert squares([[false], [false, true], [false, true]])[1:] == [(18, 18, 25), (155, 75, 90)]


def test_among_several_the_heaviest_comes_first_and_then_the_one_that_continues() -> None:
    large = Face(200, 120, 100, 0.9)
    assert squares([[AWAY, large, HERE]])[0] == (150, 70, 100)
    nearby = Face(130, 100, 84, 0.999)
    assert squares([[HERE], [nearby, replace(HERE, x=104.0)]])[1] == (64, 60, 80)


def test_detection_runs_when_it_is_due() -> None:
    seen: list[float] = []
    for every, expected in ((1.0, [0.1, 1.1, 2.1]), (0.0, [k / 5 + 0.1 for k in range(15)]), (9.0, [0.1])):
        seen.clear()
        tracker = Tracker(
            replace(PLAIN, detect_every=every), lambda some: [[HERE] if seen[-1] > 1 else [] for _ in some]
        )
        for k in range(15):
            seen.append(k / 5 + 0.1)
            checked = tracker.checked
            tracker.steps([EMPTY], [seen[-1]])
            if tracker.checked == checked:
                seen.pop()
        assert seen == pytest.approx(expected)
        assert (tracker.checked, tracker.found) == (len(expected), sum(time > 1 for time in expected))


def test_a_detection_that_does_not_move_the_square_is_not_counted() -> None:
    tracker = Tracker(PLAIN, scripted([[HERE], [AWAY], [], [HERE]]))
    for time in range(4):
        tracker.steps([EMPTY], [float(time)])
    assert (tracker.found, tracker.checked) == (2, 4)


def test_a_picture_of_another_size_begins_a_new_track() -> None:
    tracker = Tracker(PLAIN, scripted([[HERE], []]))
    tracker.steps([EMPTY], [0.0])
    small = np.zeros((50, 60, 3), np.uint8)
    assert tracker.steps([small], [1.0])[0] == centre_square(small)


# --- the detector ---


def test_a_drawn_face_is_found_where_it_is(drawn: np.ndarray) -> None:
    for left, top in ((10, 10), (100, 60), (200, 90)):
        (found,) = faces.find_faces([on_wall(drawn, left, top)])[0]
        assert abs(found.x - left - 50) < 8
        assert abs(found.y - top - 50) < 8
        assert 60 < found.side < 95


def test_a_real_face_is_found_at_full_size(real: np.ndarray) -> None:
    """640 x 480 pixels are downscaled for detection; the result is in the picture's own pixels."""
    alone = faces.find_faces([real])[0][0]
    for left, top in ((20, 30), (330, 180)):
        found = faces.find_faces([on_wall(real, left, top, (480, 640))])[0][0]
        assert found.probability > 0.99
        assert abs(found.x - left - alone.x) < 10
        assert abs(found.y - top - alone.y) < 10
        assert abs(found.side - alone.side) < 25


def test_a_batch_of_pictures_gives_the_same_as_one_by_one(drawn: np.ndarray) -> None:
    pictures = [on_wall(drawn, 20, 20), EMPTY, on_wall(drawn, 150, 90), on_wall(drawn, 60, 60, (300, 200)), EMPTY]
    together, single = faces.find_faces(pictures), [faces.find_faces([picture])[0] for picture in pictures]
    assert [len(found) for found in together] == [1, 0, 1, 1, 0]
    for some, alone in zip(together, single, strict=True):
        for a, b in zip(some, alone, strict=True):
            assert np.allclose([a.x, a.y, a.side, a.probability], [b.x, b.y, b.side, b.probability], atol=0.01)
    assert faces.find_faces([]) == []


@pytest.mark.parametrize("shape", [(1, 1), (10, 500), (24, 24), (23, 240), (2000, 30), (240, 320)])
def test_pictures_without_a_face(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert faces.find_faces([noise, np.full((*shape, 3), 128, np.uint8)]) == [[], []]


def test_training_does_not_notice_the_detector(drawn: np.ndarray) -> None:
    faces._detector.cache_clear()
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(4).tolist(), np.random.rand(4).tolist()
    torch.manual_seed(3)
    np.random.seed(3)
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    weight = torch.ones(1, requires_grad=True)
    assert faces.find_faces([on_wall(drawn, 50, 50)])[0]
    assert (torch.rand(4).tolist(), np.random.rand(4).tolist()) == expected
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, strict)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    (weight * 2).backward()
    assert faces._detector() is faces._detector(), "one for the process"


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: object, **others: object) -> object:
        if name.startswith("facenet_pytorch"):
            raise ImportError(name)
        return whole(name, *rest, **others)  # type: ignore[arg-type]

    faces._detector.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with fails(DataError, where="vision.crop=face", remedy=("facenet-pytorch==2.5.3", "vision.crop=centre")):
        faces.find_faces([EMPTY])
    monkeypatch.setattr(faces, "_PACKAGE", "no-such-package-of-faces")
    with fails(DataError, where="vision.crop=face", remedy="vision.crop=centre"):
        faces.detector_name()


def test_the_detector_is_named_with_its_version() -> None:
    assert "facenet-pytorch 2.5" in faces.detector_name()
