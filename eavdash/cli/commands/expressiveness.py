"""``expressiveness``: how much the face moved, the voice varied and the EEG was active in a study's test trials."""

from __future__ import annotations

import argparse

import pandas as pd

from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of, tested_trials
from eavdash.store.task import report_progress


def expressiveness(options: argparse.Namespace) -> int:
    """Measure the test trials, keep the measures with the study, and print their correlations with being right."""
    from eavdash.explain.expressiveness import measure
    from eavdash.results import expressiveness as kept

    study = study_of(options)
    trials = tested_trials(study)
    rows = measure(study, trials, report_progress)
    kept.save(study, rows)
    table = pd.DataFrame(rows, columns=[*kept.COLUMNS])
    problems = table.loc[table["problem"] != "", "problem"].drop_duplicates().tolist()
    for problem in problems:
        console.error(problem)
    there = [name for name in kept.MEASURES if (table["measure"] == name).any()]
    found = [kept.relation(kept.beside(table, trials, name), name) for name in there]
    shown = pd.DataFrame([{"modality": kept.MEASURES[r.measure][0], **vars(r)} for r in found])
    if options.json:
        console.print_json({"study": study.name, "relations": shown.to_dict("records"), "problems": problems})
    else:
        console.print_table(shown.round(3), "table")
    return 1 if problems else 0
