"""``train``, ``status`` and ``logs``: studies and their runs."""

from __future__ import annotations

import argparse
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.execution import execution_settings
from eavdash.cli.commands.outcome import note_marks, read_scores, study_marks
from eavdash.config import selection
from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import EavdashError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from eavdash.studies.plan import Plan


def train(options: argparse.Namespace) -> int:
    """Plan a study and queue its runs."""
    from eavdash.data.table import open_table
    from eavdash.jobs import queue
    from eavdash.jobs.preflight import preflight, require_preflight
    from eavdash.studies.write import plan as make_plan
    from eavdash.studies.write import prepare

    config = study_config(options)
    subjects: tuple[str, ...] = ()
    if options.subjects is not None:
        table = open_table(options.root)
        subjects = selection.parse_subjects(options.subjects, [*table.subjects, *table.problems], note=console.say)
    chosen = Selection(
        subjects,
        selection.parse_numbers(options.folds, "--folds"),
        selection.parse_numbers(options.seeds, "--seeds") or (0,),
    )
    root = store.checkpoints_root(options.checkpoints)
    if options.dry_run:
        # Other places are asked by jobs of their own, which a dry run does not start.
        settings = execution_settings(options)
        lacks = preflight(root, settings)[0] if settings.executor == "local" else [_not_asked(settings.executor)]
        return _dry_run(make_plan(options.root, options.study, config, chosen, root), options.json, lacks)
    execution = execution_settings(options)
    for note in require_preflight(root, execution):
        console.say(note)
    if options.wait and not options.json:
        failed = queue_and_wait(options.root, options.study, config, chosen, root, execution)
        note_marks(store.find_study(root, options.study))
        console.show(read_scores(root, options.study), "table", title=f"{options.study}: test trials")
        return 1 if failed else 0
    plan = prepare(options.root, options.study, config, chosen, root)
    queue.submit(plan.study, plan.runs, execution)
    failed = False
    if options.wait:
        queue.wait(plan.study, plan.runs)
        failed = _any_failed(plan.study, plan.runs)
    if options.json:
        states = {name: plan.study.run(name).live_status()["shown"] for name in plan.runs}
        console.print_json({**plan_dict(plan), "states": states})
    else:
        console.plan(plan)
        states = Counter(plan.study.run(name).live_status()["shown"] for name in plan.runs)
        console.say(", ".join(f"{count} {state}" for state, count in states.most_common()))
        if states["failed"] or states["cancelled"]:
            console.say(f"queue failed and cancelled runs again with: eavdash retry {options.study}")
        console.say(f"follow it with: eavdash status {options.study}")
    return 1 if failed else 0


def _dry_run(plan: Plan, as_json: bool, lacks: list[str]) -> int:
    """What a plan would do, what the place lacks that is to compute it, and nothing else."""
    if as_json:
        console.print_json({**plan_dict(plan), "existing": plan.existing, "unmet": lacks})
    else:
        console.plan(plan)
        new = len(plan.runs) - len(plan.existing)
        for line in lacks:
            console.complain(line)
        console.say(f"nothing was written; without --dry-run {new} of them would be queued")
    return 0


def _not_asked(executor: str) -> str:
    return f"whether {executor} could compute them was not asked; ask it with: eavdash executors --executor {executor}"


def plan_dict(plan: Plan) -> dict[str, Any]:
    """A plan as a program reads it."""
    return {
        "study": plan.study.name,
        "path": str(plan.study.path),
        "runs": plan.runs,
        "left_out": plan.left_out,
        "notes": list(plan.notes),
    }


def study_config(options: argparse.Namespace) -> StudyConfig:
    """The configuration that the options of ``train`` describe."""
    config = preset(options.preset)
    if options.stages:
        names = tuple(part.strip() for part in options.stages.split(",") if part.strip())
        config = replace(config, stages=names)
    if options.protocol:
        config = replace(config, protocol=replace(config.protocol, name=options.protocol))
    if options.where:
        config = replace(config, where=() if options.where == ["all"] else tuple(options.where))
    if options.epochs is not None:
        config = with_epochs(config, options.epochs)
    return with_settings(config, options.settings)


def status(options: argparse.Namespace) -> int:
    """Every study, or every run of one."""
    from eavdash.jobs.snapshot import snapshot

    root = store.checkpoints_root(options.checkpoints)
    if options.study:
        study = store.find_study(root, options.study)
        _keep_conducted(root)
        show_states(study, snapshot(study), options.json)
        return 0
    _keep_conducted(root)
    every = store.studies(root)
    studies = [study for study in every if not study.archived]
    frame = console.studies_frame(studies, snapshot)
    frame["marks"] = [[mark.text for mark in study_marks(study)] for study in studies]
    if options.json:
        console.print_json(frame.to_dict(orient="records"))
        return 0
    if frame.empty:
        console.say(f"no studies in {root}; make one with: eavdash train, or eavdash demo")
    else:
        console.show(frame.assign(marks=frame["marks"].map("; ".join)), "table")
    if hidden := len(every) - len(studies):
        console.hidden(hidden)
    return 0


def _keep_conducted(root: Path) -> None:
    """Whoever looks at runs brings back a conductor that has died, so that what is said of them comes true."""
    from eavdash.jobs import queue

    try:
        queue.ensure_scheduler(root)
    except EavdashError as error:
        console.complain(str(error))


def logs(options: argparse.Namespace) -> int:
    """A run's log."""
    study_name, slash, run_name = options.run.partition("/")
    if not slash:
        raise UsageError.at(
            "logs", expected="STUDY/RUN, as in demo/s01-audio", found=repr(options.run), remedy="see eavdash status"
        )
    study = store.find_study(store.checkpoints_root(options.checkpoints), study_name)
    run = store.find_run(study, run_name)
    if not run.log_file.exists():
        console.say(f"{options.run} has not printed anything yet (state: {run.live_status()['shown']})")
        return 0
    with run.log_file.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=options.lines) if options.lines > 0 else file:
            print(line, end="")
    return 0


def queue_and_wait(
    recordings: str | Path,
    name: str,
    config: StudyConfig,
    chosen: Selection,
    root: Path,
    execution: Execution | None = None,
    again: bool = False,
) -> bool:
    """Queue a study (``again``: also what failed or was cancelled), show its progress until it ends.

    Returns whether a run did not succeed.
    """
    from eavdash.jobs import queue
    from eavdash.studies.write import prepare
    from eavdash.studies.write import retry as retry_runs

    plan = prepare(recordings, name, config, chosen, root)
    console.plan(plan)
    queue.submit(plan.study, plan.runs, execution or Execution())
    if again:
        retry_runs(plan.study)
    console.say(f"jobs run in the background and outlive this command; stop them with: eavdash cancel {name}")
    with console.grid() as report:
        queue.wait(plan.study, plan.runs, report=report)
    return _any_failed(plan.study, plan.runs)


def _any_failed(study: store.StudyDir, runs: list[str]) -> bool:
    unfinished = {name: study.run(name).status() for name in runs}
    unfinished = {name: status for name, status in unfinished.items() if status["state"] != "done"}
    for name, status in unfinished.items():
        console.complain(f"{name} is {status['state']}: {status.get('reason') or 'no reason was recorded'}")
    return bool(unfinished)


def show_states(study: store.StudyDir, frame: pd.DataFrame, as_json: bool) -> None:
    """The runs of a study, time left and accuracies, with the study's marks: in JSON a list of texts in every row."""
    from eavdash.jobs import estimates

    left = estimates.seconds_left(frame)
    if as_json:
        marks = [mark.text for mark in study_marks(study)]
        frame = frame.assign(left=left)
        console.print_json([{**row, "marks": marks} for row in frame.to_dict(orient="records")])
        return
    note_marks(study)
    if study.archived:
        console.say(
            f"{study.name} is archived: no run of it starts; bring it back with: eavdash unarchive {study.name}"
        )
    elif study.paused:
        console.say(f"{study.name} is paused: no run of it starts; go on with: eavdash resume {study.name}")
    console.show(frame.assign(left=[estimates.duration(s) if s > 0 else "" for s in left]), "table")
