"""SLURM's commands, called with a timeout, and one job list shared by all threads.

A rejection by SLURM and a controller that does not answer are different errors, because the latter says nothing about a
job.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from eavdash.store import passwords

#: Maximum age in seconds of the shared job list.
LISTING_AGE = 1.0
#: Seconds during which a rejection by sbatch holds for all submissions with the same options.
REJECTION_AGE = 10.0
#: Default timeout of a command in seconds.
COMMAND_TIMEOUT = 60.0
#: Messages of the commands if the controller cannot be reached.
NO_ANSWER = re.compile(
    r"unable to contact|connect(ion)? (failure|refused|timed? ?out)|timed out|communication|socket|controller"
    r"|configuration source|munge|credential|temporarily|zero bytes|authenticat",
    re.IGNORECASE,
)
#: Prefixes of variables that change the commands, or that describe the job in which this process itself runs.
FOREIGN = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SINFO_", "DBOS_")
#: Exceptions: they select the cluster and authenticate the user.
KEPT = {"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"}
#: States of a job that has ended; in any other state it is alive or waits.
ENDED_STATES = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
#: The batch script. It keeps running beside the worker instead of calling exec: where SLURM tracks processes without
#: cgroups, the children of a killed worker would otherwise survive.
SCRIPT = """#!/bin/sh
mark="EAVDASH_SLURM_JOB=$SLURM_JOB_ID"
env "$mark" {variables} {command} &
worker=$!
# SLURM sends SIGTERM to every process of the job; kill a worker that ignores it before SLURM's KillWait has passed.
grace() {{
  for fifth in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "$worker" || return
    [ "$fifth" != 5 ] || kill -TERM "$worker"
    sleep 0.2
  done
  kill -KILL "$worker"
}}
trap 'terminated=yes; grace 2>/dev/null &' TERM
while :; do
  wait "$worker"
  code=$?
  kill -0 "$worker" 2>/dev/null || break
done
tries=0
while left=$(grep -lszxF "$mark" /proc/[0-9]*/environ | tr -cd '0-9\\n') && [ -n "$left" ] && [ $tries -lt 50 ]; do
  kill -KILL $left 2>/dev/null
  tries=$((tries + 1))
  sleep 0.1
done
[ -z "$terminated" ] || code=143
exit "$code"
"""


class NoAnswerError(Exception):
    """The controller cannot be reached, or the command is missing."""


class RejectedError(Exception):
    """The controller has rejected the request."""


@dataclass(frozen=True)
class Row:
    """One line of squeue."""

    id: str
    state: str
    reason: str
    nodes: str
    name: str

    @property
    def number(self) -> int:
        return int(re.sub(r"\D.*", "", self.id) or 0)


def call(
    *command: str, script: str = "", environment: dict[str, str] | None = None, timeout: float = COMMAND_TIMEOUT
) -> str:
    """Return a command's output, with ``script`` as its input and ``environment`` instead of this process's.

    Raises:
        NoAnswerError: the controller does not answer.
        RejectedError: SLURM rejected the request; the text is SLURM's.
    """
    try:
        done = subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=clean_environment(os.environ if environment is None else environment),
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{command[0]} has not answered within {timeout:g} s") from None
    except OSError as error:
        raise NoAnswerError(f"{command[0]}: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    message = "; ".join(re.sub(rf"^{command[0]}: (error: |fatal: )?", "", line) for line in lines)
    message = message or f"{command[0]} ended with exit code {done.returncode}"
    raise (NoAnswerError if NO_ANSWER.search(message) else RejectedError)(message)


def clean_environment(environment: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """Return ``environment`` without variables that would change the commands, and without credentials."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT or not (name.startswith(FOREIGN) or name in passwords.VARIABLES)
    }


def details(number: str) -> dict[str, str]:
    """Return the controller's information about a job; empty once it has forgotten the job.

    Raises:
        NoAnswerError: the controller does not answer.
    """
    try:
        text = call("scontrol", "show", "job", "--oneliner", number)
    except RejectedError:
        return {}
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


@dataclass
class Squeue:
    """List of this user's jobs, including ended ones while SLURM remembers them; thread-safe."""

    _turn: threading.Lock = field(default_factory=threading.Lock)
    _rows: dict[str, list[Row]] = field(default_factory=dict)
    _asked: float = float("-inf")
    _submitted: dict[str, float] = field(default_factory=dict)
    _error: str = ""

    def named(self, name: str) -> list[Row]:
        """Return the jobs of one name, at most a second old; wait for a list that is newer than their submission.

        Raises:
            NoAnswerError: the controller does not answer.
        """
        while True:
            with self._turn:
                age = time.monotonic() - self._asked
                if age > LISTING_AGE:
                    # The time before the request, so that jobs submitted in the meantime are not taken for ended.
                    self._asked, age = time.monotonic(), 0.0
                    try:
                        self._rows, self._error = self._ask(), ""
                    except (NoAnswerError, RejectedError) as error:
                        self._error = str(error)
                if self._error:
                    raise NoAnswerError(self._error)
                if name in self._rows or self._asked > self._submitted.get(name, float("-inf")):
                    self._submitted.pop(name, None)
                    return self._rows.get(name, [])
            time.sleep(max(0.05, LISTING_AGE - age))

    def last(self, name: str) -> list[Row]:
        """Return the jobs of one name from the last list that the controller returned."""
        with self._turn:
            return self._rows.get(name, [])

    def submitted(self, name: str) -> None:
        """Record that a job of that name may have been submitted until now, so that older lists do not count."""
        with self._turn:
            self._submitted[name] = time.monotonic()

    @staticmethod
    def _ask() -> dict[str, list[Row]]:
        text = call("squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%r|%N|%j")
        rows: dict[str, list[Row]] = {}
        for line in text.splitlines():
            parts = line.strip().split("|", 4)
            if len(parts) == 5:
                row = Row(*parts)
                rows.setdefault(row.name, []).append(row)
        return rows


@dataclass
class Sbatch:
    """Submissions, one at a time. Where a limit is reached, hundreds of runs may wait: after a rejection, none of them
    submits the same options again before some time has passed."""

    _turn: threading.Lock = field(default_factory=threading.Lock)
    _rejected: dict[tuple[str, ...], tuple[float, str]] = field(default_factory=dict)

    def __call__(self, asked: list[str], own: list[str], script: str, environment: dict[str, str]) -> None:
        """Submit a script with the requested options ``asked``, which rejections are remembered by, and its ``own``.

        Raises:
            NoAnswerError: the controller did not answer; the job may have been submitted nevertheless.
            RejectedError: SLURM rejects the job, or rejected the same options a moment ago.
        """
        key = tuple(asked)
        with self._turn:
            until, reason = self._rejected.get(key, (0.0, ""))
            if time.monotonic() < until:
                raise RejectedError(reason)
            try:
                call("sbatch", "--parsable", *asked, *own, script=script, environment=environment)
                self._rejected.pop(key, None)
            except RejectedError as error:
                self._rejected[key] = time.monotonic() + REJECTION_AGE, str(error)
                raise


def batch_script(command: tuple[str, ...], variables: dict[str, str]) -> str:
    """Return the script that runs a command with these environment variables; all values are quoted."""
    given = shlex.join(f"{name}={value}" for name, value in variables.items())
    return SCRIPT.format(variables=given, command=shlex.join(command))


def log_options(file: Path) -> tuple[str, ...]:
    """Return options that append the output of all attempts to one file; sbatch needs "%" escaped."""
    return "--open-mode=append", f"--output={str(file).replace('%', '%%')}"
