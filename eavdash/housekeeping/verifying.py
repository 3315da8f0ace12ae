"""Are a study's results still what its runs wrote? Every file with a checksum is read and compared.

In: a study's folder. Out: what was looked at, and what is damaged with the remedy; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eavdash.errors import EavdashError, IntegrityError
from eavdash.store import RunDir, StudyDir


@dataclass(frozen=True)
class Damage:
    """One damaged file: the run it belongs to (empty: the study itself) and a sentence with the remedy."""

    run: str
    file: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """``files`` were compared with their checksums in ``runs`` runs; ``unchecked``: finished runs without checksums."""

    runs: int
    files: int
    damaged: tuple[Damage, ...]
    unchecked: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        if not self.files and not self.damaged:
            return f"none of {self.runs} runs has a file to compare yet"
        outcome = f"{len(self.damaged)} damaged" if self.damaged else "all as they were written"
        return f"{self.files} files of {self.runs} runs: {outcome}"


def verify(study: StudyDir, report: Callable[[int, int, str], object] | None = None) -> Verification:
    """Look at every checksummed file of a study; ``report(done, of, run)`` is told about runs."""
    damaged: list[Damage] = []
    unchecked: list[str] = []
    files = 0
    try:
        study.study()
    except IntegrityError as error:
        damaged.append(Damage("", study.study_file.name, str(error)))
    runs = study.runs()
    for number, run in enumerate(runs):
        if report is not None:
            report(number, len(runs), run.name)
        try:
            run.config()
            status = run.status()
            state, names = str(status["state"]), sorted(dict(status.get("checksums") or {}))
        except (EavdashError, KeyError, TypeError, ValueError) as error:
            damaged.append(_unreadable(run, error))
            continue
        if state == "done" and not names:
            unchecked.append(run.name)
        for name in names:
            files += 1
            try:
                run.verify(name)
            except (EavdashError, OSError) as error:
                if run.status().get("checksums") == status.get("checksums"):  # else it was started over meanwhile
                    damaged.append(Damage(run.name, name, str(error)))
    if report is not None:
        report(len(runs), len(runs), "")
    return Verification(len(runs), files, tuple(damaged), tuple(unchecked))


def _unreadable(run: RunDir, error: Exception) -> Damage:
    """A run whose own record is damaged cannot be started over: it has to be made again."""
    made = IntegrityError.at(
        run.path,
        expected="config.json and status.json that can be read",
        found=str(error).rstrip("."),
        remedy=f"remove this folder and have the run made again: eavdash extend {run.study.name}",
    )
    return Damage(run.name, run.status_file.name, str(made))
