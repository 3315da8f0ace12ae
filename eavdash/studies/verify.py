"""Verification of a study's files against the checksums that its runs recorded.

In: a study's folder. Out: counts of the verified files, and the damaged ones with a remedy; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eavdash.config.convert import recorded_config
from eavdash.errors import EavdashError, IntegrityError
from eavdash.store import StudyDir
from eavdash.text import plural

#: The files without which a run cannot be verified.
RECORDS = ("config.json", "status.json")


@dataclass(frozen=True)
class Damage:
    """One damaged file: the run it belongs to (empty: the study itself) and a sentence with the remedy."""

    run: str
    file: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """The outcome: ``files`` of ``checked`` of the ``runs`` were compared; ``unchecked``: done without checksums."""

    runs: int
    checked: int
    files: int
    damaged: tuple[Damage, ...]
    unchecked: tuple[str, ...]

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
            damaged.append(Damage("", record.name, str(error)))
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
            damaged.append(Damage(run.name, file.name, str(error)))
        else:
            names = sorted(status.checksums)
            checked += bool(names)
            if status.state == "done" and not names:
                if lost := run.damage(status):
                    damaged.append(Damage(run.name, run.predictions_file.name, lost))
                else:
                    unchecked.append(run.name)
            for name in names:
                files += 1
                try:
                    run.verify(name)
                except (EavdashError, OSError) as error:
                    if run.status().checksums == status.checksums:  # otherwise it was restarted meanwhile
                        damaged.append(Damage(run.name, name, str(error)))
    if report is not None:
        report(len(runs), len(runs), "")
    return Verification(len(runs), checked, files, tuple(damaged), tuple(unchecked))
