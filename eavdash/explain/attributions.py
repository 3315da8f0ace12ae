"""Integrated gradients of a prediction (Sundararajan et al. 2017), computed with Captum.

In: a model, the windows of the present modalities with their masks, and a class. Out: attributions shaped like the
inputs, which sum over all modalities to the logit of the class minus its logit at the baseline (completeness), and the
gap. The integral is a sum over ``steps`` points, so the gap measures the numerical error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from eavdash.explain.fused import FusedModel
from eavdash.models.fusion import Tensors


@dataclass(frozen=True)
class Completeness:
    """Completeness of the attributions of one window: their expected and actual sum."""

    output: float  # logit of the class
    baseline: float  # the same at the baseline
    total: float  # sum of all attributions

    @property
    def gap(self) -> float:
        """Absolute gap |total - (output - baseline)|."""
        return abs(self.total - (self.output - self.baseline))

    @property
    def relative_gap(self) -> float:
        """The gap relative to |output - baseline|; 0 if the gap is 0."""
        return self.gap / max(abs(self.output - self.baseline), 1e-12) if self.gap else 0.0

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-ready dictionary that includes the gaps."""
        return {**asdict(self), "gap": self.gap, "relative_gap": self.relative_gap}


def integrated_gradients(
    model: FusedModel, inputs: Tensors, masks: Tensors, target: int, steps: int = 32, batch: int = 8
) -> tuple[dict[str, Tensor], Completeness]:
    """Compute the attributions of the logit of class ``target`` for one window.

    Args:
        inputs: a batch of one window of encoder input per present modality (models/base.py).
        masks: their masks; masked samples get attribution 0.
        steps: points of the Gauss-Legendre quadrature.
        batch: points computed at a time.

    Returns:
        Attributions (pictures summed over the colours: (1, F, H, W)), and their completeness.
    """
    names = tuple(m for m in model.modalities if m in inputs)
    values = tuple(inputs[m] for m in names)
    fixed = tuple(masks[m] for m in names)
    baselines = tuple(model.baseline(m, x) for m, x in zip(names, values, strict=True))
    with model.holding(inputs, masks), recurrent_gradients(model):
        attributions = along_path(partial(model, names), values, baselines, fixed, target, steps, batch)
        with torch.no_grad():
            output, baseline = (float(model(names, *x, *fixed)[0, target]) for x in (values, baselines))
    total = float(sum(a.double().sum() for a in attributions))
    found = {m: a.sum(dim=2) if a.ndim == 5 else a for m, a in zip(names, attributions, strict=True)}
    return found, Completeness(output, baseline, total)


@contextmanager
def recurrent_gradients(model: nn.Module) -> Iterator[None]:
    """Switch cuDNN off in the block if the model has recurrent layers: in evaluation mode it gives them no gradient."""
    if not any(isinstance(part, nn.RNNBase) for part in model.modules()):
        yield
        return
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def along_path(
    function: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    fixed: tuple[Tensor, ...],
    target: int,
    steps: int,
    batch: int,
) -> tuple[Tensor, ...]:
    """Return Captum's integrated gradients of ``function(*inputs, *fixed)[:, target]`` with respect to ``inputs``."""
    method = IntegratedGradients(function)
    found: tuple[Tensor, ...] = method.attribute(
        inputs,
        baselines=baselines,
        target=target,
        additional_forward_args=fixed,
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=batch,
    )
    return tuple(a.detach() for a in found)
