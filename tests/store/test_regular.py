"""Files below the checkpoints folder that are no regular files, or longer than anything that training writes."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest
from failing import fails
from fake_study import make_study

from eavdash.cli.main import main
from eavdash.data.frozen import read_frozen
from eavdash.errors import IntegrityError
from eavdash.results.columns import study_table
from eavdash.store import RunDir, regular
from eavdash.store.atomic import sha256

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setenv("EAVDASH_CHECKPOINTS", str(tmp_path))
    return make_study(tmp_path, subjects=("1",), trials=4).run("s01-eeg")


def as_pipe(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def as_device(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize("replace", [as_pipe, as_device])
def test_every_reader_refuses_what_is_no_file(run: RunDir, replace: object) -> None:
    assert callable(replace)
    for file in (run.metrics_file, run.log_file, run.predictions_file, run.study.table_file, run.study.splits_file):
        replace(file)
        with pytest.raises(OSError, match="not a regular file"):
            sha256(file)
    assert run.metrics() == []
    with fails(IntegrityError, where=str(run.predictions_file), found="not a regular file"):
        run.verify("predictions.parquet")
    with fails(IntegrityError, where=str(run.study.table_file), found="not a regular file"):
        read_frozen(run.study.table_file)
    with fails(IntegrityError, where=str(run.study.splits_file), found="not a regular file"):
        study_table(run.study.splits_file, ["subject"])
    assert main(["logs", "demo/s01-eeg"]) == 1
    assert main(["results", "demo"]) in (0, 1)


def test_rows_of_other_types_are_skipped_in_metrics(run: RunDir) -> None:
    wrong = [
        "[1]",
        "[" * 50_000,
        "5",
        '{"epoch": "x"}',
        '{"epoch": 1e999}',
        '{"epoch": [1]}',
        '{"epoch": 1, "loss": "x"}',
    ]
    wrong += ['{"epoch": NaN}', '{"epoch": null}', f'{{"epoch": {2**60}}}', "{}"]
    good = [{"epoch": 1, "loss": 0.5, "validation_loss": 0.25}, {"epoch": 2, "loss": 0.25, "phase": "joint"}]
    text = "\n".join([*wrong, *map(json.dumps, good), '{"epoch": 3'])
    run.metrics_file.write_bytes(b"\xff\xfe\n" + text.encode())
    assert run.metrics() == good
    run.status_file.write_text("{")
    run.restore_status()
    assert (run.status().state, run.status().epoch) == ("failed", 2)


def test_a_log_of_one_endless_line_is_shown_in_pieces(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    with run.log_file.open("wb") as file:
        file.truncate(3_000_000_000)  # zeros, which take no place on the disk
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast line\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["logs", "demo/s01-eeg", "--lines", "2"]) == 0
    assert capsys.readouterr().out == "last line\n"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


def test_the_end_of_a_file_begins_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log.txt"
    assert regular.read_end(file) == (b"", True)
    file.write_text("".join(f"line {n} {'x' * 300}\n" for n in range(500)))
    assert [line.split()[1] for line in regular.last_lines(file, 3)] == ["497", "498", "499"]
    assert len(regular.last_lines(file, 1000)) == 500
    end, whole = regular.read_end(file, 400)
    assert (end[:8], end.count(b"\n"), whole) == (b"line 499", 1, False)
    monkeypatch.setattr(regular, "LINE", 100)
    assert "".join(regular.pieces(file)) == file.read_text()
    assert max(map(len, regular.pieces(file))) == 100
