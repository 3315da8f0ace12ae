"""Slots for cores, main memory and parts of GPUs; GPUs are only names here, no devices."""

from __future__ import annotations

import os
import subprocess
import threading

from failing import fails

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError
from eavdash.jobs import slots as module
from eavdash.jobs.executors.local import LocalExecutor
from eavdash.jobs.queue import submit, wait
from eavdash.jobs.slots import GPU_PARTS, Machine, Need, Slots, need_of, this_machine


def test_the_resources_of_a_run():
    lab = Machine(cores=8, ram=16, gpus=("0", "1"))
    assert need_of(Execution(device="cpu", threads=2), lab, 1.2) == Need(2, 2)
    assert need_of(Execution(), lab, 1.0) == Need(1, 1, GPU_PARTS)
    assert need_of(Execution(device="cuda:1", runs_per_gpu=3), lab, 0.5) == Need(1, 1, 4, "1")
    assert need_of(Execution(threads=99), Machine(2, 4), 64) == Need(2, 4)  # capped, so that it can run alone


def test_runs_are_spread_over_gpus_and_share_them(tmp_path):
    slots = Slots(tmp_path, Machine(9, 0, ("0", "1")))
    half = Need(1, 0, GPU_PARTS // 2)

    def never():
        left = [False, True]
        return lambda: bool(left.pop()) if left else False

    with slots.take(half, lambda: True) as a, slots.take(half, lambda: True) as b:
        assert {a.environment["CUDA_VISIBLE_DEVICES"], b.environment["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}
        assert a.environment[module.SHARE_VARIABLE] == "0.5000"
        with slots.take(Need(1, 0, GPU_PARTS), never()) as whole:
            assert whole is None  # no GPU is empty
        with slots.take(half, lambda: True) as c, slots.take(half, lambda: True) as d:
            taken = [x.environment["CUDA_VISIBLE_DEVICES"] for x in (a, b, c, d)]
            assert sorted(taken) == ["0", "0", "1", "1"]
            with slots.take(half, never()) as none:
                assert none is None
        with slots.take(Need(1, 0, GPU_PARTS // 2, "1"), lambda: True) as named:
            assert named.environment["EAVDASH_GPU"] == "1"
    with slots.take(Need(1, 0, GPU_PARTS), lambda: True) as whole:
        assert module.SHARE_VARIABLE not in whole.environment  # a whole GPU has no share limit


def test_memory_is_counted_and_a_waiting_run_holds_nothing_of_a_gpu(tmp_path):
    slots = Slots(tmp_path, Machine(4, 6, ("0",)))
    with slots.take(Need(1, 4), lambda: True):
        answers = iter([True, True, True, False])
        with slots.take(Need(1, 3, GPU_PARTS), lambda: next(answers)) as none:
            assert none is None
        with slots.take(Need(1, 2, GPU_PARTS), lambda: True) as fits:
            assert len(fits.descriptors) == 1 + 2 + GPU_PARTS
    got = threading.Event()
    with slots.take(Need(1, 6), lambda: True):

        def wait_for_it():
            with slots.take(Need(1, 1), lambda: True):
                got.set()

        thread = threading.Thread(target=wait_for_it)
        thread.start()
        assert not got.wait(0.4)
    thread.join(10)
    assert got.is_set()


def test_the_resources_of_this_machine(monkeypatch):
    for name in ("EAVDASH_SLOTS", "EAVDASH_RAM", "EAVDASH_GPUS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    assert this_machine().gpus == ()
    assert this_machine().ram >= 1
    monkeypatch.setattr(module.shutil, "which", lambda _: "nvidia-smi")
    done = subprocess.CompletedProcess([], 0, stdout="0\n1\n")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    assert this_machine().gpus == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert this_machine().gpus == ("3",)
    monkeypatch.setenv("EAVDASH_GPUS", "")
    assert this_machine().gpus == ()
    monkeypatch.setenv("EAVDASH_RAM", "some")
    with fails(ConfigError, where="EAVDASH_RAM", found="'some'"):
        this_machine()


def test_resources_that_this_machine_lacks_are_reported_before_a_launch(tmp_path, monkeypatch):
    monkeypatch.setenv("EAVDASH_GPUS", "0")
    monkeypatch.setenv("EAVDASH_RAM", "4")
    monkeypatch.setenv("EAVDASH_SLOTS", "2")
    executor = LocalExecutor()
    assert executor.check(tmp_path, Execution(device="cuda:0", ram=4, threads=2)) == []
    problems = executor.check(tmp_path, Execution(device="cuda:1", ram=9, threads=3))
    assert [line.partition(":")[0] for line in problems] == ["--device", "--ram", "--threads"]
    assert "found the GPUs 0" in problems[0]


def test_runs_of_a_study_share_the_machines_gpus(lab, monkeypatch):
    monkeypatch.setenv("EAVDASH_GPUS", "0,1")
    monkeypatch.setenv("EAVDASH_SLOTS", "8")
    runs = [lab.run(f"s0{n}-vision", epochs=8, seconds=0.2) for n in range(1, 6)]
    submit(lab.study, None, Execution(device="cuda", runs_per_gpu=2))
    table = wait(lab.study, timeout=120)
    assert set(table["state"]) == {"done"}
    gpus = [(run.path / "gpu.txt").read_text().split() for run in runs]
    assert {gpu for gpu, _ in gpus} == {"0", "1"}
    assert {share for _, share in gpus} == {"0.5000"}
    # Five runs of half a GPU on two GPUs: never more than four at once.
    assert max(((table["started"] <= t) & (t < table["finished"])).sum() for t in table["started"]) <= 4
    assert all(run.status().usage.rss > 0 for run in runs)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None
