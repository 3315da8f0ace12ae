"""``train``, ``status`` and ``logs``: studies and their runs."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of, subjects_of
from eavdash.cli.commands.execution import execution_settings
from eavdash.cli.commands.outcome import note_marks, read_scores, study_marks
from eavdash.config import selection
from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Execution, Selection, StudyConfig
from eavdash.errors import IntegrityError, UsageError
from eavdash.store.regular import last_lines, pieces, require_regular
from eavdash.text import parts, plural, visible

if TYPE_CHECKING:
    import pandas as pd

    from eavdash.studies.plan import Plan
    from eavdash.studies.sweep import Member
    from eavdash.studies.unusable import Unusable


def train(options: argparse.Namespace) -> int:
    """Plan a study, or those of a sweep, and queue the runs."""
    from eavdash.jobs import queue
    from eavdash.jobs.preflight import preflight, require_preflight
    from eavdash.studies import sweep
    from eavdash.studies.unusable import Unusable

    members = sweep.members(options.study, study_config(options), options.sweep)
    chosen = Selection(
        subjects_of(options.subjects, options.root),
        selection.parse_numbers(options.folds, "--folds"),
        selection.parse_numbers(options.seeds, "--seeds") or (0,),
    )
    unusable = Unusable(options.strict, tuple(options.leave_out), tuple(options.keep))
    root = store.checkpoints_root(options.checkpoints)
    plans = partial(_plans, options.root, members, chosen, root, unusable)
    if options.dry_run:
        settings = execution_settings(options)
        local = settings.executor == "local"
        # The other executors are checked by a job, which a dry run does not start.
        unmet = preflight(root, settings)[0] if local else [_not_checked(settings.executor)]
        planned = plans()
        _show_dry_run(planned, options, unmet)
        return 1 if any(plan.problems for plan in planned) or (local and unmet) else 0
    execution = execution_settings(options)
    for note in require_preflight(root, execution):
        console.info(note)
    if options.wait and not options.json:
        for plan in plans(write=True) if len(members) > 1 else ():
            queue.submit(plan.study, plan.runs, execution)
        failed = False
        for one in members:
            failed |= queue_and_wait(options.root, one.name, one.config, chosen, root, execution, unusable=unusable)
            study = store.find_study(root, one.name)
            note_marks(study)
            console.print_table(read_scores(study), "table", title=f"{one.name}: test trials")
        return 1 if failed else 0
    return _queue(plans(write=True), options, execution, root)


def _plans(
    recordings: str,
    members: Sequence[Member],
    chosen: Selection,
    root: Path,
    unusable: Unusable,
    write: bool = False,
) -> list[Plan]:
    """Return the plan of each study; ``write``: and write them, if all of them can be planned."""
    from eavdash.studies import write as writing

    made: list[Plan] = []
    first = () if write and len(members) == 1 else (writing.plan,)
    for make in (*first, writing.prepare) if write else first:
        with console.progress_bar("checking the recordings") as report:
            made = [make(recordings, m.name, m.config, chosen, root, unusable=unusable, report=report) for m in members]
    return made


def _queue(plans: Sequence[Plan], options: argparse.Namespace, execution: Execution, root: Path) -> int:
    """Queue the runs of written plans, print them, and wait for their end if that is asked for."""
    from eavdash.jobs import queue

    for plan in plans:
        queue.submit(plan.study, plan.runs, execution)
    failed = False
    for plan in plans if options.wait else ():
        queue.wait(plan.study, plan.runs, warn=console.error)
        failed |= _any_failed(plan.study, plan.runs)
    if not options.wait:
        show_obstacle(root)
    found = []
    for plan in plans:
        states = {name: plan.study.run(name).live_status().shown for name in plan.runs}
        if options.json:
            found.append({**plan_dict(plan), "states": states})
            continue
        console.print_plan(plan)
        counts = Counter(states.values())
        console.info(", ".join(f"{count} {state}" for state, count in counts.most_common()))
        if counts["failed"] or counts["cancelled"]:
            console.info(f"queue failed and cancelled runs again with: eavdash retry {plan.study.name}")
        console.info(f"follow it with: eavdash status {plan.study.name}")
    if options.json:
        console.print_json(found if options.sweep else found[0])
    return 1 if failed else 0


def _show_dry_run(plans: Sequence[Plan], options: argparse.Namespace, unmet: list[str]) -> None:
    """Print the plans and what the executor is missing."""
    if options.json:
        found = [{**plan_dict(p), "existing": p.existing, "unmet": unmet, "problems": p.problems} for p in plans]
        console.print_json(found if options.sweep else found[0])
        return
    new = 0
    for plan in plans:
        console.print_plan(plan)
        new += len(set(plan.runs) - set(plan.existing) - set(plan.problems))
        if plan.problems:
            console.error(f"{plural(len(plan.problems), 'run')} of {len(plan.runs)} could not be computed")
    for line in unmet:
        console.error(line)
    console.info(f"nothing was written; without --dry-run {new} of them would be queued")


def _not_checked(executor: str) -> str:
    return f"{executor} was not checked; check it with: eavdash executors --executor {executor}"


def plan_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan for --json."""
    left_out = plan.document.left_out
    return {
        "study": plan.study.name,
        "path": str(plan.study.path),
        "runs": plan.runs,
        "left_out": plan.left_out,
        "left_out_trials": [r.document() for r in left_out.recordings] if left_out else [],
        "left_out_subjects": left_out.subjects if left_out else {},
        "notes": list(plan.notes),
    }


def study_config(options: argparse.Namespace) -> StudyConfig:
    """Return the configuration of the options of ``train``."""
    config = preset(options.preset)
    if options.stages:
        config = replace(config, stages=parts(options.stages))
    if options.protocol:
        config = replace(config, protocol=replace(config.protocol, name=options.protocol))
    if options.where:
        config = replace(config, where=() if options.where == ["all"] else tuple(options.where))
    if options.epochs is not None:
        config = with_epochs(config, options.epochs)
    return with_settings(config, options.settings)


def status(options: argparse.Namespace) -> int:
    """Print the state of every study, or of every run of one study."""
    from eavdash.jobs.snapshot import snapshot

    root = store.checkpoints_root(options.checkpoints)
    study = study_of(options) if options.study else None
    show_obstacle(root)
    if study is not None:
        show_states(study, snapshot(study), options.json)
        return 0
    all_studies = store.studies(root)
    studies = [study for study in all_studies if study.listed]
    frame = console.studies_frame(studies, snapshot)
    whole = zip(studies, frame["problem"], strict=True)
    frame["marks"] = [[] if problem else [mark.text for mark in study_marks(study)] for study, problem in whole]
    if options.json:
        console.print_json(frame.to_dict(orient="records"))
        return 0
    if frame.empty:
        console.info(f"no studies in {root}; make one with: eavdash train, or eavdash demo")
    else:
        marks = frame["marks"].map("; ".join)
        console.print_table(frame.drop(columns="problem").assign(marks=marks), "table")
        for problem in filter(None, frame["problem"]):
            console.error(problem)
    if hidden := len(all_studies) - len(studies):
        console.note_archived(hidden)
    return 0


def logs(options: argparse.Namespace) -> int:
    """Print the log of a run."""
    study_name, slash, run_name = options.run.partition("/")
    if not slash:
        raise UsageError.at(
            "logs", expected="STUDY/RUN, such as demo/s01-audio", found=repr(options.run), remedy="see eavdash status"
        )
    study = store.find_study(store.checkpoints_root(options.checkpoints), study_name)
    run = store.find_run(study, run_name)
    if not run.log_file.exists():
        console.info(f"{options.run} has no log yet (state: {run.live_status().shown})")
        return 0
    with IntegrityError.from_os(run.log_file, expected="a log", remedy="remove it; a retry writes a new one"):
        require_regular(run.log_file)
    last = options.lines > 0
    for line in (f"{line}\n" for line in last_lines(run.log_file, options.lines)) if last else pieces(run.log_file):
        print(visible(line, keep="\n\t"), end="")
    return 0


def queue_and_wait(
    recordings: str | Path,
    name: str,
    config: StudyConfig,
    chosen: Selection,
    root: Path,
    execution: Execution | None = None,
    again: bool = False,
    unusable: Unusable | None = None,
) -> bool:
    """Queue a study (``again``: also its failed and cancelled runs) and show its progress until it ends.

    Returns True if a run did not succeed.
    """
    from eavdash.jobs import queue
    from eavdash.jobs.tested import with_tested
    from eavdash.studies import write

    with console.progress_bar("checking the recordings") as look:
        plan = write.prepare(recordings, name, config, chosen, root, unusable=unusable, report=look)
    console.print_plan(plan)
    queue.submit(plan.study, plan.runs, execution or Execution())
    if again:
        write.retry(plan.study)
    console.info(f"runs continue in the background if this command ends; stop them with: eavdash cancel {name}")
    with console.run_progress() as report:
        queue.wait(plan.study, plan.runs, lambda runs: report(with_tested(runs, plan.study)), warn=console.error)
    return _any_failed(plan.study, plan.runs)


def _any_failed(study: store.StudyDir, runs: list[str]) -> bool:
    unfinished = {name: study.run(name).status() for name in runs}
    unfinished = {name: status for name, status in unfinished.items() if status.state != "done"}
    for name, status in unfinished.items():
        console.error(f"{name} is {status.state}: {status.reason or 'no reason was recorded'}")
    return bool(unfinished)


def show_obstacle(root: Path) -> None:
    """Start the scheduler if it has died while runs wait, and print what keeps the queue from going on."""
    from eavdash.jobs.obstacle import start_scheduler

    if problem := start_scheduler(root):
        console.error(problem)


def show_states(study: store.StudyDir, frame: pd.DataFrame, as_json: bool) -> None:
    """Print a study's runs with time left, accuracy and the study's marks (in JSON: a list of texts in every row)."""
    from eavdash.jobs import estimates
    from eavdash.jobs.tested import with_tested
    from eavdash.studies.overview import damage

    frame, left = with_tested(frame, study), estimates.seconds_left(frame)
    if problem := damage(study):
        console.error(problem)
    elif left.isna().any():
        left = estimates.seconds_left(frame, estimates.expected_durations(study))
    if as_json:
        marks = [] if problem else [mark.text for mark in study_marks(study)]
        frame = frame.assign(left=left)
        console.print_json([{**row, "marks": marks} for row in frame.to_dict(orient="records")])
        return
    if not problem:
        note_marks(study)
    if not problem and study.archived:
        console.info(f"{study.name} is archived: no run of it starts; restore it with: eavdash unarchive {study.name}")
    elif not problem and study.paused:
        console.info(f"{study.name} is paused: no run of it starts; resume it with: eavdash resume {study.name}")
    shown = frame["phase"].where(frame["phase"] != "", frame["shown"])
    console.print_table(frame.assign(shown=shown, left=[estimates.duration(s) if s > 0 else "" for s in left]), "table")
