"""Sound and video as editors, recorders and phones leave them, made with PyAV and by changing bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 16000


def speech(seconds: float = 8.0) -> np.ndarray:
    """(time,) float32 whose second half is faint, so that encoders spend fewer bits on it."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.02 * np.random.default_rng(0).standard_normal(len(time))
    wave[len(wave) // 2 :] *= 0.02
    return wave.astype(np.float32)


def encoded(
    path: Path, wave: np.ndarray, codec: str, rate: int = RATE, quality: float | None = None, **options: str
) -> Path:
    """A mono sound, of a variable bit rate with ``quality``; options of the codec and of the container."""
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono", options=options)
        if quality is not None:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = round(118 * quality)
        planar = stream.codec_context.format.name
        for at in range(0, len(wave), 1152):
            part = wave[None, at : at + 1152]
            if not planar.startswith("flt"):
                scale, kind = (2.0**15, np.int16) if "16" in planar else (2.0**31, np.int32)
                part = (part * scale).astype(kind)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), planar, "mono")
            frame.rate, frame.pts = rate, at
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def replaced(path: Path, after: bytes, skip: int, content: bytes) -> Path:
    """Overwrite bytes ``skip`` behind the first occurrence of ``after``."""
    data = bytearray(path.read_bytes())
    at = data.index(after) + len(after) + skip
    data[at : at + len(content)] = content
    path.write_bytes(data)
    return path


def without_end_mark(path: Path) -> Path:
    """Clear the flag of an Ogg file's last page, and make its checksum right again."""
    data = bytearray(path.read_bytes())
    at = data.rfind(b"OggS")
    data[at + 5] &= ~4
    data[at + 22 : at + 26] = bytes(4)
    checksum = 0
    for byte in data[at:]:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 0x80000000 else 0)) & 0xFFFFFFFF
    data[at + 22 : at + 26] = struct.pack("<I", checksum)
    path.write_bytes(data)
    return path


def wav_of(path: Path, packets: Path, tag: int = 0x55) -> Path:
    """A WAV file whose content is an MP3 file's."""
    content = packets.read_bytes()
    form = struct.pack("<HHIIHHHHIHHH", tag, 1, RATE, 8000, 1, 0, 12, 1, 2, 576, 1, 0)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content)) + content
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def id3(picture: bytes) -> bytes:
    """An ID3 tag with a cover picture."""
    frame = b"\0image/png\0\3\0" + picture
    body = b"APIC" + struct.pack(">IH", len(frame), 0) + frame
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + body


def picture(width: int = 96, height: int = 64) -> np.ndarray:
    """(height, width, 3) uint8, equal to none of its reflections and rotations."""
    rows, columns = np.mgrid[:height, :width]
    shade = 40 + 90 * rows / height + 60 * columns / width
    shown = np.repeat(shade[:, :, None], 3, axis=2)
    shown[: height // 4, : width // 4] = 230
    shown[-height // 4 :, : width // 2] = 10
    return shown.astype(np.uint8)


def film(path: Path, count: int = 20, size: tuple[int, int] = (96, 64), codec: str = "libx264", **options: str) -> Path:
    """``count`` pictures at 10 per second, each brighter than the last, a key frame every 10."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10, options={"crf": "4", "g": "10", "bf": "2", **options})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for k in range(count):
            shown = np.clip(picture(*size).astype(int) + k, 0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into the header of an mp4's first track, as phones do."""
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    at = data.index(plain, data.index(b"tkhd"))
    matrix = struct.pack(">9i", *(n << 16 for n in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(data[:at] + matrix + data[at + 36 :])
    return path


def with_box(path: Path, kind: bytes, content: bytes) -> Path:
    """Put a box into the entry of an mp4's first video track, whose index lies behind the pictures."""
    data = bytearray(path.read_bytes())
    box = struct.pack(">I", 8 + len(content)) + kind + content
    at = data.index(b"avcC") - 4
    data[at:at] = box
    start = data.index(b"moov")
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.index(name, start) - 4
        data[place : place + 4] = struct.pack(">I", struct.unpack(">I", data[place : place + 4])[0] + len(box))
    path.write_bytes(data)
    return path


def with_pixel_shape(path: Path, wide: int, high: int) -> Path:
    """State the shape of an mp4's pixels in its container, in place of what PyAV wrote there, if anything."""
    data = path.read_bytes()
    if (at := data.find(b"pasp")) > 0:
        path.write_bytes(data[: at + 4] + struct.pack(">II", wide, high) + data[at + 12 :])
        return path
    return with_box(path, b"pasp", struct.pack(">II", wide, high))


def with_aperture(path: Path, width: int, height: int, right: int = 0, down: int = 0) -> Path:
    """State a clean aperture of these pixels, its centre moved to the right and down."""
    return with_box(path, b"clap", struct.pack(">8i", width, 1, height, 1, right, 1, down, 1))


def with_pixel_crop(path: Path, sides: Sequence[int]) -> Path:
    """Hide pixels at left, top, right and bottom of a Matroska file's only track."""
    data = bytearray(path.read_bytes())
    names = (0x54CC, 0x54BB, 0x54DD, 0x54AA)
    crops = b"".join(struct.pack(">HBB", name, 0x81, side) for name, side in zip(names, sides, strict=True))
    at = data.index(b"\x16\x54\xae\x6b", data.index(b"\x16\x54\xae\x6b") + 4)  # the first one is in the index
    for name in (b"\x16\x54\xae\x6b", b"\xae", b"\xe0"):  # tracks, track, video
        while True:
            place = at + 9 - data[at].bit_length()
            bits = 9 - data[place].bit_length()
            size = int.from_bytes(data[place : place + bits]) & (1 << 7 * bits) - 1
            if data[at:place] == name:
                break
            at = place + bits + size
        data[place : place + bits] = (size + len(crops) | 1 << 7 * bits).to_bytes(bits)
        at = place + bits
    data[at:at] = crops
    path.write_bytes(data)
    return path


def cut(path: Path, source: Path, start: float) -> Path:
    """Copy the packets from the key frame before ``start``; an edit list hides what lies before it."""
    with av.open(str(source)) as given, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        given.seek(int(start / stream.time_base), stream=stream)
        shift = round(start / stream.time_base)
        for packet in given.demux(stream):
            if packet.dts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
            out.mux(packet)
    return path


def with_cover(path: Path, cover: bytes) -> Path:
    """Put a cover picture before an mp4's tracks, so that it is the file's first stream."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    art = box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0) + cover)))
    meta = box(b"meta", bytes(4) + box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9)) + art)
    data, extra = path.read_bytes(), box(b"udta", meta)
    at = data.index(b"moov") - 4
    head = data.index(b"mvhd") - 4
    end = head + struct.unpack(">I", data[head : head + 4])[0]
    size = struct.unpack(">I", data[at : at + 4])[0] + len(extra)
    path.write_bytes(data[:at] + struct.pack(">I", size) + b"moov" + data[at + 8 : end] + extra + data[end:])
    return path


def channels(path: Path, *waves: np.ndarray) -> str:
    """A float WAV file with these channels."""
    soundfile.write(path, np.stack(waves, axis=1), RATE, subtype="FLOAT")
    return str(path)
