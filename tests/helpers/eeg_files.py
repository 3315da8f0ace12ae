"""EEG files as recorders and editors write them: EDF with gaps, BrainVision, EEGLAB with and without a .fdt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

_NAMES = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2"
TEN20: tuple[str, ...] = (*_NAMES.split(),)
_TEXT = 64  # bytes of a record's annotations


def noise(channels: int, seconds: float, rate: float = 100.0, seed: int = 0) -> np.ndarray:
    """(channel, time) microvolt."""
    return np.random.default_rng(seed).normal(0, 20, (channels, round(seconds * rate)))


def edf(
    path: Path,
    data: np.ndarray,
    names: Sequence[str],
    rate: int = 100,
    kind: str = "",
    onsets: Sequence[float] = (),
    texts: Sequence[str] = (),
) -> str:
    """Write microvolt (channel, time) within 1 mV in records of 1 s; ``kind`` "EDF+D": they begin at ``onsets``.

    ``texts``: further annotations of the first record, such as "+1.5\\x152\\x14BAD_cough".
    """
    count, labels = data.shape[1] // rate, [*names, *(["EDF Annotations"] if kind else [])]
    head = b"0".ljust(8) + b"".ljust(160) + b"01.01.2010.00.00" + str(256 * (1 + len(labels))).encode().ljust(8)
    head += kind.encode().ljust(44) + str(count).encode().ljust(8) + b"1".ljust(8) + str(len(labels)).encode().ljust(4)

    def columns(width: int, value: str, text: str) -> bytes:
        cells = [text if kind and n == len(names) else value for n in range(len(labels))]
        return b"".join(cell.encode().ljust(width) for cell in cells)

    head += b"".join(name.encode("latin-1")[:16].ljust(16) for name in labels) + columns(80, "", "")
    head += columns(8, "uV", "") + columns(8, "-1000", "-1") + columns(8, "1000", "1") + columns(8, "-32768", "-32768")
    head += (
        columns(8, "32767", "32767")
        + columns(80, "", "")
        + columns(8, str(rate), str(_TEXT // 2))
        + columns(32, "", "")
    )
    steps = np.round((np.clip(data, -1000, 1000) + 1000) / 2000 * 65535 - 32768).astype("<i2")
    body = []
    for record in range(count):
        body.append(steps[:, record * rate : (record + 1) * rate].tobytes())
        if kind:
            onset = onsets[record] if onsets else record
            marks = "".join(f"{text}\x14\0" for text in texts) if record == 0 else ""
            body.append(f"+{onset:g}\x14\x14\0{marks}".encode().ljust(_TEXT, b"\0"))
    path.write_bytes(head + b"".join(body))
    return str(path)


def brainvision(path: Path, data: np.ndarray, names: Sequence[str] = TEN20, samples: str = "") -> str:
    """Write microvolt as .vhdr and .eeg at 100 Hz; the header names the file of ``samples`` (its own if empty)."""
    channels = "".join(f"Ch{n}={name},,0.1,µV\n" for n, name in enumerate(names, start=1))
    named = samples or f"{path.stem}.eeg"
    path.write_text(
        f"Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\nDataFile="
        f"{named}\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels={len(names)}\n"
        f"SamplingInterval=10000\n[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\n{channels}",
        encoding="utf-8",
    )
    path.with_suffix(".eeg").write_bytes(np.round(data.T * 10).astype("<i2").tobytes())
    return str(path)


def eeglab(path: Path, data: np.ndarray, names: Sequence[str] = TEN20, samples: str = "", epochs: int = 1) -> str:
    """Write microvolt as a .set at 100 Hz, of many ``epochs``; ``samples``: the .fdt that it names; its own is made."""
    points = data.shape[1] // epochs
    content: object = (
        data.astype("f4") if epochs == 1 else data.reshape(-1, epochs, points).transpose(0, 2, 1).astype("f4")
    )
    if samples:
        path.with_suffix(".fdt").write_bytes(data.T.astype("<f4").tobytes())
        content = samples
    fields = {
        **{
            "nbchan": float(len(names)),
            "trials": float(epochs),
            "pnts": float(points),
            "srate": 100.0,
            "data": content,
        },
        **{"chanlocs": np.array([(name, "") for name in names], dtype=[("labels", "O"), ("type", "O")])},
        **{"xmin": 0.0, "xmax": points / 100, "event": np.zeros(0), "epoch": np.zeros(0), "setname": path.name},
        **{"icawinv": np.zeros((0, 0)), "icaweights": np.zeros((0, 0)), "icasphere": np.zeros((0, 0))},
        **{"icachansind": np.zeros(0), "ref": "common", "times": np.arange(points) * 10.0},
    }
    scipy.io.savemat(path, {"EEG": fields}, appendmat=False, oned_as="row")
    return str(path)
