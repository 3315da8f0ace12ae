"""SLURM's commands: called with bounded patience, and one listing of jobs for all who ask.

In: arguments. Out: what was printed. A refusal (the command answered no) and silence (the controller cannot be reached)
are two errors, for silence says nothing about a job.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field

#: Seconds for which one listing serves everybody.
LISTING_AGE = 1.0
#: Seconds after which a command counts as not answered.
PATIENCE = 60.0
#: What the commands say when the controller, or the way to it, is the trouble.
SILENCE = re.compile(
    r"unable to contact|connect(ion)? (failure|refused|timed? ?out)|timed out|communication|socket|controller"
    r"|configuration source|munge|credential|temporarily|zero bytes|authenticat",
    re.IGNORECASE,
)
#: Variables that would change what the commands do, or that describe the job in which this process itself runs.
FOREIGN = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SINFO_", "DBOS_")
#: Of those, the ones that say which cluster it is and who we are.
KEPT = {"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"}
#: The queue's address may hold a password, and a worker has no business with the queue.
SECRET = {"EAVDASH_QUEUE"}


class SilenceError(Exception):
    """The controller cannot be reached, or the command is not there."""


class RefusalError(Exception):
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


def call(*command: str, script: str = "", environment: dict[str, str] | None = None, patience: float = PATIENCE) -> str:
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
            env=clean(os.environ if environment is None else environment),
        )
    except subprocess.TimeoutExpired:
        raise SilenceError(f"{command[0]} has not answered within {patience:g} s") from None
    except OSError as error:
        raise SilenceError(f"{command[0]}: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = "; ".join(re.sub(rf"^{command[0]}: (error: |fatal: )?", "", line) for line in lines)
    said = said or f"{command[0]} ended with exit code {done.returncode}"
    raise (SilenceError if SILENCE.search(said) else RefusalError)(said)


def clean(environment: os._Environ[str] | dict[str, str]) -> dict[str, str]:
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
    except RefusalError:
        return {}
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


@dataclass
class Squeue:
    """This user's jobs, those that are over included as long as SLURM remembers them; safe in many threads."""

    _turn: threading.Lock = field(default_factory=threading.Lock)
    _rows: dict[str, list[Row]] = field(default_factory=dict)
    _asked: float = float("-inf")
    _changed: float = float("-inf")
    _silence: SilenceError | None = None

    def named(self, name: str) -> list[Row]:
        """The jobs of one name, as they are now or were a second ago.

        Raises:
            SilenceError: the controller does not answer.
        """
        with self._turn:
            if time.monotonic() - self._asked > LISTING_AGE or self._asked <= self._changed:
                # The time before the question, so that what is submitted meanwhile is not taken for gone.
                self._asked = time.monotonic()
                try:
                    self._rows, self._silence = self._ask(), None
                except (SilenceError, RefusalError) as error:
                    self._silence = SilenceError(str(error))
            if self._silence is not None:
                raise SilenceError(str(self._silence))
            return self._rows.get(name, [])

    def last(self, name: str) -> list[Row]:
        """The jobs of one name as they were when the controller last answered."""
        with self._turn:
            return self._rows.get(name, [])

    def forget(self) -> None:
        """Something was submitted or cancelled: what was seen before is out of date."""
        self._changed = time.monotonic()

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
