"""Recordings of several files, folders and epochs: what is read, what is hashed, and which error names what lacks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import scipy.io
from eeg_files import TEN20, brainvision, eeglab, noise
from failing import fails

from eavdash.data.cache.digests import digest, files_of
from eavdash.data.eeg.reading import eeg_info, read_eeg
from eavdash.data.formats.companions import foreign_companion, missing_companion
from eavdash.data.recording import stamp
from eavdash.data.table import open_table
from eavdash.errors import RecordingError


@pytest.mark.parametrize("suffix", [".eeg", ".vhdr"])
def test_brainvision_is_read_by_either_name(tmp_path: Path, suffix: str) -> None:
    data = noise(19, 3)
    header = brainvision(tmp_path / "a.vhdr", data)
    named = str(Path(header).with_suffix(suffix))
    signal = read_eeg(named, 1, 2)
    assert signal.channels == TEN20
    np.testing.assert_allclose(signal.data, data[:, 100:200] * 1e-6, atol=1e-7)
    assert {p.name for p in files_of(named)} == {"a.vhdr", "a.eeg"}


def test_an_fdt_is_read_through_its_header(tmp_path: Path) -> None:
    data = noise(19, 3)
    eeglab(tmp_path / "a.set", data, samples="a.fdt")
    np.testing.assert_allclose(read_eeg(str(tmp_path / "a.fdt")).data, data * 1e-6, rtol=1e-5)


def test_samples_alone_and_headers_alone_are_named(tmp_path: Path) -> None:
    header = Path(brainvision(tmp_path / "a.vhdr", noise(19, 3), samples="old.eeg"))
    with fails(RecordingError, where="a.vhdr", expected="old.eeg", found="a.eeg", remedy="DataFile=a.eeg"):
        eeg_info(str(header))
    assert missing_companion(str(header)) == tmp_path / "old.eeg"
    header.with_suffix(".eeg").unlink()
    with fails(RecordingError, where="a.vhdr", expected="old.eeg", found="no such file", remedy="copy it there"):
        eeg_info(str(header))
    (tmp_path / "b.eeg").write_bytes(bytes(1000))
    with fails(RecordingError, where="b.eeg", expected="b.vhdr", found="alone"):
        eeg_info(str(tmp_path / "b.eeg"))
    eeglab(tmp_path / "c.set", noise(19, 3), samples="gone.fdt")
    (tmp_path / "c.fdt").unlink()
    with fails(RecordingError, where="c.set", expected="gone.fdt", found="no such file"):
        eeg_info(str(tmp_path / "c.set"))


def test_a_set_that_names_another_fdt(tmp_path: Path) -> None:
    one, other = noise(19, 3, seed=1), noise(19, 3, seed=2)
    eeglab(tmp_path / "a.set", one, samples="a.fdt")
    copy = eeglab(tmp_path / "b.set", other, samples="a.fdt")
    np.testing.assert_allclose(read_eeg(copy).data, one * 1e-6, rtol=1e-5)
    assert foreign_companion(copy) == tmp_path / "a.fdt"
    assert foreign_companion(str(tmp_path / "a.set")) is None
    assert eeg_info(copy).remarks.companion == "a.fdt"
    assert [p.name for p in files_of(copy)] == ["b.set", "a.fdt"]
    before = digest(copy, None)
    (tmp_path / "b.fdt").write_bytes(bytes(100))
    assert digest(copy, None) == before
    (tmp_path / "a.fdt").write_bytes(other.T.astype("<f4").tobytes())
    assert digest(copy, None) != before


def test_brainvision_that_names_another_recording(tmp_path: Path) -> None:
    brainvision(tmp_path / "a.vhdr", noise(19, 3))
    copy = brainvision(tmp_path / "b.vhdr", noise(19, 3), samples="a.eeg")
    assert eeg_info(copy).remarks.companion == "a.eeg"


@pytest.mark.parametrize("samples", ["", "a.fdt"])
def test_epochs_of_eeglab_are_trials(tmp_path: Path, samples: str) -> None:
    data = noise(19, 6)
    path = eeglab(tmp_path / "a.set", data, samples=samples, epochs=3)
    info = eeg_info(f"{path}#2")
    assert (info.duration, info.rate, info.channels) == (2.0, 100.0, TEN20)
    np.testing.assert_allclose(read_eeg(f"{path}#2", 0.5, 1.5).data, data[:, 250:350] * 1e-6, rtol=1e-5)
    with fails(RecordingError, where="a.set#4", expected="1 to 3"):
        read_eeg(f"{path}#4")
    with fails(RecordingError, where="a.set", found="epochs", remedy="a.set#1"):
        read_eeg(path)


def test_epochs_of_mne_are_trials(tmp_path: Path) -> None:
    info = mne.create_info([*TEN20, "hEOG"], 100.0, ["eeg"] * 19 + ["eog"])
    info["bads"] = ["Cz"]
    data = noise(60, 2).reshape(3, 20, 200) * 1e-6
    path = tmp_path / "a-epo.fif"
    mne.EpochsArray(data, info, verbose="ERROR").save(path, verbose="ERROR")
    signal = read_eeg(f"{path}#3")
    np.testing.assert_allclose(signal.data, data[2, :19], rtol=1e-5)
    assert signal.marked == ("Cz",)
    with fails(RecordingError, where="a-epo.fif", found="epochs", remedy="a-epo.fif#1"):
        read_eeg(str(path))


def test_continuous_files_have_no_numbers(tmp_path: Path) -> None:
    path = eeglab(tmp_path / "a.set", noise(19, 3))
    with fails(RecordingError, where="a.set", found="continuous"):
        read_eeg(f"{path}#1")


@pytest.mark.parametrize(
    ("arrays", "facts", "remedy"),
    [
        ({f"djc_eeg{n}": np.zeros((62, 800)) for n in range(1, 7)}, ("6 matrices", "62 channels", "SEED"), ".fif"),
        ({f"trial{n}": np.zeros((800, 14)) for n in range(1, 4)}, ("3 matrices", "14 channels"), ".fif"),
        ({"data": np.zeros((4, 40, 80)), "labels": np.zeros((4, 4))}, ("DEAP",), "data_preprocessed_python"),
        ({"EEG": {"nbchan": 3.0, "data": np.zeros((3, 9))}}, ("EEGLAB",), ".set"),
        ({"DREAMER": {"Data": np.zeros((3, 9))}}, ("DREAMER", "struct"), "docs/adapters.md"),
        ({"x": np.zeros((600, 29, 2))}, ("x (double, 600 x 29 x 2)",), "docs/adapters.md"),
        ({"eeg": np.zeros((32, 5000))}, ("eeg (double, 32 x 5000)",), "docs/adapters.md"),
    ],
)
@pytest.mark.parametrize("item", ["#1", ""])
def test_other_matrices_are_described(tmp_path: Path, arrays: dict, facts: tuple, remedy: str, item: str) -> None:
    scipy.io.savemat(tmp_path / "a.mat", arrays)
    with fails(RecordingError, where="a.mat", expected="sampling rate", found=facts, remedy=remedy) as error:
        eeg_info(f"{tmp_path / 'a.mat'}{item}")
    assert not any(text in str(error.value) for text in ("500 Hz", "30 channels", "copy"))


def test_a_folder_without_samples_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "a.mff"
    folder.mkdir()
    for found in ("empty folder", "info.xml"):
        with fails(RecordingError, where="a.mff", expected="signal1.bin", found=found, remedy="copy the whole folder"):
            eeg_info(str(folder))
        (folder / "info.xml").write_text("<x/>")
    (tmp_path / "trials.csv").write_text("subject,trial,label,eeg\n1,1,a,a.mff\n")
    assert open_table(tmp_path).problems == {}


def test_a_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a.mff"
    folder.mkdir()
    (folder / "signal1.bin").write_bytes(bytes(100))
    monkeypatch.setitem(sys.modules, "mffpy", None)
    with fails(RecordingError, where="a.mff", expected="package", found="no mffpy", remedy="pip install mffpy"):
        eeg_info(str(folder))


@pytest.mark.skipif(importlib.util.find_spec("mffpy") is None, reason="mffpy, which reads EGI's folders, is optional")
def test_a_folder_of_egi_is_read(tmp_path: Path) -> None:
    from mff import write_mff

    data = noise(129, 4)
    path = write_mff(tmp_path / "a.mff", data, 100)
    signal = read_eeg(path, 1, 3)
    assert (signal.system, signal.data.shape) == ("GSN-HydroCel-129", (129, 200))
    np.testing.assert_allclose(signal.data, data[:, 100:300] * 1e-6, rtol=1e-4)
    before = digest(path, None), stamp(path)
    assert {p.name for p in files_of(path)} >= {"signal1.bin", "info.xml"}
    (tmp_path / "a.mff" / "signal1.bin").write_bytes(b"x" + (tmp_path / "a.mff" / "signal1.bin").read_bytes()[1:])
    assert digest(path, None) != before[0]
