"""Recordings and tables with random bytes changed or cut off: an error that says what is wrong, or a result."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path

import broken_eeg
import broken_sound
import broken_tables
import broken_video
import eav_files
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_media import clip, movie

from eavdash.data.audio import reading as audio
from eavdash.data.eeg import reading as eeg
from eavdash.data.formats.eav_mat import read_labels
from eavdash.data.formats.unpickle import load_arrays
from eavdash.data.table import open_table
from eavdash.data.video import reading as video
from eavdash.errors import EavdashError

EXAMPLES, SECONDS = 12, 10.0


def hear(path: Path) -> None:
    assert np.isfinite(audio.read_audio(str(path), 0, min(1.0, audio.audio_duration(str(path))))).all()


def see(path: Path) -> None:
    info = video.video_info(str(path))
    assert video.read_frames(str(path), [0, info.duration / 2], 16).shape == (2, 16, 16, 3)


def measure(path: Path) -> None:
    entry = f"{path}#1" if path.suffix == ".mat" else str(path)
    assert np.isfinite(eeg.read_eeg(entry, 0, min(0.5, eeg.eeg_info(entry).duration)).data).all()


def tone(path: Path) -> None:
    clip(path, broken_sound.TONE, 16000, pictures=[0, 0.1, 0.2])


def label(path: Path) -> None:
    scipy.io.savemat(path, {"label": eav_files.label_matrix(40)}, do_compression=True)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps([np.ones((2, 30, 50), "float32"), {"a": [1, "b"]}], protocol=2))


def parquet(path: Path) -> None:
    broken_tables.parquet()(path.parent)


KINDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "a.wav": (broken_sound.sound("PCM_16"), hear),
    "float.wav": (broken_sound.sound(), hear),
    "a.flac": (broken_sound.written, hear),
    "a.ogg": (broken_sound.written, hear),
    "a.mp3": (broken_sound.written, hear),
    "talk.mp4": (tone, hear),
    "talk.mkv": (tone, hear),
    "talk.mpg": (tone, hear),
    "a.mp4": (lambda p: movie(p, broken_video.STEADY), see),
    "a.mkv": (lambda p: movie(p, broken_video.STEADY), see),
    "a.avi": (lambda p: movie(p, broken_video.STEADY), see),
    "a.webm": (lambda p: movie(p, broken_video.STEADY), see),
    "a.gif": (broken_video.animation, see),
    "a.mat": (broken_eeg.array(seg=broken_eeg.CUBE), measure),
    "packed.mat": (broken_eeg.packed, measure),
    "label.mat": (label, read_labels),
    "a.edf": (broken_eeg.edf, measure),
    "a.bdf": (lambda p: broken_eeg.edf(p, kind="bdf"), measure),
    "a_raw.fif": (broken_eeg.raw, measure),
    "a.vhdr": (broken_eeg.vision, measure),
    "a.pkl": (pickled, load_arrays),
    "trials.csv": (lambda p: broken_tables.csv(broken_tables.HEADER + broken_tables.ROW)(p.parent), open_table),
    "trials.parquet": (parquet, open_table),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound file of each kind, in a folder of its own."""
    files = {}
    for name, (make, read) in KINDS.items():
        files[name] = tmp_path_factory.mktemp("whole") / name
        make(files[name])
        read(files[name])
    return files


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A cut, or some bytes changed, most of them near the beginning, where lengths and kinds are written."""
    share = st.floats(0, 1, exclude_max=True)
    if draw(st.booleans()):
        part = draw(share)
        return lambda data: data[: int(part * len(data))]
    near = st.tuples(share, st.sampled_from([64, 512, 4096, 2**30]), st.integers(0, 255))
    changes = draw(st.lists(near, min_size=1, max_size=12))

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        for position, within, value in changes:
            changed[int(position * min(within, len(data)))] = value
        return bytes(changed)

    return change


@pytest.mark.parametrize("name", KINDS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(damage=damages())
def test_damage_is_an_error_in_a_sentence(
    whole: dict[str, Path], tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    for file in whole[name].parent.rglob("*.*"):  # and what belongs to it
        target = tmp_path / file.relative_to(whole[name].parent)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(file.read_bytes())
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    begin, message = time.monotonic(), f"{name}."
    try:
        KINDS[name][1](path)
    except EavdashError as error:
        message = str(error)
    assert name in message
    assert message.endswith((".", ".)"))
    assert time.monotonic() - begin < SECONDS
