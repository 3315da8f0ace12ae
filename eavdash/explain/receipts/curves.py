"""Deletion and insertion (Petsiuk et al. 2018) by a map's order of cells, against random orders.

Deletion replaces cells in the map's order, from those that favour the class most; insertion puts them back in that
order, the same share of every modality's cells at a time, so that a map does not pass by knowing the modality alone.
The explained number is averaged over the levels of a curve: the lower in deletion, and the higher in insertion, the
better the order. There are two replacements, because each method looks best with its own baseline.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eavdash.explain.check_record import Check, Verdict
from eavdash.explain.receipts.question import ExplainedInputs, ExplainedWindowInputs
from eavdash.explain.receipts.registry import CHECKS

RANDOM_ORDERS = 10
#: Shares of the cells that are replaced along a curve; none and all would be the same for every order.
LEVELS = tuple(k / 6 for k in range(1, 6))
REPLACEMENTS = {"baseline": "the method's baseline", "training": "a training window"}


def deletion(question: ExplainedInputs) -> Check:
    """Replace cells, most favourable first: the explained number must be lower than for every random order."""
    return _check(question, "deletion")


def insertion(question: ExplainedInputs) -> Check:
    """Put cells back, most favourable first: the explained number must be higher than for every random order."""
    return _check(question, "insertion")


def _check(question: ExplainedInputs, name: str) -> Check:
    kind = CHECKS[name]
    if not question.strongest:
        return question.nothing(name)
    if any(window.training is None for window in question.strongest):
        return kind.not_run("The run has no training windows, which are the second replacement.")
    beaten, texts = [], []
    for replacement, text in REPLACEMENTS.items():
        own, others = areas(question, replacement)[name]
        better = own < others if name == "deletion" else own > others
        beaten.append(float(better.double().mean()))
        mean = float(others.mean())
        texts.append(f"with {text} {int(better.sum())} of {RANDOM_ORDERS} (mean {own:.3f} against {mean:.3f})")
    verdict: Verdict = ("fail", "doubtful", "pass")[sum(share >= kind.good for share in beaten)]
    done = "Replacing cells" if name == "deletion" else "Putting cells back"
    return kind.found(verdict, min(beaten), f"{done} in the map's order beats random orders: {'; '.join(texts)}.")


def areas(question: ExplainedInputs, replacement: str) -> dict[str, tuple[float, Tensor]]:
    """Return, for deletion and insertion, the mean of the map's curve and those of random orders (RANDOM_ORDERS,)."""
    found: dict[str, tuple[float, Tensor]] = question.kept(replacement, lambda: _areas(question, replacement))
    return found


def _areas(question: ExplainedInputs, replacement: str) -> dict[str, tuple[float, Tensor]]:
    found = []
    for number, window in enumerate(question.strongest):
        random = question.generator("orders", number)
        # A random order put back is the same as its reverse replaced: one set of random curves serves both.
        values = window.cell_values
        ranks = [_ranks(window, v) for v in (-values, values)]
        ranks += [_ranks(window, torch.rand(len(values), generator=random)) for _ in range(RANDOM_ORDERS)]
        every = torch.stack(ranks)[:, None, :]  # (order, 1, cell) in 0..1
        removed = every < torch.tensor(LEVELS, dtype=torch.float64)[None, :, None]
        by = window.training if replacement == "training" and window.training is not None else window.baselines
        scores = question.scores(window, removed.flatten(0, 1), by)
        found.append(scores.reshape(len(ranks), len(LEVELS)).mean(dim=1))
    mean = torch.stack(found).mean(dim=0)
    # Removing the least favourable cells first is putting the most favourable ones back last to first.
    return {"deletion": (float(mean[0]), mean[2:]), "insertion": (float(mean[1]), mean[2:])}


def _ranks(window: ExplainedWindowInputs, values: Tensor) -> Tensor:
    """Return each cell's place by value among those of its modality, as a share in 0..1, float64."""
    ranks = torch.zeros(len(values), dtype=torch.float64)
    for place in range(len(window.cells.labels)):
        cells = (window.cells.modality == place).nonzero()[:, 0]
        order = values[cells].argsort(stable=True)
        ranks[cells[order]] = torch.arange(len(cells), dtype=torch.float64) / max(len(cells), 1)
    return ranks
