"""Options of sbatch for a run: the user's, after validation, and those derived from the run's settings.

Only known options are accepted: sbatch also takes abbreviations (``--outp``), so a list of forbidden ones could be
bypassed.
"""

from __future__ import annotations

import difflib
import re

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError

#: Options with a value that define where, when and with which resources a job runs.
_NAMES = """
    account acctg-freq batch bb bbf begin chdir comment constraint container core-spec cores-per-socket cpu-freq
    cpus-per-gpu cpus-per-task deadline delay-boot distribution exclude exclusive extra extra-node-info gpu-bind
    gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint licenses mail-type mail-user
    mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice nodefile nodelist oversubscribe partition
    power prefer priority profile qos reservation sockets-per-node switches thread-spec threads-per-core time
    time-min tmp tres-bind tres-per-task wckey
"""
VALUED = frozenset(_NAMES.split())
#: Options that need no value.
FLAGS = frozenset({"contiguous", "exclusive", "nice", "oversubscribe", "reboot", "spread-job"})
#: Options that a user must not set, with the reason.
REFUSED = {
    "job-name": "a run's job is identified by its name",
    "output": "what a run prints goes to its log.txt",
    "error": "what a run prints goes to its log.txt",
    "open-mode": "a run's log.txt covers all attempts",
    "wrap": "the job runs the worker",
    "input": "the worker reads nothing",
    "array": "each run is one job",
    "nodes": "a run is computed on one node",
    "ntasks": "a run is one process",
    "ntasks-per-node": "a run is one process",
    "dependency": "the queue keeps the order of the runs",
    "export": "the worker needs its environment",
    "export-file": "the worker needs its environment",
    "get-user-env": "the worker needs its environment",
    "requeue": "it is always on",
    "no-requeue": "a run whose node is lost resumes from its last finished epoch",
    "signal": "SIGTERM ends a worker at once",
    "hold": "no process would release the job",
    "wait": "the scheduler does not wait for a single job",
    "clusters": "the queue uses one cluster",
    "uid": "a job belongs to its submitter",
    "gid": "a job belongs to its submitter",
    "parsable": "it is always on",
    "quiet": "it has no effect",
    "verbose": "it has no effect",
    "test-only": "nothing would be computed",
    "kill-on-invalid-dep": "the queue keeps the order of the runs",
}
GPU_OPTIONS = {"gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "tres-per-task"}
MEMORY_OPTIONS = {"mem", "mem-per-cpu", "mem-per-gpu"}
#: Increase of sbatch's --nice per priority level below 0.
NICE = 100


def options(settings: Execution) -> list[str]:
    """Return the arguments of sbatch for a run's job.

    Only administrators may raise a job's priority, but every user may lower it: a negative priority becomes ``--nice``;
    a positive one only decides which run is submitted to SLURM first.

    Raises:
        ConfigError: an option is unknown, or would break what the queue relies on.
    """
    given = dict(_option(text) for text in settings.slurm)
    asked = dict(given)
    if "cpus-per-task" not in given:
        asked["cpus-per-task"] = str(settings.threads)
    if settings.ram > 0 and not MEMORY_OPTIONS & set(given):
        asked["mem"] = f"{max(1, round(settings.ram * 1024))}M"
    if settings.device.startswith("cuda") and not GPU_OPTIONS & set(given):
        asked["gres"] = "gpu:1"
    if settings.priority < 0 and not {"nice", "priority"} & set(given):
        asked["nice"] = str(-settings.priority * NICE)
    return [f"--{name}={value}" if value else f"--{name}" for name, value in asked.items()]


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    where = f"--slurm {text!r}"
    if name in REFUSED:
        raise ConfigError.at(
            where, expected="an option that does not interfere with the queue", found=f"{name}: {REFUSED[name]}",
            remedy="remove it",
        )  # fmt: skip
    if name not in VALUED | FLAGS:
        near = difflib.get_close_matches(name.lstrip("-"), VALUED | FLAGS, n=1, cutoff=0.6)
        raise ConfigError.at(
            where,
            expected="the long name of an sbatch option without dashes, as in partition=gpu",
            found=repr(name),
            remedy=f"use {near[0]} if you meant that" if near else "see man sbatch",
        )
    if (not value and name not in FLAGS) or (equals and not re.fullmatch(r"[^\x00-\x1f\x7f]+", value)):
        raise ConfigError.at(
            where, expected=f"{name}=VALUE on one line", found=repr(value), remedy="give the option a value"
        )
    return name, value
