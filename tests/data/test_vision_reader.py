"""Windows of frames: their dependencies, and the facts about faces in them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from made_media import movie, steps

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.data.readers import TrialRow
from eavdash.data.readers.vision import VisionReader
from eavdash.data.video import faces
from eavdash.data.video.faces import Face


def row(path: str, start: float | None = None) -> TrialRow:
    return TrialRow("1", "1", "g", "a", path, start, None)


def reader(*settings: str) -> VisionReader:
    return VisionReader(with_settings(StudyConfig(), ["window=2", "vision.size=16", *settings]))


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return movie(tmp_path / "a.mp4", [k / 10 for k in range(40)])


def test_windows_of_the_centre(clip: str) -> None:
    reading = reader("vision.crop=centre").read(row(clip, 1.0), [(0, 2), (2, 2.7)])
    assert steps(reading.values.reshape(4, 16, 16, 3)[:3]) == [15, 1, 11]
    assert reading.mask.tolist() == [[True, True], [True, False]]
    assert reading.facts == {}


def test_the_facts_count_detections_and_faces(clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detection each second over both windows, with a face in the first two."""
    detections = iter([[Face(20, 20, 16, 0.9)], [Face(21, 20, 16, 0.9)], [], []])
    monkeypatch.setattr(faces.Tracker.__init__, "__defaults__", (lambda some: [next(detections) for _ in some],))
    reading = reader("vision.frames_per_second=2").read(row(clip), [(0, 2), (2, 4)])
    assert reading.values.shape == (2, 4, 16, 16, 3)
    assert reading.facts == {"found": 2, "looked": 4}


def test_every_trial_begins_without_a_face(clip: str) -> None:
    eyes = reader()
    first, again = eyes.read(row(clip), [(0, 2)]), eyes.read(row(clip), [(0, 2)])
    assert np.array_equal(first.values, again.values)
    assert first.facts == again.facts == {"found": 0, "looked": 2}
    assert np.array_equal(first.values, reader("vision.crop=centre").read(row(clip), [(0, 2)]).values)


def test_published_pictures_have_no_detections(tmp_path: Path) -> None:
    pictures = np.zeros((1, 25, 56, 56, 3), np.uint8)
    with (tmp_path / "x_vis.pkl").open("wb") as file:
        pickle.dump([pictures, np.array([0]), pictures, np.array([1])], file)
    reading = reader().read(row(str(tmp_path / "x_vis.pkl#2")), [(0, 2), (2, 4)])
    assert reading.mask.all()
    assert reading.facts == {}


def test_settings_name_what_the_crop_depends_on() -> None:
    face = reader().settings
    assert "facenet-pytorch" in face["detector"]
    for key in ("margin", "detect_every", "smoothing"):
        assert reader(f"vision.{key}=0.125").settings != face
        assert reader(f"vision.{key}=0.125", "vision.crop=centre").settings == reader("vision.crop=centre").settings
    assert reader("vision.crop=centre").settings != face


def test_a_reader_can_be_sent_to_another_process(clip: str) -> None:
    eyes = reader()
    copy = pickle.loads(pickle.dumps(eyes))
    assert np.array_equal(copy.read(row(clip), [(0, 2)]).values, eyes.read(row(clip), [(0, 2)]).values)


def test_memory_follows_the_windows_and_the_largest_frame(clip: str, tmp_path: Path) -> None:
    large = movie(tmp_path / "b.mp4", [0.0, 0.1, 0.2], size=(1920, 1080))
    eyes = VisionReader(preset("paper"))
    eyes.prepare([row(clip)])
    assert 4 * 25 * 224 * 224 * 3 < eyes.bytes_of(20.0) < 200e6
    assert eyes.bytes_of(200.0) > 10 * 4 * 25 * 224 * 224 * 3
    eyes.prepare([row(clip), row(large)])
    assert 390e6 < eyes.bytes_of(20.0) < 500e6, "390 MB were measured"
    centre = reader("vision.crop=centre")
    centre.prepare([row(clip)])
    assert centre.bytes_of(20.0) < 5e6
