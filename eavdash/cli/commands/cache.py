"""``eavdash cache``: list what lies in the cache, clear it, or fill it before a study is trained.

Parsed options in, exit code out. Delegated to data/cache/listing.py and data/cache/prepare.py, which are
imported when needed.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.training import study_config
from eavdash.config import selection
from eavdash.config.schema import StudyConfig
from eavdash.errors import DataError

if TYPE_CHECKING:
    from eavdash.data.cache.listing import Entry

MOST_JOBS = 8


def cache(options: argparse.Namespace) -> int:
    """What is kept of recordings that were read."""
    if options.action == "build":
        return build_cache(options, study_config(options))
    return {"list": list_cache, "clear": clear_cache}[options.action](options)


def list_cache(options: argparse.Namespace) -> int:
    """``eavdash cache list``: options ``checkpoints``, ``json``."""
    from eavdash.data.cache.listing import entries

    cache = _cache(options)
    _show(entries(cache), options.json, cache, "nothing is cached")
    return 0


def clear_cache(options: argparse.Namespace) -> int:
    """``eavdash cache clear``: options ``keys`` (list), ``older_than`` (days or None), ``all``, ``dry_run``,
    ``checkpoints``, ``json``.
    """
    from eavdash.data.cache.folders import gigabytes
    from eavdash.data.cache.listing import clear

    cache = _cache(options)
    gone = clear(cache, options.keys, older_than=options.older_than, everything=options.all, dry_run=options.dry_run)
    _show(gone, options.json, cache, "nothing to delete")
    if gone and not options.json:
        freed = gigabytes(sum(entry.bytes for entry in gone))
        console.say(f"{freed} would be freed; nothing was deleted" if options.dry_run else f"{freed} freed")
    return 0


def build_cache(options: argparse.Namespace, config: StudyConfig) -> int:
    """``eavdash cache build``: options ``root``, ``subjects``, ``jobs`` (0: as many as there are processors, at most
    8), ``dry_run``, ``checkpoints``, ``json``; ``config`` is that of the study (``training.study_config``).
    """
    from eavdash.data.cache.prepare import estimate, prepare, sets
    from eavdash.data.table import open_table

    subjects: tuple[str, ...] = ()
    if options.subjects is not None:
        table = open_table(options.root)
        subjects = selection.parse_subjects(options.subjects, [*table.subjects, *table.problems], note=console.say)
    cache, jobs = _cache(options), options.jobs or _processors()
    planned, problems = sets(options.root, config, subjects)
    if not options.json:
        for subject, problem in problems.items():
            console.complain(f"subject {subject} is left out: {problem}")
    with console.bar("looking at the recordings") as report:
        size = estimate(planned, config, cache, jobs, report)
    if not options.json:
        console.say(size.sentence)
    if size.missing_sets and not options.dry_run:
        try:
            with console.bar("trials") as report:
                prepare(planned, config, cache, jobs, report)
        except KeyboardInterrupt:
            raise DataError.at(
                cache,
                expected="every window set",
                found="an interruption",
                remedy="run the same command again: complete sets are kept",
            ) from None
    if options.json:
        console.print_json({**asdict(size), "sentence": size.sentence, "left_out": problems, "cache": str(cache)})
    elif size.missing_sets and not options.dry_run:
        console.say(f"{size.missing_sets} window sets were made in {cache}")
    return 0


def _show(entries: list[Entry], as_json: bool, cache: Path, nothing: str) -> None:
    from eavdash.data.cache.folders import gigabytes

    if as_json:
        console.print_json([{**_plain(entry), "path": str(entry.path)} for entry in entries])
    elif not entries:
        console.say(f"{nothing}: {cache}")
    else:
        rows = [
            {
                "kind": entry.kind,
                "key": entry.key[:12] if entry.kind in ("windows", "features") else entry.key,
                "size": gigabytes(entry.bytes),
                "last used": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)),
                "what": entry.description,
            }
            for entry in entries
        ]
        console.show(pd.DataFrame(rows), "table", title=f"{cache}: {gigabytes(sum(e.bytes for e in entries))}")


def _plain(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if name != "path"}


def _cache(options: argparse.Namespace) -> Path:
    return store.checkpoints_root(options.checkpoints) / ".cache"


def _processors() -> int:
    return max(1, min(MOST_JOBS, len(os.sched_getaffinity(0))))
