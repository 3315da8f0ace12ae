"""Where and how runs are computed, as the command line says it: options to an ``Execution``."""

from __future__ import annotations

import argparse
import re

from eavdash import store
from eavdash.cli import console
from eavdash.config.schema import Execution
from eavdash.errors import UsageError


def check_place(options: argparse.Namespace) -> None:
    """What every command rests on, whether or not it comes to use it: the folder of studies, and the environment.

    Raises:
        UsageError, ConfigError: the folder is a file; a variable is not what it should be.
    """
    from eavdash.jobs.slots import check_environment

    store.checkpoints_folder(getattr(options, "checkpoints", None))
    check_environment()


def execution_settings(options: argparse.Namespace) -> Execution:
    """How the options say that runs are computed.

    Raises:
        UsageError: an impossible value.
    """
    shares = (1, 2, 3, 4, 6, 12)
    for name, fine, expected in (
        ("memory", options.memory >= 0, "GiB, 0 or more"),
        ("ram", options.ram >= 0, "GiB, 0 or more"),
        ("threads", options.threads >= 1, "1 or more"),
        ("runs-per-gpu", options.runs_per_gpu in shares, f"one of {', '.join(map(str, shares))}"),
        ("priority", abs(options.priority) <= 10_000, "a number from -10000 to 10000"),
    ):
        if not fine:
            found = str(getattr(options, name.replace("-", "_")))
            raise UsageError.at(f"--{name}", expected=expected, found=found, remedy="mend it")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", options.device):
        raise UsageError.at(
            "--device", expected="auto, cpu, cuda or cuda:N", found=repr(options.device), remedy="mend it"
        )
    for name, given, place in (
        ("--slurm", bool(options.slurm), "slurm"),
        ("--ray-address", bool(options.ray_address), "ray"),
    ):
        if given and options.executor != place:
            raise UsageError.at(
                name,
                expected=f"--executor {place} beside it",
                found=f"--executor {options.executor}",
                remedy="add it, or leave the option out",
            )
    for option in options.slurm:
        if not re.fullmatch(r"[A-Za-z][A-Za-z-]*(=.*)?", option):
            raise UsageError.at(
                "--slurm", expected="name=value, as partition=gpu", found=repr(option), remedy="mend it"
            )
    return Execution(
        device=options.device,
        executor=options.executor,
        threads=options.threads,
        compile=options.compile,
        memory=options.memory,
        priority=options.priority,
        runs_per_gpu=options.runs_per_gpu,
        ram=options.ram,
        ray_address=options.ray_address,
        slurm=tuple(options.slurm),
    )


def executors(options: argparse.Namespace) -> int:
    """Whether a place could compute runs as asked: what it lacks, in sentences."""
    from eavdash.jobs.preflight import preflight

    settings = execution_settings(options)
    wrong, unsure = preflight(store.checkpoints_root(options.checkpoints), settings)
    if options.json:
        console.print_json({"executor": settings.executor, "ready": not wrong, "unmet": wrong, "notes": unsure})
        return 1 if wrong else 0
    for line in wrong:
        console.complain(line)
    for line in unsure:
        console.say(line)
    if not wrong:
        console.say(f"{settings.executor}: all that runs need is there")
    return 1 if wrong else 0
