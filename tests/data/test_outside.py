"""Attacks through what users name: tables, headers and links that lead to other people's files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import mne
import numpy as np
import pytest
import soundfile
from failing import fails

from eavdash.data.audio.reading import read_audio
from eavdash.data.eeg import file as eeg_file
from eavdash.data.eeg.reading import eeg_info, read_eeg
from eavdash.data.formats.unpickle import load_arrays
from eavdash.data.table import open_table
from eavdash.data.video.reading import read_frames, video_info
from eavdash.errors import DataError, OutsideError, RecordingError, TableError
from eavdash.health.check import check_dataset
from eavdash.store.readable import VARIABLE

WORDS = ("hunter2secret", "API_TOKEN", "somebody")
SECRET = "API_TOKEN=hunter2secret\nIDENTITY=somebody\n"
HEADER = """Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
Codepage=UTF-8
DataFile={data}
MarkerFile={marker}
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=2
SamplingInterval=2000
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
Ch1=Fp1,,0.1,µV
Ch2=Fp2,,0.1,µV
"""
MARKERS = "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n[Marker Infos]\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only data folder of the app; beside it the folder ``private`` of its owner."""
    folder, private = tmp_path.resolve() / "data", tmp_path.resolve() / "private"
    folder.mkdir()
    private.mkdir()
    (private / "secret.csv").write_text(SECRET)
    (private / "samples.eeg").write_bytes(np.arange(2000, dtype="<i2").tobytes())
    soundfile.write(private / "voice.wav", np.zeros(16000), 16000)
    for file in private.iterdir():
        file.chmod(0o600)
    monkeypatch.setenv(VARIABLE, json.dumps([str(folder)]))
    return folder


def brainvision(folder: Path, data: str = "a.eeg", marker: str = "a.vmrk") -> str:
    (folder / "a.eeg").write_bytes(np.arange(2000, dtype="<i2").tobytes())
    (folder / "a.vmrk").write_text(MARKERS)
    (folder / "a.vhdr").write_text(HEADER.format(data=data, marker=marker))
    return str(folder / "a.vhdr")


def test_a_dataset_outside_is_refused_before_it_is_opened(data: Path) -> None:
    private = data.parent / "private"
    (data / "trials.csv").symlink_to(private / "secret.csv")
    for path in (
        private / "secret.csv",
        private,
        private / "none",
        data,
        data / ".." / "private",
        "/proc/self/environ",
    ):
        with fails(OutsideError) as caught:
            open_table(path)
        assert not any(word in str(caught.value) for word in WORDS)


def test_a_recording_outside_is_a_problem_of_its_subject(data: Path) -> None:
    soundfile.write(data / "fine.wav", np.zeros(16000), 16000)
    voice = data.parent / "private" / "voice.wav"
    (data / "link.wav").symlink_to(voice)
    rows = [("a", "fine.wav"), ("b", str(voice)), ("c", "link.wav"), ("d", "../private/voice.wav"), ("e", "/dev/zero")]
    table = data / "trials.csv"
    table.write_text("subject,trial,label,audio\n" + "".join(f"{s},1,calm,{path}\n" for s, path in rows))
    opened = open_table(table)
    assert set(opened.problems) == {"b", "c", "d", "e"}
    for entry in opened.frame["audio"][1:]:
        with fails(OutsideError):
            read_audio(entry)
    report = check_dataset(table, faces=False)
    assert report.recordings.set_index("subject")["problem"].astype(bool).to_dict() == {
        "a": False,
        **dict.fromkeys("bcde", True),
    }
    os.environ.pop(VARIABLE)
    assert set(open_table(table).problems) == {"e"}, "on the command line tables may name files anywhere"
    with fails(OutsideError):
        read_audio("/dev/zero")


def test_a_folder_that_is_a_link_to_outside_is_not_searched(data: Path) -> None:
    (data.parent / "private" / "subject1" / "EEG").mkdir(parents=True)
    (data / "EAV").symlink_to(data.parent / "private")
    with fails(TableError, found="neither"):
        open_table(data)


def test_brainvision_headers_name_no_files_outside(data: Path) -> None:
    assert eeg_info(brainvision(data)).duration == 2.0
    private = data.parent / "private"
    (data / "link.eeg").symlink_to(private / "samples.eeg")
    (private / "a.vmrk").write_text(MARKERS)
    for name in (str(private / "samples.eeg"), "../private/samples.eeg", "link.eeg"):
        with fails(OutsideError):
            read_eeg(brainvision(data, data=name))
    with fails(OutsideError):
        eeg_info(brainvision(data, marker=str(private / "a.vmrk")))
    os.environ.pop(VARIABLE)
    assert read_eeg(brainvision(data, data=str(private / "samples.eeg"))).data.shape == (2, 1000)
    with fails(OutsideError):
        eeg_info(brainvision(data, data="/proc/self/environ"))


def test_eeglab_and_split_fif_name_no_files_outside(data: Path) -> None:
    from scipy.io import savemat

    private = data.parent / "private"
    (private / "a.fdt").write_bytes(np.zeros((2, 1000), "<f4").tobytes())
    fields = {"setname": "a", "nbchan": 2, "trials": 1, "pnts": 1000, "srate": 500.0, "xmin": 0.0, "event": []}
    chanlocs = np.array([("Fp1",), ("Fp2",)], dtype=[("labels", "O")])
    for name in (str(private / "a.fdt"), "../private/a.fdt"):
        savemat(data / "a.set", {"EEG": {**fields, "chanlocs": chanlocs, "data": name}}, appendmat=False)
        with fails(OutsideError, where="a.fdt"):
            read_eeg(str(data / "a.set"))
        with pytest.MonkeyPatch.context() as free:
            free.delenv(VARIABLE)
            assert read_eeg(str(data / "a.set")).data.shape == (2, 1000)
    raw = mne.io.RawArray(np.zeros((8, 100_000)), mne.create_info(8, 100.0, "eeg"), verbose="ERROR")
    raw.save(data / "b_raw.fif", split_size="2MB", buffer_size_sec=10.0, overwrite=True, verbose="ERROR")
    (data / "b_raw-1.fif").rename(private / "b_raw-1.fif")
    (data / "b_raw-1.fif").symlink_to(private / "b_raw-1.fif")
    with fails(OutsideError, where="b_raw-1.fif"):
        eeg_info(str(data / "b_raw.fif"))


@pytest.mark.parametrize("kind", ["storage", "link", "virtual"])
def test_hdf5_has_no_content_in_other_files(data: Path, kind: str) -> None:
    file = data / "a.snirf"
    with h5py.File(file, "w") as made:
        group = made.create_group("nirs/data1")
        if kind == "storage":
            samples = str(data.parent / "private" / "samples.eeg")
            group.create_dataset("dataTimeSeries", (100,), "u1", external=[(samples, 0, 100)])
        elif kind == "link":
            group["dataTimeSeries"] = h5py.ExternalLink(str(data.parent / "private" / "x.h5"), "/y")
        else:
            layout = h5py.VirtualLayout((100,), "u1")
            layout[:] = h5py.VirtualSource(str(data.parent / "private" / "x.h5"), "y", (100,))
            group.create_virtual_dataset("dataTimeSeries", layout)
    with fails(RecordingError, where="a.snirf", found="in another"):
        eeg_info(str(file))


@pytest.mark.parametrize("head", ["#EXTM3U\n#EXTINF:1,\n{0}\n", "ffconcat version 1.0\nfile voice.wav\n"])
def test_playlists_are_no_recordings(data: Path, head: str) -> None:
    for place in (data, data.parent / "private"):
        soundfile.write(place / "voice.wav", np.zeros(16000), 16000)
    for suffix in ("m3u8", "mp4", "wav", "ffconcat"):
        file = data / f"list.{suffix}"
        file.write_text(head.format(data.parent / "private" / "voice.wav") + "#EXT-X-ENDLIST\n" * ("EXT" in head))
        for read in (video_info, read_audio):
            with fails(RecordingError, where=file.name):
                read(str(file))


def test_a_recording_swapped_for_a_link_is_refused_when_it_was_opened(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = data / "a.wav"
    soundfile.write(sound, np.zeros(16000), 16000)
    plain = soundfile.SoundFile

    def swapped(path: str) -> soundfile.SoundFile:
        if not sound.is_symlink():
            sound.rename(data / "old.wav")
            sound.symlink_to(data.parent / "private" / "voice.wav")
        return plain(path)

    monkeypatch.setattr(soundfile, "SoundFile", swapped)
    with fails(OutsideError, where="a.wav"):
        read_audio(str(sound))


NAMES = ("trials.csv", "a.parquet")
RECORDINGS = ("vhdr", "edf", "set", "lay", "fif", "cnt", "gdf", "nedf", "eeg", "txt", "asc", "mat", "dat", "hdr")


@pytest.mark.parametrize("text", [SECRET, "PATH=/usr/bin\0API_TOKEN=hunter2secret\0", f'{{"API_TOKEN": "{WORDS[0]}"}}'])
def test_no_error_quotes_a_file_that_is_something_else(tmp_path: Path, text: str) -> None:
    for name in NAMES:
        (tmp_path / name).write_text(text)
        with fails(TableError) as caught:
            open_table(tmp_path / name)
        assert not any(word in str(caught.value) for word in WORDS), caught.value
    for suffix in RECORDINGS:
        file = tmp_path / f"x.{suffix}"
        file.write_text(text)
        item = "#1" if suffix in ("mat", "dat") else ""
        with fails(DataError) as caught:
            eeg_info(f"{file}{item}")
        assert not any(word in str(caught.value) for word in WORDS), caught.value
    for suffix in ("wav", "mp3", "mp4", "png", "xyz"):
        file = tmp_path / f"x.{suffix}"
        file.write_text(text)
        reads = [lambda path: read_frames(path, [0.0], 16)]
        if suffix != "mp3":  # libsndfile finds silence in it
            reads.append(read_audio)
        for read in reads:
            with fails(DataError) as caught:
                read(str(file))
            assert not any(word in str(caught.value) for word in WORDS), caught.value


@pytest.mark.parametrize("first", ["c", "I", "F", "L", "S", "V", "g", "i", "p", "P"])
def test_no_pickle_error_quotes_a_text(tmp_path: Path, first: str) -> None:
    file = tmp_path / "x.pkl"
    file.write_text(f"{first}{SECRET}")
    with fails(RecordingError) as caught:
        load_arrays(file)
    assert not any(word in str(caught.value) for word in WORDS), caught.value


def test_a_table_with_known_columns_names_its_columns(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("subject,sound,emotion\na,x.wav,calm\n")
    with fails(TableError, found=("trial", "sound", "emotion")):
        open_table(tmp_path / "trials.csv")


def test_every_kind_of_recording_is_opened_under_the_watch(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of MNE that opens whatever it likes, as future formats may."""
    brainvision(data)

    def read_raw(path: str, **_: object) -> None:
        (Path(path).parent / ".." / "private" / "samples.eeg").open("rb")

    monkeypatch.setattr(mne.io, "read_raw", read_raw)
    with fails(OutsideError, where="samples.eeg"):
        eeg_file.file_info(str(data / "a.vhdr"))
