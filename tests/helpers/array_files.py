"""Small versions of EAV's published pickles and DEAP's files: right names and shapes, values that show their index."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = {"eeg": (30, 500), "aud": (80000,), "vis": (25, 56, 56, 3)}
FOLDER = {"eeg": "EEG", "aud": "Audio", "vis": "Vision"}


def classes(per_class: int) -> np.ndarray:
    """(5 * per_class,) sorted by class, as published."""
    return np.repeat(np.arange(5), per_class)


def windows(kind: str, count: int, first: int = 1) -> np.ndarray:
    """(count, ...) whose n-th window holds the number ``first + n`` (modulo 256 for pictures)."""
    numbers = np.arange(first, first + count).reshape(-1, *[1] * len(SHAPES[kind]))
    dtype = {"eeg": "float32", "aud": "float32", "vis": "uint8"}[kind]
    return np.broadcast_to((numbers % 256 if kind == "vis" else numbers).astype(dtype), (count, *SHAPES[kind])).copy()


def content(kind: str, train: np.ndarray, test: np.ndarray, one_hot: bool = False) -> list[Any]:
    """[tr_x, tr_y, te_x, te_y]."""
    label = (lambda y: np.eye(5)[y]) if one_hot else (lambda y: y)
    return [windows(kind, len(train)), label(train), windows(kind, len(test), len(train) + 1), label(test)]


def pickled(path: Path, value: Any, protocol: int = 4) -> Path:
    """Write a pickle, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def input_images(root: Path, subject: int = 1, train: int = 8, test: int = 4, kinds: str = "eeg aud vis") -> Path:
    """``Input_images`` below ``root`` with one subject's files: ``train`` and ``test`` windows of each class."""
    folder = root / "Input_images"
    for kind in kinds.split():
        value = content(kind, classes(train), classes(test), one_hot=kind == "aud")
        pickled(folder / FOLDER[kind] / f"subject_{subject:02d}_{kind}.pkl", value)
    return folder


def deap_arrays(trials: int = 4, samples: int = 8064) -> dict[str, np.ndarray]:
    """``data`` (trial, 40, time), whose value is 1000 * trial + channel (from 1), and ratings of trial n from 1 on."""
    data = np.arange(1, trials + 1)[:, None, None] * 1000.0 + np.arange(1, 41)[:, None] + np.zeros(samples)
    ratings = np.array([[3.0 + n, 9.0 - n, 5.0, 1.5 + n] for n in range(1, trials + 1)])
    return {"data": data, "labels": ratings}


def deap(path: Path, arrays: dict[str, np.ndarray] | None = None) -> Path:
    """A file as Python 2 pickled DEAP's: protocol 2, texts of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(_text(name) + _array(array) for name, array in (arrays or deap_arrays()).items())
    path.write_bytes(b"\x80\x02}(" + body + b"u.")
    return path


def _text(value: str) -> bytes:
    return b"U" + bytes([len(value)]) + value.encode()


def _array(array: np.ndarray) -> bytes:
    raw = np.ascontiguousarray(array, dtype="<f8").tobytes()
    shape = b"".join(b"M" + struct.pack("<H", length) for length in array.shape)
    dtype = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01("
    return start + shape + b"t" + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
