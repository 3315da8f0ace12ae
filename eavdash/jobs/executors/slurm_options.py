"""What is asked of sbatch for a run: the user's options, checked, and those that follow from the run's settings.

In: an execution's settings. Out: arguments for sbatch. An option is accepted only if it is known: sbatch also takes
abbreviations (``--outp``), so a list of what is forbidden would not be kept.
"""

from __future__ import annotations

import difflib
import re

from eavdash.config.schema import Execution
from eavdash.errors import ConfigError

#: Options that take a value and say where, when and with what a job runs.
_NAMES = """
    account acctg-freq batch bb bbf begin chdir comment constraint container core-spec cores-per-socket cpu-freq
    cpus-per-gpu cpus-per-task deadline delay-boot distribution exclude exclusive extra extra-node-info gpu-bind
    gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint licenses mail-type mail-user
    mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice nodefile nodelist oversubscribe partition
    power prefer priority profile qos reservation sockets-per-node switches thread-spec threads-per-core time
    time-min tmp tres-bind tres-per-task wckey
"""
VALUED = frozenset(_NAMES.split())
#: Options that may stand alone.
FLAGS = frozenset({"contiguous", "exclusive", "nice", "oversubscribe", "reboot", "spread-job"})
#: Options that are not the user's, and why.
REFUSED = {
    "job-name": "a run's job is found again by its name",
    "output": "what a run prints goes to its log.txt",
    "error": "what a run prints goes to its log.txt",
    "open-mode": "a run's log.txt goes on over all attempts",
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
    "no-requeue": "a run whose node is lost goes on from its last finished epoch",
    "signal": "SIGTERM ends a worker at once",
    "hold": "nobody would let the job go",
    "wait": "the conductor does not wait for one job",
    "clusters": "the queue asks one cluster",
    "uid": "a job is its submitter's",
    "gid": "a job is its submitter's",
    "parsable": "it is always on",
    "quiet": "it has no use",
    "verbose": "it has no use",
    "test-only": "nothing would be computed",
    "kill-on-invalid-dep": "the queue keeps the order of the runs",
}
GPU_OPTIONS = {"gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "tres-per-task"}
MEMORY_OPTIONS = {"mem", "mem-per-cpu", "mem-per-gpu"}
#: How much later a run of priority -1 goes than one of 0: a step of sbatch's --nice.
NICE = 100


def options(settings: Execution) -> list[str]:
    """The arguments of sbatch for a run's job.

    Priority: those who may not raise a job above others (all but administrators) may lower it. A negative priority
    becomes ``--nice``; a positive one only decides which run is handed to SLURM first.

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
            where, expected="an option that leaves the queue its means", found=f"{name}: {REFUSED[name]}",
            remedy="leave it out",
        )  # fmt: skip
    if name not in VALUED | FLAGS:
        near = difflib.get_close_matches(name.lstrip("-"), VALUED | FLAGS, n=1, cutoff=0.6)
        raise ConfigError.at(
            where,
            expected="the long name of an option of sbatch, without dashes, as in partition=gpu",
            found=repr(name),
            remedy=f"did you mean {near[0]}" if near else "see man sbatch",
        )
    if (not value and name not in FLAGS) or (equals and not re.fullmatch(r"[^\x00-\x1f\x7f]+", value)):
        raise ConfigError.at(
            where, expected=f"{name}=VALUE in one line", found=repr(value), remedy="give the option a value"
        )
    return name, value
