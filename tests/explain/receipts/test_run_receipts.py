"""Receipts of trained runs: kept beside them until their weights change; shuffled labels fail, a good model passes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from recordings import FAST, make_recordings
from trained import train_plan

from eavdash.cli.main import main
from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.errors import IntegrityError
from eavdash.explain.check_record import Check, worst
from eavdash.explain.explanation import Explanation, load_explanation
from eavdash.explain.receipts.of_run import check_and_save
from eavdash.explain.receipts.registry import CHECKS
from eavdash.explain.run_receipts import RunReceipts, all_checks, load_run_receipts
from eavdash.explain.trial import explain_trial
from eavdash.store import RunDir, StudyDir
from eavdash.studies.write import prepare

SETTINGS = (*FAST, "window=1", "stages=audio")
EPOCHS = 12


def train(table: Path, name: str, root: Path, seeds: tuple[int, ...]) -> StudyDir:
    config = with_epochs(with_settings(preset("quick"), SETTINGS), EPOCHS)
    return train_plan(prepare(table, name, config, Selection(folds=(0,), seeds=seeds), root))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("receipts") / "data", subjects=1, groups=8)


@pytest.fixture(scope="module")
def study(table: Path) -> StudyDir:
    return train(table, "good", table.parents[1] / "checkpoints", (0, 1))


@pytest.fixture(scope="module")
def guessing(table: Path) -> StudyDir:
    """The same recordings with labels that say nothing about them, in equal numbers in every group."""
    frame = pd.read_csv(table)
    rng = np.random.default_rng(0)
    frame["label"] = np.concatenate([rng.permutation(part["label"]) for _, part in frame.groupby("group", sort=False)])
    shuffled = table.with_name("shuffled.csv")
    frame.to_csv(shuffled, index=False)
    return train(shuffled, "guessing", table.parents[1] / "checkpoints", (0,))


@pytest.fixture(scope="module")
def explanation(study: StudyDir) -> Explanation:
    return explain_trial(study, "1", trial_of(study.runs()[0]))


@pytest.fixture(scope="module")
def receipts(study: StudyDir) -> RunReceipts:
    return check_and_save(study, study.runs()[0])


def trial_of(run: RunDir) -> str:
    frame = pd.read_parquet(run.predictions_file)
    return str(frame.loc[frame["split"] == "test", "trial"].iloc[0])


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_good_model_passes(study: StudyDir, explanation: Explanation, receipts: RunReceipts) -> None:
    found = by_name(receipts.checks)
    assert found["decisions"].verdict == found["weights"].verdict == "pass"
    assert found["fusion_weights"].verdict == "not run"
    assert found["seeds"].verdict != "not run"
    assert receipts.seeds == (1,)
    assert set(receipts.checksums) == {run.name for run in study.runs()}
    own = by_name(explanation.receipts.checks)
    assert list(own) == [name for name, kind in CHECKS.items() if kind.of == "map"]
    assert worst(own.values()) in ("pass", "doubtful"), own
    assert worst(all_checks(study.runs()[0], explanation)) in ("pass", "doubtful"), receipts


def test_a_model_of_shuffled_labels_fails(guessing: StudyDir) -> None:
    run = guessing.runs()[0]
    check_and_save(guessing, run)
    made = explain_trial(guessing, "1", trial_of(run))
    assert worst(all_checks(run, made)) == "fail"
    assert by_name(all_checks(run, made))["decisions"].verdict == "fail"


def test_checks_are_stored_with_the_map_and_in_its_summary(study: StudyDir, explanation: Explanation) -> None:
    stored = load_explanation(study.runs()[0], explanation.trial, *explanation.stored)
    assert stored is not None
    assert stored.receipts.checks == explanation.receipts.checks
    summary = stored.summary()["receipts"]
    assert summary["verdict"] == worst(explanation.receipts.checks)
    assert [check["name"] for check in summary["checks"]] == list(by_name(explanation.receipts.checks))
    assert explain_trial(study, "1", explanation.trial).receipts.checks == explanation.receipts.checks


def test_without_receipts_nothing_is_checked(study: StudyDir) -> None:
    made = explain_trial(study, "1", trial_of(study.runs()[0]), target="true", steps=2, receipts=False)
    assert made.receipts.checks == ()
    assert made.summary()["receipts"] == {"verdict": "not run", "checks": []}


def test_receipts_are_read_without_torch_and_computed_to_the_same_bits(study: StudyDir, receipts: RunReceipts) -> None:
    run = study.runs()[0]
    before = run.receipts_file.read_bytes()
    assert check_and_save(study, run) == receipts == load_run_receipts(run)
    assert run.receipts_file.read_bytes() == before
    code = (
        "import sys; from pathlib import Path; from eavdash.store import RunDir;"
        "from eavdash.explain.run_receipts import load_run_receipts; from eavdash.explain.receipts import registry;"
        f"assert load_run_receipts(RunDir(Path({str(run.path)!r}))).checks;"
        "assert not {'torch', 'captum', 'mne', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_new_weights_make_receipts_stale_and_damage_is_named(study: StudyDir, receipts: RunReceipts) -> None:
    run = study.runs()[0]
    for name in receipts.checksums:
        other = run.sibling(name)
        before = other.status().checksums
        other.update(checksums={**before, "model.safetensors": "trained again"})
        try:
            assert load_run_receipts(run) is None
        finally:
            other.update(checksums=before)
    content = run.receipts_file.read_bytes()
    run.receipts_file.write_text("{")
    try:
        with fails(IntegrityError, where=str(run.receipts_file)):
            load_run_receipts(run)
    finally:
        run.receipts_file.write_bytes(content)
    assert load_run_receipts(run) == receipts


def test_the_command_checks_what_lacks_receipts(
    study: StudyDir, receipts: RunReceipts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = study.runs()
    asked: list[str] = []

    def check(_: StudyDir, run: RunDir, device: str) -> RunReceipts:
        asked.append(run.name)
        return receipts

    monkeypatch.setattr("eavdash.explain.receipts.of_run.check_and_save", check)
    where = ("--checkpoints", str(study.path.parent))
    assert main(["receipts", study.name, "--json", *where]) == 0
    assert asked == [second.name]
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [first.name, second.name]
    assert found[first.name]["verdict"] == worst(receipts.checks)
    assert main(["receipts", study.name, "--run", first.name, "--again", *where]) == 0
    assert asked == [second.name, first.name]
    assert "Better than guessing" in capsys.readouterr().out
    assert main(["receipts", study.name, "--run", "s09-eeg", *where]) == 2
