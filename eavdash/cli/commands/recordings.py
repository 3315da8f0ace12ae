"""``check`` and ``make-demo``: recordings before anything is trained."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from eavdash import store
from eavdash.cli import console
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.errors import UsageError


def check(options: argparse.Namespace) -> int:
    """Findings about a dataset, and on request the report as CSV files and a picture of each subject's faces."""
    from eavdash.health.check import check_dataset
    from eavdash.health.report import make_folder, write_csv

    config = with_settings(preset(options.preset), options.settings)
    if options.protocol:
        config = replace(config, protocol=replace(config.protocol, name=options.protocol))
    cache = store.checkpoints_root(options.checkpoints) / ".cache"
    for folder in (options.csv, options.contact_sheet):
        if folder:
            make_folder(folder)  # before minutes of work, not after them
    with console.bar("looking at") as progress:
        report = check_dataset(
            options.root, lambda done, of: progress(done, of, "files"), config, cache, faces=not options.no_faces
        )
    if options.protocol:
        report = replace(
            report, split_preview=report.split_preview[report.split_preview["protocol"] == options.protocol]
        )
    written = write_csv(report, options.csv) if options.csv else []
    if options.contact_sheet:
        written += _contact_sheets(options.root, config, Path(options.contact_sheet))
    if options.json:
        console.print_json(report.to_dict())
    else:
        console.health(report)
    for path in written:
        console.say(f"written: {path}")
    return 0 if report.ok else 1


def _contact_sheets(root: str, config: StudyConfig, folder: Path) -> list[Path]:
    """One picture per subject that has videos."""
    from eavdash.data.table import open_table
    from eavdash.data.video.contact_sheet import contact_sheet
    from eavdash.store.atomic import write_atomic

    table = open_table(root)
    written = []
    for subject in table.subjects:
        rows = table.frame[(table.frame["subject"] == subject) & (table.frame["video"] != "")]
        if len(rows):
            sheet = contact_sheet(rows, config)
            path = folder / f"{store.unit_name(subject)}.png"
            write_atomic(path, lambda file, sheet=sheet: sheet.save(file, "PNG"))  # type: ignore[misc]
            written.append(path)
    return written


def make_demo(options: argparse.Namespace) -> int:
    """Simulated recordings."""
    made = simulate(Path(options.folder), options.subjects, full=options.full, seed=options.seed)
    if options.json:
        console.print_json({"root": str(made), "subjects": options.subjects, "simulated": True})
    else:
        whom = "1 subject" if options.subjects == 1 else f"{options.subjects} subjects"
        console.say(f"simulated recordings of {whom} are in {made}")
    return 0


def simulate(folder: Path, subjects: int, *, full: bool, seed: int) -> Path:
    from eavdash.demo import make_demo as make

    if not 1 <= subjects <= 999:
        raise UsageError.at("--subjects", expected="between 1 and 999", found=str(subjects), remedy="choose another")
    with console.bar("demo recordings") as report:
        return make(folder, subjects=subjects, full=full, seed=seed, report=report)
