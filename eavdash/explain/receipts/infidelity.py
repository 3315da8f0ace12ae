"""Infidelity (Yeh et al. 2019), computed by Captum: the map predicts what replacing cells does to the output.

Random sets of cells are replaced by the baseline. The map predicts that the explained number falls by the sum of its
values there; infidelity is the mean squared error of that prediction, here divided by the mean square of the actual
changes: 0 for a perfect map (any linear model), 1 for a map that predicts nothing. Replacing by the baseline is the
same step in every modality, whatever its unit.
"""

from __future__ import annotations

import torch
from captum.metrics import infidelity as captum_infidelity
from torch import Tensor

from eavdash.explain.check_record import Check
from eavdash.explain.receipts.question import ExplainedInputs, ExplainedWindowInputs
from eavdash.explain.receipts.registry import CHECKS

SAMPLES = 32
#: Smallest and largest share of the cells that are replaced at a time.
SHARES = (0.1, 0.9)
_SMALL = 1e-12


def infidelity(question: ExplainedInputs) -> Check:
    """Compare what the map predicts for replaced cells with what the model does, over all checked windows."""
    if not question.strongest:
        return question.nothing("infidelity")
    error = change = 0.0
    for number, window in enumerate(question.strongest):
        one, another = _errors(question, window, question.generator("sets", number))
        error, change = error + one, change + another
    value = error / max(change, _SMALL) if error > _SMALL else 0.0
    reason = (
        f"The squared error of the map's predictions for {SAMPLES} random sets of replaced cells per window is "
        f"{value:.2f} of the squared changes of the explained number (0: exact, 1: as good as no map)."
    )
    return CHECKS["infidelity"].graded(value, reason)


def _errors(question: ExplainedInputs, window: ExplainedWindowInputs, random: torch.Generator) -> tuple[float, float]:
    """Return the infidelity of one window and the mean square of the output's changes."""
    names = tuple(window.attributions)
    cells = window.cells
    shares = torch.linspace(*SHARES, SAMPLES)[:, None]
    removed = torch.rand(SAMPLES, cells.count, generator=random) < shares
    zeros = {m: torch.zeros_like(x) for m, x in window.inputs.items()}
    ones = {m: torch.ones_like(x) for m, x in window.inputs.items()}
    place, calls, changes = 0, 0, []

    def perturb(inputs: tuple[Tensor, ...] | Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        nonlocal place
        count = len(inputs[0] if isinstance(inputs, tuple) else inputs)
        part = removed[place : place + count]
        place += count
        # Attributions are already multiplied by input - baseline, so a replaced element counts 1.
        counted = cells.replaced(zeros, ones, part)
        changed = cells.replaced(window.inputs, window.baselines, part)
        return tuple(counted[m] for m in names), tuple(changed[m] for m in names)

    def function(*inputs: Tensor) -> Tensor:
        nonlocal calls
        found = question.function(window, dict(zip(names, inputs, strict=True)))
        if calls % 2 == 0:  # Captum asks for the changed windows, then for the window itself
            changes.append(found)
        calls += 1
        return found

    maps = tuple(_spread_over_colours(window.attributions[m], window.inputs[m]) for m in names)
    inputs = tuple(window.inputs[m] for m in names)
    with question.asking(window):
        value = captum_infidelity(
            function, perturb, inputs, maps, n_perturb_samples=SAMPLES, max_examples_per_batch=question.batch(window)
        )
    return float(value), float((torch.cat(changes) - window.output).square().mean())


def _spread_over_colours(found: Tensor, x: Tensor) -> Tensor:
    """Return a map in the shape of its input ``x``: equal parts for the three colours of a pixel."""
    return found if found.ndim == x.ndim else (found[:, :, None] / x.shape[2]).expand_as(x)
