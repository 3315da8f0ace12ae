"""DEAP's preprocessed files: rows, ratings, the EEG in volt, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

import array_files
import numpy as np
import pytest
from failing import fails

from eavdash.config.presets import preset
from eavdash.config.schema import ProtocolConfig
from eavdash.data.eeg import electrodes
from eavdash.data.formats import deap_pickle
from eavdash.data.named_files import file_of
from eavdash.data.recording import release
from eavdash.data.splits import make_splits
from eavdash.data.table import expected_recordings, open_table, select
from eavdash.errors import RecordingError, TableError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "DEAP" / "data_preprocessed_python"
    array_files.deap(folder / "s01.dat")
    array_files.deap(folder / "s02.dat", array_files.deap_arrays(6))
    return folder


def test_rows(root: Path) -> None:
    table = open_table(root.parent)
    assert (table.kind, table.root, table.problems) == ("deap", root, {})
    assert table.subjects == ("1", "2")
    first = table.frame[table.frame["subject"] == "1"]
    assert first["trial"].tolist() == ["1", "2", "3", "4"]
    assert first["label"].tolist() == ["low", "low", "high", "high"]  # 4, 5, 6, 7: 5 is not above 5
    assert first["valence"].tolist() == ["4", "5", "6", "7"]
    assert first["arousal"].tolist() == ["8", "7", "6", "5"]
    assert first["liking"].tolist() == ["2.5", "3.5", "4.5", "5.5"]
    assert (first["start"] == 3.0).all()
    assert first["stop"].isna().all()
    assert first["group"].tolist() == first["trial"].tolist()
    assert first["eeg"].tolist() == [f"{root}/s01.dat#{n}" for n in range(1, 5)]
    assert file_of(first["eeg"][0]) == f"{root}/s01.dat"
    wanted = expected_recordings(table)
    assert wanted["eeg"].all()
    assert not wanted["vision"].any()
    splits = make_splits(table.frame[table.frame["subject"] == "2"], ProtocolConfig(folds=2))
    assert not splits.problems


def test_eeg_is_in_volt_and_in_genevas_order(root: Path) -> None:
    data = deap_pickle.trial(f"{root}/s01.dat", 3)
    assert (data.shape, data.dtype) == ((32, 8064), np.float64)
    np.testing.assert_allclose(data[:, 0], (3000 + np.arange(1, 33)) * 1e-6, rtol=1e-12)
    info = deap_pickle.info(f"{root}/s02.dat")
    assert (info.samples, info.rate, info.trials) == (8064, 128.0, 6)
    assert info.channels == deap_pickle.CHANNELS
    assert len(set(info.channels)) == 32
    assert all(electrodes.canonical(name) == name for name in info.channels)
    assert [info.channels[n] for n in (0, 16, 31)] == ["Fp1", "Fp2", "O2"]
    for number in (0, 5):
        with fails(RecordingError, where=f"s01.dat#{number}", expected="1 to 4", found=str(number)):
            deap_pickle.trial(f"{root}/s01.dat", number)
    release()


def test_arousal_as_the_label(root: Path, tmp_path: Path) -> None:
    """The script of docs/adapters.md."""
    text = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
    script = text.split("```python\n# arousal.py\n")[1].split("```")[0]
    out = tmp_path / "arousal.csv"
    exec(script.replace("/data/deap", str(root)).replace("arousal.csv", str(out)))
    table = open_table(out)
    assert not table.problems
    first = table.frame[table.frame["subject"] == "1"]
    assert first["label"].tolist() == ["high", "high", "high", "low"]
    assert first["start"].tolist() == [3.0] * 4
    assert select(table, dataclasses.replace(preset("quick"), stages=("eeg",))).subjects == ("1", "2")


def changed(**parts: object) -> dict[str, object]:
    return array_files.deap_arrays(2, 600) | parts


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: f.write_bytes(b"\x80"), "a complete pickle"),
    (lambda f: f.write_bytes(f.read_bytes()[:5000]), "a complete pickle"),
    (lambda f: array_files.pickled(f, [1, 2]), "a dictionary with data and labels, found a list"),
    (lambda f: array_files.pickled(f, {"data": 1}), "found keys data"),
    (lambda f: array_files.pickled(f, changed(data=np.zeros((2, 32, 600)))), r"found shape \(2, 32, 600\)"),
    (lambda f: array_files.pickled(f, changed(data=np.zeros((2, 40, 384)))), "more than 384 samples"),
    (lambda f: array_files.pickled(f, changed(data="x")), "found a str"),
    (lambda f: array_files.pickled(f, changed(labels=np.zeros((3, 4)))), r"labels of shape \(2, 4\), found shape \(3"),
    (lambda f: array_files.pickled(f, changed(labels=np.full((2, 4), np.nan))), "ratings that are numbers"),
    (lambda f: array_files.pickled(f, changed(extra=os.system)), "found the Python object posix.system"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
def test_damage_stops_its_subject_alone(root: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(root / "s01.dat")
    table = open_table(root)
    assert list(table.problems) == ["1"]
    assert re.search(words, table.problems["1"])
    assert table.subjects == ("2",)


def test_other_files_and_faces_are_noted(root: Path) -> None:
    (root / "s1.dat").write_bytes(b"\x80")
    (root.parent / "face_video").mkdir()
    notes = "\n".join(open_table(root).notes)
    assert "s1.dat: not one of DEAP's preprocessed files, ignored" in notes
    assert "face videos are not paired" in notes


def test_dat_files_of_other_programs_are_not_deaps(tmp_path: Path) -> None:
    (tmp_path / "s01.dat").write_bytes(b"HeaderLen= 1000 SourceCh= 16")
    with fails(TableError, where=str(tmp_path), found="neither"):
        open_table(tmp_path)
