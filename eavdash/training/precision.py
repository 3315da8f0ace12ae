"""The number format of a run's matrix products: float32, or bf16 by autocast (weights and their updates stay float32).

``auto`` is bf16 on a GPU that computes it natively and float32 anywhere else. On a CPU float32 is therefore what it
always was, bit for bit; bf16 can be asked for there, and is slow. Evaluation, features and training of a stage all use
the stage's format, so that what was validated is what is tested.
"""

from __future__ import annotations

import contextlib

import torch
from torch import nn


def resolve_precision(setting: str, device: torch.device) -> str:
    """``float32`` or ``bf16`` for ``TrainConfig.precision`` on a device."""
    if setting != "auto":
        return setting
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "float32"


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The block's matrix products in ``precision``; nothing at all for float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are; the CPU for one without any."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
