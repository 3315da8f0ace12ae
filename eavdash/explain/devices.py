"""The device that computes explanations, by name."""

from __future__ import annotations

import torch

from eavdash.errors import UsageError


def device_of(name: str) -> torch.device:
    """Return the device: auto is the GPU, if there is one.

    Raises:
        UsageError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError.at(
            "device", expected="auto, cpu or a CUDA device of this machine", found=repr(name), remedy="choose one"
        ) from error
    return device
