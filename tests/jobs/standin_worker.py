"""The real worker with a training that only counts, for tests of the queue.

Options in ``standin`` of config.json: epochs, seconds per epoch, ``fail`` (a message), ``crash``, ``die_at`` (kill
itself with signal 9 at that epoch), ``child`` (start a child that runs for minutes), ``deaf`` (ignore SIGTERM),
``full`` (every write to the run fails because the disk is full), ``clock`` (seconds by which the process's clock jumps
after its first epoch), ``fill`` (fill the disk before the write of this number). The weights are a chain of hashes: a
resumed run ends with the weights of an uninterrupted one only if every epoch was computed once and in order.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eavdash.errors import TrainingError
from eavdash.jobs import worker
from eavdash.store import RunDir, atomic, status_folder


def train_run(run: RunDir, **_: Any) -> bool:
    """Count to the number of epochs, resuming from resume.pt."""
    plan = run.config().standin
    if plan.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if plan.get("child"):
        child = subprocess.Popen(["sleep", "600"])
        (run.path / "child.txt").write_text(str(child.pid))
    if gpu := os.environ.get("CUDA_VISIBLE_DEVICES"):
        (run.path / "gpu.txt").write_text(f"{gpu} {os.environ.get('EAVDASH_GPU_SHARE')}")
    if plan.get("fail"):
        raise TrainingError(plan["fail"])
    if plan.get("crash"):
        raise ValueError("no such thing")
    if plan.get("full"):
        status_folder.write_record = no_space
    if plan.get("fill"):
        atomic.write_atomic = filling(run.study.path / "ballast", plan["fill"])
    epoch, chain = 0, hashlib.sha256(run.name.encode()).hexdigest()
    if run.resume_file.exists():
        epoch, chain = json.loads(run.resume_file.read_text())
    while epoch < plan["epochs"]:
        if plan.get("die_at") == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(plan["seconds"])
        epoch += 1
        if plan.get("clock") and epoch == 1:
            time.time = lambda real=time.time: real() + plan["clock"]
        chain = hashlib.sha256(f"{chain}{epoch}".encode()).hexdigest()
        state = json.dumps([epoch, chain]).encode()
        atomic.write_atomic(run.resume_file, lambda file, state=state: file.write(state))
        with (run.path / "epochs.txt").open("a") as done:
            done.write(f"{epoch}\n")  # shows if two workers computed the same epoch, unlike the weights
        run.update(epoch=epoch, epochs=plan["epochs"])
    for name in ("model.safetensors", "predictions.parquet"):
        atomic.write_atomic(run.path / name, lambda file, chain=chain: file.write(chain.encode()))
    run.update(accuracy=0.5)
    return True


def filling(ballast: Path, number: int) -> Callable[..., None]:
    """Return a ``write_atomic`` that fills the disk of ``ballast`` before the ``number``-th file is written."""
    write, count = atomic.write_atomic, itertools.count(1)

    def write_atomic(path: Path, content: Callable[..., Any], **options: Any) -> None:
        if next(count) == number and not ballast.exists():
            fill(ballast)
        write(path, content, **options)

    return write_atomic


def fill(ballast: Path) -> None:
    """Use up all disk space."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def no_space(path: Path, _data: Any) -> None:
    """Fail like a write to a full disk."""
    cause = OSError(errno.ENOSPC, "No space left on device")
    raise TrainingError(f"{path}: expected a file that can be written, found no space.") from cause


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with (folder.parent / "launches.txt").open("a") as log:
        log.write(f"{folder.name} {os.getpid()}\n")
    module = types.ModuleType("eavdash.training.run")
    module.train_run = train_run  # type: ignore[attr-defined]
    sys.modules["eavdash.training.run"] = module
    os._exit(worker.main(sys.argv[1:]))
