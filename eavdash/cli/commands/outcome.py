"""``results``: the scores of a study."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.errors import EavdashError, UsageError
from eavdash.text import parts

if TYPE_CHECKING:
    from eavdash.results.marks import Mark


def results(options: argparse.Namespace) -> int:
    """Print the scores on test trials."""
    by = tuple(dict.fromkeys(parts(options.by)))
    if not set(by) <= {"fold", "seed"}:
        raise UsageError.at("--by", expected="fold, seed or both", found=repr(options.by), remedy="choose among them")
    study = study_of(options)
    _add_scores(study)
    if options.trials:
        frame = _test_trials(study, options.baselines)
    else:
        frame = read_scores(study, options.level, by, options.baselines, options.split)
    if options.metric and not options.trials:
        from eavdash.results.metrics import METRICS

        _note_means(frame, options.metric)
        frame = frame.drop(columns=[name for name in METRICS if name != options.metric])
    _note_remarks(study, options.metric or "accuracy")
    _print(study, frame, options)
    return 0


def _print(study: store.StudyDir, frame: pd.DataFrame, options: argparse.Namespace) -> None:
    """Print the table in the chosen form: exports carry the study's caveats, what people read has averages."""
    from eavdash.report import latex
    from eavdash.report.caveats import Caveats, of_study

    form = "json" if options.json else options.format
    try:
        about = of_study(study)
    except EavdashError as error:  # a damaged study.json or splits.csv
        console.error(str(error))
        about = Caveats(study.name, "unknown", ("marks unknown: study.json or splits.csv is damaged",))
    metric = options.metric or "accuracy"
    single = not (options.trials or options.by or options.split)
    if form == "latex" and single:
        console.print_text(latex.score_table(frame, about, options.level, metric))
    elif form == "latex":
        said = "Test trials." if options.trials else f"Scores per {options.level} on test trials, as fractions."
        console.print_text(latex.plain_table(frame, about, said, "trials" if options.trials else options.level))
    elif form == "table":
        hidden = [name for name in frame.columns if options.trials and name.startswith("p_")]
        console.print_table(frame.drop(columns=hidden), form)
        if single and len(frame):
            console.print_table(_averages(frame), form, title="Averages over subjects")
    else:
        console.print_table(about.beside(frame), form)


def _averages(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each stage's mean ± standard deviation over subjects in per cent, for the metrics in the table."""
    from eavdash.results.metrics import METRICS
    from eavdash.results.tables import summarise

    columns: dict[str, list[object]] = {}
    for metric in [name for name in METRICS if name in frame.columns]:
        means = summarise(frame, metric)
        columns |= {"stage": means["stage"].tolist(), "subjects": means["subjects"].tolist()}
        spread = ["" if sd != sd else f" ± {100 * sd:.1f}" for sd in means["sd"]]
        columns[f"{metric}, %"] = [f"{100 * m:.1f}{sd}" for m, sd in zip(means[metric], spread, strict=True)]
    return pd.DataFrame(columns)


def read_scores(
    study: store.StudyDir, level: str = "trial", by: tuple[str, ...] = (), baselines: bool = False, split: str = ""
) -> pd.DataFrame:
    """Return a study's scores; problems with single runs are printed."""
    from eavdash.results import tables
    from eavdash.results.left_out import with_counts

    frame = tables.scores(study, level=level, by=by, baselines=baselines, split=split)
    _note_problems(frame)
    with contextlib.suppress(EavdashError):  # reported with the marks
        frame = with_counts(frame, study.study().left_out)
    return frame


def _note_problems(frame: pd.DataFrame) -> None:
    """Print why single runs are not in a table of results, and the trials that a run could not read."""
    from eavdash.results.left_out import unread_sentence

    for problem in frame.attrs.get("problems", []):
        console.error(problem)
    if unread := unread_sentence(frame):
        console.info(f"note: {unread}")


def _add_scores(study: store.StudyDir) -> None:
    """Write scores.parquet of finished runs of earlier versions, so that the next reading of the study is fast."""
    from eavdash.results.trial_scores import add_scores

    for run in study.runs():
        with contextlib.suppress(EavdashError):  # reported with the scores
            if not run.scores_file.exists():
                add_scores(run)


def _note_means(frame: pd.DataFrame, metric: str) -> None:
    """Print each stage's mean over subjects in a metric with its interval, unless the scores are split further."""
    from eavdash.report.figures.answer import interval, metric_name
    from eavdash.results.subjects import standings

    if frame.duplicated(["subject", "stage"]).any():
        return
    for standing in standings(frame, metric):
        console.info(f"{metric_name(metric)} of {standing.stage}: {100 * standing.mean:.1f} %, {interval(standing)}")


def study_marks(study: store.StudyDir) -> tuple[Mark, ...]:
    """Return the marks of a study's scores; a damaged study.json is reported and has none."""
    from eavdash.results import marks

    try:
        return marks.study_marks(study.study(), study)
    except EavdashError as error:
        console.error(str(error))
        return ()


def note_marks(study: store.StudyDir) -> None:
    """Print the study's marks with their reasons."""
    for mark in study_marks(study):
        console.info(f"note: {mark.sentence}")


def _note_unfinished(study: store.StudyDir) -> None:
    """Print the number of unfinished runs, which are not in the scores, and mark simulated recordings."""
    from eavdash.jobs.snapshot import snapshot

    states = snapshot(study)["shown"]
    if (states != "done").any():
        tally = ", ".join(f"{count} {state}" for state, count in states.value_counts().items())
        console.info(f"note: not all runs are done; the scores contain only finished runs ({tally})")
    try:
        simulated = study.study().dataset.simulated
    except EavdashError:
        return  # reported with the marks
    if simulated:
        console.info("note: these recordings are simulated")


def _note_remarks(study: store.StudyDir, metric: str) -> None:
    """Print the study's marks, encoders behind their baselines, the gain of the test epoch, and results of probes."""
    from eavdash.results import comparisons, probes, study_scores
    from eavdash.results.epochs import epoch_gain, gain_sentence

    _note_unfinished(study)
    note_marks(study)
    for sentence in comparisons.behind(comparisons.decisions(study_scores.read(study)), metric):
        console.info(f"note: {sentence}")
    if uneven := comparisons.uneven(study_scores.read(study).trials()):
        console.info(f"note: {uneven}")
    if gain := gain_sentence(epoch_gain(study)):
        console.info(f"note: {gain}")
    for sentence in probes.sentences(study):
        console.info(f"probe: {sentence}")


def _test_trials(study: store.StudyDir, baselines: bool) -> pd.DataFrame:
    from eavdash.results import tables

    frame = tables.trials(study, baselines=baselines)
    _note_problems(frame)
    columns = ["subject", "trial", "stage", "label", "predicted", "correct", "confidence", "fold", "seed"]
    return frame[[*columns, *(name for name in frame.columns if name.startswith("p_"))]]
