"""The registry of adapters: order, adapters of other packages, and the example of docs/adapters.md."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import array_files
import bids_files
import eav_files
import numpy as np
import pandas as pd
import pytest
import scipy.io
import soundfile
from failing import fails

from eavdash.config.presets import preset
from eavdash.data import adapters
from eavdash.data.adapters.base import Adapted, Adapter
from eavdash.data.eeg.reading import read_eeg
from eavdash.data.inputs import load_windows
from eavdash.data.table import open_table, select
from eavdash.errors import EavdashError, TableError

DOCS = Path(__file__).parents[2] / "docs" / "adapters.md"
Register = Callable[..., None]


def block(name: str, language: str = "python") -> str:
    """A code block of the documentation by its first line."""
    return DOCS.read_text(encoding="utf-8").split(f"```{language}\n{name}\n")[1].split("```")[0]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Adapters as if packages that bring them were installed: name → object, or an exception that loading raises."""

    class Entry(EntryPoint):
        def load(self) -> object:
            value = installed[self.name]
            if isinstance(value, Exception):
                raise value
            return value

    installed: dict[str, object] = {}

    def entry_points(group: str) -> list[EntryPoint]:
        assert group == "eavdash.adapters"
        return [Entry(name, f"{name}:ADAPTER", group) for name in reversed(installed)]

    monkeypatch.setattr(adapters, "entry_points", entry_points)
    return installed.update


def voices(root: Path) -> Path:
    folder = root / "corpus" / "voices"
    for subject in ("anna", "ben"):
        for number, label in enumerate(("calm", "tense", "calm", "tense"), start=1):
            (folder / subject).mkdir(parents=True, exist_ok=True)
            wave = 0.1 * np.sin(np.arange(32000) * (0.1 if label == "calm" else 0.3))
            soundfile.write(folder / subject / f"{label}_{number}.wav", wave, 16000, subtype="FLOAT")
    return folder


def test_the_example_of_the_documentation(tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    code = block("# voices.py")
    assert len(code.splitlines()) <= 36
    (tmp_path / "voices.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    line = block('[project.entry-points."eavdash.adapters"]', "toml").strip()
    name, value = (part.strip().strip('"') for part in line.split("="))
    register(**{name: EntryPoint(name, value, "eavdash.adapters").load()})
    root = voices(tmp_path)
    (root / "anna" / "notes.txt").touch()
    table = open_table(tmp_path)
    assert (table.kind, table.root, table.problems) == ("voices", root, {})
    assert table.subjects == ("anna", "ben")
    assert table.classes == ("calm", "tense")
    assert "notes.txt" in table.notes[0]
    config = dataclasses.replace(preset("quick"), stages=("audio",), window=2.0)
    chosen = select(table, config)
    windows = load_windows(chosen.frame.head(1), "audio", config, tmp_path / "cache")
    assert len(windows) == 1
    assert windows.index["label"].tolist() == ["calm"]
    assert windows.mask.any()
    (root / "ben" / "tense_1.wav").touch()
    table = open_table(root)
    assert "tense_1.wav: expected one sound per number" in table.problems["ben"]
    assert select(table, config).subjects == ("anna",)
    del sys.modules["voices"]


def adapter(kind: str, rows: list[dict[str, object]] | None = None, **problems: str) -> Adapter:
    usual = [{"subject": "1", "trial": "1", "label": kind, "eeg": "x.edf"}]
    return Adapter(
        kind, lambda path: path, lambda root: Adapted(pd.DataFrame(usual if rows is None else rows), problems)
    )


def test_outside_adapters_are_asked_by_name(tmp_path: Path, register: Register) -> None:
    (tmp_path / "x.edf").touch()
    register(b=adapter("second"), a=adapter("first"))
    assert open_table(tmp_path).kind == "first"


def test_the_order_of_the_adapters(tmp_path: Path, register: Register) -> None:
    """One folder that all of them know; what claims it is taken away one after the other."""
    register(x=adapter("outside"))
    (tmp_path / "x.edf").touch()
    array_files.deap(tmp_path / "s01.dat", array_files.deap_arrays(2, 600))
    assert open_table(tmp_path).kind == "deap"
    bids_files.write(tmp_path, "01", [(1.0, 2.0, "a"), (4.0, 2.0, "b")])
    assert open_table(tmp_path).kind == "bids"
    array_files.input_images(tmp_path, 1, kinds="eeg")
    assert open_table(tmp_path).kind == "eav-pickles"
    eav_files.make_subject(tmp_path, trials=10)
    assert open_table(tmp_path).kind == "eav"
    (tmp_path / "trials.csv").write_text("subject,trial,label,eeg\n1,1,a,s01.dat#1\n")
    assert open_table(tmp_path).kind == "table"
    (tmp_path / "trials.csv").unlink()
    (tmp_path / "s01.dat").unlink()
    for name in ("subject1", "Input_images"):
        (tmp_path / name).rename(tmp_path.parent / f"{tmp_path.name}-{name}")
    assert open_table(tmp_path).kind == "bids"
    (tmp_path / "dataset_description.json").unlink()
    assert open_table(tmp_path).kind == "outside"


def broken(path: Path) -> Adapted:
    raise ZeroDivisionError("oops.\nsecond line")


def find_broken(path: Path) -> Path:
    raise ZeroDivisionError("oops")


#: An adapter and facts of the error that it leads to.
FAILURES: dict[str, tuple[object, tuple[str, ...]]] = {
    "import": (ImportError("no module named voices"), ("adapter 'a' (a:ADAPTER)", "no module named voices")),
    "no adapter": (lambda: None, ("adapter 'a' (a:ADAPTER)", "Adapter, found function")),
    "taken": (adapter("eav"), ("adapter 'a'", "other than table, eav, ", "found 'eav'")),
    "find": (Adapter("a", find_broken, broken), ("adapter 'a'", "found ZeroDivisionError: oops; ", "uninstall")),
    "read": (Adapter("a", lambda p: p, broken), ("adapter 'a'", "its trials", "ZeroDivisionError")),
    "result": (Adapter("a", lambda p: p, lambda r: 3), ("adapter 'a'", "int instead of Adapted")),  # type: ignore[arg-type,return-value]
    "no label": (adapter("a", [{"subject": "1", "trial": "1", "eeg": "x"}]), ("no column label",)),
    "no files": (adapter("a", [{"subject": "1", "trial": "1", "label": "x"}]), ("one of eeg, audio, video",)),
    "twice": (adapter("a", [{"subject": 1, "trial": 1, "label": 1, "eeg": ""}] * 2), ("row 2: ", "second time")),
    "no name": (adapter("a", [{"subject": 1, "trial": None, "label": 1, "eeg": ""}]), ("row 1: expected a trial",)),
    "times": (
        adapter("a", [{"subject": 1, "trial": 1, "label": 1, "eeg": "", "start": 3.0, "stop": 1.0}]),
        ("row 1: expected stop after start",),
    ),
    "nothing": (adapter("a", []), ("trials (a)", "found none")),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_adapter_is_one_sentence_that_names_it(tmp_path: Path, register: Register, name: str) -> None:
    value, facts = FAILURES[name]
    register(a=value)
    with pytest.raises(TableError) as error:
        open_table(tmp_path)
    assert all(fact in str(error.value) for fact in facts), str(error.value)
    assert "\n" not in str(error.value)


def test_a_failing_adapter_does_not_stop_another(tmp_path: Path, register: Register) -> None:
    register(a=ImportError("broken"), b=Adapter("b", find_broken, broken), c=adapter("c", x="no use."))
    (tmp_path / "x.edf").touch()
    table = open_table(tmp_path)
    assert table.kind == "c"
    assert table.problems == {"x": "no use."}
    assert [note[:11] for note in table.notes if note.startswith("adapter")] == ["adapter 'a'", "adapter 'b'"]
    register(c=ImportError("broken too"))
    with pytest.raises(TableError) as error:
        open_table(tmp_path)
    assert "adapter 'a'" in str(error.value)
    assert "2 more adapters failed" in str(error.value)
    eav_files.make_subject(tmp_path, trials=10)
    assert open_table(tmp_path).kind == "eav"


def test_an_adapters_own_sentence_is_passed_on(tmp_path: Path, register: Register) -> None:
    def read(root: Path) -> Adapted:
        raise EavdashError("x: expected a, found b; do c.")

    register(a=Adapter("a", lambda p: p, read))
    with pytest.raises(EavdashError, match=r"^x: expected a, found b; do c\.$"):
        open_table(tmp_path)


def test_what_an_adapter_gives_is_made_a_trial_table(tmp_path: Path, register: Register) -> None:
    rows = [
        {"subject": 2, "trial": 10, "label": 1.0, "audio": " x.wav", "start": 1, "room": None},
        {"subject": 2, "trial": 2, "label": 2.0, "audio": tmp_path / "y.wav", "start": float("nan"), "room": "A"},
    ]
    (tmp_path / " x.wav").touch()
    (tmp_path / "y.wav").touch()
    register(a=adapter("a", rows))
    table = open_table(tmp_path)
    assert not table.problems
    assert table.frame["trial"].tolist() == ["2", "10"]
    assert table.frame["label"].tolist() == ["2", "1"]
    assert table.frame["group"].tolist() == ["2", "10"]
    assert table.frame["audio"].tolist() == [str(tmp_path / "y.wav"), str(tmp_path / " x.wav")]
    assert table.frame["eeg"].tolist() == ["", ""]
    assert table.frame["room"].tolist() == ["A", ""]
    assert table.frame["start"].isna().tolist() == [True, False]


def test_real_entry_points_are_found(tmp_path: Path) -> None:
    with fails(TableError, found="neither"):
        open_table(tmp_path)


def test_the_documented_conversion_of_matrices_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script under "Matrices without a header", on two matrices as SEED has them."""
    data = np.random.default_rng(0).normal(0, 20, (2, 62, 800))
    scipy.io.savemat(tmp_path / "1_20131027.mat", {f"djc_eeg{n + 1}": data[n] for n in range(2)})
    monkeypatch.chdir(tmp_path)
    exec(block("# matrices.py"), {})
    signal = read_eeg(str(tmp_path / "1_20131027-2_raw.fif"))
    assert (signal.rate, signal.data.shape) == (200.0, (62, 800))
    np.testing.assert_allclose(signal.data, data[1] * 1e-6, rtol=1e-5)
