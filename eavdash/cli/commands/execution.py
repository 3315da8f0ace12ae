"""The conversion of options to an ``Execution``, and the check of an executor."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

from eavdash import store
from eavdash.cli import console
from eavdash.config.schema import Execution
from eavdash.errors import UsageError
from eavdash.text import shortened


def check_setup(options: argparse.Namespace) -> None:
    """Check the folder of studies and the environment variables, before any command.

    Raises:
        UsageError, ConfigError: the folder is a file, or a variable has an invalid value.
    """
    from eavdash.jobs.slots import check_environment

    store.checkpoints_folder(getattr(options, "checkpoints", None))
    check_environment()


def execution_settings(options: argparse.Namespace) -> Execution:
    """Return the execution settings of the options.

    Raises:
        UsageError: a value is invalid.
    """
    shares = (1, 2, 3, 4, 6, 12)
    for name, valid, expected in (
        ("memory", 0 <= options.memory <= 1_000_000, "GiB, from 0 to 1,000,000"),
        ("ram", 0 <= options.ram <= 1_000_000, "GiB, from 0 to 1,000,000"),
        ("threads", 1 <= options.threads <= 4096, "from 1 to 4,096"),
        ("runs-per-gpu", options.runs_per_gpu in shares, f"one of {', '.join(map(str, shares))}"),
        ("priority", abs(options.priority) <= 10_000, "a number from -10000 to 10000"),
    ):
        if not valid:
            found = shortened(str(getattr(options, name.replace("-", "_"))))
            raise UsageError.at(f"--{name}", expected=expected, found=found, remedy="correct it")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", options.device):
        raise UsageError.at(
            "--device", expected="auto, cpu, cuda or cuda:N", found=repr(options.device), remedy="correct it"
        )
    for name, given, executor in (
        ("--slurm", bool(options.slurm), "slurm"),
        ("--ray-address", bool(options.ray_address), "ray"),
    ):
        if given and options.executor != executor:
            raise UsageError.at(
                name,
                expected=f"--executor {executor}",
                found=f"--executor {options.executor}",
                remedy=f"add --executor {executor}, or leave the option out",
            )
    for option in options.slurm:
        if not re.fullmatch(r"[A-Za-z][A-Za-z-]*(=.*)?", option):
            raise UsageError.at(
                "--slurm", expected="name=value, such as partition=gpu", found=repr(option), remedy="correct it"
            )
    values = {field.name: getattr(options, field.name) for field in fields(Execution)}
    return Execution(**{**values, "slurm": tuple(options.slurm)})


def executors(options: argparse.Namespace) -> int:
    """Check whether an executor can compute runs with these options, and print what is missing."""
    from eavdash.jobs.preflight import preflight

    settings = execution_settings(options)
    unmet, notes = preflight(store.checkpoints_root(options.checkpoints), settings)
    if options.json:
        console.print_json({"executor": settings.executor, "ready": not unmet, "unmet": unmet, "notes": notes})
        return 1 if unmet else 0
    for line in unmet:
        console.error(line)
    for line in notes:
        console.info(line)
    if not unmet:
        console.info(f"{settings.executor}: ready to compute runs")
    return 1 if unmet else 0
