"""Checks of SLURM before runs of a checkpoints folder are submitted to it.

The result is a sentence for each requirement that is not met. Checked are the commands and the controller; then the
requested resources (partition, time, cores, memory, GPUs, account ...) by SLURM itself (``sbatch --test-only``); then,
with a short probe job with the same options, shared storage, locks between machines and the Python environment. If no
node is free for the probe within half a minute, a note says that storage and environment were not checked.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError, sentence
from eavdash.jobs.executors import NOTE
from eavdash.jobs.executors.local import worker_environment
from eavdash.jobs.executors.slurm_commands import (
    ENDED_STATES,
    NoAnswerError,
    RejectedError,
    Row,
    Squeue,
    batch_script,
    call,
    log_options,
)
from eavdash.jobs.executors.slurm_options import options
from eavdash.jobs.queue_database import queue_folder
from eavdash.store import locks
from eavdash.store.atomic import read_json

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
#: Seconds after its submission within which the probe must start, and must end.
PROBE_START_TIMEOUT, PROBE_END_TIMEOUT = 30.0, 120.0
#: Script of the probe job.
PROBE = """
import os, platform, sys
from importlib.metadata import version
from pathlib import Path
from eavdash.store.atomic import is_locked, write_json
answer, lock, gpu = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "gpu"
found = {"host": os.uname().nodename, "python": platform.python_version(), "torch": version("torch"), "gpu": True}
try:
    found["locks"] = is_locked(lock)
except OSError as error:
    found["locks"] = False
if gpu:
    import torch
    found["gpu"] = torch.cuda.is_available()
write_json(answer, found)
"""


def check(root: Path, settings: Execution) -> list[str]:
    """Return a sentence for each requirement that is not met (see :class:`eavdash.jobs.executors.Executor`)."""
    try:
        asked = options(settings)
    except ConfigError as error:
        return [str(error)]
    absent = [name for name in COMMANDS if shutil.which(name) is None]
    if absent:
        return [
            sentence("PATH", f"SLURM's commands {', '.join(COMMANDS)}", f"no {', '.join(absent)}",
                     "load the site's SLURM module, or use --executor local")
        ]  # fmt: skip
    try:
        return _device(settings) + _partition(asked) or _test_submission(asked) or _probe(root, settings, asked)
    except NoAnswerError as error:
        return [sentence("SLURM", "a controller that answers", str(error), "try again when scontrol ping says UP")]


def _device(settings: Execution) -> list[str]:
    if re.fullmatch(r"cuda:[1-9]\d*", settings.device):
        return [
            sentence("--device", "cuda (a job sees the GPUs that SLURM gives it, from 0)", settings.device,
                     "write --device cuda, and choose a kind of GPU with --slurm gres=gpu:KIND:1")
        ]  # fmt: skip
    return []


def _partition(asked: list[str]) -> list[str]:
    """Return a problem if the partition does not exist, is down or does not allow the requested time."""
    given = dict(option.removeprefix("--").split("=", 1) for option in asked if "=" in option)
    rows = [line.split("|") for line in call("sinfo", "--noheader", "--format=%P|%a|%l").splitlines()]
    partitions = {name.removesuffix("*"): (up, limit) for name, up, limit in rows}
    standard = [row[0].removesuffix("*") for row in rows if row[0].endswith("*")][:1]
    chosen = given["partition"].split(",") if "partition" in given else standard
    if not chosen:
        return [
            sentence("SLURM", "a partition, because there is no default one", "none",
                     f"add --slurm partition=NAME, one of {', '.join(partitions)}")
        ]  # fmt: skip
    problems = []
    for name in chosen:
        if name not in partitions:
            known = ", ".join(partitions) or "none"
            problems.append(sentence("SLURM", f"a partition {name}", f"only {known}", "choose another partition"))
            continue
        up, limit = partitions[name]
        if up != "up":
            problems.append(sentence(f"SLURM partition {name}", "state up", f"state {up}", "choose another, or wait"))
        most, time_asked = seconds(limit), seconds(given.get("time", "0"))
        if most is not None and time_asked is not None and time_asked > most:
            problems.append(
                sentence(f"SLURM partition {name}", f"a time of at most {limit}", given["time"],
                         "request less: a run that reaches its time limit resumes from its last finished epoch")
            )  # fmt: skip
    return problems


def seconds(text: str) -> float | None:
    """Return the seconds of a time in SLURM's format (``90``, ``90:00``, ``1:30:00``, ``1-12``, ``1-12:00:00``).

    None: no limit.
    """
    days, dash, rest = text.rpartition("-")
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", text):
        return None
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, secs = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, secs = parts
    else:
        hours, (minutes, secs) = 0, [*parts, 0][:2]
    return float(int(days or 0) * 86400 + hours * 3600 + minutes * 60 + secs)


def _test_submission(asked: list[str]) -> list[str]:
    """Return a problem if SLURM rejects a test submission with these options."""
    try:
        call("sbatch", "--test-only", *asked, script="#!/bin/sh\n")
    except RejectedError as error:
        there = "; ".join(
            f"{name}: {cores} cores, {memory} MB and {gpus} per node"
            for name, cores, memory, gpus in (
                line.split("|") for line in call("sinfo", "--noheader", "--format=%R|%c|%m|%G").splitlines()
            )
        )
        answer = str(error).removeprefix("allocation failure: ")
        remedy = f"request what a partition has: {there}"
        return [sentence(f"sbatch {' '.join(asked)}", "a job that SLURM could run", answer, remedy)]
    return []


def _probe(root: Path, settings: Execution, asked: list[str]) -> list[str]:
    """Return the problems that a short job finds on a compute node, or a note if it could not run in time."""
    nonce = secrets.token_hex(4)
    home = queue_folder(root)
    answer, output, lock = (home / f"probe-{nonce}.{kind}" for kind in ("json", "txt", "lock"))
    name = f"eavdash-probe-{nonce}"
    command = (sys.executable, "-P", "-c", PROBE, str(answer), str(lock), "gpu" if _wants_gpu(settings) else "")
    squeue = Squeue()
    held = locks.acquire(lock)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_remove_on_exit(answer, output, lock))
        if held is not None:
            stack.callback(os.close, held)
        short = [option for option in asked if not option.startswith("--time")]
        try:
            call("sbatch", "--parsable", "--no-requeue", "--time=5", f"--job-name={name}", *short,
                 *log_options(output), script=batch_script(command, {}),
                 environment=worker_environment(settings.threads))  # fmt: skip
        except RejectedError as error:
            return [sentence("SLURM", "to accept the job", str(error), "fix the --slurm options")]
        stack.callback(_cancel_by_name, name)
        row = _wait_for_probe(squeue, name)
        if row is None:
            return [
                f"{NOTE}shared storage and the Python environment of SLURM's nodes, because no node was free within "
                f"{PROBE_START_TIMEOUT:g} s."
            ]
        return _findings(row, answer, output, settings)


def _wait_for_probe(squeue: Squeue, name: str) -> Row | None:
    """Wait for the probe's end; return None if it has not started, or not ended, in time."""
    submitted = time.monotonic()
    while True:
        rows = squeue.named(name)
        waited = time.monotonic() - submitted
        if rows and rows[0].state in ENDED_STATES:
            return rows[0]
        if waited > PROBE_END_TIMEOUT or (waited > PROBE_START_TIMEOUT and (not rows or rows[0].state == "PENDING")):
            return None
        time.sleep(0.2)


def _findings(row: Row, answer: Path, output: Path, settings: Execution) -> list[str]:
    node = f"SLURM node {row.nodes or '(unknown)'}"
    # A network file system may show a new file some seconds late.
    deadline = time.monotonic() + 10
    while not answer.exists() and time.monotonic() < deadline:
        os.listdir(answer.parent)  # noqa: PTH208 - forces the folder to be read again
        time.sleep(0.5)
    if not answer.exists():
        if not output.exists():
            return [
                sentence(answer.parent.parent, f"a folder shared with {node}", "that its files do not arrive here",
                         "put the checkpoints on storage that all nodes have at the same path")
            ]  # fmt: skip
        lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()] or ["no output"]
        return [
            sentence(node, f"{sys.executable} with eavdash and torch", lines[-1],
                     "put the Python environment on storage that all nodes have at the same path")
        ]  # fmt: skip
    found: dict[str, Any] = read_json(answer)
    here = {"python": platform.python_version(), "torch": importlib.metadata.version("torch")}
    problems = [
        sentence(node, f"{what} {version}", str(found.get(what)), "use the same environment on all machines")
        for what, version in here.items()
        if found.get(what) != version
    ]
    if not found.get("locks"):
        problems.append(
            sentence(answer.parent.parent, "a file system whose locks (flock) work between machines",
                     f"that {node} does not see a lock held here", "see docs/cluster.md, File systems without locks")
        )  # fmt: skip
    if _wants_gpu(settings) and not found.get("gpu"):
        problems.append(
            sentence(node, "a GPU that torch can use", "none",
                     "choose a partition with GPUs (--slurm partition=..., --slurm gres=gpu:1) or --device cpu")
        )  # fmt: skip
    return problems


def _wants_gpu(settings: Execution) -> bool:
    return settings.device.startswith("cuda")


def _cancel_by_name(name: str) -> None:
    with contextlib.suppress(NoAnswerError, RejectedError):
        call("scancel", f"--name={name}")


@contextlib.contextmanager
def _remove_on_exit(*files: Path) -> Iterator[None]:
    try:
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)
