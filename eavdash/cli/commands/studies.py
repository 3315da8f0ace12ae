"""Commands on whole studies: list, clone, extend, archive, delete, verify and relocate them."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of, subjects_of
from eavdash.cli.commands.training import plan_dict
from eavdash.config import selection
from eavdash.errors import UsageError
from eavdash.text import plural, size


def studies(options: argparse.Namespace) -> int:
    """List all studies with their progress, size and settings."""
    from eavdash.studies.overview import overview

    root = store.checkpoints_root(options.checkpoints)
    every = overview(root, archived=True)
    table = every if options.archived else every[~every["archived"]]
    if options.json:
        console.print_json(table.to_dict(orient="records"))
        return 0
    if len(table):
        console.print_table(
            table.assign(
                progress=[f"{done} of {runs}" for done, runs in zip(table["done"], table["runs"], strict=True)],
                states=[_states(row) for row in table.to_dict(orient="records")],
                size=[size(number) for number in table["bytes"]],
                changed=[time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in table["changed"]],
                created=[text[:10] for text in table["created"]],
                notes=[
                    ", ".join(word for word in ("paused", "archived", "simulated") if row[word])
                    for row in table.to_dict(orient="records")
                ],
            )[["study", "progress", "states", "size", "dataset", "protocol", "preset", "created", "changed", "notes"]],
            "table",
        )
        for problem in filter(None, table["problem"]):
            console.error(problem)
        console.info(f"{plural(len(table), 'study', 'studies')}, {size(int(table['bytes'].sum()))} in {root}")
    else:
        console.info(f"no studies in {root}; make one with: eavdash train, or eavdash demo")
    if hidden := len(every) - len(table):
        console.note_archived(hidden)
    return 0


def _states(row: Mapping[Any, Any]) -> str:
    counts = [f"{n} {state}" for state, n in row["states"].items()]
    return ", ".join(["damaged", *counts] if row["problem"] else counts)


def clone(options: argparse.Namespace) -> int:
    """Make a new study on the same dataset with other settings."""
    from eavdash.jobs import queue
    from eavdash.studies import extend

    study = study_of(options)
    new = extend.clone(
        study,
        options.name,
        options.settings,
        _subjects(options.subjects, study),
        _numbers(options.folds, "--folds"),
        _numbers(options.seeds, "--seeds"),
        write=not options.dry_run,
    )
    queued = options.queue and not options.dry_run
    if queued:
        queue.submit(new.plan.study, new.plan.runs, extend.latest_execution(study), given=False)
    if options.json:
        console.print_json({**plan_dict(new.plan), "differences": list(new.differences), "queued": queued})
        return 0
    console.print_plan(new.plan)
    for line in new.differences or (f"nothing differs from {study.name}",):
        console.output(line)
    if options.dry_run:
        console.info("nothing was written")
    elif queued:
        console.info(f"queued; follow it with: eavdash status {options.name}")
    else:
        console.info(f"nothing is queued yet; queue it with: eavdash extend {options.name}")
    return 0


def extend(options: argparse.Namespace) -> int:
    """Add subjects, folds or seeds to a study and queue the runs that were never queued."""
    from eavdash.studies import extend

    study = study_of(options)
    extension = extend.extend(
        study,
        _subjects(options.subjects, study),
        _numbers(options.folds, "--folds"),
        _numbers(options.seeds, "--seeds"),
        retry_ended=options.again,
    )
    if options.json:
        lists = {"new": list(extension.new), "queued": list(extension.queued), "again": list(extension.again)}
        console.print_json({**plan_dict(extension.plan), **lists})
        return 0
    console.print_plan(extension.plan)
    counts = len(extension.new), len(extension.queued), len(extension.again)
    console.info("new runs: {}, queued: {}, queued again: {}".format(*counts))
    if extension.queued or extension.again:
        console.info(f"follow it with: eavdash status {study.name}")
    return 0


def archive(options: argparse.Namespace) -> int:
    """Archive a study."""
    from eavdash.studies import archive

    study = study_of(options)
    before = archive.resume_bytes(study)
    freed = archive.archive(study, drop_resume=options.drop_resume)
    if options.json:
        console.print_json({"study": study.name, "archived": True, "freed": freed, "resume_bytes": before - freed})
        return 0
    console.info(f"{study.name} is archived; restore it with: eavdash unarchive {study.name}")
    if freed:
        console.info(f"freed {size(freed)}; its unfinished runs would start over")
    elif before:
        console.info(f"--drop-resume would free {size(before)}: the checkpoints from which unfinished runs resume")
    return 0


def unarchive(options: argparse.Namespace) -> int:
    """Take a study out of the archive."""
    from eavdash.studies import archive

    study = study_of(options)
    archive.unarchive(study)
    if options.json:
        console.print_json({"study": study.name, "archived": False})
    else:
        console.info(f"{study.name} is no longer archived")
    return 0


def delete(options: argparse.Namespace) -> int:
    """Delete a study permanently, after its name was typed as confirmation."""
    from eavdash.studies import archive

    study = study_of(options)
    confirmation = study.name if options.yes else _read_confirmation(study)
    archive.delete(study, confirmation)
    if options.json:
        console.print_json({"study": study.name, "deleted": True})
    else:
        console.info(f"{study.name} is deleted; cached windows and features stay, as other studies may use them")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Compare a study's files with their checksums; exit code 1 if one is damaged."""
    from eavdash.studies import verify

    study = study_of(options)
    with console.progress_bar("verifying") as report:
        found = verify.verify(study, report)
    verify.keep(study, found)
    if options.json:
        damaged = [{"run": d.run, "file": d.file, "reason": d.reason} for d in found.damaged]
        counts = {"study": study.name, "runs": found.runs, "checked": found.checked, "files": found.files}
        console.print_json({**counts, "damaged": damaged, "unchecked": list(found.unchecked)})
        return 1 if damaged else 0
    for damage in found.damaged:
        console.error(damage.reason)
    for name in found.unchecked:
        console.info(f"note: {name} is done but has no checksums and was not verified")
    console.output(found.sentence)
    return 1 if found.damaged else 0


def relocate(options: argparse.Namespace) -> int:
    """Point a study to the folder to which its dataset has moved."""
    from eavdash.studies import relocate

    study = study_of(options)
    moved = relocate.relocate(study, options.root)
    if options.json:
        console.print_json({"study": study.name, "before": moved.before, "after": moved.after, "files": moved.files})
    else:
        console.info(f"{study.name} now reads its {moved.files} recordings from {moved.after}")
    return 0


def _subjects(text: str, study: store.StudyDir) -> Sequence[str] | None:
    """Return the subjects of a list: None for an empty text, an empty sequence for ``all``."""
    if not text.strip() or text.strip() == "all":
        return () if text.strip() else None
    from eavdash.data.frozen import read_frozen

    if study.table_file.exists():
        missing: list[str] = []
        with contextlib.suppress(UsageError):
            chosen = selection.parse_subjects(text, read_frozen(study.table_file).subjects, note=missing.append)
            if not missing:
                return chosen
    # Others may have been added to the dataset since the study was planned.
    return subjects_of(text, study.study().dataset.path)


def _numbers(text: str, option: str) -> Sequence[int] | None:
    return selection.parse_numbers(text, option) if text.strip() else None


def _read_confirmation(study: store.StudyDir) -> str:
    """Ask for the study's name and return what was typed.

    Raises:
        UsageError: standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError.at(
            f"eavdash delete {study.name}",
            expected="a terminal on which to confirm",
            found="none",
            remedy="add --yes to delete without confirmation",
        )
    console.info(f"This deletes {study.path} permanently. Type the study's name to confirm:")
    return sys.stdin.readline().strip()
