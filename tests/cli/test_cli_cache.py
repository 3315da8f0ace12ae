"""``eavdash cache``: output, and what stays in the cache."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from failing import fails

from eavdash.cli.commands.cache import build_cache, clear_cache, list_cache
from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.errors import DataError, UsageError

CONFIG = with_settings(StudyConfig(), ["window=1", "stages=audio", "audio.mels=16"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two subjects with eight sounds each."""
    folder, rows = tmp_path / "data", []
    folder.mkdir()
    rng = np.random.default_rng(0)
    for subject in (1, 2):
        for n in range(1, 9):
            soundfile.write(folder / f"{subject}-{n}.wav", rng.normal(0, 0.1, 16000), 16000)
            labels = {"label": "ab"[n % 2], "group": (n - 1) // 2}
            rows.append({"subject": subject, "trial": n, **labels, "audio": f"{subject}-{n}.wav"})
    pd.DataFrame(rows).to_csv(folder / "trials.csv", index=False)
    return folder


def _options(tmp_path: Path, **more: object) -> Namespace:
    usual = {"checkpoints": str(tmp_path / "checkpoints"), "json": True, "dry_run": False}
    return Namespace(**{**usual, **more})


def _build(root: Path, tmp_path: Path, capsys, **more: object) -> dict:
    options = _options(tmp_path, **{"root": str(root), "subjects": None, "jobs": 1, **more})
    assert build_cache(options, CONFIG) == 0
    return json.loads(capsys.readouterr().out)


def _listed(tmp_path: Path, capsys) -> list[dict]:
    assert list_cache(_options(tmp_path)) == 0
    return json.loads(capsys.readouterr().out)


def test_build_list_and_clear(root: Path, tmp_path: Path, capsys) -> None:
    estimate = _build(root, tmp_path, capsys, dry_run=True)
    assert (estimate["missing_sets"], estimate["sets"], estimate["windows"]) == (2, 2, 16)
    assert [entry["kind"] for entry in _listed(tmp_path, capsys)] == ["scan", "digests"]
    _build(root, tmp_path, capsys, subjects="2")
    windows = [entry for entry in _listed(tmp_path, capsys) if entry["kind"] == "windows"]
    assert len(windows) == 1
    for fact in ("audio", "subject 2", "8 trials", "8 windows"):
        assert fact in windows[0]["description"]
    assert _build(root, tmp_path, capsys)["missing_sets"] == 1
    assert _build(root, tmp_path, capsys)["missing_sets"] == 0
    options = _options(tmp_path, keys=[windows[0]["key"][:8]], older_than=None, all=False)
    assert clear_cache(options) == 0
    assert [entry["key"] for entry in json.loads(capsys.readouterr().out)] == [windows[0]["key"]]
    assert _build(root, tmp_path, capsys)["missing_sets"] == 1


def test_text_output(root: Path, tmp_path: Path, capsys) -> None:
    assert list_cache(_options(tmp_path, json=False)) == 0
    assert "nothing is cached" in capsys.readouterr().err
    options = _options(tmp_path, root=str(root), subjects=None, jobs=1, json=False)
    assert build_cache(options, CONFIG) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "0 kB" not in printed
    assert "2 of 2 window sets" in printed
    assert "16 windows" in printed
    assert "2 window sets were made in" in printed
    assert list_cache(_options(tmp_path, json=False)) == 0
    table = capsys.readouterr().out
    assert table.count("windows") >= 2
    assert "digests" in table
    dry = _options(tmp_path, keys=[], older_than=None, all=True, dry_run=True, json=False)
    assert clear_cache(dry) == 0
    assert "would be freed; nothing was deleted" in capsys.readouterr().err
    assert clear_cache(Namespace(**{**vars(dry), "dry_run": False})) == 0
    assert "freed" in capsys.readouterr().err
    assert _listed(tmp_path, capsys) == []


def test_subjects_that_cannot_be_used_are_listed(root: Path, tmp_path: Path, capsys) -> None:
    for path in sorted(root.glob("2-*.wav")):
        path.unlink()
    assert "2-" in _build(root, tmp_path, capsys)["left_out"]["2"]


def test_an_interruption_is_one_sentence(root: Path, tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eavdash.data.cache.prepare.make_windows", stop)
    options = _options(tmp_path, root=str(root), subjects=None, jobs=1)
    with fails(DataError, where=str(tmp_path / "checkpoints" / ".cache"), found="interruption"):
        build_cache(options, CONFIG)


def test_clearing_nothing_is_wrong_usage(tmp_path: Path) -> None:
    with fails(UsageError, where="cache"):
        clear_cache(_options(tmp_path, keys=[], older_than=None, all=False))


@pytest.mark.parametrize("jobs", [-1, 10**9])
def test_an_impossible_number_of_processes_is_refused(root: Path, tmp_path: Path, jobs: int) -> None:
    with fails(UsageError, where="--jobs", expected="1,024", found=str(jobs)):
        build_cache(_options(tmp_path, root=str(root), subjects=None, jobs=jobs), CONFIG)
