"""``import-checkpoint`` and ``fetch-weights``: published weights."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.outcome import read_scores
from eavdash.config.choices import STAGES
from eavdash.text import parts


def import_checkpoint(options: argparse.Namespace) -> int:
    """Import the reference method's checkpoints of one subject as a study and print its scores."""
    from eavdash.studies import importing
    from eavdash.studies.imported_runs import LABELS

    files = {stage: Path(path) for stage in STAGES if (path := getattr(options, stage))}
    root = store.checkpoints_root(options.checkpoints)
    study = importing.import_checkpoint(
        options.root,
        options.study,
        options.subject,
        files,
        root,
        labels=parts(options.labels) or LABELS,
        order=parts(options.order),
        settings=options.settings,
        device=options.device,
    )
    notes = [note for run in study.runs() if (imported := run.config().imported) for note in imported.notes]
    if options.json:
        scores = read_scores(study).to_dict(orient="records")
        console.print_json({"study": study.name, "path": str(study.path), "notes": notes, "scores": scores})
        return 0
    for note in notes:
        console.info(f"note: {note}")
    console.print_table(read_scores(study), "table", title=f"{study.name}: test trials")
    console.info(f"nothing was trained; the weights and their scores are in {study.path}")
    return 0


def fetch_weights(options: argparse.Namespace) -> int:
    """Download a checkpoint from the Hugging Face Hub, at one revision."""
    from eavdash.models.fetching import fetch

    endpoint = os.environ.get("HF_ENDPOINT")
    fetched = fetch(options.model, options.revision, options.sha256, options.out, endpoint)
    if options.json:
        console.print_json({"folder": str(fetched.folder), "file": fetched.file, "sha256": fetched.sha256})
        return 0
    console.info(f"fetched: {fetched.folder / fetched.file}")
    console.info(f"sha256: {fetched.sha256}")
    if not options.sha256:
        console.info(f"this file was not verified; to require exactly this file, add --sha256 {fetched.sha256}")
    console.info(f"use it with: --set vision.weights={fetched.folder} (or audio.weights)")
    return 0
