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

#: Random sets of cells per window, if the method has one baseline, and if it has several.
SETS, SETS_EACH = 32, 8
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
        f"The squared error of the map's predictions for random sets of replaced cells is {value:.2f} of the squared "
        "changes of the output (0: exact, 1: as good as no map)."
    )
    return CHECKS["infidelity"].graded(value, reason)


def _errors(question: ExplainedInputs, window: ExplainedWindowInputs, random: torch.Generator) -> tuple[float, float]:
    """Return the infidelity of one window and the mean square of the output's changes.

    Captum sees the window as its cells: 1 where a cell is kept, 0 where it is replaced. So the map's prediction for a
    set of cells is the sum of its values there. The output is averaged over the method's baselines, as the map is.
    """
    count = len(next(iter(window.baselines.values())))
    shares = torch.linspace(*SHARES, SETS if count == 1 else SETS_EACH)[:, None]
    removed = torch.rand(len(shares), window.cells.count, generator=random) < shares
    changes: list[Tensor] = []

    def perturb(kept: Tensor) -> tuple[Tensor, Tensor]:
        gone = removed.to(kept)
        return gone, kept - gone

    def function(kept: Tensor) -> Tensor:
        if bool(kept.all()):
            return torch.full((len(kept),), window.output, dtype=torch.float64)
        draws = [{m: x[n : n + 1] for m, x in window.baselines.items()} for n in range(count)]
        scores = torch.stack([question.scores(window, kept == 0, draw) for draw in draws]).mean(dim=0)
        changes.append(scores - window.output)
        return scores

    whole = torch.ones(1, window.cells.count, dtype=torch.float64)
    value = captum_infidelity(function, perturb, whole, window.cell_values[None], n_perturb_samples=len(shares))
    return float(value), float(torch.cat(changes).square().mean())
