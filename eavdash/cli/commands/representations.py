"""``representations``: the test trials as a study's models see them, in two dimensions, and what separates them."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of, tested_trials
from eavdash.errors import EavdashError
from eavdash.store.task import report_progress

if TYPE_CHECKING:
    from eavdash.results.representations import Representations, Space


def representations(options: argparse.Namespace) -> int:
    """Write the representations of all finished runs and print what separates the trials; one that fails stops none."""
    from eavdash.results import representations as made

    study = study_of(options)
    trials = tested_trials(study)
    runs = made.represented(study, trials)
    before = None
    if not options.again:
        with contextlib.suppress(EavdashError):  # a damaged file is made again
            before = made.load(study)
    report_progress(0, len(runs) + 1, "decisions of all runs")
    table, shared = made.placed(made.decisions(trials), trials)
    files, models, problems = {"": made.save_table(study.decisions_file, table)}, dict[str, str](), dict[str, str]()
    spaces = [*shared]
    for number, run in enumerate(runs, start=1):
        report_progress(number, len(runs) + 1, run.name)
        try:
            found = _of_run(run, trials, before, options.device)
        except EavdashError as error:
            problems[run.name] = str(error)
            console.error(str(error))
            continue
        spaces += found[0]
        files[run.name] = found[1]
        models |= made.checksums(run)
    whole = made.Representations(spaces=tuple(spaces), files=files, models=models, problems=problems)
    made.save(study, whole)
    report_progress(len(runs) + 1, len(runs) + 1)
    _print(whole, as_json=options.json)
    return 1 if problems else 0


def _of_run(
    run: store.RunDir, trials: pd.DataFrame, before: Representations | None, device: str
) -> tuple[list[Space], str]:
    """Return the spaces of a run and the checksum of its table; what was computed for the same weights stays."""
    from eavdash.results import representations as made

    if before is not None and not made.outdated(before, run):
        return [space for space in before.spaces if space.run == run.name], before.files[run.name]
    from eavdash.training.representations import represent

    table, spaces = made.placed(represent(run, device), trials, run.name)
    return spaces, made.save_table(run.representations_file, table)


def _print(whole: Representations, as_json: bool) -> None:
    from eavdash.results import representations as made
    from eavdash.results.separation import verdict

    if as_json:
        console.print_json(whole.document())
        return
    rows = [
        {"run": each.run or "all decisions", "space": each.space, **each.separation.only(*_SHOWN)}
        for each in whole.spaces
    ]
    console.print_table(pd.DataFrame(rows).rename(columns=_TITLES).round(3), "table")
    for each in whole.spaces:
        if not each.run:
            console.output(f"decisions of {each.space}, all runs: {verdict(each.separation)}")
    if not made.has_umap():
        console.info(f"without UMAP, which needs an extra: {made.UMAP_EXTRA}")


_SHOWN = ("trials", "subjects", "label", "label_chance", "label_p", "subject", "subject_chance", "subject_p")
_TITLES = {"label": "label η²", "subject": "subject η²", "label_chance": "chance", "subject_chance": "chance "}
