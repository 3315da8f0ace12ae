"""``shapley``: what each modality adds to the decisions of a study's fusions."""

from __future__ import annotations

import argparse

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.errors import EavdashError
from eavdash.store.task import report_progress


def shapley(options: argparse.Namespace) -> int:
    """Write shapley.parquet of finished fusion runs that lack it and print a row per run; one that fails stops none."""
    from eavdash.results import shapley as values

    study = study_of(options)
    chosen = [store.find_run(study, name) for name in dict.fromkeys(options.run or ())]
    failed = _compute(chosen or study.runs(), named=bool(chosen), device=options.device)
    found = values.coalitions(study)
    table = found.table[found.table["run"].isin([r.name for r in chosen])] if chosen else found.table
    _print(values.summary(table), values.emap(study), as_json=options.json)
    for problem in dict.fromkeys([*(str(error) for error in failed[1:]), *found.problems]):
        console.error(problem)
    if failed:
        raise failed[0]
    return 1 if found.problems else 0


def _compute(runs: list[store.RunDir], named: bool, device: str) -> list[EavdashError]:
    """Compute what is missing; ``named``: a run that is no finished fusion is an error. Return the errors."""
    from eavdash.results.shapley import lacks_coalitions

    failed: list[EavdashError] = []
    lacking = []
    for run in runs:
        try:
            if lacks_coalitions(run) or (named and not run.shapley_file.exists()):
                lacking.append(run)
        except EavdashError as error:
            failed.append(error)
    for number, run in enumerate(lacking):
        report_progress(number, len(lacking), run.name)
        console.info(f"{run.name} …")
        from eavdash.training.finished import add_coalitions

        try:
            add_coalitions(run, device)
        except EavdashError as error:
            failed.append(error)
    report_progress(len(lacking), len(lacking))
    return failed


def _print(summary: pd.DataFrame, additive: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        console.print_json({"shapley": summary.to_dict("records"), "additive": additive.to_dict("records")})
        return
    keys = ["run", "subject"]
    rows = summary[keys].drop_duplicates()
    for column, title in (("size", "|Shapley|"), ("smallest", "smallest")):
        wide = summary.pivot_table(index=keys, columns="modality", values=column, sort=False)
        rows = rows.merge(wide.add_suffix(f" {title}").reset_index(), on=keys, how="left")
    if not additive.empty:
        rows = rows.merge(additive[["run", "unchanged", "variance"]].rename(columns=_ADDITIVE), on="run", how="left")
    console.print_table(rows.round(3), "table")


_ADDITIVE = {"unchanged": "additive: same class", "variance": "additive: variance"}
