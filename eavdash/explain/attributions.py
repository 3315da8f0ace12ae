"""Attributions of a decision to its inputs, computed with Captum.

In: a model, the windows of the present modalities with their masks, what to explain (:class:`Output`) and baselines.
Out: attributions shaped like the inputs, which sum over all modalities to the output minus its mean at the baselines
(completeness), and the gap.

With one baseline these are integrated gradients (Sundararajan et al. 2017), with several their mean: expected gradients
(Erion et al. 2021). Those are usually estimated at one random point of each path; here each path is integrated as for
integrated gradients, so that completeness holds and nothing but the choice of the windows is random. The integral is a
sum over points, so the gap measures the numerical error. Where the output changes is known on every part of a path: the
part with the largest gap is halved, each half with as many points, until the gap of the whole is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from eavdash.explain.fused import FusedModel, FusedModelOutput
from eavdash.explain.spectrum import by_frequency
from eavdash.models.fusion import Tensors

#: The gap that is small: the larger of a share of |output - baseline| and of a number of logits.
GAP_SHARE, GAP = 0.05, 0.05


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
    """Points of the quadrature: ``first`` on each path, then on each half of a part, up to ``most`` on all together."""

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
        """The distance of the output from that at the baseline, |output - baseline|."""
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


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the path from baseline ``path``, from ``begin`` to ``end`` of 0..1, with its attributions."""

    path: int
    begin: float
    end: float
    lower: float  # the output at its begin
    upper: float
    values: tuple[Tensor, ...]
    total: float  # sum of its attributions
    gradient: Tensor | None  # (1, C, T), the EEG's mean gradient along the part; None without EEG

    @property
    def gap(self) -> float:
        """The absolute gap to the change of the output."""
        return abs(self.total - (self.upper - self.lower))


@dataclass(frozen=True)
class Attributed:
    """Attributions of one window, (1, ...) as the inputs, pictures summed over the colours: (1, F, H, W)."""

    values: dict[str, Tensor]
    completeness: Completeness | None  # None: the values say nothing about the output
    at_baselines: list[FusedModelOutput]
    spectrum: np.ndarray | None = None  # (C, frequency) float64, the EEG's by frequency (spectrum.py)


def one_colour(x: Tensor) -> Tensor:
    """Sum pictures (B, F, 3, H, W) over the colours; other tensors stay as they are."""
    return x.sum(dim=2) if x.ndim == 5 else x


def is_signal(modality: str, x: Tensor, mask: Tensor) -> bool:
    """Return True for EEG of samples (B, C, T), whose attributions have a spectrum; False for tables of features."""
    return modality == "eeg" and x.shape[2] == mask.shape[1]


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
    return found.values, cast(Completeness, found.completeness)


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

    def at(path: int, place: float) -> tuple[Tensor, ...]:
        """Return the inputs at a place of 0..1 on a path."""
        if place in (0, 1):
            return values if place else starts[path]
        return tuple(torch.lerp(begin, x, place) for begin, x in zip(starts[path], values, strict=True))

    def part(path: int, begin: float, end: float, lower: float, upper: float) -> Part:
        ends = at(path, end), at(path, begin)
        found, gradients = along_path(function, *ends, fixed, None, points.first, min(batch, points.first))
        gradient = gradients[names.index("eeg")] if "eeg" in names else None
        return Part(path, begin, end, lower, upper, found, float(sum(a.double().sum() for a in found)), gradient)

    with model.holding(inputs, masks), recurrent_gradients(model):
        with torch.no_grad():
            reached = float(function(*values, *fixed)[0])
            begun = [model.predict(dict(zip(names, start, strict=True)), masks) for start in starts]
        lower = [float(output.of(each.fused.logits)[0]) for each in begun]
        parts = [part(n, 0.0, 1.0, low, reached) for n, low in enumerate(lower)]
        while True:
            steps = points.first * max(Counter(each.path for each in parts).values())
            total = sum(each.total for each in parts) / len(starts)
            found = Completeness(reached, sum(lower) / len(starts), total, steps)
            if found.small or points.first * (len(parts) + 1) > points.most:
                break
            worst = max(parts, key=lambda each: each.gap)
            middle = (worst.begin + worst.end) / 2
            with torch.no_grad():
                between = float(function(*at(worst.path, middle), *fixed)[0])
            parts.remove(worst)
            parts.append(part(worst.path, worst.begin, middle, worst.lower, between))
            parts.append(part(worst.path, middle, worst.end, between, worst.upper))
    sums = (torch.stack(each).sum(dim=0) / len(starts) for each in zip(*(p.values for p in parts), strict=True))
    spectrum = None
    if "eeg" in names:
        spectrum = _spectrum(parts, inputs["eeg"], baselines["eeg"], masks["eeg"])
    return Attributed(dict(zip(names, sums, strict=True)), found, begun, spectrum)


def _spectrum(parts: list[Part], x: Tensor, baselines: Tensor, mask: Tensor) -> np.ndarray | None:
    """Return the attributions of ``x`` (1, C, T) by frequency, averaged over the paths; None for tables of features."""
    if not is_signal("eeg", x, mask):
        return None
    gradients = torch.zeros(baselines.shape, dtype=torch.float64)
    for part in parts:
        if part.gradient is not None:
            gradients[part.path] += (part.end - part.begin) * part.gradient[0].double().cpu()
    difference = (x - baselines).double().cpu().numpy()
    return np.asarray(by_frequency(difference, gradients.numpy(), mask[0].cpu().numpy()).mean(axis=0))


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
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Return Captum's integrated gradients of ``function(*inputs, *fixed)[:, target]`` with respect to ``inputs``.

    Pictures (B, F, 3, H, W) are summed over the colours. ``target`` None: the function returns (B,). Also returned are
    the mean gradients along the path, shaped like ``inputs``.
    """
    method = _KeepingGradients(function)
    found: tuple[Tensor, ...] = method.attribute(
        inputs,
        baselines=baselines,
        target=target,
        additional_forward_args=fixed,
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=batch,
    )
    return tuple(one_colour(a.detach()) for a in found), method.gradients


class _KeepingGradients(IntegratedGradients):  # type: ignore[misc]  # captum is untyped
    """Captum's integrated gradients, which also keeps the gradients before they are multiplied with the inputs."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__(function, multiply_by_inputs=False)
        self.gradients: list[Tensor] = []

    def _attribute(
        self, inputs: tuple[Tensor, ...], baselines: tuple[Tensor, ...], *rest: Any, **named: Any
    ) -> tuple[Tensor, ...]:
        """Attribute a batch of points; those of one path are added up."""
        made = super()._attribute(inputs, baselines, *rest, **named)
        kept = [gradient.detach() for gradient in made]
        self.gradients = [a + b for a, b in zip(self.gradients, kept, strict=True)] if self.gradients else kept
        return tuple(g * (x - b) for g, x, b in zip(made, inputs, baselines, strict=True))
