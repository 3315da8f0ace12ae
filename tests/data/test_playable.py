"""Files that a browser plays: in step with the trial, made once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from array_files import input_images
from failing import fails
from made_media import clip, movie, sine, steps, wav
from PIL import Image

from eavdash.data.audio import reading as audio
from eavdash.data.video import playable
from eavdash.data.video import reading as video
from eavdash.data.video.muxing import Cut
from eavdash.data.video.playable import Playable
from eavdash.errors import DataError

REGULAR = [k / 10 for k in range(100)]


def click(path: Path, time: float, duration: float = 10.0) -> str:
    """A sound with a click at ``time``."""
    wave = np.zeros(round(duration * 16000))
    wave[round(time * 16000) : round(time * 16000) + 80] = 0.9
    return wav(path, wave)


def heard(made: Playable) -> float:
    """When the click comes, in seconds of the trial."""
    assert made.media is not None
    wave = audio.read_audio(str(made.media), rate=48000)
    return float(np.argmax(np.abs(wave) > 0.3)) / 48000 - made.offset


def seen(made: Playable, times: list[float]) -> list[int]:
    """Numbers of the frames (modulo 24) at ``times`` of the trial."""
    return steps(video.read_frames(str(made.media), [made.offset + t for t in times], 16))


def codecs(made: Playable) -> list[str]:
    with av.open(str(made.media)) as container:
        return [s.codec_context.name for s in (*container.streams.video, *container.streams.audio)]


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_a_video_that_a_browser_plays_is_used_directly(tmp_path: Path, name: str) -> None:
    path = movie(tmp_path / name, REGULAR)
    assert playable.playable(Cut(path, 2.0, 3.0), None, tmp_path / "cache") == Playable(Path(path), True, 2.0)
    own = clip(tmp_path / f"own-{name}", sine(440, 2, 48000, 0.5), pictures=REGULAR[:20])
    cut = Cut(own, 0.0, 2.0)
    assert playable.playable(cut, cut, tmp_path / "cache").media == Path(own)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("start", [0.0, 4.0, 7.35])
def test_packets_are_copied_and_the_sound_is_in_step(tmp_path: Path, start: float) -> None:
    path = movie(tmp_path / "a.mp4", REGULAR)
    sound = click(tmp_path / "a.wav", start + 1.25)
    made = playable.playable(Cut(path, start, 2.0), Cut(sound, start, 2.0), tmp_path / "cache")
    assert codecs(made) == ["h264", "aac"]
    assert 0 <= made.offset <= 1.3, "no more than a group of pictures before the start"
    first = int(start * 10 + 1e-6)
    assert seen(made, [0.01, 1.01, 1.9]) == [(first + k) % 24 for k in (0, 10, 19)]
    assert heard(made) == pytest.approx(1.25, abs=0.01)
    with av.open(path) as before, av.open(str(made.media)) as after:
        packets = {bytes(p) for p in before.demux(video=0)}
        assert {bytes(p) for p in after.demux(video=0)} <= packets, "the pictures were encoded again"


@pytest.mark.parametrize("name", ["a.avi", "a.webm", "b.mp4"])
def test_other_videos_are_encoded_and_cut_at_the_start(tmp_path: Path, name: str) -> None:
    path = movie(tmp_path / name, REGULAR, size=(66, 50), begin=0.5 if name == "b.mp4" else 0.0)
    sound = click(tmp_path / "a.wav", 3.5)
    made = playable.playable(Cut(path, 2.5, 3.0), Cut(sound, 2.5, 3.0), tmp_path / "cache")
    assert codecs(made) == ["h264", "aac"]
    assert heard(made) == pytest.approx(1, abs=0.01)
    assert seen(made, [0.01, 1.05, 2.85]) == [(25 + k) % 24 for k in (0, 10, 28)]
    if name != "b.mp4":
        assert made.offset == 0


def test_a_late_segment_of_what_must_be_encoded_is_sought(tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mkv", REGULAR)
    with av.open(path) as container, av.open(str(tmp_path / "b.mkv"), "w") as out:
        copy = out.add_stream("mpeg4", rate=10)
        copy.width, copy.height, copy.pix_fmt = 64, 48, "yuv420p"
        for frame in container.decode(video=0):
            frame.pict_type = av.video.frame.PictureType.NONE
            out.mux(copy.encode(frame))
        out.mux(copy.encode(None))
    made = playable.playable(Cut(str(tmp_path / "b.mkv"), 7.35, 2.0), None, tmp_path / "cache")
    assert codecs(made) == ["h264"]
    assert seen(made, [0.01, 1.06, 1.9]) == [(73 + k) % 24 for k in (0, 11, 19)]


def test_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Cut(movie(tmp_path / "a.avi", REGULAR), 0.0, 2.0)
    made = playable.playable(cut, None, tmp_path / "cache")
    assert made.media is not None
    assert [p.name for p in made.media.parent.iterdir()] == [made.media.name]
    monkeypatch.setattr(playable, "encoded_packets", lambda *a: pytest.fail("made twice"))
    assert playable.playable(cut, None, tmp_path / "cache") == made
    movie(tmp_path / "a.avi", REGULAR[:50])
    monkeypatch.undo()
    assert playable.playable(cut, None, tmp_path / "cache") != made, "another file has another copy"


def test_sound_alone_is_cut_to_the_sample(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.linspace(-2, 2, 5 * 22050), 22050)
    made = playable.playable(None, Cut(path, 1.0, 2.0), tmp_path / "cache")
    assert made.media is not None
    assert not made.moving
    samples, rate = soundfile.read(made.media)
    assert (rate, len(samples)) == (22050, 2 * 22050)
    assert samples[0] == pytest.approx(-1.0, abs=1e-3), "clipped, not wrapped"
    assert samples[22050] == pytest.approx(-0.4, abs=1e-3)


def test_still_images(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        shown = playable.playable(Cut(str(tmp_path / name), 0.0, float("inf")), None, tmp_path / "cache")
        assert shown.media is None
        assert shown.image is not None
        assert shown.image.suffix == ".png"
    sound = Cut(wav(tmp_path / "a.wav", sine(440, 1, 16000, 0.5)), 0.0, 1.0)
    both = playable.playable(Cut(str(tmp_path / "a.png"), 0.0, float("inf")), sound, tmp_path / "cache")
    assert both.image == tmp_path / "a.png"
    assert both.media is not None
    assert both.media.suffix == ".wav"
    assert playable.playable(None, None, tmp_path) == Playable()


def test_an_item_of_eavs_published_pickles(tmp_path: Path) -> None:
    folder = input_images(tmp_path, train=2, test=1)
    pictures = Cut(f"{folder / 'Vision' / 'subject_01_vis.pkl'}#7", 0.0, 5.0)
    sound = Cut(f"{folder / 'Audio' / 'subject_01_aud.pkl'}#7", 0.0, 5.0)
    made = playable.playable(pictures, sound, tmp_path / "cache")
    assert codecs(made) == ["h264", "aac"]
    info = video.video_info(str(made.media))
    assert (info.duration, info.frames) == (pytest.approx(5, abs=0.2), 25)
    assert playable.playable(pictures, None, tmp_path / "cache").moving


def test_a_copy_that_cannot_be_written(tmp_path: Path) -> None:
    path = movie(tmp_path / "a.avi", REGULAR)
    (tmp_path / "cache").write_text("in the way")
    with fails(DataError, where=".mp4", remedy="disk space"):
        playable.playable(Cut(path, 0.0, 2.0), None, tmp_path / "cache")


def test_a_damaged_video_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"nothing")
    with fails(DataError, where="a.avi"):
        playable.playable(Cut(str(tmp_path / "a.avi"), 0.0, 2.0), None, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.mp4"))


def test_real_mpeg(real_data: Path, tmp_path: Path) -> None:
    path = str(sorted((real_data / "video").glob("*.mpg"))[0])
    length = video.video_info(path).duration
    made = playable.playable(Cut(path, 0.0, length), None, tmp_path)
    assert codecs(made) == ["h264", "aac"]
    with av.open(str(made.media)) as copy:
        context = copy.streams.video[0].codec_context
        assert (context.pix_fmt, context.width, context.height) == ("yuv420p", 360, 288)
        assert copy.duration / 1e6 == pytest.approx(length, abs=0.1)


def test_copies_are_private_and_marked_as_used(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.zeros(16000))
    Path(path).chmod(0o600)
    made = playable.playable(None, Cut(path, 0.0, 0.5), tmp_path / ".cache").media
    assert made is not None
    assert [stat.S_IMODE(p.stat().st_mode) for p in (made, made.parent, made.parent.parent)] == [0o600, 0o700, 0o700]
    os.utime(made, (1, 1))
    old = made.with_name("old.wav")
    old.write_bytes(b"")
    os.utime(old, (1, 1))
    assert playable.playable(None, Cut(path, 0.0, 0.5), tmp_path / ".cache").media == made
    assert (made.stat().st_atime > 1, made.stat().st_mtime) == (True, 1)
    assert not old.exists(), "the folder is trimmed also when nothing is made"
