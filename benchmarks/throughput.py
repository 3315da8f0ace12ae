"""Utilisation of a training step of ViT and AST relative to the machine's measured matrix-multiply peak.

``python benchmarks/throughput.py [--models vision:small,audio:small] [--batch N] [--steps N] [--device cpu|cuda]
[--precision float32|bf16] [--threads N] [--compile]`` prints a JSON line and a table. torch.utils.flop_counter counts
the floating-point operations of a step (forward and backward), with attention as two matrix products; the peak is the
best of products of square matrices in the same precision, measured before and after the steps. On a CPU times are
processor times, so that other programs matter less. Steps are those of the training loop with AdamW, including loading
the batch; the best of ``--steps`` after a warm-up step. ``base`` is the published size (``vision:base,audio:base``).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import machine
import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eavdash.config.schema import TrainConfig
from eavdash.training.loading import stream
from eavdash.training.memory import MicroBatchSize
from eavdash.training.optimiser import optimiser_of
from eavdash.training.step import check_gradients, gradients


def measure(name: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure one model; return its row."""
    modality, _, size = name.partition(":")
    torch.manual_seed(0)
    model = machine.encoder(modality, size).to(device).train()
    source = machine.source(modality, size, options.batch, device)
    rows = torch.arange(options.batch)
    optimiser = optimiser_of(model, TrainConfig(), decay_all=False)

    def step() -> None:
        with stream(model, source, [rows], None, device) as batches:
            batch = next(iter(batches))
            whole = MicroBatchSize(options.batch, options.batch)
            gradients(model, batch, source.labels[rows], whole, options.precision, 0.1, "benchmark")
        check_gradients(model, 1.0, "benchmark")
        optimiser.step()

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    if options.compile:
        model.compile()
        step()
    step()
    seconds = min(machine.clock(step, device) for _ in range(options.steps))
    flops = counter.get_total_flops()
    items = options.batch * (source.windows.values.values.shape[1] if modality == "vision" else 1)
    return {
        "model": name,
        "items_per_s": round(items / seconds, 3),
        "item": "frame" if modality == "vision" else "window",
        "gflop_per_step": round(flops / 1e9, 1),
        "gflops": round(flops / seconds / 1e9, 1),
    }


def main() -> None:
    """Print the utilisation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="vision:small,audio:small", help="MODALITY:SIZE (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="windows (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="timed steps (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    sizes = (4096, 8192, 16384) if device.type == "cuda" else (512, 1024, 2048)
    peak = machine.matmul_peak(device, dtype, sizes)
    rows = [measure(name, options, device) for name in options.models.split(",")]
    peak = max(peak, machine.matmul_peak(device, dtype, sizes))
    for row in rows:
        row["of_peak"] = round(row["gflops"] * 1e9 / peak, 3)
    summary = {"benchmark": "throughput", "machine": machine.machine(device), "precision": options.precision}
    print(json.dumps({**summary, "peak_gflops": round(peak / 1e9, 1), "batch": options.batch, "rows": rows}))
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
