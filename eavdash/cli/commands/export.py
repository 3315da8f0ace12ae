"""``export``: the finished runs of a study in MLflow or TensorBoard."""

from __future__ import annotations

import argparse
import contextlib

from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.errors import UsageError
from eavdash.store.atomic import file_lock
from eavdash.store.outputs import output_folder
from eavdash.text import plural


def export(options: argparse.Namespace) -> int:
    """Write the runs of a study that have ended to a tracker's files."""
    from eavdash.report.trackers import event_files, mlflow_store
    from eavdash.report.trackers.record import record

    study = study_of(options)
    tracker = {"mlflow": mlflow_store, "tensorboard": event_files}[options.to]
    tracker.require()
    folder = output_folder(options.output or options.to).absolute()
    lock = folder / ".eavdash.lock"
    with contextlib.ExitStack() as held, console.progress_bar("export") as progress:
        with UsageError.from_os(lock, expected="a file of its own", remedy="choose another --output"):
            held.enter_context(file_lock(lock))
        progress(0, 1, "reading")
        found = record(study)
        made = tracker.write(found, folder, options.copy, progress)
    for problem in found.problems:
        console.error(problem)
    if options.json:
        counts = {"new": made.new, "replaced": made.replaced, "kept": made.kept, "left_out": found.left_out}
        about = {"study": study.name, "to": options.to, "folder": str(folder), **counts}
        console.print_json({**about, "problems": list(found.problems), "open": made.command})
        return 0
    console.output(f"{folder}: {plural(made.new, 'new run')}, {made.replaced} written again, {made.kept} there already")
    if found.left_out:
        states = ", ".join(f"{count} {state}" for state, count in found.left_out.items())
        console.info(f"note: left out, as they have not ended: {states}; export again when they have")
    console.info(f"see them with: {made.command}")
    return 0
