"""Records: JSON documents that are read with a schema."""

import json
import os
from pathlib import Path

import pytest
from documents import run_config
from failing import fails
from pydantic import ConfigDict, ValidationError

from eavdash.errors import IntegrityError
from eavdash.store import RunDir, record
from eavdash.store.record import Part, Record, Whole, read_json, read_record
from eavdash.store.status import STARTING, JobRecord, Phase


class Inner(Part):
    x: Whole = 0


class Example(Record):
    model_config = ConfigDict(title="an example")

    a: Whole
    b: float | None = None
    inner: Inner | None = None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "example.json"


def test_unknown_keys_are_kept_at_each_level(file: Path) -> None:
    file.write_text('{"a": 1, "later": [2], "inner": {"x": 3, "also": "4"}}')
    found = read_record(file, Example).replace(b=0.5)
    assert found.document() == {
        "schema_version": 1,
        "a": 1,
        "b": 0.5,
        "later": [2],
        "inner": {"x": 3, "also": "4"},
    }


def test_null_counts_as_missing(file: Path) -> None:
    file.write_text('{"a": 1, "b": null, "inner": {"x": null}}')
    assert read_record(file, Example) == Example(a=1, inner=Inner())


@pytest.mark.parametrize(
    ("content", "expected", "found"),
    [
        ("", "JSON", "EOF"),
        ("{", "JSON", "EOF"),
        ("\xff", "JSON", "expected value"),
        ("[" * 100_000, "JSON", "recursion limit"),
        ('{"a": 1, "deep": ' + '{"k": ' * 5_000, "JSON", "recursion limit"),
        ("5", "an example", "object"),
        ("[1]", "an example", "object"),
        ("{}", "an example", "no a"),
        ('{"a": "1"}', "an example", "a '1'"),
        ('{"a": true}', "an example", "a True"),
        ('{"a": 1e400}', "an example", "a inf"),
        ('{"a": ' + "9" * 60 + "}", "an example", "less than"),
        ('{"a": ' + "9" * 5_000 + "}", "JSON", "number"),
        ('{"a": 1, "inner": {"x": "y"}}', "an example", "inner.x 'y'"),
        ('{"a": 1, "schema_version": 2}', "schema version 1", "2"),
    ],
)
def test_every_damage_is_one_sentence(file: Path, content: str, expected: str, found: str) -> None:
    file.write_text(content, encoding="latin-1")
    with fails(IntegrityError, where=str(file), expected=expected, found=found) as caught:
        read_record(file, Example)
    assert len(str(caught.value)) < 600


def test_other_kinds_of_files_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fails(IntegrityError, where=str(file), expected="a file", found="none"):
        read_json(file)
    os.mkfifo(file)
    with fails(IntegrityError, where=str(file), found="not a regular file"):  # reading would wait for a writer
        read_json(file)
    file.unlink()
    file.mkdir()
    with fails(IntegrityError, where=str(file), found="not a regular file"):
        read_json(file)
    file.rmdir()
    file.write_text('{"a": 1}')
    monkeypatch.setattr(record, "MAX_BYTES", 7)
    with fails(IntegrityError, where=str(file), expected="7 bytes", found="8 bytes"):
        read_json(file)


def test_a_replaced_value_is_checked() -> None:
    with pytest.raises(TypeError, match="no field c"):
        Example(a=1).replace(c=2)
    with pytest.raises(ValidationError):
        Example(a=1).replace(a="2")
    with pytest.raises(ValidationError, match="frozen"):
        Example(a=1).a = 2


def test_a_phase_lasts_as_long_as_its_attempt_runs(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "study" / "s01-eeg")
    run.create(run_config("s01-eeg"))
    assert run.transition("running", attempt=1).phase == Phase(name=STARTING)
    reading = Phase(name="reading windows", done=3, total=60)
    run.update(phase=reading)
    assert run.transition("running", cancel="asked", halt="paused").phase == reading  # it goes on until it is stopped
    assert run.transition("running", attempt=1, task="again").phase == reading
    assert run.transition("running", attempt=2).phase == Phase(name=STARTING)  # the one before was killed
    run.update(phase=reading)
    assert run.transition("queued").phase is None
    assert run.transition("running", attempt=3).phase == Phase(name=STARTING)


def test_a_status_of_an_earlier_version_is_written_back_with_its_own_keys(tmp_path: Path) -> None:
    """Keys with null stood there for what is left out now; keys of other versions stay, also inside others."""
    run = RunDir(tmp_path / "study" / "s01-eeg")
    run.create(run_config("s01-eeg"))
    before = {
        "state": "running",
        "attempt": 1,
        "epoch": 2,
        "epochs": 5,
        "reason": "",
        "submission": "18ec",
        "cancel": None,
        "job": {"executor": "slurm", "name": "eavdash-x", "partition": "later"},
        "beat": ["boot", 3.5],
        "history": [{"attempt": 0, "state": "queued", "node": "n1"}],
        "blocked_by": [],
        "mood": "fine",
    }
    run.status_file.write_text(json.dumps(before))
    run.update(epoch=3)
    after = json.loads(run.status_file.read_text())
    assert after["history"][0].items() >= before["history"][0].items()
    same = before.keys() - {"epoch", "cancel", "history"}
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert after["epoch"] == 3
    assert run.status().job == JobRecord(executor="slurm", name="eavdash-x", partition="later")
    assert run.transition("done").history[-1].executor == "slurm"
