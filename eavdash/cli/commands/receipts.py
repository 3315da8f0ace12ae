"""``receipts``: the checks of runs that are made once for all maps of a run."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.errors import EavdashError, IntegrityError, UsageError
from eavdash.store.task import report_progress
from eavdash.text import plural

if TYPE_CHECKING:
    from eavdash.explain.run_receipts import RunReceipts


def receipts(options: argparse.Namespace) -> int:
    """Check finished runs, keep the outcomes beside them and print a table.

    A verdict is a result, so a run that fails its checks is no failure of the command; one that cannot be checked is.
    What is kept for the present weights is not computed again, unless another seed has finished since.
    """
    from eavdash.explain.check_record import verdict_of

    study = study_of(options)
    runs = _chosen(study, options.run)
    made: dict[str, RunReceipts] = {}
    failed: list[str] = []
    for done, run in enumerate(runs):
        report_progress(done, len(runs), run.name)
        try:
            made[run.name] = _checked(study, run, options)
        except EavdashError as error:
            failed.append(run.name)
            console.error(f"{run.name}: {error}")
    report_progress(len(runs), len(runs))
    if options.json:
        console.print_json({name: found.document() | verdict_of(found.checks) for name, found in made.items()})
    else:
        rows = [row for name, found in made.items() for row in check_rows(found.document()["checks"], run=name)]
        console.print_table(pd.DataFrame(rows), "table", title=f"Receipts of {plural(len(made), 'run')}")
    return 1 if failed else 0


def check_rows(checks: list[dict[str, Any]], **first: str) -> list[dict[str, Any]]:
    """Return the rows of a table of checks."""
    from eavdash.explain.receipts.registry import CHECKS

    return [
        {
            **first,
            "check": CHECKS[check["name"]].label if check["name"] in CHECKS else check["name"],
            "verdict": check["verdict"],
            "reason": check["reason"],
        }
        for check in checks
    ]


def _chosen(study: store.StudyDir, names: list[str] | None) -> list[store.RunDir]:
    """Return the named runs, or all finished ones.

    Raises:
        UsageError: a named run is not there, or not finished.
    """
    finished = [run for run in study.runs() if not run.unreadable() and run.status().state == "done"]
    if not names:
        return finished
    known = {run.name: run for run in finished}
    if lacking := [name for name in names if name not in known]:
        raise UsageError.at(
            "--run",
            expected=f"finished runs of study {study.name}",
            found=", ".join(lacking),
            remedy=f"choose among those of eavdash status {study.name}",
        )
    return [known[name] for name in dict.fromkeys(names)]


def _checked(study: store.StudyDir, run: store.RunDir, options: argparse.Namespace) -> RunReceipts:
    from eavdash.explain.run_receipts import load_run_receipts, other_seeds

    if not options.again:
        with contextlib.suppress(IntegrityError):  # what is damaged is computed again
            found = load_run_receipts(run)
            if found is not None and found.seeds == tuple(other.config().seed for other in other_seeds(study, run)):
                return found
    from eavdash.explain.receipts.of_run import check_and_save

    return check_and_save(study, run, options.device)
