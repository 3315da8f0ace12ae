"""``cancel``, ``retry``, ``pause``, ``resume``, ``prioritise`` and ``move``: control of a study's runs.

Runs are selected by name or by subject, stage, fold and seed (``--subject 1-3 --stage eeg``); the default is all runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.cli.commands.execution import execution_settings
from eavdash.cli.commands.training import show_obstacle, show_states
from eavdash.config import selection
from eavdash.config.choices import STAGES
from eavdash.errors import UsageError
from eavdash.text import natural_order


def cancel(options: argparse.Namespace) -> int:
    """Cancel queued and running runs."""
    from eavdash.jobs import queue

    study = study_of(options)
    if not queue.cancel(study, selected_runs(study, options)) and not options.json:
        console.info("no run was waiting or running: nothing was cancelled")
    elif not options.json:
        console.info("running runs are cancelled as soon as their processes have ended")
    return _outcome(study, options)


def retry(options: argparse.Namespace) -> int:
    """Queue failed and cancelled runs again."""
    from eavdash.studies import write

    study = study_of(options)
    if not write.retry(study, selected_runs(study, options)) and not options.json:
        console.info("no run had failed or been cancelled: nothing was queued")
    return _outcome(study, options, whole=True)


def pause(options: argparse.Namespace) -> int:
    """Pause a study: no further run of it starts."""
    from eavdash.jobs import queue

    study = study_of(options)
    queue.pause(study, now=options.now)
    if not options.json:
        how = "running runs stop" if options.now else "running runs will finish"
        console.info(f"{study.name} is paused: {how}; resume it with: eavdash resume {study.name}")
    return _outcome(study, options)


def resume(options: argparse.Namespace) -> int:
    """Resume a paused study."""
    from eavdash.jobs import queue

    study = study_of(options)
    queue.resume(study)
    return _outcome(study, options)


def prioritise(options: argparse.Namespace) -> int:
    """Change the priority of waiting runs."""
    from eavdash.jobs import queue

    study = study_of(options)
    queue.prioritise(study, selected_runs(study, options), options.priority)
    if not options.json:
        console.info(f"waiting runs now have priority {options.priority}; the highest starts first")
    return _outcome(study, options)


def move(options: argparse.Namespace) -> int:
    """Move unfinished runs to another executor or device; they resume after their last finished epoch."""
    from eavdash.jobs import queue
    from eavdash.jobs.preflight import require_preflight

    study = study_of(options)
    settings = execution_settings(options)
    for note in require_preflight(study.path.parent, settings):
        console.info(note)
    queue.move(study, selected_runs(study, options), settings)
    if not options.json:
        console.info(
            f"unfinished runs now use the executor {settings.executor} and the device {settings.device}: waiting and "
            "running ones at once, failed and cancelled ones when they are retried"
        )
    return _outcome(study, options)


def selected_runs(
    study: store.StudyDir, options: argparse.Namespace, note: Callable[[str], object] = console.info
) -> list[str] | None:
    """Return the names of the runs that the options select, or None for all; ``note`` gets incomplete ranges.

    Raises:
        UsageError: a name does not exist, or no run matches.
    """
    from eavdash.jobs.snapshot import snapshot

    names = [store.find_run(study, name).name for name in options.run] if options.run else None
    filters = {key: getattr(options, key) for key in ("subject", "stage", "fold", "seed") if getattr(options, key)}
    if not filters:
        return names
    table = snapshot(study, names)
    if "subject" in filters:
        available = natural_order(filter(None, table["subject"]))
        if not available:
            raise UsageError.at(
                "--subject",
                expected="a study with runs of single subjects",
                found="only runs of all subjects",
                remedy="choose with --fold, --stage or --run",
            )
        subjects = selection.parse_subjects(filters["subject"], available, "--subject", note)
        table = table[table["subject"].isin(subjects)]
    if "stage" in filters:
        stages = [part.strip() for part in filters["stage"].split(",")]
        if unknown := [s for s in stages if s not in STAGES]:
            known = ", ".join(STAGES)
            raise UsageError.at("--stage", expected=f"some of {known}", found=", ".join(unknown), remedy="correct it")
        table = table[table["stage"].isin(stages)]
    for key in ("fold", "seed"):
        if filters.get(key, "all") != "all":
            table = table[table[key].isin(selection.parse_numbers(filters[key], f"--{key}"))]
    if table.empty:
        given = " ".join(f"--{key} {value}" for key, value in filters.items())
        raise UsageError.at(study.path, expected=f"runs with {given}", found="none", remedy="see eavdash status")
    return list(table["run"])


def _outcome(study: store.StudyDir, options: argparse.Namespace, whole: bool = False) -> int:
    """Print the selected runs and those that cannot be read (``whole``: including their config.json).

    Returns the exit code.
    """
    from eavdash.jobs.choose import unreadable
    from eavdash.jobs.snapshot import snapshot

    show_obstacle(study.path.parent)
    names = selected_runs(study, options, lambda _: None) if hasattr(options, "run") else None
    show_states(study, snapshot(study, names), options.json)
    skipped = unreadable(study, names, whole)
    for name, reason in skipped.items():
        console.error(f"{name} was left as it is: {reason}")
    return 1 if skipped else 0
