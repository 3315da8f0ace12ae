"""``results`` and ``explain``: what a study found, and why it decided as it did."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.errors import EavdashError, UsageError

if TYPE_CHECKING:
    from eavdash.results.marks import Mark


def results(options: argparse.Namespace) -> int:
    """Scores on test trials."""
    by = tuple(part.strip() for part in options.by.split(",") if part.strip())
    if not set(by) <= {"fold", "seed"}:
        raise UsageError.at("--by", expected="fold, seed or both", found=repr(options.by), remedy="name those")
    root = store.checkpoints_root(options.checkpoints)
    if options.trials:
        frame = _tested(store.find_study(root, options.study), options.baselines)
    else:
        frame = read_scores(root, options.study, options.level, by, options.baselines, options.split)
    _remarks(store.find_study(root, options.study))
    console.show(frame, "json" if options.json else options.format)
    return 0


def explain(options: argparse.Namespace) -> int:
    """Attributions of one trial."""
    from eavdash.explain.explanation import explanation_name
    from eavdash.explain.trial import explain_trial

    study = store.find_study(store.checkpoints_root(options.checkpoints), options.study)
    made = explain_trial(
        study,
        options.subject,
        options.trial,
        fold=options.fold,
        seed=options.seed,
        method=options.method,
        device=options.device,
        steps=options.steps,
    )
    run = study.run(made.run)
    files = run.explain_files(explanation_name(run, made.subject, made.trial), made.method)
    summary = made.summary() | {"files": [str(path) for path in files]}
    if options.json:
        console.print_json(summary)
    else:
        console.explanation(summary)
    return 0


def read_scores(
    root: Path, name: str, level: str = "trial", by: tuple[str, ...] = (), baselines: bool = False, split: str = ""
) -> pd.DataFrame:
    from eavdash.results.tables import scores

    frame = scores(store.find_study(root, name), level=level, by=by, baselines=baselines, split=split)
    for problem in frame.attrs.get("problems", []):
        console.complain(problem)
    return frame


def study_marks(study: store.StudyDir) -> tuple[Mark, ...]:
    """The marks of a study's scores; of one whose study.json is damaged none, and a sentence that says so."""
    from eavdash.results.marks import marks

    try:
        return marks(study.study())
    except EavdashError as error:
        console.complain(str(error))
        return ()


def note_marks(study: store.StudyDir) -> None:
    """The study's marks with their reasons, beside its accuracies."""
    for mark in study_marks(study):
        console.say(f"note: {mark.sentence}")


def _note_unfinished(study: store.StudyDir) -> None:
    """Which runs are not in the scores, and that recordings are simulated: what a table cannot show of itself."""
    from eavdash.jobs.snapshot import snapshot

    states = snapshot(study)["shown"]
    if (states != "done").any():
        tally = ", ".join(f"{count} {state}" for state, count in states.value_counts().items())
        console.say(f"note: not all runs are done, and only finished ones are counted ({tally})")
    try:
        simulated = bool(study.study()["dataset"].get("simulated"))
    except EavdashError:
        return  # said with the marks
    if simulated:
        console.say("note: these recordings are simulated")


def _remarks(study: store.StudyDir) -> None:
    """The study's marks, what choosing on test trials added, and what its probes found: beside every score."""
    from eavdash.results import probes
    from eavdash.results.epochs import epoch_gain, gain_sentence

    _note_unfinished(study)
    note_marks(study)
    if gained := gain_sentence(epoch_gain(study)):
        console.say(f"note: {gained}")
    for sentence in probes.sentences(study):
        console.say(f"probe: {sentence}")


def _tested(study: store.StudyDir, baselines: bool) -> pd.DataFrame:
    from eavdash.results.tables import trials

    frame = trials(study, baselines=baselines)
    for problem in frame.attrs.get("problems", []):
        console.complain(problem)
    columns = ["subject", "trial", "stage", "label", "predicted", "correct", "confidence", "fold", "seed"]
    return frame[columns]
