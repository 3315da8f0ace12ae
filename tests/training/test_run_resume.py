"""An interrupted run ends like an uninterrupted one; damaged or foreign states only cost epochs."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from failing import fails

from eavdash.errors import TrainingError
from eavdash.store import atomic
from eavdash.training import resume
from eavdash.training.run import train_run


class KilledError(Exception):
    pass


def stop_after(epochs):
    """Return a ``report`` and a ``should_stop`` that end a run early."""
    seen = []
    return seen.append, lambda: len(seen) >= epochs


@pytest.mark.parametrize("stage", ["vision", "audio", "eeg"])
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_resumed_equals_uninterrupted(sandbox, tiny_config, content, stage, how):
    whole = sandbox.study(tiny_config(4), "whole")(stage)
    assert train_run(whole)
    part = sandbox.study(tiny_config(4), "part")(stage)
    report, should_stop = stop_after(2)
    if how == "stop":
        assert not train_run(part, report=report, should_stop=should_stop)
    else:

        def die(row):
            if row["epoch"] == 2:
                raise KilledError

        with pytest.raises(KilledError):
            train_run(part, report=die)
    assert part.resume_file.exists()
    assert not part.model_file.exists()
    assert len(part.metrics()) == 2
    with part.metrics_file.open("a") as file:
        file.write('{"epoch": 3}\n')  # a line after the saved state
    torch.manual_seed(123)  # results must not depend on earlier draws
    part.update(epoch=1)  # killed between the state and the status
    started = []
    assert train_run(part, report=lambda row: started.append(part.status().from_epoch))
    assert started == [2, 2]
    assert content(part) == content(whole)
    assert train_run(part)  # killed after the results and before the run was marked done
    assert content(part) == content(whole)


def test_fusion_resumes_too(sandbox, tiny_config, content):
    runs = [sandbox.study(tiny_config(4), name) for name in ("whole", "part")]
    for run in runs:
        for stage in ("vision", "audio", "eeg"):
            train_run(run(stage))
    assert train_run(runs[0]("fusion"))
    report, should_stop = stop_after(2)
    assert not train_run(runs[1]("fusion"), report=report, should_stop=should_stop)
    assert train_run(runs[1]("fusion"))
    assert content(runs[1]("fusion")) == content(runs[0]("fusion"))


def test_head_only_epochs_resume_in_either_phase(sandbox, tiny_config, content, monkeypatch):
    monkeypatch.setattr("eavdash.training.stage1.head_epochs", lambda context: 2)
    whole = sandbox.study(tiny_config(4), "whole")("audio")
    train_run(whole)
    for epochs in (1, 2, 3):
        part = sandbox.study(tiny_config(4), f"part{epochs}")("audio")
        report, should_stop = stop_after(epochs)
        assert not train_run(part, report=report, should_stop=should_stop)
        assert train_run(part)
        assert content(part) == content(whole)


def test_head_only_epochs_change_the_head_alone(sandbox, tiny_config, monkeypatch):
    monkeypatch.setattr("eavdash.training.stage1.head_epochs", lambda context: 2)
    run = sandbox.study(tiny_config(4))("audio")
    states = []

    def record(row):
        content = run.resume_file.read_bytes()
        states.append(torch.load(__import__("io").BytesIO(content[65:]), weights_only=True)["state"]["model"])

    train_run(run, report=record)
    changed = {k for k in states[0] if not torch.equal(states[0][k], states[1][k])}
    assert changed
    assert all(k.startswith("head.") for k in changed)
    assert all(k.startswith("head.") for k in states[1])  # unchanged tensors are not written every epoch
    later = {k for k in states[3] if not torch.equal(states[2][k], states[3][k])}
    assert any(not k.startswith("head.") for k in later)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_damaged_state_starts_over(sandbox, tiny_config, content, caplog, damage):
    whole = sandbox.study(tiny_config(3), "whole")("eeg")
    train_run(whole)
    part = sandbox.study(tiny_config(3), "part")("eeg")
    report, should_stop = stop_after(1)
    train_run(part, report=report, should_stop=should_stop)
    state = bytearray(part.resume_file.read_bytes())
    state[len(state) // 2] ^= 1
    wrong = {"flip": bytes(state), "cut": bytes(state[: len(state) // 2]), "empty": b"", "text": b"no state"}
    part.resume_file.write_bytes(wrong[damage])
    assert part.status().epoch == 1
    started = []
    assert train_run(part, report=lambda row: started.append((part.status().from_epoch, row["epoch"])))
    assert started == [(0, 1), (0, 2), (0, 3)]  # the status no longer shows the epoch finished before
    assert "starts over" in caplog.text
    assert content(part) == content(whole)


def test_state_of_other_data_is_not_used(sandbox, tiny_config, content, caplog):
    part = sandbox.study(tiny_config(3), "part")("eeg")
    report, should_stop = stop_after(1)
    train_run(part, report=report, should_stop=should_stop)
    sandbox.first = 7  # other recordings, another cache key
    assert train_run(part)
    assert "resume.pt" in caplog.text
    whole = sandbox.study(tiny_config(3), "whole")("eeg")
    train_run(whole)
    assert content(part) == content(whole)


def test_state_is_loaded_without_unpickling_objects(tmp_path):
    class Foreign:
        pass

    with pytest.raises(Exception, match="pickle"):
        resume.save(tmp_path / "resume.pt", {"x": Foreign()}, "s")
    assert resume.load(tmp_path / "resume.pt", "s") is None
    resume.save(tmp_path / "resume.pt", {"x": torch.arange(3)}, "s")
    state = resume.load(tmp_path / "resume.pt", "s")
    assert state is not None
    assert state["x"].tolist() == [0, 1, 2]
    assert resume.load(tmp_path / "resume.pt", "other") is None


def test_disk_full_keeps_the_last_epoch(sandbox, tiny_config, content, monkeypatch):
    whole = sandbox.study(tiny_config(3), "whole")("eeg")
    train_run(whole)
    run = sandbox.study(tiny_config(3), "full")("eeg")
    real = os.fsync
    full = []

    def fsync(descriptor):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    before = {}

    def fill(row):
        if row["epoch"] == 2:
            full.append(True)
            before.update({f.name: f.read_bytes() for f in run.path.iterdir() if f.is_file()})

    with fails(TrainingError, where="resume.pt", found="No space left", remedy="disk space"):
        train_run(run, report=fill)
    after = {f.name: f.read_bytes() for f in run.path.iterdir() if f.is_file()}
    assert after == before
    full.clear()
    assert train_run(run)
    assert content(run) == content(whole)


@pytest.mark.parametrize("file", ["model.safetensors", "predictions.parquet"])
def test_disk_full_at_the_end_keeps_the_state(sandbox, tiny_config, monkeypatch, file):
    run = sandbox.study(tiny_config(2))("eeg")
    real = atomic.new_file

    def opened(path, *args):
        if file in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "new_file", opened)
        with fails(TrainingError, where=file, found="No space left"):
            train_run(run)
    assert run.resume_file.exists()
    assert not (run.path / file).exists()
    assert train_run(run)
    assert len(run.metrics()) == 2
