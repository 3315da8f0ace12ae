"""The preset ``paper`` for one full-size synthetic subject on a GPU: images per second, utilisation, projected hours.

``python benchmarks/paper_gpu.py [--windows N] [--test N] [--epochs N] [--subjects 42] [--precision auto] [--compile]
[--memory GIB]`` prints a JSON line and a table. The training loop trains each stage with the preset's batches and
optimiser: the pass of the frozen encoder, head-only epochs on its features, epochs of full fine-tuning, the EEG
encoder, and the published fusion on cached features. ``--epochs`` of each kind are run after a warm-up epoch; the time
of a subject is each kind's epoch time multiplied by the published number of epochs. Utilisation is the counted
operations of fine-tuning over the measured matrix-multiply peak in the same precision. Reading recordings (measured by
benchmarks/loaders.py) and writing checkpoints are not included.

Without a GPU it prints that and exits with code 0; ``--device cpu --size tiny`` tests the benchmark itself.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import machine
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eavdash.config.presets import preset
from eavdash.config.schema import Execution
from eavdash.models import build
from eavdash.models.seeds import reproducible, seeder
from eavdash.training import headphase
from eavdash.training.fusion_features import model_output
from eavdash.training.loading import ModelOutput, Source, stream
from eavdash.training.loop import PUBLISHED, fit
from eavdash.training.memory import MicroBatchSize
from eavdash.training.precision import resolve_precision
from eavdash.training.step import gradients


class RandomFeatures(Source):
    """Source of random features for the published fusion."""

    def __init__(self, count: int, dims: dict[str, int], frames: int, device: torch.device) -> None:
        self.device, self.labels = device, torch.arange(count) % machine.CLASSES
        length = {"vision": frames, "audio": 1, "eeg": 1}
        self.tokens = {m: torch.randn(count, length[m], d) for m, d in dims.items()}

    def load(self, model: Any, rows: torch.Tensor, augment: torch.Generator | None) -> tuple[torch.Tensor, ...]:
        """Return the tokens of windows ``rows`` for one modality after another."""
        return tuple(t[rows] for t in self.tokens.values())

    def forward(self, model: Any, loaded: tuple[torch.Tensor, ...]) -> ModelOutput:
        """Return the fusion's output for loaded tokens."""
        tokens = {m: t.to(self.device) for m, t in zip(self.tokens, loaded, strict=True)}
        masks = {m: torch.ones(t.shape[:2], dtype=torch.bool, device=self.device) for m, t in tokens.items()}
        encoder_logits = {m: torch.zeros(len(t), machine.CLASSES, device=self.device) for m, t in tokens.items()}
        return model_output(model(tokens, masks, encoder_logits), masks)


def epoch_seconds(model: Any, source: Any, count: int, stage: str, head: bool, options: argparse.Namespace) -> float:
    """Train on the first ``count`` windows; return the mean seconds of the epochs after the first."""
    settings = replace(preset("paper").training(stage), epochs=options.epochs + 1, precision=options.precision)
    fitted = fit(
        model,
        source,
        range(count),
        [],
        settings,
        name=stage,
        seed=seeder(0, 0, stage),
        rules=PUBLISHED,
        head_epochs=settings.epochs if head else 0,
        execution=Execution(compile=options.compile and not head, memory=options.memory),
    )
    return sum(row["seconds"] for row in fitted.history[1:]) / options.epochs


def encoder_rows(stage: str, options: argparse.Namespace, device: torch.device, peak: float) -> list[dict[str, Any]]:
    """Return the duration of each phase of a stage for one subject."""
    settings = preset("paper").training(stage)
    precision = resolve_precision(options.precision, device)
    every = options.windows + options.test
    model = machine.encoder(stage, options.size).to(device)
    source = machine.source(stage, options.size, every, device)
    images = source.windows.values.values.shape[1] if stage == "vision" else 1
    rows = []
    head = settings.head_epochs
    if head:
        whole = MicroBatchSize(settings.batch, settings.batch)

        def frozen() -> None:
            headphase.head_source(model, source, range(every), whole, precision, stage)

        machine.clock(frozen, device)
        once = machine.clock(frozen, device)
        rows.append({"stage": stage, "phase": "frozen pass", "seconds": once, "images_per_s": every * images / once})
        epoch = epoch_seconds(model, source, options.windows, stage, True, options)
        rows.append({"stage": stage, "phase": f"head x {head}", "seconds": head * epoch})
    epochs = settings.epochs - head
    epoch = epoch_seconds(model, source, options.windows, stage, False, options)
    flops = _flops(model, source, min(settings.batch, options.windows), precision)
    rate = options.windows / epoch
    rows.append(
        {
            "stage": stage,
            "phase": f"all x {epochs}",
            "seconds": epochs * epoch,
            "images_per_s": rate * images,
            "of_peak": flops * rate / peak,
        }
    )
    return rows


def _flops(model: Any, source: Any, batch: int, precision: str) -> float:
    """Count the floating-point operations of a training step per window."""
    model.train().requires_grad_(True)
    rows = torch.arange(batch)
    with stream(model, source, [rows], None, torch.device("cpu")) as batches:
        loaded = next(iter(batches))
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            # Window by window: the math backend stores whole attention matrices, and only the count is needed.
            gradients(model, loaded, source.labels[rows], MicroBatchSize(1, 1), precision, 0.0, "count")
    return counter.get_total_flops() / batch


def main() -> None:
    """Print the duration for one subject and for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=280, help="training windows (default: %(default)s)")
    parser.add_argument("--test", type=int, default=120, help="test windows (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="timed epochs of each kind (default: %(default)s)")
    parser.add_argument("--subjects", type=int, default=42)
    parser.add_argument("--size", choices=machine.SIZES, default="base")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=("auto", "float32", "bf16"), default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", type=float, default=0.0, metavar="GIB")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(json.dumps({"benchmark": "paper_gpu", "skipped": "no CUDA device"}))
        print("No CUDA device: nothing was measured.")
        return
    device = torch.device(options.device)
    with reproducible(device, 1):  # as in a worker
        report(options, device)


def report(options: argparse.Namespace, device: torch.device) -> None:
    """Measure every stage and print the sum."""
    precision = resolve_precision(options.precision, device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    peak = machine.matmul_peak(device, dtype, (4096, 8192, 16384) if device.type == "cuda" else (512,))
    rows = [row for stage in ("vision", "audio", "eeg") for row in encoder_rows(stage, options, device, peak)]
    dims = {"vision": machine.SIZES[options.size][0], "audio": machine.SIZES[options.size][0], "eeg": 60}
    torch.manual_seed(0)
    fusion = build.build(build.fusion_spec(preset("paper"), machine.CLASSES, dims)).to(device)
    epoch = epoch_seconds(
        fusion, RandomFeatures(options.windows, dims, machine.FRAMES, device), options.windows, "fusion", False, options
    )
    count = preset("paper").train.fusion.epochs
    rows.append({"stage": "fusion", "phase": f"all x {count}", "seconds": count * epoch})
    total = sum(row["seconds"] for row in rows)
    for row in rows:
        for key, digits in (("seconds", 2), ("images_per_s", 1), ("of_peak", 3)):
            row[key] = round(row[key], digits) if key in row else None
    result = {
        "benchmark": "paper_gpu",
        "machine": machine.machine(device),
        "size": options.size,
        "precision": precision,
        "peak_tflops": round(peak / 1e12, 2),
        "subject_s": round(total, 1),
        "subjects": options.subjects,
        "hours": round(total * options.subjects / 3600, 3),
        "rows": rows,
    }
    if device.type == "cuda":
        result["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    print(json.dumps(result))
    print(pd.DataFrame(rows).to_string(index=False))
    print(f"one subject {total:.0f} s; {options.subjects} subjects {total * options.subjects / 3600:.2f} h")


if __name__ == "__main__":
    main()
