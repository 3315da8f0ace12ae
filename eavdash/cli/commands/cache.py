"""``eavdash cache``: list, clear or fill the cache.

Parsed options in, exit code out. The work is done by data/cache/listing.py and data/cache/prepare.py, which are
imported when needed.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from eavdash import store
from eavdash.cli import console
from eavdash.cli.commands.chosen import subjects_of
from eavdash.cli.commands.training import study_config
from eavdash.config.schema import StudyConfig
from eavdash.errors import DataError, UsageError
from eavdash.store.private import cache_folder
from eavdash.text import size

if TYPE_CHECKING:
    from eavdash.data.cache.listing import Entry

MAX_JOBS = 8


def cache(options: argparse.Namespace) -> int:
    """Run the action of ``eavdash cache``."""
    if options.action == "build":
        return build_cache(options, study_config(options))
    return {"list": list_cache, "clear": clear_cache}[options.action](options)


def list_cache(options: argparse.Namespace) -> int:
    """List the cache: options ``checkpoints``, ``json``."""
    from eavdash.data.cache.listing import entries

    cache = _cache(options)
    _print_entries(entries(cache), options.json, cache, "nothing is cached")
    return 0


def clear_cache(options: argparse.Namespace) -> int:
    """Delete entries of the cache.

    Options: ``keys`` (list), ``older_than`` (days or None), ``all``, ``dry_run``, ``checkpoints``, ``json``.
    """
    from eavdash.data.cache import listing

    cache = _cache(options)
    deleted = listing.clear(
        cache, options.keys, older_than=options.older_than, everything=options.all, dry_run=options.dry_run
    )
    _print_entries(deleted, options.json, cache, "nothing to delete")
    if deleted and not options.json:
        freed = size(sum(entry.bytes for entry in deleted))
        console.info(f"{freed} would be freed; nothing was deleted" if options.dry_run else f"{freed} freed")
    return 0


def build_cache(options: argparse.Namespace, config: StudyConfig) -> int:
    """Fill the cache with the windows of a dataset.

    Options: ``root``, ``subjects``, ``jobs`` (0: one per processor, at most 8), ``dry_run``, ``checkpoints``, ``json``.
    ``config`` is the configuration of the study (``training.study_config``).
    """
    from eavdash.data.cache.prepare import estimate, prepare, sets
    from eavdash.models.automatic import resolved
    from eavdash.studies.unusable import usable_trials

    config, encoders = resolved(config)
    for sentence in encoders:
        console.info(f"note: {sentence}")
    if not 0 <= options.jobs <= 1024:
        found = str(options.jobs)
        raise UsageError.at("--jobs", expected="0 to 1,024", found=found, remedy="leave it out")
    subjects = subjects_of(options.subjects, options.root)
    cache, jobs = _cache(options), options.jobs or _processors()
    with console.progress_bar("checking the recordings") as look:
        planned, problems = sets(
            options.root, config, subjects, lambda t: usable_trials(t, config, subjects, cache, report=look).chosen
        )
    if not options.json:
        for subject, problem in problems.items():
            console.error(f"subject {subject} is left out: {problem}")
    with console.progress_bar("checking the recordings") as report:
        need = estimate(planned, config, cache, jobs, report)
    if not options.json:
        console.info(need.sentence)
    if need.missing_sets and not options.dry_run:
        try:
            with console.progress_bar("trials") as report:
                prepare(planned, config, cache, jobs, report)
        except KeyboardInterrupt:
            raise DataError.at(
                cache,
                expected="every window set",
                found="an interruption",
                remedy="run the same command again, complete sets are kept",
            ) from None
    if options.json:
        console.print_json({**asdict(need), "sentence": need.sentence, "left_out": problems, "cache": str(cache)})
    elif need.missing_sets and not options.dry_run:
        console.info(f"{need.missing_sets} window sets were made in {cache}")
    return 0


def _print_entries(entries: list[Entry], as_json: bool, cache: Path, if_empty: str) -> None:
    if as_json:
        console.print_json([{**asdict(entry), "path": str(entry.path)} for entry in entries])
    elif not entries:
        console.info(f"{if_empty}: {cache}")
    else:
        rows = [
            {
                "kind": entry.kind,
                "key": entry.key[:12] if entry.kind in ("windows", "features") else entry.key,
                "size": size(entry.bytes),
                "last used": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)),
                "what": entry.description,
            }
            for entry in entries
        ]
        console.print_table(pd.DataFrame(rows), "table", title=f"{cache}: {size(sum(e.bytes for e in entries))}")


def _cache(options: argparse.Namespace) -> Path:
    return cache_folder(store.checkpoints_root(options.checkpoints))


def _processors() -> int:
    return max(1, min(MAX_JOBS, len(os.sched_getaffinity(0))))
