"""Studies that are trained in the process of the tests, in seconds."""

from __future__ import annotations

from pathlib import Path

from recordings import FAST

from eavdash.config.convert import with_epochs, with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.store import StudyDir
from eavdash.studies.write import Plan, prepare


def train(table: Path, name: str, root: Path, settings: tuple[str, ...] = ()) -> StudyDir:
    """A study of one fold, trained in this process."""
    config = with_epochs(with_settings(preset("quick"), (*FAST, "window=1", *settings)), 2)
    return train_plan(prepare(table, name, config, Selection(folds=(0,)), root))


def train_plan(plan: Plan) -> StudyDir:
    """The study of a plan, whose runs are trained one after another in this process."""
    from eavdash.training.run import train_run

    for name in plan.runs:
        run = plan.study.run(name)
        run.transition("running")
        assert train_run(run)
        run.transition("done", checksums=run.seal())
    return plan.study
