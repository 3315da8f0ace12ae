"""``check`` and ``make-demo``: the health report of a dataset, and simulated recordings."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import subjects_of
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.errors import EavdashError, UsageError
from eavdash.store.outputs import output_folder, write_output
from eavdash.store.private import cache_folder
from eavdash.text import plural


def check(options: argparse.Namespace) -> int:
    """Print the health report of a dataset; on request, write CSV files and a picture of each subject's faces."""
    from eavdash.health import kept
    from eavdash.health.check import check_dataset
    from eavdash.health.report import write_csv
    from eavdash.models.automatic import resolved

    config = preset(options.preset)
    if options.protocol:
        config = replace(config, protocol=replace(config.protocol, name=options.protocol))
    config, _ = resolved(with_settings(config, options.settings))
    cache = cache_folder(store.checkpoints_root(options.checkpoints))
    if options.for_study:
        for option, folder in (("--csv", options.csv), ("--contact-sheet", options.contact_sheet)):
            if folder:
                remedy = "run the check without --for-study, which makes it"
                raise UsageError.at(option, expected="no --for-study beside it", found="both", remedy=remedy)
        return _left_out(options, config, cache)
    usual = config == resolved(StudyConfig())[0] and not options.no_faces
    state = _state(options.root) if usual else ""
    for folder in (options.csv, options.contact_sheet):
        if folder:
            output_folder(folder)  # fail before minutes of work
    with console.progress_bar("checking") as progress:
        report = check_dataset(
            options.root, lambda done, of: progress(done, of, "files"), config, cache, faces=not options.no_faces
        )
    if options.protocol:
        report = replace(
            report, split_preview=report.split_preview[report.split_preview["protocol"] == options.protocol]
        )
    if state:
        kept.keep(cache, options.root, report, state)
    written = write_csv(report, options.csv) if options.csv else []
    if options.json:
        console.print_json(report.to_dict())
    else:
        console.print_health(report)
    if options.contact_sheet and len(report.table):  # the findings say why a dataset cannot be opened
        written += _contact_sheets(options.root, config, Path(options.contact_sheet))
    for path in written:
        console.info(f"written: {path}")
    return 0 if report.ok else 1


def _state(root: str) -> str:
    """Return the state of a dataset's recordings; empty if it cannot be opened, which the check reports."""
    from eavdash.data.table import open_table
    from eavdash.health.kept import files_state

    with contextlib.suppress(EavdashError):
        return files_state(open_table(root))
    return ""


def _left_out(options: argparse.Namespace, config: StudyConfig, cache: Path) -> int:
    """Look only at the recordings that a study would read, as planning it does, and print what it would leave out."""
    from eavdash.data.table import open_table
    from eavdash.results.left_out import sentences
    from eavdash.studies.unusable import usable_trials

    subjects = subjects_of(options.subjects, options.root)
    with console.progress_bar("checking") as progress:
        looked = usable_trials(
            open_table(options.root),
            config,
            subjects,
            cache,
            report=lambda done, of: progress(done, of, "files"),
        )
    if options.json:
        console.print_json(looked.record.document() if looked.record else {})
    else:
        for sentence in sentences(looked.record) or ["nothing would be left out"]:
            console.output(sentence)
    return 0


def _contact_sheets(root: str, config: StudyConfig, folder: Path) -> list[Path]:
    """Write one picture per subject with videos."""
    from eavdash.data.table import open_table
    from eavdash.data.video.contact_sheet import contact_sheet, with_pictures
    from eavdash.store.names import check_unit_names

    table = open_table(root)
    check_unit_names(table.subjects)
    written = []
    for subject in table.subjects:
        rows = with_pictures(table.frame[table.frame["subject"] == subject])
        if len(rows):
            sheet = contact_sheet(rows, config)
            path = folder / f"{store.unit_name(subject)}.png"
            write_output(path, partial(sheet.save, format="PNG"))
            written.append(path)
    return written


def make_demo(options: argparse.Namespace) -> int:
    """Make simulated recordings."""
    cues = None if options.cues is None else tuple(name for name in options.cues.split(",") if name != "none")
    folder = simulate(
        Path(options.folder), options.subjects, full=options.full, seed=options.seed, plant=options.plant, cues=cues
    )
    if options.json:
        console.print_json({"root": str(folder), "subjects": options.subjects, "simulated": True})
    else:
        console.info(f"simulated recordings of {plural(options.subjects, 'subject')} are in {folder}")
    return 0


def simulate(
    folder: Path, subjects: int, *, full: bool, seed: int, plant: str = "", cues: tuple[str, ...] | None = None
) -> Path:
    """Make simulated recordings in ``folder`` and return the dataset's path.

    Raises:
        UsageError: the number of subjects is out of range, or there is no such plant or cue.
    """
    from eavdash import demo

    if not 1 <= subjects <= 999:
        raise UsageError.at("--subjects", expected="between 1 and 999", found=str(subjects), remedy="choose another")
    with console.progress_bar("demo recordings") as report:
        return demo.make_demo(folder, subjects, full, seed, report, plant=plant, cues=cues)
