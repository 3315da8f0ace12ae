"""Broken and odd videos."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
from broken import Recording, changed, fine, renamed, share, text
from made_media import clip, grey, movie, sine, steps
from PIL import Image

from eavdash.data.video.reading import read_frames, video_info

STEADY = [k / 10 for k in range(20)]
UNEVEN = [0, 0.1, 0.2, 0.5, 0.55, 0.6, 1.0, 1.3, 1.9]
LONG = [k / 10 for k in range(60)]
FAST_START = {"movflags": "faststart"}


def film(
    path: Path,
    pictures: list[np.ndarray],
    codec: str = "libx264",
    form: str = "yuv420p",
    rate: int = 10,
    options: dict[str, str] | None = None,
) -> None:
    """A video of these pictures, (height, width, 3) uint8."""
    with av.open(str(path), "w", options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = form
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))


def plain(count: int = 20, height: int = 48, width: int = 64, level: int | None = None) -> list[np.ndarray]:
    """Grey pictures, each of another level unless ``level`` is given."""
    return [np.full((height, width, 3), grey(k % 24) if level is None else level, np.uint8) for k in range(count)]


def noisy(count: int = 60) -> list[np.ndarray]:
    """Pictures that do not compress well."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(count)]


def turned(a: int, b: int, c: int, d: int) -> Callable[[Path], None]:
    """A picture whose left half is bright, in a container that says by how much it is to be turned."""

    def write(path: Path) -> None:
        pictures = [np.full((64, 64, 3), 2 * k, np.uint8) for k in range(15)]
        for picture in pictures:
            picture[:, :32] = 220
        film(path, pictures)
        data, plain = path.read_bytes(), struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        at = data.index(plain, data.index(b"tkhd"))
        matrix = struct.pack(">9i", *(n << 16 for n in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
        path.write_bytes(data[:at] + matrix + data[at + 36 :])

    return write


def bright(side: tuple[slice, slice], dark: tuple[slice, slice], path: str) -> None:
    """Which half of the upright picture is bright."""
    frame = read_frames(path, [0.3], 16)[0].astype(int)
    assert frame[side].mean() > 180
    assert frame[dark].mean() < 40


def shows(times: list[float], numbers: list[int], path: str) -> None:
    """Which frames are shown at these times."""
    assert steps(read_frames(path, times, 16)) == numbers


def lasts(duration: float, path: str) -> None:
    assert abs(video_info(path).duration - duration) < 0.11
    assert read_frames(path, [0.0, duration - 0.05], 16).shape == (2, 16, 16, 3)


def still(path: str) -> None:
    assert video_info(path).still
    assert np.abs(read_frames(path, [0, 30], 16).astype(int) - 120).max() <= 2


def cover(path: Path) -> None:
    """A sound with a picture of its own, as music is sold."""
    with av.open(str(path), "w", format="mp4") as out:
        voice = out.add_stream("aac", rate=16000, layout="mono")
        picture = out.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        out.mux(picture.encode(av.VideoFrame.from_ndarray(plain(1, 32, 32)[0], format="rgb24")))
        wave = sine(440, 2, 16000, 0.5).astype(np.float32)
        for at in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, at : at + 1024], "fltp", "mono")
            frame.rate, frame.pts = 16000, at
            out.mux(voice.encode(frame))
        out.mux(voice.encode(None))


def animation(path: Path) -> None:
    frames = [Image.fromarray(picture) for picture in plain(10)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)


def spoilt(data: bytes) -> bytes:
    """The middle of the pictures overwritten."""
    first = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    return data[:first] + b"\xff" * 20000 + data[first + 20000 :]


def early(path: Path) -> None:
    """Times that begin before 0."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k, picture in enumerate(plain()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = k
            for packet in stream.encode(frame):
                packet.pts, packet.dts = packet.pts - 5, packet.dts - 5
                out.mux(packet)


TOP, BOTTOM = (slice(0, 6), slice(None)), (slice(10, 16), slice(None))
LEFT, RIGHT = (slice(None), slice(0, 6)), (slice(None), slice(10, 16))
CASES = [
    Recording("mp4 without its index", "index.mp4", changed(lambda p: film(p, noisy()), share(0.7)), "decodable"),
    Recording(
        "mp4 cut in the middle",
        "cut.mp4",
        changed(lambda p: film(p, noisy(), options=FAST_START), share(0.5)),
        "end after|decodable",
    ),
    Recording(
        "mkv cut in the middle", "cut.mkv", changed(lambda p: film(p, noisy()), share(0.5)), "end after|decodable"
    ),
    Recording(
        "avi cut in the middle",
        "cut.avi",
        changed(lambda p: film(p, noisy(), "mpeg4"), share(0.5)),
        "end after|decodable",
    ),
    Recording("mp4 of no bytes", "nothing.mp4", text(b""), "0 bytes"),
    Recording("mp4 header alone", "header.mp4", text(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41"), "decodable"),
    Recording("text as mp4", "text.mp4", text("nothing to be seen\n" * 50), "decodable"),
    Recording("text as a video of text", "text.txt", text("nothing to be seen\n" * 60), "column of times"),
    Recording("random bytes as mp4", "random.mp4", text(np.random.default_rng(1).bytes(20000)), "decodable"),
    Recording("zeros as mp4", "zeros.mp4", text(bytes(5000)), "decodable"),
    Recording(
        "a list of addresses as mp4", "list.mp4", text("#EXTM3U\n#EXTINF:1\nhttp://192.0.2.1/a.ts\n"), "decodable"
    ),
    Recording("sound without pictures", "sound.mp4", lambda p: clip(p, sine(440, 1, 16000), 16000), "picture"),
    Recording("sound with a cover", "cover.m4a", cover, "picture|cover"),
    Recording(
        "mp4 of an unknown codec",
        "codec.mp4",
        changed(lambda p: movie(p, STEADY), lambda d: d.replace(b"avc1", b"zzzz")),
        "decodable",
    ),
    Recording(
        "mp4 with its pictures overwritten",
        "spoilt.mp4",
        changed(lambda p: film(p, noisy(20)), spoilt),
        "decodable|end after|frame",
    ),
    Recording("a black video", "black.mp4", lambda p: film(p, plain(20, level=0)), "black", "warning"),
    Recording(
        "a frozen video",
        "frozen.mp4",
        lambda p: film(p, [noisy(1)[0]] * 40),
        "frozen|same picture|not change",
        "warning",
    ),
    fine("one frame", "one.mp4", lambda p: film(p, plain(1)), lambda p: shows([0, 0.05], [0, 0], p)),
    fine(
        "odd sides",
        "odd.mkv",
        lambda p: film(p, plain(20, 47, 63), "ffv1", "yuv444p"),
        partial(shows, [0, 1.05], [0, 10]),
    ),
    fine(
        "one pixel", "pixel.mkv", lambda p: film(p, plain(20, 1, 1), "ffv1", "bgr0"), partial(shows, [0, 1.05], [0, 10])
    ),
    fine(
        "very wide",
        "wide.mkv",
        lambda p: film(p, plain(20, 2, 1000), "ffv1", "yuv444p"),
        partial(shows, [0, 1.05], [0, 10]),
    ),
    fine(
        "variable frame rate",
        "uneven.mp4",
        lambda p: movie(p, UNEVEN),
        partial(shows, [0, 0.49, 0.5, 0.57, 0.99, 1.25, 1.4], [0, 2, 3, 4, 5, 6, 7]),
    ),
    fine(
        "variable frame rate in mkv",
        "uneven.mkv",
        lambda p: movie(p, UNEVEN),
        partial(shows, [0, 0.49, 0.5, 0.57, 0.99, 1.25, 1.4], [0, 2, 3, 4, 5, 6, 7]),
    ),
    fine("turned by 90 degrees", "90.mp4", turned(0, 1, -1, 0), partial(bright, TOP, BOTTOM)),
    fine("turned by 180 degrees", "180.mp4", turned(-1, 0, 0, -1), partial(bright, RIGHT, LEFT)),
    fine("turned by 270 degrees", "270.mp4", turned(0, -1, 1, 0), partial(bright, BOTTOM, TOP)),
    fine("times before 0", "early.mkv", early, partial(shows, [0, 0.55, 1.85], [0, 5, 18])),
    fine(
        "times from an hour on",
        "late.mkv",
        lambda p: movie(p, STEADY, begin=3600),
        partial(shows, [0, 0.55, 1.85], [0, 5, 18]),
    ),
    fine(
        "a picture as mp4",
        "picture.mp4",
        renamed(lambda p: Image.fromarray(plain(1, level=120)[0]).save(p), ".png"),
        still,
    ),
    fine("a picture", "a.jpg", lambda p: Image.fromarray(plain(1, level=120)[0]).save(p), still),
    fine("an animation", "a.gif", animation, partial(shows, [0, 0.55], [0, 5])),
    fine("mjpeg", "a.avi", lambda p: film(p, plain(), "mjpeg", "yuvj420p"), partial(shows, [0, 0.55], [0, 5])),
    fine("vp9", "a.webm", lambda p: movie(p, STEADY), partial(shows, [0, 0.55], [0, 5])),
    fine("mkv as mp4", "mkv.mp4", renamed(lambda p: movie(p, STEADY), ".mkv"), partial(shows, [0, 0.55], [0, 5])),
]
