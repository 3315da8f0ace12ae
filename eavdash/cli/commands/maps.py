"""``maps``: what the maps of each class have in common over a study, and which trials are unlike the others."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.store.task import report_progress
from eavdash.text import plural

if TYPE_CHECKING:
    from eavdash.explain.maps.record import StudyMaps

SHOWN = 5  # trials in a list


def maps(options: argparse.Namespace) -> int:
    """Make the mean maps of a study's explained test trials, keep them with the study, and print the tests."""
    from eavdash.explain.maps.record import save_maps
    from eavdash.explain.maps.study import make_maps

    study = study_of(options)
    made = make_maps(study, options.stage, options.method, options.baseline, report_progress)
    save_maps(study, made)
    if options.json:
        console.print_json(_summary(made))
        return 0
    document = made.document
    explained = f"{plural(len(document.trials), 'trial')} of {document.tested} explained"
    console.output(f"{document.stage}, {document.method}, baseline {document.baseline}: {explained}")
    for reason, count in document.left_out.items():
        console.error(f"left out: {plural(count, 'map')} ({reason})")
    console.print_table(_tests(made), "table")
    columns = ["subject", "trial", "label", "predicted", "p_label", "distance_all"]
    table = made.table
    for title, rows in (
        ("maps least like those of their class", table.sort_values("distance_all", ascending=False, kind="stable")),
        ("most surprising decisions", table.sort_values("surprise", ascending=False, kind="stable")),
    ):
        console.print_table(rows[columns].head(SHOWN).round(3), "table", title)
    return 0


def _tests(made: StudyMaps) -> pd.DataFrame:
    rows = [each.only("view", "label", "subjects", "trials", "exchanged", "p", "cells") for each in made.document.tests]
    return pd.DataFrame(rows).rename(columns={"label": "class", "cells": "cells p < 0.05"}).round(4)


def _summary(made: StudyMaps) -> dict[str, Any]:
    document = made.document
    names = ("stage", "method", "baseline", "unit", "tested", "sums", "sizes", "left_out")
    return {
        **document.only(*names),
        "explained": len(document.trials),
        "tests": [each.document() for each in document.tests],
        "trials": made.table.to_dict("records"),
    }
