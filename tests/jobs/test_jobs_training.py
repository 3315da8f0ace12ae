"""kill -9 during real training by the real worker: the weights equal those of an uninterrupted run, bit for bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from eavdash.config.schema import AudioConfig, Execution, Selection, StudyConfig, TrainConfig, TrainConfigs
from eavdash.jobs.queue import ensure_scheduler, submit, wait
from eavdash.studies.write import prepare

CPU = Execution(device="cpu")


def recordings(folder: Path) -> Path:
    """Write sixteen sounds of two classes in four groups; return the path of their table."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for number in range(16):
        kind = number % 2
        time = np.arange(16000) / 16000
        wave = 0.2 * np.sin(2 * np.pi * (300 + 600 * kind) * time) + 0.05 * random.normal(size=16000)
        soundfile.write(folder / f"{number}.wav", wave, 16000)
        row = {"subject": "1", "trial": str(number), "label": ("low", "high")[kind], "group": f"{kind}{number // 4}"}
        rows.append({**row, "audio": f"{number}.wav"})
    table = folder / "trials.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


@pytest.mark.slow
def test_killed_training_ends_with_the_weights_of_an_uninterrupted_run(lab, tmp_path, monkeypatch):
    monkeypatch.delenv("EAVDASH_WORKER")
    epochs = 150  # some seconds of training: long enough to be killed twice
    config = StudyConfig(
        stages=("audio",),
        window=1.0,
        audio=AudioConfig(mels=32, width=32, depth=1, heads=2),
        train=TrainConfigs(audio=TrainConfig(epochs=epochs, batch=2)),
    )
    table = recordings(tmp_path / "sounds")
    calm, rough = (prepare(table, name, config, Selection(folds=(0,)), lab.root) for name in ("calm", "rough"))
    submit(calm.study, execution=CPU)
    submit(rough.study, execution=CPU)
    run = rough.study.run("s01-audio")
    os.kill(lab.at_epoch(run, 2), signal.SIGKILL)  # the worker
    lab.until(lambda: run.status().attempt == 2)
    pid = lab.at_epoch(run, 3)
    os.kill(lab.scheduler_pid(), signal.SIGKILL)  # then everything at once
    os.kill(pid, signal.SIGKILL)
    lab.until(lambda: not run.locked())
    assert run.live_status().shown in ("not responding", "queued")
    ensure_scheduler(lab.root)
    ended = wait(rough.study, timeout=120)
    assert set(ended["state"]) == {"done"}
    assert set(wait(calm.study, timeout=120)["state"]) == {"done"}

    assert run.status().attempt >= 3
    assert run.status().epoch == epochs
    assert [row["epoch"] for row in run.metrics()] == list(range(1, epochs + 1))
    uninterrupted = calm.study.run(run.name)
    for file in ("model.safetensors", "predictions.parquet"):
        assert run.verify(file).read_bytes() == uninterrupted.verify(file).read_bytes()
    assert run.status().accuracy == uninterrupted.status().accuracy
    assert not run.resume_file.exists()
