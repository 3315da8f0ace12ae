"""Helpers of the training benchmarks: models of named sizes, random windows, timers, and the machine's peak.

Windows are random numbers, because the duration of a step does not depend on their content.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from eavdash.data.windows import WindowSet
from eavdash.models import build
from eavdash.training.run_context import Windows
from eavdash.training.stage1 import WindowSource

CLASSES = 5
FRAMES, MEL_FRAMES, MELS, CHANNELS, SAMPLES = 25, 498, 128, 30, 500  # of a 5 s window as the preset paper reads it
#: width, depth, heads
SIZES = {"tiny": (32, 2, 2), "small": (192, 12, 3), "base": (768, 12, 12)}


def encoder(modality: str, size: str) -> Any:
    """Build the vision, audio or EEG encoder of the preset paper, or a smaller one of the same kind."""
    width, depth, heads = SIZES[size]
    kwargs: dict[str, Any] = {"classes": CLASSES, "width": width, "depth": depth, "heads": heads, "dropout": 0.0}
    if modality == "vision":
        image = 32 if size == "tiny" else 224
        return build.build({"name": "vit", "kwargs": {**kwargs, "size": image, "patch": 16, "temporal": 0}})
    if modality == "audio":
        frames, stride = (64, 16) if size == "tiny" else (1024, 10)
        sound = {"mels": MELS, "frames": frames, "pad_to": frames, "stride": stride, "silence": "zero"}
        return build.build({"name": "ast", "kwargs": {**kwargs, **sound}})
    eeg = {"channels": CHANNELS, "width": 60, "depth": 6, "heads": 4, "dropout": 0.1}
    return build.build({"name": "yin", "kwargs": {**kwargs, **eeg}})


def source(modality: str, size: str, count: int, device: torch.device) -> WindowSource:
    """Create a source of ``count`` random windows for the training loop."""
    random = np.random.default_rng(0)
    if modality == "vision":
        image, frames = (32, 5) if size == "tiny" else (224, FRAMES)
        values: np.ndarray = random.integers(0, 256, (count, frames, image, image, 3), dtype=np.uint8)
        mask = np.ones((count, frames), dtype=bool)
    elif modality == "audio":
        frames = 64 if size == "tiny" else MEL_FRAMES
        values = random.normal(-4, 4, (count, frames, MELS)).astype(np.float32)
        mask = np.ones((count, frames), dtype=bool)
    else:
        samples = 100 if size == "tiny" else SAMPLES
        values = random.normal(0, 1, (count, CHANNELS, samples)).astype(np.float32)
        mask = np.ones((count, samples), dtype=bool)
    index = pd.DataFrame({"subject": "1", "row": np.arange(count)})
    windows = Windows(WindowSet(modality, index, values, mask), index)
    labels = torch.from_numpy(np.arange(count) % CLASSES)
    return WindowSource(windows, labels, device, augment=False)


def matmul_peak(device: torch.device, dtype: torch.dtype, sizes: tuple[int, ...], seconds: float = 1.0) -> float:
    """Measure the best floating-point operations per second of a product of two square matrices."""
    best = 0.0
    for n in sizes:
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        torch.matmul(a, b)
        once = clock(lambda a=a, b=b: torch.matmul(a, b), device)
        repeats = max(1, min(200, int(seconds / max(once, 1e-5))))
        for _ in range(3):
            took = clock(lambda a=a, b=b, r=repeats: [torch.matmul(a, b) for _ in range(r)], device)
            best = max(best, 2 * n**3 * repeats / took)
    return best


def clock(work: Callable[[], Any], device: torch.device) -> float:
    """Time ``work`` in seconds: elapsed time on a GPU, processor time per thread on a CPU.

    Processor time does not include other programs.
    """
    if device.type == "cpu":
        started = time.process_time()
        work()
        return (time.process_time() - started) / torch.get_num_threads()
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def machine(device: torch.device) -> str:
    """Return the name of the processor."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"
