"""``explain``: explanations of decisions on one trial or several."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Any

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.cli.commands.truth import TruthTables
from eavdash.config.choices import MODALITIES
from eavdash.errors import EavdashError, IntegrityError, UsageError
from eavdash.explain.method_registry import METHODS
from eavdash.store.task import report_progress
from eavdash.text import natural_order, parts, plural

if TYPE_CHECKING:
    from eavdash.explain.explanation import Explanation


def explain(options: argparse.Namespace) -> int:
    """Explain the decision on one trial, or on each of several, and list the files.

    What is stored already is not computed again. Of several trials, one that fails does not stop the others.
    """
    study = study_of(options)
    if options.trials is None:
        if options.truth:
            raise UsageError.at("--truth", expected="--trials", found="--trial", remedy="choose --trials test")
        if options.subject is None:
            raise UsageError.at("--subject", expected="the trial's subject", found="none", remedy="name it")
        report_progress(0, 1, _name(options.subject, options.trial))
        summary = _summary(study, *_explained(study, options.subject, options.trial, options))
        report_progress(1, 1)
        if options.json:
            console.print_json(summary)
        else:
            console.print_explanation(summary)
        return 0
    if options.truth and not METHODS[options.method].attribution:
        names = ", ".join(name for name, kind in METHODS.items() if kind.attribution)
        raise UsageError.at("--method with --truth", expected=names, found=options.method, remedy="choose one")
    from eavdash.explain.question import require_classes

    require_classes(options.target, options.against, study.study().classes)
    trials = _chosen(study, options)
    tables = TruthTables(study, options.truth, trials) if options.truth else None
    if trials:
        console.info(_estimate(study, trials, options))
    found: list[dict[str, Any]] = []
    failed = 0
    for done, (subject, trial) in enumerate(trials):
        report_progress(done, len(trials), _name(subject, trial))
        try:
            made, stored = _explained(study, subject, trial, options)
            if tables:
                tables.add(made)
            found.append(_summary(study, made, stored))
        except EavdashError as error:
            failed += 1
            console.error(str(error))
            found.append({"subject": subject, "trial": trial, "error": str(error)})
        else:
            if not options.json:
                (console.info if tables else console.output)(_line(found[-1]))
    report_progress(len(trials), len(trials))
    if options.json:
        console.print_json({"trials": found, **tables.document()} if tables else found)
    elif not trials:
        console.info("there is no such trial to explain")
    elif tables:
        tables.show()
    if failed:
        console.error(f"{plural(failed, 'trial')} of {len(trials)} could not be explained")
    return 1 if failed else 0


def _explained(
    study: store.StudyDir, subject: str, trial: str, options: argparse.Namespace
) -> tuple[Explanation, bool]:
    """Return the explanation, and True if it was stored already.

    It is computed again for a number of steps, and if an earlier version stored it without the places of its pictures.
    """
    from eavdash.explain.trial import explain_trial, find_explanation

    asked = {name: getattr(options, name) for name in ("fold", "seed", "stage", "method", "target", "against")}
    asked["baseline"] = options.baseline
    if not options.steps:
        with contextlib.suppress(IntegrityError):  # what is damaged is computed again
            stored = find_explanation(study, subject, trial, **asked)
            if stored is not None and not stored.lacks_places:
                return stored, True
    more = {"device": options.device, "steps": options.steps, "receipts": not options.no_receipts}
    return explain_trial(study, subject, trial, **asked, **more), False


def _summary(study: store.StudyDir, made: Explanation, stored: bool) -> dict[str, Any]:
    from eavdash.explain.check_record import verdict_of
    from eavdash.explain.explanation import explanation_name
    from eavdash.explain.run_receipts import all_checks

    run = study.run(made.run)
    checks = made.receipts.checks
    with contextlib.suppress(IntegrityError):  # eavdash receipts makes damaged ones again
        checks = all_checks(run, made)
    files = run.explain_files(explanation_name(run, made.subject, made.trial), *made.stored)
    found = {"receipts": verdict_of(checks), "files": [str(path) for path in files], "stored_before": stored}
    return made.summary() | found


def _chosen(study: store.StudyDir, options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return subject and trial of the chosen test trials, in the order of the tables.

    Raises:
        UsageError: the subject or a trial of the list was not tested.
    """
    from eavdash.results import tables

    table = tables.trials(study, [options.stage] if options.stage else None)
    for problem in table.attrs.get("problems", []):
        console.error(problem)
    tested = natural_order(set(table["subject"].astype(str)))
    if tested and options.subject is not None and options.subject not in tested:
        raise UsageError.at(
            "--subject",
            expected=f"a subject that a finished run has tested ({', '.join(tested)})",
            found=options.subject,
            remedy="choose one",
        )
    for name in ("subject", "fold", "seed"):
        if (value := getattr(options, name)) is not None:
            table = table[table[name] == value]
    # Of each trial the row of the run that explains it (eavdash/explain/choose.py).
    rank = table["stage"].map(("fusion", *MODALITIES).index)
    table = table.assign(rank=rank).sort_values(["rank", "fold", "seed"], kind="stable")
    table = table.drop_duplicates(["subject", "trial"]).sort_index()
    if options.trials == "wrong":
        table = table[~table["correct"].astype(bool)]
    elif options.trials not in ("all", "test"):
        names = parts(options.trials)
        if lacking := [name for name in names if name not in set(table["trial"])]:
            where = "--trials" if options.subject is None else f"--trials of subject {options.subject}"
            raise UsageError.at(
                where,
                expected="test (or all), wrong, or trials that a finished run has tested",
                found=", ".join(lacking),
                remedy=f"choose among those of eavdash results {study.name} --trials",
            )
        table = table[table["trial"].isin(names)]
    return list(zip(table["subject"].astype(str), table["trial"].astype(str), strict=True))


def _estimate(study: store.StudyDir, trials: list[tuple[str, str]], options: argparse.Namespace) -> str:
    """Return how long the maps of some trials will take that are not stored, by the run of the first of them."""
    from eavdash.explain.choose import testing_run
    from eavdash.explain.estimate import estimate

    run = testing_run(study, *trials[0], options.fold, options.seed, options.stage)
    made = estimate(study, run, options.method, receipts=not options.no_receipts, device=options.device)
    return f"{plural(len(trials), 'trial')}; stored maps are not computed again. {made.sentence(len(trials))}"


def _name(subject: str, trial: str) -> str:
    return f"subject {subject}, trial {trial}"


def _line(summary: dict[str, Any]) -> str:
    against = f" against {summary['against']}" if summary["against"] else ""
    sums = ", ".join(f"{modality} {value:+.2f}" for modality, value in summary["attribution"].items())
    before = " (stored before)" if summary["stored_before"] else ""
    receipts = f"; receipts: {summary['receipts']['verdict']}"
    return f"{_name(summary['subject'], summary['trial'])}: {summary['target']}{against}: {sums}{receipts}{before}"
