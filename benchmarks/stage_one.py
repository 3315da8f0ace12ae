"""Stage 1 of vision and audio with cached head-only epochs, compared with the published schedule.

``python benchmarks/stage_one.py [--size tiny|small|base] [--modalities vision,audio] [--batch N] [--steps N]
[--windows N] [--threads N]`` prints a JSON line and a table. The published schedule runs the frozen encoder on every
training window in every head-only epoch (vision 10 of 15 epochs, audio 20 of 30); here it runs once, and the head is
trained on its cached features. Full fine-tuning is the same work in both.

Timed alternately, with the same threads, precision and batches: a step of head-only training as published (forward of
the whole model, backward of the head), a forward pass of the frozen part, a step of the head on cached features, and a
step of full fine-tuning; the best of ``--steps`` each. Extrapolated to ``--windows`` training windows of one subject,
without validation, reading recordings and writing files. ``base`` is the published size and takes many minutes on a
CPU. Times are processor times, so that other programs matter less; still, only their ratios are meaningful.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import machine
import pandas as pd
import torch

from eavdash.config.presets import preset
from eavdash.config.schema import TrainConfig
from eavdash.training import headphase
from eavdash.training.loading import stream
from eavdash.training.memory import MicroBatchSize
from eavdash.training.optimiser import optimiser_of
from eavdash.training.step import check_gradients, gradients


def step(model: Any, source: Any, rows: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Do one optimisation step on windows ``rows``, as in the training loop."""
    with stream(model, source, [rows], None, torch.device("cpu")) as batches:
        batch = next(iter(batches))
        gradients(model, batch, source.labels[rows], MicroBatchSize(len(rows), len(rows)), "float32", 0.0, "benchmark")
    check_gradients(model, 0.0, "benchmark")
    optimiser.step()


def measure(modality: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds per window of each kind of work, and both schedules extrapolated."""
    device = torch.device("cpu")
    torch.manual_seed(0)
    model = machine.encoder(modality, options.size)
    source = machine.source(modality, options.size, options.batch, device)
    settings: TrainConfig = preset("paper").training(modality)
    rows = torch.arange(options.batch)
    headphase.freeze(model)
    cached = headphase.head_source(model, source, range(options.batch), MicroBatchSize(64, 64), "float32", "benchmark")
    head = optimiser_of(model, settings, decay_all=True)

    def frozen_pass() -> None:
        with torch.no_grad():
            source.frozen_features(model, rows)

    work = {
        "written": lambda: step(model, source, rows, head),
        "pass": frozen_pass,
        "head": lambda: step(model, cached, rows, head),
    }
    best = {kind: float("inf") for kind in work}
    for _ in range(options.steps):
        for kind, one in work.items():
            best[kind] = min(best[kind], machine.clock(one, device) / options.batch)
    model.requires_grad_(True).train()
    full = optimiser_of(model, settings, decay_all=True)
    best["full"] = min(
        machine.clock(lambda: step(model, source, rows, full), device) / options.batch for _ in range(options.steps)
    )
    count, heads, fulls = options.windows, settings.head_epochs, settings.epochs - settings.head_epochs
    written = {"head": heads * count * best["written"], "full": fulls * count * best["full"]}
    ours = {"head": count * (best["pass"] + heads * best["head"]), "full": written["full"]}
    return {
        "modality": modality,
        **{f"{kind}_s_per_window": round(value, 5) for kind, value in best.items()},
        "published_h": round(sum(written.values()) / 3600, 3),
        "cached_h": round(sum(ours.values()) / 3600, 3),
        "head_phase_ratio": round(written["head"] / ours["head"], 2),
        "ratio": round(sum(written.values()) / sum(ours.values()), 2),
    }


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=machine.SIZES, default="small", help="size of the encoders (default: %(default)s)"
    )
    parser.add_argument("--modalities", default="vision,audio")
    parser.add_argument("--batch", type=int, default=1, help="windows per timed step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each kind (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=280, help="training windows of a subject (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [measure(modality, options) for modality in options.modalities.split(",")]
    summary = {"benchmark": "stage_one", "size": options.size, "machine": machine.machine(torch.device("cpu"))}
    print(json.dumps({**summary, "windows": options.windows, "rows": rows}))
    print(pd.DataFrame(rows).set_index("modality").T.to_string())


if __name__ == "__main__":
    main()
