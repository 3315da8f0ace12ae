"""Verification of a study's files against the checksums that its runs recorded.

In: a study's folder. Out: counts of the verified files, and the damaged ones with a remedy; the files stay as they are.
The outcome of the newest verification is kept with the study (verification.json), where the app reads it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Annotated

from pydantic import ConfigDict

from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError, IntegrityError, TrainingError
from eavdash.store import StudyDir
from eavdash.store.record import FIRST, FromList, Part, Record, Texts, Whole, read_record, write_record
from eavdash.text import plural

#: The files without which a run cannot be verified.
RECORDS = ("config.json", "status.json")


class Damage(Part):
    """One damaged file: the run it belongs to (empty: the study itself) and a sentence with the remedy."""

    run: str
    file: str
    reason: str


class Verification(Record):
    """The outcome: ``files`` of ``checked`` of the ``runs`` were compared; ``unchecked``: done without checksums.

    ``made``: when, in seconds since the epoch.
    """

    model_config = ConfigDict(title="a verification")

    schema_version: Whole = FIRST
    runs: Whole
    checked: Whole
    files: Whole
    damaged: Annotated[tuple[Damage, ...], FromList] = ()
    unchecked: Texts = ()
    made: float = 0.0

    @property
    def sentence(self) -> str:
        """Return the outcome in one line."""
        if not self.files and not self.damaged:
            return f"none of {self.runs} runs has files to verify yet"
        files = f"{plural(self.files, 'file')} of {plural(self.checked, 'run')}"
        unread = len({d.run for d in self.damaged if d.run and d.file in RECORDS})
        wrong = sum(bool(d.run) and d.file not in RECORDS for d in self.damaged)
        none = self.runs - self.checked - len(self.unchecked) - unread
        parts = [f"{files}: {f'{wrong} damaged' if wrong else 'all unchanged'}"]
        parts += [f"{d.file} cannot be read" for d in self.damaged if not d.run]
        parts += [f"{unread} of {self.runs} runs cannot be read"] if unread else []
        parts += [f"{none} of {self.runs} runs {'has' if none == 1 else 'have'} no files yet"] if none else []
        return "; ".join(parts)


def verify(study: StudyDir, report: Callable[[int, int, str], object] | None = None) -> Verification:
    """Compare every file of a study that has a checksum; ``report(done, total, run)`` is called for each run."""
    damaged: list[Damage] = []
    unchecked: list[str] = []
    files = checked = 0
    checks = (study.study_file, lambda: recorded_config(study.study())), (study.control_file, study.control)
    for record, read in checks:
        try:
            read()
        except IntegrityError as error:
            damaged.append(Damage(run="", file=record.name, reason=str(error)))
    runs = study.runs()
    for number, run in enumerate(runs):
        if report is not None:
            report(number, len(runs), run.name)
        file = run.config_file
        try:
            run.config()
            file = run.status_file
            status = run.status()
        except EavdashError as error:
            # Such a run cannot be restarted; it has to be made again, as the error says.
            damaged.append(Damage(run=run.name, file=file.name, reason=str(error)))
        else:
            names = sorted(status.checksums)
            checked += bool(names)
            if status.state == "done" and not names:
                if lost := run.damage(status):
                    damaged.append(Damage(run=run.name, file=run.predictions_file.name, reason=lost))
                else:
                    unchecked.append(run.name)
            for name in names:
                files += 1
                try:
                    run.verify(name)
                except (EavdashError, OSError) as error:
                    if run.status().checksums == status.checksums:  # otherwise it was restarted meanwhile
                        damaged.append(Damage(run=run.name, file=name, reason=str(error)))
    if report is not None:
        report(len(runs), len(runs), "")
    return Verification(
        runs=len(runs),
        checked=checked,
        files=files,
        damaged=tuple(damaged),
        unchecked=tuple(unchecked),
        made=time.time(),
    )


def keep(study: StudyDir, found: Verification) -> None:
    """Keep the outcome with the study, unless its folder belongs to someone else."""
    with contextlib.suppress(TrainingError):
        write_record(study.verification_file, found)


def kept(study: StudyDir) -> Verification | None:
    """Return the outcome of the newest verification, or None."""
    with contextlib.suppress(IntegrityError):
        return read_record(study.verification_file, Verification, "verify the study again")
    return None
