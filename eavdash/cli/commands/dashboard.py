"""``demo`` and ``app``: the demo from recordings to scores, and the dashboard."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eavdash import store
from eavdash.cli import console, serve
from eavdash.cli.commands.outcome import read_scores
from eavdash.cli.commands.recordings import simulate
from eavdash.cli.commands.training import queue_and_wait
from eavdash.config.convert import recorded_config
from eavdash.config.presets import preset
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import EavdashError, UsageError
from eavdash.store.names import expanded
from eavdash.store.readable import set_data_folders
from eavdash.text import is_utf8

if TYPE_CHECKING:
    import pandas as pd

DEMO_STUDY = "demo"
#: Subjects of whom the demo explains the first test trial, which the page One trial opens with.
EXPLAINED = 3


def demo(options: argparse.Namespace) -> int:
    """Make the demo recordings, train on them, print the scores, open the dashboard; a second call resumes."""
    root = store.checkpoints_root(options.checkpoints)
    serving = serve.Serving.of(options)  # before the work: its options may be wrong
    data = _data_folders(options)
    recordings = simulate(Path(options.out), options.subjects, full=False, seed=0)
    subjects = tuple(str(number) for number in range(1, options.subjects + 1))
    chosen = Selection(subjects, folds=(0,))
    failed = queue_and_wait(recordings, DEMO_STUDY, _demo_config(root), chosen, root, again=True)
    _print_scores(read_scores(store.find_study(root, DEMO_STUDY), baselines=True))
    _explain_some(store.StudyDir(root / DEMO_STUDY))
    if options.serve:
        set_data_folders([*data, recordings])
        serve.serve(root, serving)
    console.info(f"open the dashboard with: {sys.argv[0]} app --checkpoints {root}")
    return 1 if failed else 0


def _explain_some(study: store.StudyDir) -> None:
    """Explain the first test trial of the first subjects, unless that is stored; what fails is reported."""
    from eavdash.explain.trial import explain_trial, find_explanation
    from eavdash.results import tables

    first = tables.trials(study).drop_duplicates("subject").head(EXPLAINED)
    with console.progress_bar("explaining") as report:
        for done, (subject, trial) in enumerate(zip(first["subject"], first["trial"], strict=True)):
            report(done, len(first), f"trial {trial} of subject {subject}")
            try:
                if find_explanation(study, subject, trial) is None:
                    explain_trial(study, subject, trial)
            except EavdashError as error:
                console.error(str(error))
        report(len(first), len(first))


def _demo_config(root: Path) -> StudyConfig:
    """Return the preset ``quick``, with the fusion of the demo's study if there is one, made by an earlier version."""
    study, config = store.StudyDir(root / DEMO_STUDY), preset("quick")
    return replace(config, fusion=recorded_config(study.study()).fusion) if study.exists else config


def _print_scores(scores: pd.DataFrame) -> None:
    """Print each subject's scores, and the means of the baselines, of which there are dozens per subject."""
    from eavdash.results.tables import BASELINES, summarise

    beside = scores["stage"].isin(BASELINES)
    console.print_table(scores[~beside], "table", title="Simulated recordings, fold 0, test trials")
    means = summarise(scores[beside]).drop(columns=["study", "level"])
    console.print_table(means, "table", title="Baselines on the same trials, means over subjects")


def app(options: argparse.Namespace) -> int:
    """Open the dashboard."""
    serving = serve.Serving.of(options)
    set_data_folders(_data_folders(options))
    serve.serve(store.checkpoints_root(options.checkpoints), serving)


def _data_folders(options: argparse.Namespace) -> list[Path]:
    """Return the folders that the dashboard may read.

    Raises:
        UsageError: one of them is no folder.
    """
    folders = [expanded(folder) for folder in options.data or ["."]]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError.at("--data", expected="a folder", found=f"none at {folder}", remedy="correct the path")
        if not is_utf8(str(folder.resolve())):
            found = f"{folder}, which leads to other bytes"
            raise UsageError.at("--data", expected="a folder whose path is UTF-8", found=found, remedy="rename it")
    return folders
