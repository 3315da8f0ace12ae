"""The contact sheet: a tile per trial, grey where there is nothing, never more than asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_media import trials
from PIL import Image

from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.data.video import contact_sheet as sheets
from eavdash.data.video import faces
from eavdash.data.video.contact_sheet import CAPTION, TILE, contact_sheet
from eavdash.data.video.faces import Face

GAP = 10
CENTRE = with_settings(StudyConfig(), ["vision.crop=centre"])


def still(path: Path, colour: tuple[int, int, int]) -> str:
    Image.new("RGB", (64, 48), colour).save(path)
    return str(path)


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    """25 trials; the picture of trial n is as red as ten times n."""
    return trials([{"video": still(tmp_path / f"{n}.png", (10 * n, 60, 60))} for n in range(1, 26)])


def tile(sheet: Image.Image, n: int) -> np.ndarray:
    left, top = GAP + n % 10 * (TILE + GAP), GAP + n // 10 * (TILE + CAPTION + GAP)
    return np.asarray(sheet)[top : top + TILE, left : left + TILE]


def captions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    whole = sheets.ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        sheets.ImageDraw.ImageDraw,
        "text",
        lambda self, at, text, **k: written.append(text) or whole(self, at, text, **k),
    )
    return written


def test_every_trial_has_its_tile_in_the_order_of_the_rows(rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    written = captions(monkeypatch)
    sheet = contact_sheet(rows.iloc[::-1], CENTRE)
    assert sheet.width <= 1440
    assert [int(tile(sheet, n)[..., 0].mean().round()) for n in range(25)] == [10 * n for n in range(25, 0, -1)]
    assert [text for text in written if text] == [str(n) for n in range(25, 0, -1)]
    below = np.asarray(sheet)[GAP + TILE : GAP + TILE + CAPTION, GAP : GAP + TILE]
    assert (below < 100).any(), "the caption is there"


def test_more_trials_than_the_limit_are_sampled_evenly(rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    written = captions(monkeypatch)
    sheet = contact_sheet(rows, CENTRE, limit=4)
    assert sheet.size == (GAP + 4 * (TILE + GAP), GAP + TILE + CAPTION + GAP)
    assert [text for text in written if text] == ["1", "9", "17", "25"]


def test_grey_where_nothing_could_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing at all")
    good = still(tmp_path / "good.png", (250, 0, 0))
    rows = trials([{"video": str(tmp_path / "broken.mp4")}, {}, {"video": good}, {"video": str(tmp_path / "gone.mp4")}])
    written = captions(monkeypatch)
    sheet = contact_sheet(rows, CENTRE)
    assert [bool((tile(sheet, n) == 200).all()) for n in range(4)] == [True, True, False, True]
    assert written == ["1", "unreadable", "2", "no video", "3", "", "4", "unreadable"]


def test_the_tile_is_the_face_and_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces.Tracker.__init__, "__defaults__", (lambda some: [[Face(50, 12, 10, 1.0)] for _ in some],))
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[5:20, 40:60] = (0, 220, 0)
    Image.fromarray(picture).save(tmp_path / "a.png")
    written = captions(monkeypatch)
    rows = trials([{"video": str(tmp_path / "a.png")}, {"video": str(tmp_path / "a.png"), "subject": "2"}])
    sheet = contact_sheet(rows, StudyConfig())
    assert (tile(sheet, 0) == (0, 220, 0)).all()
    assert written == ["1/1", "1 of 1", "2/2", "1 of 1"]


def test_no_trials() -> None:
    assert contact_sheet(trials([{}]).iloc[:0], CENTRE).width > 0
