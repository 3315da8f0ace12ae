"""``encoders``: what there is, what is installed, and what each encoder needs."""

from __future__ import annotations

import argparse

import pandas as pd

from eavdash.cli import console


def encoders(options: argparse.Namespace) -> int:
    """Print the encoders that a study may use."""
    from eavdash.models.catalogue import offered

    rows = [
        {
            "setting": f"{entry.modality}.encoder={entry.name}",
            "encoder": entry.title,
            "input": entry.expects,
            "licence": entry.licence,
            "size": entry.size,
            "trained": entry.trained,
            "needs": entry.needs,
            "installed": not entry.missing,
        }
        for entry in offered()
    ]
    if options.json:
        console.print_json(rows)
        return 0
    frame = pd.DataFrame(rows)
    frame["installed"] = frame["installed"].map({True: "yes", False: "no"})
    console.print_table(frame, "table")
    console.info("choose one with: eavdash train ... --set MODALITY.encoder=NAME; docs/models.md has what was measured")
    return 0
