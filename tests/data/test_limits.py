"""Files that declare or unfold to more than any real one: refused from their headers, before memory is filled."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from broken_eeg import NAMES, WAVES, edf, vision, waves
from failing import fails
from made_media import mat, movie, sine, wav

from eavdash.config import limits
from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.data.adapters import bids
from eavdash.data.audio.reading import audio_duration, read_audio
from eavdash.data.cache.window_set_spec import window_set_spec
from eavdash.data.eeg.reading import eeg_info, read_eeg
from eavdash.data.formats import workbook
from eavdash.data.formats.eav_mat import mat_arrays, read_labels
from eavdash.data.formats.tablefile import read_table
from eavdash.data.table import open_table
from eavdash.data.video.reading import read_frames, video_info
from eavdash.errors import ConfigError, RecordingError, TableError

HEADER = ("subject", "trial", "label", "audio")


@contextmanager
def memory(most: int = 30_000_000) -> Iterator[None]:
    """Expect that no more than ``most`` bytes are allocated."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def sparse(path: Path, head: bytes, size: int) -> str:
    """A file that begins with ``head`` and is zero for the rest, which takes no space on the disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return str(path)


# Trial tables


@pytest.mark.parametrize(
    ("rows", "columns", "expected", "found"),
    [(1_000_000, 4, "500,000 rows", "1,000,000"), (1, 10_001, "10,000 columns", "10,001")],
)
def test_a_parquet_table_is_refused_by_the_numbers_in_its_footer(
    tmp_path: Path, rows: int, columns: int, expected: str, found: str
) -> None:
    path = tmp_path / "trials.parquet"
    names = [*HEADER, *(f"c{n}" for n in range(columns - len(HEADER)))]
    pd.DataFrame({name: pd.Series(["1"]).repeat(rows) for name in names}).to_parquet(path, index=False)
    with memory(), fails(TableError, where=str(path), expected=expected, found=found):
        read_table(path)


def test_a_parquet_cell_with_a_long_list_counts_its_values(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "trials.parquet"
    columns = {name: pa.array(["1"]) for name in HEADER}
    columns["notes"] = pa.array([np.zeros(limits.TABLE_CELLS + 1, np.int8)])
    parquet.write_table(pa.table(columns), path)
    with memory(), fails(TableError, expected="10,000,000 cells", found="10,000,005"):
        read_table(path)


def test_a_long_text_that_occurs_often_in_parquet_is_in_memory_once(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "trials.parquet"
    count, note = 2_000, "x" * 100_000
    trials = [str(n) for n in range(count)]
    table = {"subject": ["1"] * count, "trial": trials, "label": trials, "audio": trials, "note": [note] * count}
    pd.DataFrame(table).to_parquet(path, index=False)
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        read = workbook.read_parquet(path)
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < count * len(note) / 10
    assert all(cells[read.header.index("note")] == note for _, cells in read.rows)


def test_a_csv_line_is_read_only_to_its_limit(tmp_path: Path) -> None:
    path = sparse(tmp_path / "trials.csv", ",".join(HEADER).encode(), limits.TABLE_BYTES)
    with memory(), fails(TableError, where="line 1", found="1,048,576 characters"):
        read_table(Path(path))


@pytest.mark.parametrize(
    ("head", "size", "expected"),
    [
        (b"", limits.TABLE_BYTES + 1, "268,435,456 bytes"),
        (b"," * 10_000 + b"\n", 0, "10,000 columns"),
        (b'"a\n",' * 300_000 + b"\n", 0, "a CSV file"),
    ],
)
def test_a_csv_table_is_refused_before_it_is_read_as_a_whole(
    tmp_path: Path, head: bytes, size: int, expected: str
) -> None:
    path = sparse(tmp_path / "trials.csv", head, size or len(head))
    with memory(), fails(TableError, where=path, expected=expected):
        read_table(Path(path))


@pytest.mark.parametrize(("name", "expected"), [("TABLE_ROWS", "at most 5 rows"), ("TABLE_CELLS", "at most 5 cells")])
def test_rows_and_cells_of_a_csv_table_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setattr(f"eavdash.data.formats.delimited.{name}", 5)
    path = tmp_path / "trials.csv"
    path.write_text(",".join(HEADER) + "".join(f"\n1,{n},a,a.wav" for n in range(6)))
    with fails(TableError, where=str(path), expected=expected, found=""):
        read_table(path)


def test_the_tables_of_bids_have_the_same_limits(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    path.write_text("onset\ttrial_type\textra\n1.5\ta\n\n2\tb\tc\td\n")
    assert bids._tsv(path) == [
        {"onset": "1.5", "trial_type": "a"},
        {"onset": "2", "trial_type": "b", "extra": "c"},
    ]
    with fails(TableError, expected="10,000 columns"):
        bids._tsv(Path(sparse(path, b"\t" * 10_000 + b"\n", 10_001)))


def test_a_deeply_nested_truth_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(",".join(HEADER) + "\n1,1,a,a.wav\n")
    (tmp_path / "truth.json").write_text("[" * 100_000)
    assert not open_table(tmp_path).simulated


# MATLAB


def test_a_compressed_array_that_unfolds_is_refused(tmp_path: Path) -> None:
    path = mat(tmp_path / "packed.mat", np.zeros((50_000, 30, 10)), "other")  # 120 MB, not compressed
    assert mat_arrays(path)["other"] == (50_000, 30, 10)
    scipy.io.savemat(path, {"seg": np.zeros((50_000, 30, 10))}, do_compression=True)
    with memory(), fails(RecordingError, where=path, found=("unfold", "120,000,0")):
        read_eeg(f"{path}#1")


def test_an_array_may_have_no_more_numbers_than_a_subject_of_eav_several_times(tmp_path: Path) -> None:
    path = Path(mat(tmp_path / "a.mat", np.zeros((600, 30, 2))))
    data = path.read_bytes()
    shape = struct.pack("<III", 600, 30, 2)
    path.write_bytes(data.replace(shape, struct.pack("<III", 600, 30, 2_000_000)))
    with memory(), fails(RecordingError, where=str(path), found=("36,000,000,000", "200,000,000")):
        mat_arrays(path)


def test_a_label_file_of_something_else_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "label.mat"
    scipy.io.savemat(path, {"label": {"inside": np.zeros((10, 5_000_000))}}, do_compression=True)
    with memory(), fails(RecordingError, where=str(path)):
        read_labels(path)


def test_an_eeglab_file_that_unfolds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.set"
    scipy.io.savemat(path, {"EEG": {"data": np.zeros((4, 5_000_000), "f4"), "srate": 250.0}}, do_compression=True)
    with memory(), fails(RecordingError, where=str(path), found=("unfold", "80,000,")):
        eeg_info(str(path))


# EEG


def test_a_header_with_more_channels_than_any_cap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    edf(path)
    path.write_bytes(path.read_bytes()[:252] + b"9999" + path.read_bytes()[256:])
    with fails(RecordingError, where=str(path), expected="2,048 channels", found="9,999"):
        eeg_info(str(path))


@pytest.mark.parametrize("kind", ["edf", "bdf"])
def test_a_header_with_years_of_records_is_refused_also_if_the_file_is_as_long(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    edf(path, kind=kind, records=99_999_999)
    sparse(path, path.read_bytes(), 10**12)
    with fails(RecordingError, where=str(path), expected="1,000,000 seconds", found="99,999,999"):
        eeg_info(str(path))


def test_a_brainvision_header_is_refused_by_its_channels_and_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdr"
    vision(path)
    waves(str(path))
    text = path.read_text(encoding="utf-8").replace(f"NumberOfChannels={len(NAMES)}", "NumberOfChannels=1000000")
    path.write_text(text, encoding="utf-8")
    with fails(RecordingError, where=str(path), expected="2,048 channels", found="1,000,000"):
        eeg_info(str(path))
    sparse(path, text.encode(), 10**11)
    with memory(), fails(RecordingError, where=str(path), expected="bytes of header", found="100,000,000,000"):
        eeg_info(str(path))


def test_files_that_hdf5_or_gzip_unfold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.snirf"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with fails(RecordingError, where=str(path), found="HDF5"):
        eeg_info(str(path))
    packed = tmp_path / "a_raw.fif.gz"
    packed.write_bytes(gzip.compress(bytes(100_000_000)))
    with memory(), fails(RecordingError, where=str(packed), found=("unfold", "100,000,000")):
        eeg_info(str(packed))


def test_a_trial_is_refused_by_its_samples_not_by_those_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eavdash.data.eeg.file.EEG_VALUES", WAVES.size // 2)
    path = tmp_path / "a.edf"
    edf(path)
    assert read_eeg(str(path), 0, 1).data.shape == (4, 250)
    with fails(RecordingError, where=str(path), expected=f"{WAVES.size // 2:,}", found=f"{WAVES.size:,}"):
        read_eeg(str(path))


# Sound and pictures


def flac(path: Path, samples: int, rate: int = 8000) -> str:
    """The header of a FLAC file with one channel of 16 bits."""
    about = (rate << 44) | (15 << 36) | samples
    head = b"fLaC\x80\0\0\x22" + struct.pack(">HH", 4096, 4096) + bytes(6)
    path.write_bytes(head + about.to_bytes(8, "big") + bytes(16))
    return str(path)


def test_a_sound_header_that_declares_years_is_refused(tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", 2**36 - 1)
    with fails(RecordingError, where=path, expected="1,000,000 seconds", found="8,589,934.59"):
        audio_duration(path)


def test_a_sparse_wav_of_hours_is_refused_as_one_trial(tmp_path: Path) -> None:
    size = 2**32 - 100
    head = b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    path = sparse(tmp_path / "a.wav", head + b"data" + struct.pack("<I", size), size + 44)
    with memory(), fails(RecordingError, where=path, expected=("500,000,000", "16000 Hz"), found="4,294,967,196"):
        read_audio(path)
    assert read_audio(path, 3600, 3601).shape == (16000,)


def png(path: Path, side: int) -> str:
    """A black picture, compressed a thousandfold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pack = zlib.compressobj()
    body = b"".join(pack.compress(bytes(1 + 3 * side)) for _ in range(min(side, 500))) + pack.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return str(path)


@pytest.mark.parametrize("side", [10_001, 100_000])
def test_a_picture_larger_than_any_camera_makes_is_refused(tmp_path: Path, side: int) -> None:
    path = png(tmp_path / "a.png", side)
    with fails(RecordingError, where=path, expected="100,000,000 pixels"):
        video_info(path)


def test_a_video_has_the_limit_of_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = movie(tmp_path / "a.mp4", [0.0, 0.1, 0.2])
    assert read_frames(path, [0.0], 8).shape == (1, 8, 8, 3)
    monkeypatch.setattr("eavdash.data.video.decoding.FRAME_PIXELS", 64 * 48 - 1)
    with fails(RecordingError, where=path, expected="3,071 pixels", found="3,072"):
        read_frames(path, [0.0], 8)


def test_two_frames_years_apart_are_no_recording(tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mkv", [0.0, 2e6])
    with fails(RecordingError, where=path, expected="1,000,000 seconds", found="2,000,000"):
        video_info(path)


# Windows


def spec(tmp_path: Path, settings: Sequence[str]) -> object:
    path = wav(tmp_path / "a.wav", sine(440, 2, 8000), 8000)
    row = {"subject": "1", "trial": "1", "group": "1", "label": "a", "eeg": "", "audio": path, "video": path}
    trials = pd.DataFrame([{**row, "start": np.nan, "stop": np.nan}])
    modality = settings[0].partition(".")[0]
    return window_set_spec(trials, modality, with_settings(StudyConfig(), settings), tmp_path / "cache").spans


@pytest.mark.parametrize(
    "settings", [["vision.frames_per_second=1000", "window=86400"], ["audio.mels=4096", "window=86400"]]
)
def test_a_window_is_refused_by_its_size(tmp_path: Path, settings: list[str]) -> None:
    with memory(), fails(ConfigError, where="window", expected="4.3 GB", found=settings[0].partition(".")[0]):
        spec(tmp_path, settings)


def test_the_windows_of_a_trial_are_counted_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(spec(tmp_path, ["audio.mels=16", "window=0.02"])[0]) == 100  # type: ignore[index]
    monkeypatch.setattr("eavdash.data.cache.window_set_spec.WINDOWS", 99)
    with fails(RecordingError, where="a.wav", expected="99 windows", found="2 s in windows of 0.02 s"):
        spec(tmp_path, ["audio.mels=16", "window=0.02"])
