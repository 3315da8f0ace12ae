"""A disk that is full at any write of a run: no file is corrupt, the reason is named, and the run can be resumed.

The disk is a tmpfs of one megabyte; mounting it requires root.
"""

from __future__ import annotations

import json
import os
import subprocess

import pandas as pd
import pytest
from lab import expected_weights
from safetensors import safe_open
from standin_worker import filling
from test_jobs_training import recordings

from eavdash.config.schema import AudioConfig, Selection, StudyConfig, TrainConfig, TrainConfigs
from eavdash.errors import TrainingError
from eavdash.jobs.queue import retry, submit, wait
from eavdash.store.record import write_record
from eavdash.studies.write import prepare


@pytest.fixture
def small_disk():
    """Function that mounts a disk of one megabyte on a folder."""
    mounted = []

    def mount(folder):
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small disk requires root and Linux")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def check_files(folder):
    """Assert that every file of a run can be read."""
    assert not list(folder.glob(".*.tmp"))
    for file in folder.iterdir():
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".parquet":
            assert len(pd.read_parquet(file))
        elif file.suffix == ".safetensors" and file.read_bytes()[:1] != b"{":
            with safe_open(file, "np") as tensors:
                assert tensors.keys()


def test_a_full_disk_at_any_write_fails_the_run_with_a_reason_and_it_can_be_retried(lab, small_disk):
    plans = [run.config() for run in (lab.run(f"s{n:02d}-vision", epochs=2, fill=n) for n in range(1, 9))]
    kept = lab.study.study_file.read_bytes()
    small_disk(lab.study.path)
    lab.study.study_file.write_bytes(kept)
    ballast = lab.study.path / "ballast"
    full = 0
    for number, plan in enumerate(plans, start=1):
        run = lab.study.run(f"s{number:02d}-vision")
        run.create(plan)
        submit(lab.study, [run.name])
        lab.until(lambda run=run: ballast.exists() or run.status().state == "done")
        if run.status().state != "done":
            # On a full disk not even "failed" can be written, but the run is not shown as running.
            lab.until(lambda run=run: not run.locked() and lab.states()[run.name] in ("not responding", "failed"))
            for path in run.path.glob("*.json"):
                json.loads(path.read_text())
            ballast.unlink()
            lab.until(lambda run=run: run.status().state != "running")
            status = run.status()
            assert (status.state, "disk" in status.reason) == ("failed", True), status.reason
            full += 1
            plan.standin["fill"] = 0
            write_record(run.config_file, plan)
            assert retry(lab.study, [run.name]) == [run.name]
        ballast.unlink(missing_ok=True)
        assert set(wait(lab.study, [run.name], timeout=60)["state"]) == {"done"}
        assert run.verify("model.safetensors").read_bytes() == expected_weights(run)
    assert full >= 5


@pytest.mark.slow
def test_training_survives_a_full_disk_at_any_of_its_writes(lab, small_disk, tmp_path, monkeypatch):
    from eavdash.training import resume
    from eavdash.training.run import train_run

    config = StudyConfig(
        stages=("audio",),
        window=1.0,
        audio=AudioConfig(mels=32, width=16, depth=1, heads=2),
        train=TrainConfigs(audio=TrainConfig(epochs=2)),
    )
    table = recordings(tmp_path / "sounds")
    calm = prepare(table, "calm", config, Selection(folds=(0,)), lab.root).study.run("s01-audio")
    train_run(calm)
    seen = 0
    for number in range(1, 40):
        study = lab.root / f"full{number}"
        small_disk(study)
        run = prepare(table, study.name, config, Selection(folds=(0,)), lab.root).study.run("s01-audio")
        with monkeypatch.context() as patched:
            filling_write = filling(study / "ballast", number)
            for module in ("store.atomic", "training.resume", "training.evaluate", "training.loop", "models.build"):
                patched.setattr(f"eavdash.{module}.write_atomic", filling_write, raising=False)
            try:
                train_run(run)
            except TrainingError as error:
                seen += "No space left on device" in str(error)
        filled = (study / "ballast").exists()
        (study / "ballast").unlink(missing_ok=True)
        check_files(run.path)
        if run.resume_file.exists():
            assert resume.load(run.resume_file, _signature(run)) is not None
        train_run(run)
        for name in ("model.safetensors", "predictions.parquet"):
            assert (run.path / name).read_bytes() == (calm.path / name).read_bytes()
        if not filled:
            break  # all of its writes have been tried
    assert seen >= 5


def _signature(run):
    """Return the signature stored in the run's resume.pt."""
    import io

    import torch

    return torch.load(io.BytesIO(run.resume_file.read_bytes()[65:]), weights_only=True)["signature"]
