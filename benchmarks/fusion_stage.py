"""Duration of the fusion stage, compared with a re-implementation of the published loop on the same windows.

``python benchmarks/fusion_stage.py [--full] [--windows N] [--epochs N] [--steps N] [--threads N]`` prints a JSON line
and a table. Windows and weights are random numbers of the real shapes.

The published loop (Yin et al. 2025) takes single frames, each with the audio and the EEG of its window, in batches of
128, and runs all three frozen encoders on every item in every epoch. The re-implementation uses the same encoders,
threads and precision (float32), with the encoders in evaluation mode and without gradients. Ours computes each window's
features once (eavdash/training/features.py) and trains on those (eavdash/training/loop.py). Both use the published
layer, with about the same number of frames per step.

A number of steps of each is timed and extrapolated: the published loop to the frames of all epochs, ours to the windows
(features, once) and the steps of all epochs. ``--full``: ViT-B/16, AST base on 1024 frames and `yin`; a batch of 128
would take minutes, so ``--items`` of it are timed and the time of the encoders is scaled.

First, small models without dropout are trained to the end by both loops with the same batches; the largest difference
between their weights is printed, and the program fails if it exceeds rounding errors.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from eavdash.config.schema import TrainConfig
from eavdash.data.windows import WindowSet
from eavdash.models import build
from eavdash.models.base import Encoder, to_encoder_input
from eavdash.models.fusion import Fusion
from eavdash.models.seeds import seeder
from eavdash.training import inputs, loop
from eavdash.training.features import Features, _compute
from eavdash.training.fusion_features import FeatureSource, FusionFeatures, join_features
from eavdash.training.run_context import Windows

CLASSES = tuple("abcde")
BATCH = 128  # frames, as published
FRAMES = 25  # of a window
CPU = torch.device("cpu")
CHUNK = 8  # items per forward pass of an encoder; the same for both loops
ROUNDING = 1e-5


@dataclass(frozen=True)
class Setting:
    """Windows of all modalities, their encoders and the spec of the fusion layer."""

    windows: dict[str, Windows]
    encoders: dict[str, Encoder]
    fusion: dict[str, Any]
    labels: Tensor  # (window,)


def setting(sizes: dict[str, dict[str, int]], count: int, frames: int, dropout: float) -> Setting:
    """Create ``count`` random windows and random encoders of ``sizes``."""
    random = np.random.default_rng(0)
    vision, audio, eeg = sizes["vision"], sizes["audio"], sizes["eeg"]
    values = {
        "vision": random.integers(0, 255, (count, frames, vision["size"], vision["size"], 3), dtype=np.uint8),
        "audio": random.normal(-5, 3, (count, audio["frames"], 128)).astype(np.float32),
        "eeg": random.normal(0, 1, (count, eeg["channels"], 500)).astype(np.float32),
    }
    index = pd.DataFrame({"subject": "1", "trial": [str(i) for i in range(count)], "group": "g", "window": 0})
    index = index.assign(label=[CLASSES[i % 5] for i in range(count)], split="train")
    index = index.assign(place=np.arange(count), row=np.arange(count))
    windows = {}
    for name, array in values.items():
        mask = np.ones((count, {"vision": frames, "audio": audio["frames"], "eeg": 500}[name]), dtype=bool)
        windows[name] = Windows(WindowSet(name, index, array, mask, {}), index)
    torch.manual_seed(0)
    specs = {
        "vision": {"name": "vit", "kwargs": {**vision, "classes": 5, "temporal": 0}},
        "audio": {"name": "ast", "kwargs": {**audio, "classes": 5, "mels": 128, "pad_to": audio["frames"]}},
        "eeg": {"name": "yin", "kwargs": {**eeg, "classes": 5}},
    }
    encoders: dict[str, Any] = {m: build.build(spec).eval().requires_grad_(False) for m, spec in specs.items()}
    dims = {m: encoder.feature_dim for m, encoder in encoders.items()}
    fusion = {"name": "paper", "kwargs": {"dims": dims, "classes": 5, "dropout": dropout}}
    return Setting(windows, encoders, fusion, torch.arange(count) % 5)


def run_published_loop(
    made: Setting, fusion: Fusion, batches: Iterable[Tensor], optimiser: torch.optim.Optimizer, rate: float
) -> tuple[float, float]:
    """Run the published loop on ``batches`` of (window, frame) pairs; return seconds in encoders and in fusion."""
    fusion.train()
    for group in optimiser.param_groups:
        group["lr"] = rate
    encoding = learning = 0.0
    for pairs in batches:
        started = time.perf_counter()
        tokens, masks = {}, {}
        with torch.no_grad():
            for name, encoder in made.encoders.items():
                parts = []
                for some in pairs.split(CHUNK):
                    x, mask = inputs.raw(made.windows[name].values, some[:, 0])
                    x = to_encoder_input(name, x)
                    if name == "vision":
                        x, mask = (v[torch.arange(len(some)), some[:, 1]][:, None] for v in (x, mask))
                    parts.append(encoder(x, mask).tokens.mean(dim=1, keepdim=True))
                tokens[name] = torch.cat(parts)
                masks[name] = torch.ones(tokens[name].shape[:2], dtype=torch.bool)
        encoding += time.perf_counter() - started
        started = time.perf_counter()
        logits = fusion(tokens, masks).frame_logits[:, 0]
        loss = F.cross_entropy(logits, made.labels[pairs[:, 0]])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        learning += time.perf_counter() - started
    return encoding, learning


class RecordingSource(FeatureSource):
    """Records the windows of each training batch."""

    batches: list[Tensor]

    def load(self, model: torch.nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        if augment is not None:
            self.batches.append(rows)
        return super().load(model, rows, augment)


def run_our_loop(
    made: Setting, joined: FusionFeatures, epochs: int, batch: int, rate: float
) -> tuple[Fusion, list[Tensor], float]:
    """Run our loop on cached features; return the fusion, the windows of each batch, and the seconds it took."""
    torch.manual_seed(0)
    fusion: Any = build.build(made.fusion)
    train = list(range(len(joined.index)))
    source = RecordingSource(joined, made.labels[: len(train)], train, {}, CPU)
    source.batches = []
    settings = TrainConfig(epochs=epochs, batch=batch, learning_rate=rate, precision="float32")
    started = time.perf_counter()
    loop.fit(fusion, source, train, [], settings, name="x", seed=seeder(0, 0, "fusion"), rules=loop.PUBLISHED)
    return fusion, source.batches, time.perf_counter() - started


def compute_features(made: Setting, count: int) -> tuple[FusionFeatures, float]:
    """Compute the features of the first ``count`` windows; return them and the seconds they took."""
    started = time.perf_counter()
    parts = {}
    for name, windows in made.windows.items():
        some = Windows(windows.values, windows.index.iloc[:count])
        arrays = {
            k: torch.from_numpy(v) for k, v in _compute(made.encoders[name], some, CPU, CHUNK, "float32", name).items()
        }
        parts[name] = Features(some.index, arrays["tokens"], arrays["mask"], arrays["logits"])
    return join_features(parts), time.perf_counter() - started


def weights_differ_by(epochs: int = 3) -> float:
    """Run both loops to the end on small models; return the largest difference of weights that have any effect."""
    sizes = {
        "vision": {"size": 32, "patch": 8, "width": 16, "depth": 2, "heads": 2},
        "audio": {"frames": 64, "stride": 16, "width": 16, "depth": 2, "heads": 2},
        "eeg": {"channels": 4, "width": 8, "depth": 2, "heads": 2},
    }
    made = setting(sizes, 20, 5, dropout=0.0)
    first, batches, _ = run_our_loop(made, compute_features(made, 20)[0], epochs, 5, 3e-4)
    torch.manual_seed(0)
    second: Any = build.build(made.fusion)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in second.parameters() if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in second.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    before = {k: v.clone() for k, v in second.state_dict().items()}
    run_published_loop(made, second, [torch.cartesian_prod(rows, torch.arange(5)) for rows in batches], optimiser, 3e-4)
    moved = max(float((v - before[k]).abs().max()) for k, v in second.state_dict().items())
    assert moved > 100 * ROUNDING, "nothing was learned: equal weights would mean nothing"
    after = second.state_dict()
    return max(float((_effective(k, v) - _effective(k, after[k])).abs().max()) for k, v in first.state_dict().items())


def _effective(name: str, weight: Tensor) -> Tensor:
    """Return the part of a weight that affects the logits.

    Queries and keys of attention to a single token do not: their gradient is 0 except for rounding errors, which AdamW
    amplifies to full steps.
    """
    return weight[2 * len(weight) // 3 :] if name.startswith("attention.in_proj") else weight


SMALL = {
    "vision": {"size": 64, "patch": 8, "width": 64, "depth": 4, "heads": 4},
    "audio": {"frames": 1024, "stride": 16, "width": 64, "depth": 4, "heads": 4},
    "eeg": {"channels": 30, "width": 60, "depth": 6, "heads": 4},
}
FULL = {
    "vision": {"size": 224, "patch": 16, "width": 768, "depth": 12, "heads": 12},
    "audio": {"frames": 1024, "stride": 10, "width": 768, "depth": 12, "heads": 12},
    "eeg": {"channels": 30, "width": 60, "depth": 6, "heads": 4},
}


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the published sizes")
    parser.add_argument(
        "--windows", type=int, default=280, help="training windows; 280 per subject in EAV's paper split"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=0, help="timed steps of the published loop (1; small: 3)")
    parser.add_argument("--items", type=int, default=0, help="timed frames of a step's 128 (full: 4)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    difference = weights_differ_by()
    if difference > ROUNDING:
        sys.exit(f"fusion_stage: expected equal weights, found a difference of {difference:g}")

    steps = options.steps or (1 if options.full else 3)
    items = min(BATCH, options.items or (4 if options.full else BATCH))
    count = 2 if options.full else 16  # windows for the timing of features
    made = setting(FULL if options.full else SMALL, count, FRAMES, dropout=0.5)
    total = options.windows * FRAMES * options.epochs

    fusion: Any = build.build(made.fusion)
    optimiser = torch.optim.AdamW(fusion.parameters(), lr=3e-4)
    random = torch.Generator().manual_seed(0)

    def pairs(size: int) -> Tensor:
        window = torch.randint(count, (size,), generator=random)
        return torch.stack([window, torch.randint(FRAMES, (size,), generator=random)], dim=1)

    run_published_loop(made, fusion, [pairs(2)], optimiser, 3e-4)  # warm up
    encoding, learning = run_published_loop(made, fusion, [pairs(items) for _ in range(steps)], optimiser, 3e-4)
    theirs = total * encoding / (steps * items) + (total / BATCH) * learning / steps

    joined, seconds = compute_features(made, count)
    per_step = max(1, round(BATCH / FRAMES))  # windows
    enough = torch.arange(10 * per_step) % count  # ten steps
    many = FusionFeatures(
        pd.concat([joined.index.iloc[[i]] for i in enough.tolist()], ignore_index=True),
        *({m: x[enough] for m, x in part.items()} for part in (joined.tokens, joined.masks, joined.logits)),
    )
    long = Setting(made.windows, made.encoders, made.fusion, torch.arange(len(enough)) % 5)
    run_our_loop(long, many, 1, per_step, 3e-4)  # warm up
    _, batches, trained = run_our_loop(long, many, 1, per_step, 3e-4)
    needed = options.epochs * -(-options.windows // per_step)
    features_seconds, steps_seconds = options.windows * seconds / count, needed * trained / len(batches)
    mine = features_seconds + steps_seconds

    print(
        json.dumps(
            {
                "benchmark": "fusion_stage",
                "sizes": "full" if options.full else "small",
                "windows": options.windows,
                "frames": FRAMES,
                "epochs": options.epochs,
                "threads": options.threads,
                "timed": {"published_steps": steps, "items_per_step": items, "feature_windows": count},
                "published_s": round(theirs, 1),
                "ours_s": round(mine, 1),
                "ours_features_s": round(features_seconds, 1),
                "ours_steps_s": round(steps_seconds, 1),
                "ratio": round(theirs / mine, 1),
                "weights_differ_by": difference,
            }
        )
    )
    rows = {
        "published: encoders, every frame in every epoch": total * encoding / (steps * items),
        "published: fusion steps": (total / BATCH) * learning / steps,
        "ours: features, once per window": features_seconds,
        "ours: fusion steps": steps_seconds,
    }
    for name, value in rows.items():
        print(f"{name:<50}{value:>12.1f} s")
    print(f"{'ratio':<50}{theirs / mine:>12.1f}")


if __name__ == "__main__":
    main()
