"""Copies of videos that a browser plays."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from made_media import movie, steps

from eavdash.data import playable, video
from eavdash.errors import DataError

REGULAR = [k / 10 for k in range(20)]


def test_a_video_that_a_browser_plays_is_not_copied(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.webm"):
        path = movie(tmp_path / name, REGULAR)
        assert playable.browser_video(path, tmp_path / "cache") == Path(path)
    assert not (tmp_path / "cache").exists()


def test_other_videos_are_copied_once(tmp_path: Path, monkeypatch) -> None:
    path = movie(tmp_path / "a.avi", REGULAR, size=(66, 50))
    copy = playable.browser_video(path, tmp_path / "cache")
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]
    assert abs(video.video_info(str(copy)).duration - video.video_info(path).duration) < 0.05
    assert steps(video.read_frames(str(copy), [0, 0.55, 1.9], 16)) == [0, 5, 19]
    monkeypatch.setattr(playable, "_transcode", lambda *a: pytest.fail("made twice"))
    assert playable.browser_video(path, tmp_path / "cache") == copy


def test_a_copy_that_cannot_be_written(tmp_path: Path) -> None:
    path = movie(tmp_path / "a.avi", REGULAR)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match="expected a file that can be written"):
        playable.browser_video(path, tmp_path / "cache")


def test_real_mpeg(real_data: Path, tmp_path: Path) -> None:
    path = str(sorted((real_data / "video").glob("*.mpg"))[0])
    with av.open(str(playable.browser_video(path, tmp_path))) as copy:
        context = copy.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 360, 288)
        assert copy.streams.audio[0].codec_context.name == "aac"
        assert copy.duration / 1e6 == pytest.approx(video.video_info(path).duration, abs=0.1)
