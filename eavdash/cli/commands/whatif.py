"""``whatif``: what would have been decided had a trial been recorded otherwise."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash.cli import console
from eavdash.cli.commands.chosen import study_of
from eavdash.store.outputs import output_file, write_output
from eavdash.store.task import report_progress

if TYPE_CHECKING:
    from eavdash.explain.whatif_record import Outcome, WhatIf


def whatif(options: argparse.Namespace) -> int:
    """Print the decision on a trial before and after changes of its recordings; nothing is stored unless asked."""
    from eavdash.explain.changes.registry import changes_of

    study = study_of(options)
    changes = changes_of(options.changes)
    options.output = output_file(options.output) if options.output else None
    report_progress(0, 1, f"subject {options.subject}, trial {options.trial}")
    from eavdash.explain.whatif import what_if

    asked = {name: getattr(options, name) for name in ("fold", "seed", "stage", "device")}
    found = what_if(study, options.subject, options.trial, changes, **asked)
    report_progress(1, 1)
    if options.output:
        write_output(options.output, lambda file: file.write(f"{json.dumps(found.document(), indent=2)}\n".encode()))
    if options.json:
        console.print_json(found.document())
    else:
        _print(found)
    return 0


def _print(found: WhatIf) -> None:
    console.output(f"subject {found.subject}, trial {found.trial}, label {found.label}, {found.run}")
    console.output(found.sentence)
    rows: list[dict[str, Any]] = []
    for name in found.classes:
        rows.append(_row("p", name, *(o.probabilities[found.stage][name] for o in (found.before, found.after))))
    for modality in found.modalities:
        for what in ("attention", "shapley"):
            before, after = getattr(found.before, what), getattr(found.after, what)
            if modality in before or modality in after:
                rows.append(_row(what, modality, before.get(modality, math.nan), after.get(modality, math.nan)))
    values = f"; Shapley values of {found.target}" if any(row["number"] == "shapley" for row in rows) else ""
    console.print_table(pd.DataFrame(rows).round(4), "table", title=f"{found.stage}{values}")
    windows = [
        {
            "window": w.window + 1,
            "seconds": f"{w.start:g}-{w.stop:g}",
            **_decided("before", found.before, number, found.stage),
            **_decided("after", found.after, number, found.stage),
        }
        for number, w in enumerate(found.before.windows)
    ]
    console.print_table(pd.DataFrame(windows), "table", title="window by window")
    for text in dict.fromkeys([*(change.definition for change in found.changes), *found.notes]):
        console.info(f"note: {text}")
    ran = ", ".join(found.encoders_run) or "none"
    console.info(f"encoders that ran again: {ran}; {found.seconds:.2f} s after loading")


def _row(what: str, name: str, before: float, after: float) -> dict[str, Any]:
    return {"number": what, "of": name, "before": before, "after": after, "change": after - before}


def _decided(when: str, outcome: Outcome, number: int, stage: str) -> dict[str, str]:
    window = outcome.windows[number]
    if not window.predicted:
        return {when: "-"}
    return {when: f"{window.predicted} ({100 * window.probabilities[stage][window.predicted]:.0f} %)"}
