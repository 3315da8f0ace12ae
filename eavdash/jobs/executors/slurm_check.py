"""Checks of SLURM before runs of a checkpoints folder are submitted to it.

The result is a sentence for each requirement that is not met. Checked are the commands and the controller; then the
requested resources (partition, time, cores, memory, GPUs, account ...) by SLURM itself (``sbatch --test-only``); then,
by a probe (probe.py) with the same options, shared storage, locks between machines and the Python environment. If no
node is free for the probe within half a minute, a note says that storage and environment were not checked.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from pathlib import Path

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError, sentence
from eavdash.jobs.executors import NOTE
from eavdash.jobs.executors.local import worker_environment
from eavdash.jobs.executors.probe import numbered_gpu, prepared, printed
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

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")
#: Seconds after its submission within which the probe must start, and must end.
PROBE_START_TIMEOUT, PROBE_END_TIMEOUT = 30.0, 120.0


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
        device = numbered_gpu(settings, "choose a kind of GPU with --slurm gres=gpu:KIND:1")
        return device + _partition(asked) or _test_submission(asked) or _probe(root, settings, asked)
    except NoAnswerError as error:
        return [sentence("SLURM", "a controller that answers", str(error), "try again when scontrol ping says UP")]


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
    with prepared(root) as probe:
        name, output = f"eavdash-probe-{probe.nonce}", Path(f"{probe.question}.txt")
        short = [option for option in asked if not option.startswith("--time")]
        command = probe.command(1, gpu=settings.device.startswith("cuda"))
        squeue = Squeue()
        try:
            call("sbatch", "--parsable", "--no-requeue", "--time=5", f"--job-name={name}", *short,
                 *log_options(output), script=batch_script(command, {}),
                 environment=worker_environment(settings.threads))  # fmt: skip
        except RejectedError as error:
            return [sentence("SLURM", "to accept the job", str(error), "fix the --slurm options")]
        try:
            row = _wait_for_probe(squeue, name)
        finally:
            with contextlib.suppress(NoAnswerError, RejectedError):
                call("scancel", f"--name={name}")
        if row is None:
            return [
                f"{NOTE}shared storage and the Python environment of SLURM's nodes, because no node was free within "
                f"{PROBE_START_TIMEOUT:g} s."
            ]
        node = f"SLURM node {row.nodes or '(unknown)'}"
        # A network file system may show a new file some seconds late.
        deadline = time.monotonic() + 10
        while (answer := probe.answer(1)) is None and time.monotonic() < deadline:
            time.sleep(0.5)
        if answer is None and not output.exists():
            return [probe.unshared(node, "that its files do not arrive here")]
        return probe.problems(node, answer or printed(output.read_text(errors="replace")))


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
