"""Processor time of opening a stored map: ``python benchmarks/open_map.py STUDY --subject 1 --trial 2``.

Opens the stored explanations of a trial as the page One trial does, once the recordings were read. Prints what reading
each, its scales, its overlays and packing them for the browser take (the least of ``--repeat`` times), the bytes that
the browser gets, and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import TypeVar

from eavdash.config.convert import recorded_config
from eavdash.data.frozen import planned_table
from eavdash.data.preview import trial_preview
from eavdash.explain.choose import testing_run
from eavdash.explain.explanation import explanation_name, load_explanation, stored_explanations
from eavdash.report.figures import window_maps
from eavdash.store import checkpoints_root, find_study
from eavdash.ui.explain.overlays import overlays
from eavdash.ui.player import packing

T = TypeVar("T")


def timed(name: str, act: Callable[[], T], found: dict[str, float]) -> T:
    started = time.process_time()
    made = act()
    found[name] = 1000 * (time.process_time() - started)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--subject", required=True)
    parser.add_argument("--trial", required=True)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--checkpoints")
    options = parser.parse_args()
    study = find_study(checkpoints_root(options.checkpoints), options.study)
    run = testing_run(study, options.subject, options.trial, None, None, "")
    table = planned_table(study.table_file, study.study().dataset.path, (options.subject,)).frame
    row = table[table["trial"] == options.trial].iloc[0].to_dict()
    preview = trial_preview(row, recorded_config(study.study()))
    name = explanation_name(run, options.subject, options.trial)
    sizes = [len(packing.pack(*packing.describe(preview)))]
    best: dict[str, dict[str, float]] = {}
    for _ in range(max(1, options.repeat)):
        for which in stored_explanations(run, name):
            found: dict[str, float] = {}
            made = timed("read", lambda which=which: load_explanation(run, name, *which), found)
            assert made is not None
            limits = timed("scales", lambda made=made: window_maps.limits(made), found)
            drawn = timed("overlays", lambda made=made, limits=limits: overlays(made, preview, limits, "")[0], found)
            data = timed("pack", lambda drawn=drawn: packing.pack(*packing.describe(preview, drawn)), found)
            sizes.append(len(data))
            key = "-".join(filter(None, which))
            if sum(found.values()) < sum(best.get(key, {"": float("inf")}).values()):
                best[key] = found
    for key, found in best.items():
        parts = ", ".join(f"{part} {value:.0f}" for part, value in found.items())
        print(f"{key}: {sum(found.values()):.0f} ms of processor time ({parts})")
    print(f"sent to the browser: {sizes[0] / 1e6:.2f} MB for the recording, up to {max(sizes) / 1e6:.2f} MB with maps")
    print(f"largest memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
