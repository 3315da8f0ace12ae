"""Broken and odd EEG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import mne
import numpy as np
import scipy.io
from broken import Recording, changed, fine, share, text
from made_media import sine

from eavdash.data.eeg.reading import eeg_info, read_eeg

NAMES = ("Fp1", "Fz", "Cz", "Oz")
RATE = 250
#: 3 s of 10 Hz at 20 µV, another phase in each channel.
WAVES = 2e-5 * np.stack([np.roll(sine(10, 3, RATE), k) for k in range(len(NAMES))])
#: (time, 30 channels, trials) in µV.
CUBE = np.random.default_rng(0).normal(0, 20, (600, 30, 2)).astype(np.float32)


def edf(
    path: Path, names: Sequence[str] = NAMES, rate: int = RATE, kind: str = "edf", records: int | None = None
) -> None:
    """:data:`WAVES` as EDF or BDF, a record a second, written field by field."""
    volt, count = WAVES[: len(names)], WAVES.shape[1] // RATE
    width, top = (2, 2**15 - 1) if kind == "edf" else (3, 2**23 - 1)
    version = b"0       " if kind == "edf" else b"\xffBIOSEMI"

    def field(value: object, size: int) -> bytes:
        return str(value).encode()[:size].ljust(size)

    head = version + field("", 80) + field("", 80) + field("01.01.20", 8) + field("10.00.00", 8)
    head += field(256 * (len(names) + 1), 8) + field("" if kind == "edf" else "24BIT", 44)
    head += field(count if records is None else records, 8) + field(1, 8) + field(len(names), 4)
    head += b"".join(field(name, 16) for name in names)
    for value, size in (
        ("", 80),
        ("uV", 8),
        (-100, 8),
        (100, 8),
        (-top - 1, 8),
        (top, 8),
        ("", 80),
        (rate, 8),
        ("", 32),
    ):
        head += field(value, size) * len(names)
    steps = np.round(volt * 1e6 / 100 * top).astype("<i4")  # (channel, time)
    data = b"".join(
        row.tobytes() if width == 2 else row.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        for second in range(count)
        for row in steps[:, second * RATE : (second + 1) * RATE].astype("<i2" if width == 2 else "<i4")
    )
    path.write_bytes(head + data)


def raw(path: Path, volt: np.ndarray = WAVES, names: Sequence[str] = NAMES, kind: str = "eeg") -> None:
    """A FIF file."""
    recording = mne.io.RawArray(volt, mne.create_info(list(names), RATE, kind), verbose="ERROR")
    recording.save(path, fmt="double", overwrite=True, verbose="ERROR")


def vision(path: Path, parts: str = "header marker data") -> None:
    """BrainVision's three files, or some of them; samples in steps of 0.1 µV."""
    stem = path.stem
    if "header" in parts:
        channels = "".join(f"Ch{n}={name},,0.1,µV\n" for n, name in enumerate(NAMES, start=1))
        path.write_text(
            "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
            f"DataFile={stem}.eeg\nMarkerFile={stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
            f"NumberOfChannels={len(NAMES)}\nSamplingInterval={1e6 / RATE:.0f}\n"
            f"[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\n{channels}",
            encoding="utf-8",
        )
    if "marker" in parts:
        path.with_suffix(".vmrk").write_text(
            f"Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile={stem}.eeg\n"
            "[Marker Infos]\nMk1=New Segment,,1,1,0,20200101100000000000\n",
            encoding="utf-8",
        )
    if "data" in parts:
        path.with_suffix(".eeg").write_bytes(np.round(WAVES.T * 1e7).astype("<i2").tobytes())


def array(**arrays: object) -> Callable[[Path], object]:
    return lambda path: scipy.io.savemat(path, {**arrays, "of": path.name})  # no two files are alike


def packed(path: Path) -> None:
    """Compressed, as MATLAB writes it by default."""
    scipy.io.savemat(path, {"seg": 2.0 * CUBE}, do_compression=True)


def with_value(value: float) -> Callable[[Path], object]:
    cube = CUBE.copy()
    cube[100, 3, 0] = value
    return array(seg=cube)


def spoilt_waves(value: float) -> np.ndarray:
    waves = WAVES.copy()
    waves[1, 100] = value
    return waves


def waves(path: str) -> None:
    """:data:`WAVES`, but for the rounding of the format."""
    signal = read_eeg(path)
    assert (signal.channels, signal.rate) == (NAMES, RATE)
    np.testing.assert_allclose(signal.data, WAVES, atol=1e-7)
    assert abs(eeg_info(path).duration - 3) < 0.02


def two_channels(path: str) -> None:
    """Cz and Oz of :data:`WAVES`, as Fp1 stands twice."""
    signal = read_eeg(path)
    assert signal.channels == ("Cz", "Oz")
    np.testing.assert_allclose(signal.data, WAVES[2:], atol=1e-7)


def cube(number: int, times: int, path: str) -> None:
    """A trial of ``times`` :data:`CUBE`."""
    signal = read_eeg(path)
    assert signal.rate == 500
    np.testing.assert_allclose(signal.data, times * CUBE[:, :, number - 1].T * 1e-6, rtol=1e-5)


HDF5 = (
    b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116)
    + bytes(8)
    + b"\0\2IM"
    + bytes(384)
    + b"\x89HDF\r\n\x1a\n"
    + bytes(2000)
)
SHAPE = r"one numeric array of shape \(time at 500 Hz, 30 channels, trials\)"
CASES = [
    Recording("mat 7.3", "hdf.mat", text(HDF5), "v7.3", item="#1"),
    Recording("mat with its axes in another order", "turned.mat", array(seg=CUBE.transpose(1, 0, 2)), SHAPE, item="#1"),
    Recording("mat with trials first", "trials.mat", array(seg=CUBE.transpose(2, 1, 0)), SHAPE, item="#1"),
    Recording("mat with a matrix", "flat.mat", array(seg=CUBE[:, :, 0]), "no three-dimensional array", item="#1"),
    Recording("mat of 29 channels", "29.mat", array(seg=CUBE[:, :29]), SHAPE, item="#1"),
    Recording("mat with two arrays", "two.mat", array(seg=CUBE, seg1=CUBE), "seg .* and seg1", item="#1"),
    Recording("mat of complex numbers", "complex.mat", array(seg=CUBE * 1j), "complex", item="#1"),
    Recording("mat of texts", "texts.mat", array(seg=np.full((600, 30, 2), "a")), "array|holds", item="#1"),
    Recording("mat of cells", "cells.mat", array(seg=np.full((3, 30, 2), "abc", object)), SHAPE, item="#1"),
    Recording("mat with NaN", "nan.mat", with_value(np.nan), "finite", item="#1"),
    Recording("mat with infinity", "inf.mat", with_value(np.inf), "finite", item="#1"),
    Recording("mat cut in the middle", "cut.mat", changed(array(seg=CUBE), share(0.5)), "bytes too early", item="#1"),
    Recording(
        "packed mat cut in the middle",
        "packed-cut.mat",
        changed(packed, share(0.5)),
        "bytes too early|MATLAB v5",
        item="#1",
    ),
    Recording(
        "mat header alone",
        "header.mat",
        changed(array(seg=CUBE), lambda d: d[:128]),
        "no three-dimensional|complete",
        item="#1",
    ),
    Recording("mat of no bytes", "nothing.mat", text(b""), "0 bytes", item="#1"),
    Recording("text as mat", "text.mat", text("1 2 3\n" * 100), "MATLAB v5", item="#1"),
    Recording("mat of other trials", "few.mat", array(seg=CUBE), "a trial from 1 to 2", item="#3"),
    Recording("mat, trial 0", "zero.mat", array(seg=CUBE), "a trial from 1 to 2", item="#0"),
    Recording("mat without a number", "number.mat", array(seg=CUBE), "x.mat#41"),
    Recording("mat of a tenth of a second", "short.mat", array(seg=CUBE[:50]), SHAPE, item="#1"),
    Recording("edf cut in the middle", "cut.edf", changed(edf, share(0.6)), "bytes too early"),
    Recording("edf header alone", "header.edf", changed(edf, lambda d: d[:256]), "MNE|too early"),
    Recording("edf of no bytes", "nothing.edf", text(b""), "0 bytes"),
    Recording("edf without channels", "channels.edf", lambda p: edf(p, ()), "MNE|channel"),
    Recording(
        "edf with a channel twice",
        "twice.edf",
        lambda p: edf(p, ("Fp1", "Fp1", "Cz", "Oz")),
        "more than once.*Fp1",
        "warning",
        content=two_channels,
    ),
    Recording(
        "edf at 0 Hz",
        "0.edf",
        lambda p: edf(p, rate=0),
        "readable|no samples",
        reading_error="nan s|no samples",
    ),
    Recording("text as edf", "text.edf", text("0       nothing at all\n" * 40), "MNE"),
    Recording("random bytes as bdf", "random.bdf", text(np.random.default_rng(2).bytes(9000)), "MNE"),
    Recording("random bytes as fif", "random.fif", text(np.random.default_rng(3).bytes(9000)), "MNE"),
    Recording("fif cut in the middle", "cut_raw.fif", changed(raw, share(0.5)), "MNE|samples|sound|complete"),
    Recording("fif with NaN", "nan_raw.fif", lambda p: raw(p, spoilt_waves(np.nan)), "finite"),
    Recording("fif with infinity", "inf_raw.fif", lambda p: raw(p, spoilt_waves(-np.inf)), "finite"),
    Recording("fif without EEG", "misc_raw.fif", lambda p: raw(p, kind="misc"), "EEG channels"),
    Recording(
        "fif of one sample", "one_raw.fif", lambda p: raw(p, WAVES[:, :1]), "flat|short", "warning", "one step of"
    ),
    Recording("brainvision without its samples", "nodata.vhdr", lambda p: vision(p, "header marker"), "nodata.eeg"),
    Recording(
        "brainvision's markers alone", "only.vmrk", lambda p: vision(p.with_suffix(".vhdr"), "marker"), "only.vhdr"
    ),
    Recording("random bytes as EEGLAB", "random.set", text(np.random.default_rng(4).bytes(5000)), "MNE"),
    Recording("random bytes as GDF", "random.gdf", text(np.random.default_rng(5).bytes(5000)), "MNE"),
    Recording("EEG of an unknown kind", "a.xyz", text("1,2,3\n"), "MNE"),
    Recording("flat channels alone", "flat_raw.fif", lambda p: raw(p, WAVES * 0), "flat", "warning"),
    fine("edf", "a.edf", edf, waves),
    fine("bdf", "a.bdf", lambda p: edf(p, kind="bdf"), waves),
    fine("edf of unknown length", "open.edf", lambda p: edf(p, records=-1), waves),
    fine(
        "channels in another spelling",
        "case.edf",
        lambda p: edf(p, ("EEG FP1-Ref", "EEG FZ-Ref", "EEG CZ", "OZ.")),
        waves,
    ),
    fine("fif", "a_raw.fif", raw, waves),
    fine("brainvision", "a.vhdr", vision, waves),
    fine("brainvision without its markers", "nomarks.vhdr", lambda p: vision(p, "header data"), waves),
    Recording("a mat's first trial", "a.mat", array(seg=CUBE), content=partial(cube, 1, 1), item="#1"),
    Recording("a packed mat of doubles", "doubles.mat", packed, content=partial(cube, 2, 2), item="#2"),
    Recording("a mat of another name", "name.MAT", array(anything=4.0 * CUBE), content=partial(cube, 2, 4), item="#2"),
    Recording(
        "a mat beside notes",
        "notes.mat",
        array(seg1=3 * CUBE, rate=500, who="someone"),
        content=partial(cube, 1, 3),
        item="#1",
    ),
]
