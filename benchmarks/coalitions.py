"""Time and size of shapley.parquet, and the additive part of each fusion on some and on all mixtures.

    python benchmarks/coalitions.py STUDY [--checkpoints checkpoints]

Prints a line per finished fusion run of the study, whose features must be in the cache or computable; the study is not
changed. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd
import torch

from eavdash import store
from eavdash.config.choices import MODALITIES
from eavdash.models.seeds import reproducible
from eavdash.results import shapley
from eavdash.store import RunDir
from eavdash.training.additive import additive_part
from eavdash.training.coalitions import Mixing, coalition_table
from eavdash.training.finished import load_finished
from eavdash.training.run_context import open_run_context

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def measure(run: RunDir) -> str:
    cpu = torch.device("cpu")
    with reproducible(cpu, 1):
        context = open_run_context(run, cpu)
        loading, (fusion, joined) = timed(lambda: load_finished(context))
        mixing, classes = Mixing(fusion, joined, context), context.classes
        coalitions, table = timed(lambda: coalition_table(mixing, classes))
        adding, some = timed(lambda: additive_part(mixing, classes, context.seed("additive")))
        passes = len(table[table["coalition"] != ""]) // len(classes)
        line = f"{run.name}: loading {loading:.2f} s, {passes} coalitions {coalitions:.3f} s, mixtures {adding:.2f} s"
        if some is None:
            return line
        every = additive_part(mixing, classes, 0, some.windows ** len(mixing.modalities))
    numbers = [f"{p.mixtures}: unchanged {p.unchanged:.3f}, variance {p.variance:.4f}" for p in (some, every) if p]
    return f"{line}; mixtures per window {'; '.join(numbers)}"


def size(subjects: int = 42, windows: int = 200) -> str:
    """Time and size for simulated numbers of a large study."""
    names = ["+".join(m for i, m in enumerate(MODALITIES) if bits >> i & 1) for bits in range(8)]
    random, total, parts = np.random.default_rng(0), 0, []
    for number in range(subjects):
        row = np.repeat(np.arange(windows), 40)
        part = pd.DataFrame({"subject": str(number + 1), "trial": (row // 4).astype(str), "window": row % 4})
        part["class"] = np.tile(list("abcde"), windows * 8)
        part["coalition"] = np.tile(np.repeat(names, 5), windows)
        part["value"] = random.normal(-2, 1, len(part)).astype(np.float32)
        total += len(part.to_parquet(index=False, compression="zstd"))
        parts.append(part.assign(run=f"s{number + 1:02d}-fusion", fold=0, seed=0))
    table = pd.concat(parts, ignore_index=True)
    seconds, _ = timed(lambda: (shapley.shapley_values(table), shapley.interactions(table)))
    return f"{subjects} x {windows} windows: {total:,} bytes; values and interactions of all {seconds:.2f} s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--checkpoints")
    options = parser.parse_args()
    for each in store.find_study(store.checkpoints_root(options.checkpoints), options.study).runs():
        if each.config().stage == "fusion" and each.status().state == "done":
            print(measure(each))
    print(size())
