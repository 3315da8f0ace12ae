"""Number format of a run's matrix products: float32, or bf16 by autocast (weights and their updates stay float32).

``auto`` is bf16 on GPUs that support it natively and float32 elsewhere; bf16 on a CPU must be requested, and is slow.
Training, validation, cached features and testing of a stage all use the same format.
"""

from __future__ import annotations

import contextlib

import torch
from torch import nn


def resolve_precision(setting: str, device: torch.device) -> str:
    """Return ``float32`` or ``bf16`` for ``TrainConfig.precision`` on a device."""
    if setting != "auto":
        return setting
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "float32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Compute the block's matrix products in ``precision``; no effect for float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's parameters; the CPU if it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
