"""SLURM's commands: called with bounded patience, and one listing of jobs for all who ask.

In: arguments. Out: what was printed. A refusal (the command answered no) and silence (the controller cannot be reached)
are two errors, for silence says nothing about a job.
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

#: Seconds for which one listing serves everybody.
LISTING_AGE = 1.0
#: Seconds for which a refusal of sbatch serves everybody who asks for the same.
REJECTION_AGE = 10.0
#: Seconds after which a command counts as not answered.
COMMAND_TIMEOUT = 60.0
#: What the commands say when the controller, or the way to it, is the trouble.
NO_ANSWER = re.compile(
    r"unable to contact|connect(ion)? (failure|refused|timed? ?out)|timed out|communication|socket|controller"
    r"|configuration source|munge|credential|temporarily|zero bytes|authenticat",
    re.IGNORECASE,
)
#: Variables that would change what the commands do, or that describe the job in which this process itself runs.
FOREIGN = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SINFO_", "DBOS_")
#: Of those, the ones that say which cluster it is and who we are.
KEPT = {"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"}
#: The way into the queue's database; a worker has no business there.
SECRET = {"EAVDASH_QUEUE", "PGPASSWORD"}
#: States in which nothing of a job lives any more; whatever else SLURM may call it, it lives or waits.
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
#: The batch script. It stays beside the worker instead of becoming it: where SLURM follows processes without cgroups, a
#: child of a killed worker would be lost from sight and live on.
SCRIPT = """#!/bin/sh
mark="EAVDASH_SLURM_JOB=$SLURM_JOB_ID"
env "$mark" {variables} {command} &
worker=$!
# SLURM tells every process of the job to end; what does not listen must not keep its node until SLURM loses patience.
grace() {{
  for fifth in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "$worker" || return
    [ "$fifth" != 5 ] || kill -TERM "$worker"
    sleep 0.2
  done
  kill -KILL "$worker"
}}
trap 'told=yes; grace 2>/dev/null &' TERM
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
[ -z "$told" ] || code=143
exit "$code"
"""


class NoAnswerError(Exception):
    """The controller cannot be reached, or the command is not there."""


class RejectedError(Exception):
    """The controller has answered no."""


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
    *command: str, script: str = "", environment: dict[str, str] | None = None, patience: float = COMMAND_TIMEOUT
) -> str:
    """What a command prints, with ``script`` as its input and ``environment`` instead of this process's.

    Raises:
        SilenceError: nobody answered.
        RefusalError: the answer was no; the text is SLURM's.
    """
    try:
        done = subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience,
            env=clean_environment(os.environ if environment is None else environment),
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{command[0]} has not answered within {patience:g} s") from None
    except OSError as error:
        raise NoAnswerError(f"{command[0]}: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = "; ".join(re.sub(rf"^{command[0]}: (error: |fatal: )?", "", line) for line in lines)
    said = said or f"{command[0]} ended with exit code {done.returncode}"
    raise (NoAnswerError if NO_ANSWER.search(said) else RejectedError)(said)


def clean_environment(environment: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """``environment`` without what would change the commands' ways or is none of a job's business."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT or not (name.startswith(FOREIGN) or name in SECRET)
    }


def details(number: str) -> dict[str, str]:
    """What the controller remembers of a job; nothing once it has forgotten it.

    Raises:
        SilenceError: it does not answer.
    """
    try:
        text = call("scontrol", "show", "job", "--oneliner", number)
    except RejectedError:
        return {}
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


@dataclass
class Squeue:
    """This user's jobs, those that are over included as long as SLURM remembers them; safe in many threads."""

    _turn: threading.Lock = field(default_factory=threading.Lock)
    _rows: dict[str, list[Row]] = field(default_factory=dict)
    _asked: float = float("-inf")
    _submitted: dict[str, float] = field(default_factory=dict)
    _silence: str = ""

    def named(self, name: str) -> list[Row]:
        """The jobs of one name, as they are now or were a second ago; waits for a listing that can know of it.

        Raises:
            SilenceError: the controller does not answer.
        """
        while True:
            with self._turn:
                age = time.monotonic() - self._asked
                if age > LISTING_AGE:
                    # The time before the question, so that what is submitted meanwhile is not taken for gone.
                    self._asked, age = time.monotonic(), 0.0
                    try:
                        self._rows, self._silence = self._ask(), ""
                    except (NoAnswerError, RejectedError) as error:
                        self._silence = str(error)
                if self._silence:
                    raise NoAnswerError(self._silence)
                if name in self._rows or self._asked > self._submitted.get(name, float("-inf")):
                    self._submitted.pop(name, None)
                    return self._rows.get(name, [])
            time.sleep(max(0.05, LISTING_AGE - age))

    def last(self, name: str) -> list[Row]:
        """The jobs of one name as they were when the controller last answered."""
        with self._turn:
            return self._rows.get(name, [])

    def submitted(self, name: str) -> None:
        """A job of that name may have been submitted until now: an older listing says nothing about it."""
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
    """Submissions, one at a time. Where a limit is reached, hundreds of runs wait for their turn: what was refused is
    not asked again, by whichever of them, before some time has passed."""

    _turn: threading.Lock = field(default_factory=threading.Lock)
    _refused: dict[tuple[str, ...], tuple[float, str]] = field(default_factory=dict)

    def __call__(self, asked: list[str], own: list[str], script: str, environment: dict[str, str]) -> None:
        """Submit a script with the options ``asked`` for, which a refusal is remembered for, and its ``own``.

        Raises:
            SilenceError: nobody answered; the job may have been submitted all the same.
            RefusalError: the answer is no, or was a moment ago.
        """
        key = tuple(asked)
        with self._turn:
            until, said = self._refused.get(key, (0.0, ""))
            if time.monotonic() < until:
                raise RejectedError(said)
            try:
                call("sbatch", "--parsable", *asked, *own, script=script, environment=environment)
                self._refused.pop(key, None)
            except RejectedError as error:
                self._refused[key] = time.monotonic() + REJECTION_AGE, str(error)
                raise


def batch_script(command: tuple[str, ...], variables: dict[str, str]) -> str:
    """The script that runs a command with some variables; whatever is in them is quoted."""
    given = shlex.join(f"{name}={value}" for name, value in variables.items())
    return SCRIPT.format(variables=given, command=shlex.join(command))


def log_options(file: Path) -> tuple[str, ...]:
    """Append the output of all attempts to one file; a per cent sign would be a pattern of sbatch's."""
    return "--open-mode=append", f"--output={str(file).replace('%', '%%')}"
