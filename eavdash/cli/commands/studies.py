"""``studies``, ``clone``, ``extend``, ``archive``, ``unarchive``, ``delete`` and ``verify``: keeping house."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.training import plan_dict
from eavdash.config import selection
from eavdash.errors import UsageError


def studies(options: argparse.Namespace) -> int:
    """Every study: how far, how large, of what."""
    from eavdash.studies.overview import overview, size

    root = store.checkpoints_root(options.checkpoints)
    every = overview(root, archived=True)
    table = every if options.archived else every[~every["archived"]]
    if options.json:
        console.print_json(table.to_dict(orient="records"))
        return 0
    if len(table):
        console.show(
            table.assign(
                progress=[f"{done} of {runs}" for done, runs in zip(table["done"], table["runs"], strict=True)],
                states=[", ".join(f"{n} {state}" for state, n in states.items()) for states in table["states"]],
                room=[size(number) for number in table["bytes"]],
                changed=[time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in table["changed"]],
                created=[text[:10] for text in table["created"]],
                notes=[
                    ", ".join(word for word in ("paused", "archived", "simulated") if row[word])
                    for row in table.to_dict(orient="records")
                ],
            )[["study", "progress", "states", "room", "dataset", "protocol", "preset", "created", "changed", "notes"]],
            "table",
        )
        for problem in filter(None, table["problem"]):
            console.complain(problem)
        count = "1 study" if len(table) == 1 else f"{len(table)} studies"
        console.say(f"{count}, {size(int(table['bytes'].sum()))} in {root}")
    else:
        console.say(f"no studies in {root}; make one with: eavdash train, or eavdash demo")
    if hidden := len(every) - len(table):
        console.hidden(hidden)
    return 0


def clone(options: argparse.Namespace) -> int:
    """A new study on the same dataset, with edits."""
    from eavdash.jobs import queue
    from eavdash.studies.extend import clone as make
    from eavdash.studies.extend import latest_execution

    study = _study(options)
    made = make(
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
        queue.submit(made.plan.study, made.plan.runs, latest_execution(study))
    if options.json:
        console.print_json({**plan_dict(made.plan), "differences": list(made.differences), "queued": queued})
        return 0
    console.plan(made.plan)
    for line in made.differences or (f"nothing differs from {study.name}",):
        console.answer(line)
    if options.dry_run:
        console.say("nothing was written")
    elif queued:
        console.say(f"queued; follow it with: eavdash status {options.name}")
    else:
        console.say(f"nothing is queued yet; queue it with: eavdash extend {options.name}")
    return 0


def extend(options: argparse.Namespace) -> int:
    """More subjects, folds or seeds of a study; only what was never queued is."""
    from eavdash.studies.extend import extend as add

    study = _study(options)
    made = add(
        study,
        _subjects(options.subjects, study),
        _numbers(options.folds, "--folds"),
        _numbers(options.seeds, "--seeds"),
        retry_ended=options.again,
    )
    if options.json:
        lists = {"new": list(made.new), "queued": list(made.holes), "again": list(made.again)}
        console.print_json({**plan_dict(made.plan), **lists})
        return 0
    console.plan(made.plan)
    console.say(f"new runs: {len(made.new)}, queued: {len(made.holes)}, queued again: {len(made.again)}")
    if made.holes or made.again:
        console.say(f"follow it with: eavdash status {study.name}")
    return 0


def archive(options: argparse.Namespace) -> int:
    """Put a study away."""
    from eavdash.studies.archive import archive as put_away
    from eavdash.studies.archive import resume_bytes
    from eavdash.studies.overview import size

    study = _study(options)
    there = resume_bytes(study)
    freed = put_away(study, drop_resume=options.drop_resume)
    if options.json:
        console.print_json({"study": study.name, "archived": True, "freed": freed, "resume_bytes": there - freed})
        return 0
    console.say(f"{study.name} is archived; bring it back with: eavdash unarchive {study.name}")
    if freed:
        console.say(f"{size(freed)} were freed: its unfinished runs would start over")
    elif there:
        console.say(f"--drop-resume would free {size(there)}: what its unfinished runs would go on from")
    return 0


def unarchive(options: argparse.Namespace) -> int:
    """Bring a study back."""
    from eavdash.studies.archive import unarchive as bring_back

    study = _study(options)
    bring_back(study)
    if options.json:
        console.print_json({"study": study.name, "archived": False})
    else:
        console.say(f"{study.name} is in use again")
    return 0


def delete(options: argparse.Namespace) -> int:
    """Delete a study for good, once its name was typed."""
    from eavdash.studies.archive import delete as remove

    study = _study(options)
    typed = study.name if options.yes else _typed(study)
    remove(study, typed)
    if options.json:
        console.print_json({"study": study.name, "deleted": True})
    else:
        console.say(f"{study.name} is deleted; windows and features that other studies may use stay in the cache")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Compare a study's files with their checksums; exit code 1 when one is damaged."""
    from eavdash.studies.verify import verify as look

    study = _study(options)
    with console.bar("verifying") as report:
        found = look(study, report)
    if options.json:
        damaged = [{"run": d.run, "file": d.file, "reason": d.reason} for d in found.damaged]
        counts = {"study": study.name, "runs": found.runs, "checked": found.checked, "files": found.files}
        console.print_json({**counts, "damaged": damaged, "unchecked": list(found.unchecked)})
        return 1 if damaged else 0
    for damage in found.damaged:
        console.complain(damage.reason)
    for name in found.unchecked:
        console.say(f"note: {name} is done and has no checksums: nothing of it was compared")
    console.answer(found.sentence)
    return 1 if found.damaged else 0


def _study(options: argparse.Namespace) -> store.StudyDir:
    return store.find_study(store.checkpoints_root(options.checkpoints), options.study)


def _subjects(text: str, study: store.StudyDir) -> Sequence[str] | None:
    """The subjects that were typed: None where none were, none of them where it says all."""
    if not text.strip() or text.strip() == "all":
        return () if text.strip() else None
    from eavdash.data.table import open_table

    table = open_table(study.study()["dataset"]["path"])
    return selection.parse_subjects(text, [*table.subjects, *table.problems], note=console.say)


def _numbers(text: str, what: str) -> Sequence[int] | None:
    return selection.parse_numbers(text, what) if text.strip() else None


def _typed(study: store.StudyDir) -> str:
    """What a person types as confirmation.

    Raises:
        UsageError: nobody is there to type.
    """
    if not sys.stdin.isatty():
        raise UsageError.at(
            f"eavdash delete {study.name}",
            expected="a terminal to type the study's name at",
            found="none",
            remedy="add --yes to delete without being asked",
        )
    console.say(f"This deletes {study.path} for good. Type the study's name to confirm:")
    return sys.stdin.readline().strip()
