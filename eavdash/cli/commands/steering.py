"""``cancel``, ``retry``, ``pause``, ``resume``, ``prioritise`` and ``move``: what is done with the runs of a study.

Runs are chosen by name or by what they are (``--subject 1-3 --stage eeg``); without any choice, all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.execution import execution_settings
from eavdash.cli.commands.training import show_states
from eavdash.config import selection
from eavdash.config.choices import STAGES
from eavdash.errors import UsageError


def cancel(options: argparse.Namespace) -> int:
    """Stop runs."""
    from eavdash.jobs import queue

    study = _study(options)
    if not queue.cancel(study, chosen(study, options)) and not options.json:
        console.say("nothing was waiting or running: nothing was cancelled")
    elif not options.json:
        console.say("a run that is running is cancelled as soon as its processes are gone, in a moment")
    return _outcome(study, options)


def retry(options: argparse.Namespace) -> int:
    """Queue runs again."""
    from eavdash.studies.write import retry as retry_runs

    study = _study(options)
    if not retry_runs(study, chosen(study, options)) and not options.json:
        console.say("nothing had failed or been cancelled: nothing was queued")
    return _outcome(study, options, whole=True)


def pause(options: argparse.Namespace) -> int:
    """Let no further run of a study start."""
    from eavdash.jobs import queue

    study = _study(options)
    queue.pause(study, now=options.now)
    if not options.json:
        how = "runs stop after their last finished epoch" if options.now else "runs that have begun are finished"
        console.say(f"{study.name} is paused: {how}; go on with: eavdash resume {study.name}")
    return _outcome(study, options)


def resume(options: argparse.Namespace) -> int:
    """Let the runs of a paused study go on."""
    from eavdash.jobs import queue

    study = _study(options)
    queue.resume(study)
    return _outcome(study, options)


def prioritise(options: argparse.Namespace) -> int:
    """Let waiting runs go before or after others."""
    from eavdash.jobs import queue

    study = _study(options)
    queue.prioritise(study, chosen(study, options), options.priority)
    if not options.json:
        console.say(f"runs that wait have priority {options.priority} now; the highest goes first")
    return _outcome(study, options)


def move(options: argparse.Namespace) -> int:
    """Have unfinished runs computed elsewhere, from their last finished epoch on."""
    from eavdash.jobs import queue
    from eavdash.jobs.preflight import require_preflight

    study = _study(options)
    settings = execution_settings(options)
    for note in require_preflight(study.path.parent, settings):
        console.say(note)
    queue.move(study, chosen(study, options), settings)
    if not options.json:
        console.say(
            f"what is not done is computed with these settings from now on ({settings.executor}, device "
            f"{settings.device}): what waits or runs at once, what failed or was cancelled when it is retried"
        )
    return _outcome(study, options)


def chosen(
    study: store.StudyDir, options: argparse.Namespace, say: Callable[[str], object] = console.say
) -> list[str] | None:
    """The names of the runs that the options choose, or None for all; ``say`` is told what a range has left out.

    Raises:
        UsageError: there is no run of one of the names, or none that is what was asked for.
    """
    from eavdash.jobs.snapshot import snapshot
    from eavdash.results.tables import natural

    names = [store.find_run(study, name).name for name in options.run] if options.run else None
    wishes = {key: getattr(options, key) for key in ("subject", "stage", "fold", "seed") if getattr(options, key)}
    if not wishes:
        return names
    table = snapshot(study, names)
    if "subject" in wishes:
        own = natural(filter(None, table["subject"]))
        if not own:
            remedy = "its runs are of all subjects: choose by --fold, --stage or --run"
            raise UsageError.at("--subject", expected="a study with runs of one subject", found="none", remedy=remedy)
        subjects = selection.parse_subjects(wishes["subject"], own, "--subject", say)
        table = table[table["subject"].isin(subjects)]
    if "stage" in wishes:
        stages = [part.strip() for part in wishes["stage"].split(",")]
        if unknown := [s for s in stages if s not in STAGES]:
            known = ", ".join(STAGES)
            raise UsageError.at("--stage", expected=f"some of {known}", found=", ".join(unknown), remedy="mend it")
        table = table[table["stage"].isin(stages)]
    for key in ("fold", "seed"):
        if wishes.get(key, "all") != "all":
            table = table[table[key].isin(selection.parse_numbers(wishes[key], f"--{key}"))]
    if table.empty:
        asked = " ".join(f"--{key} {value}" for key, value in wishes.items())
        raise UsageError.at(study.path, expected=f"runs of {asked}", found="none", remedy="see eavdash status")
    return list(table["run"])


def _study(options: argparse.Namespace) -> store.StudyDir:
    return store.find_study(store.checkpoints_root(options.checkpoints), options.study)


def _outcome(study: store.StudyDir, options: argparse.Namespace, whole: bool = False) -> int:
    """Show the runs that were meant, and name those that could not be read (``whole``: or computed); the exit code."""
    from eavdash.jobs.choose import unreadable
    from eavdash.jobs.snapshot import snapshot

    names = chosen(study, options, lambda _: None) if hasattr(options, "run") else None
    show_states(study, snapshot(study, names), options.json)
    broken = unreadable(study, names, whole)
    for name, why in broken.items():
        console.complain(f"{name} was left as it is: {why}")
    return 1 if broken else 0
