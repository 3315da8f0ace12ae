"""The checks of a run, kept in its folder (receipts.json). Needs neither torch nor the recordings."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from eavdash.explain.check_record import Check, Checks
from eavdash.explain.explanation import Explanation
from eavdash.store import RunDir, StudyDir
from eavdash.store.record import FIRST, Numbers, Record, Texts, Whole, read_record, write_record

#: Other seeds whose maps are compared at most.
OTHER_SEEDS = 2
_REMEDY = "delete the file and check the run again: eavdash receipts"


class RunReceipts(Record):
    """The content of receipts.json."""

    model_config = ConfigDict(title="a run's receipts")

    schema_version: Whole = FIRST
    method: str  # of the maps that were compared
    windows: Texts = ()  # subject/trial/window of the test windows
    seeds: Numbers = ()  # of the other runs whose maps were compared
    checks: Checks = ()
    #: Run → checksum of its model, for every model that was asked.
    checksums: dict[str, str] = Field(default_factory=dict)


def save_run_receipts(run: RunDir, receipts: RunReceipts) -> None:
    """Write a run's receipts."""
    write_record(run.receipts_file, receipts)


def load_run_receipts(run: RunDir) -> RunReceipts | None:
    """Return a run's receipts; None if it has none, or only those of earlier weights.

    Raises:
        IntegrityError: the file is damaged.
    """
    if not run.receipts_file.exists():
        return None
    found = read_record(run.receipts_file, RunReceipts, _REMEDY)
    for name, checksum in found.checksums.items():
        other = run.sibling(name)
        if not other.status_file.exists() or other.status().checksums.get("model.safetensors", checksum) != checksum:
            return None
    return found


def all_checks(run: RunDir, explanation: Explanation) -> tuple[Check, ...]:
    """Return the checks of a map and those of its run, as far as they were made.

    Raises:
        IntegrityError: the run's receipts are damaged.
    """
    found = load_run_receipts(run)
    return (*explanation.receipts.checks, *(found.checks if found else ()))


def other_seeds(study: StudyDir, run: RunDir) -> list[RunDir]:
    """Return finished runs of the same stage, subject and fold with other seeds."""
    mine, found = run.config(), []
    for other in study.runs():
        if other.name == run.name or other.unreadable() or other.status().state != "done":
            continue
        config = other.config()
        if config.only("stage", "subject", "fold") == mine.only("stage", "subject", "fold"):
            found.append(other)
    return sorted(found, key=lambda each: each.config().seed)[:OTHER_SEEDS]
