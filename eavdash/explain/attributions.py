"""Attributions of a decision to its inputs, computed with Captum.

In: a model, the windows of the present modalities with their masks, what to explain (:class:`Output`) and baselines.
Out: attributions shaped like the inputs, which sum over all modalities to the output minus its mean at the baselines
(completeness), and the gap.

With one baseline these are integrated gradients (Sundararajan et al. 2017), with several their mean: expected gradients
(Erion et al. 2021). Those are usually estimated at one random point of each path; here each path is integrated as for
integrated gradients, so that completeness holds and nothing but the choice of the windows is random. The integral is a
sum over points, so the gap measures the numerical error; points are doubled until it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from eavdash.explain.fused import FusedModel, FusedModelOutput
from eavdash.models.fusion import Tensors

#: The gap that is small: the larger of a share of |output - baseline| and of a number of logits.
GAP_SHARE, GAP = 0.05, 0.05
WORST = 4  # of several paths, the quarter with the largest gaps gets more points before the gap is measured again


@dataclass(frozen=True)
class Output:
    """The output that is explained: the logit of class ``target``, minus that of ``against`` if it is a contrast."""

    target: int
    against: int | None = None

    def of(self, logits: Tensor) -> Tensor:
        """Return the output (B,) of window logits (B, K)."""
        value = logits[:, self.target]
        return value if self.against is None else value - logits[:, self.against]


@dataclass(frozen=True)
class Points:
    """Points of the quadrature on each path: ``first``, doubled up to ``most`` until the gap is small."""

    first: int
    most: int


@dataclass(frozen=True)
class Completeness:
    """Completeness of the attributions of one window: their expected and actual sum."""

    output: float  # logit of the class
    baseline: float  # the same at the baseline, or its mean over the baselines
    total: float  # sum of all attributions
    steps: int = 0  # points of the path with most

    @property
    def explained(self) -> float:
        """How far the output is from that at the baseline, |output - baseline|."""
        return abs(self.output - self.baseline)

    @property
    def gap(self) -> float:
        """Absolute gap |total - (output - baseline)|."""
        return abs(self.total - (self.output - self.baseline))

    @property
    def relative_gap(self) -> float:
        """The gap relative to |output - baseline|; 0 if the gap is 0."""
        return self.gap / max(self.explained, 1e-12) if self.gap else 0.0

    @property
    def small(self) -> bool:
        """True if the gap is small enough."""
        return self.gap < self.tolerance

    @property
    def tolerance(self) -> float:
        """The gap that is not small any more."""
        return max(GAP_SHARE * self.explained, GAP)

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-ready dictionary that includes the gaps."""
        return {
            **asdict(self),
            "steps": float(self.steps),
            **{name: getattr(self, name) for name in ("explained", "gap", "relative_gap")},
        }


@dataclass(frozen=True)
class Attributed:
    """Attributions of one window, (1, ...) as the inputs, pictures summed over the colours: (1, F, H, W)."""

    values: dict[str, Tensor]
    completeness: Completeness
    at_baselines: list[FusedModelOutput]


def integrated_gradients(
    model: FusedModel, inputs: Tensors, masks: Tensors, target: int, steps: int = 32, batch: int = 8
) -> tuple[dict[str, Tensor], Completeness]:
    """Compute the attributions of the logit of class ``target`` for one window, from the mean input.

    Args:
        inputs: a batch of one window of encoder input per present modality (models/base.py).
        masks: their masks; masked samples get attribution 0.
        steps: points of the Gauss-Legendre quadrature.
        batch: points computed at a time.
    """
    mean = {m: model.baseline(m, x) for m, x in inputs.items()}
    found = attribute(model, inputs, masks, Output(target), mean, Points(steps, steps), batch)
    return found.values, found.completeness


def attribute(
    model: FusedModel,
    inputs: Tensors,
    masks: Tensors,
    output: Output,
    baselines: Mapping[str, Tensor],
    points: Points,
    batch: int = 8,
) -> Attributed:
    """Compute the attributions of an output for one window, from each of D baselines (D, ...) per modality."""
    names = tuple(m for m in model.modalities if m in inputs)
    values, fixed = tuple(inputs[m] for m in names), tuple(masks[m] for m in names)
    starts = list(zip(*(torch.split(baselines[m], 1) for m in names), strict=True))

    def function(*arguments: Tensor) -> Tensor:
        return output.of(model(names, *arguments))

    def along(start: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
        return along_path(function, values, start, fixed, None, count, min(batch, count))

    with model.holding(inputs, masks), recurrent_gradients(model):
        with torch.no_grad():
            reached = float(function(*values, *fixed)[0])
            begun = [model.predict(dict(zip(names, start, strict=True)), masks) for start in starts]
        lower = [float(output.of(each.fused.logits)[0]) for each in begun]
        counts = [points.first] * len(starts)
        paths = [along(start, points.first) for start in starts]
        while True:
            totals = [float(sum(a.double().sum() for a in path)) for path in paths]
            found = Completeness(reached, _mean(lower), _mean(totals), max(counts))
            gaps = [abs(total - (reached - low)) for low, total in zip(lower, totals, strict=True)]
            again = [n for n in range(len(gaps)) if gaps[n] >= found.tolerance and 2 * counts[n] <= points.most]
            again = sorted(again, key=lambda n: -gaps[n])[: max(1, len(gaps) // WORST)]
            if found.small or not again:
                break
            for n in again:
                counts[n] *= 2
                paths[n] = along(starts[n], counts[n])
    means = (torch.stack(parts).mean(dim=0) for parts in zip(*paths, strict=True))
    return Attributed(dict(zip(names, means, strict=True)), found, begun)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


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
    target: int | None,
    steps: int,
    batch: int,
) -> tuple[Tensor, ...]:
    """Return Captum's integrated gradients of ``function(*inputs, *fixed)[:, target]`` with respect to ``inputs``.

    Pictures (B, F, 3, H, W) are summed over the colours. ``target`` None: the function returns (B,).
    """
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
    return tuple(a.detach().sum(dim=2) if a.ndim == 5 else a.detach() for a in found)
