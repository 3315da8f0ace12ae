"""Weight randomisation (Adebayo et al. 2018): a model with other weights must have other maps.

A map that shows the edges of the input whatever the model does, is the same for every model. Attributions are products
with the input, so that magnitudes keep some correlation with it; a pass leaves room for that.
"""

from __future__ import annotations

import copy
from typing import TypeVar, cast

import torch
from torch import nn

from eavdash.explain.check_record import Check
from eavdash.explain.fused import FusedModel
from eavdash.explain.receipts.registry import CHECKS
from eavdash.explain.receipts.run_question import RunQuestion
from eavdash.models.base import Encoder
from eavdash.models.seeds import generator

_Module = TypeVar("_Module", bound=nn.Module)


def weights(question: RunQuestion) -> Check:
    """Correlate the magnitudes of the maps with those of a model whose weights were all drawn again."""
    return _check(question, "weights", redrawn(question.model, question.seed("receipts", "weights")), "all its weights")


def fusion_weights(question: RunQuestion) -> Check:
    """Correlate the magnitudes of the maps with those of a model whose fusion alone was drawn again."""
    model = question.model
    if model.fusion is None:
        return CHECKS["fusion_weights"].not_run("The run is of one modality and has no fusion.")
    fusion = redrawn(model.fusion, question.seed("receipts", "fusion"))
    encoders = {m: cast(Encoder, encoder) for m, encoder in model.encoders.items()}
    return _check(question, "fusion_weights", FusedModel(encoders, fusion, model.people), "its fusion's weights")


def _check(question: RunQuestion, name: str, other: FusedModel, what: str) -> Check:
    if not question.windows:
        return CHECKS[name].not_run("The run has no test windows.")
    found = question.correlations(other, cells=False)
    value = sum(found) / len(found)
    reason = (
        f"With {what} drawn again, the magnitudes of the maps correlate by {value:.2f} with the model's own "
        f"(highest of {len(found)} windows {max(found):.2f}; 1: the maps do not depend on them)."
    )
    return CHECKS[name].graded(value, reason)


def redrawn(model: _Module, seed: int) -> _Module:
    """Return a copy whose weights are normal with each tensor's own mean and deviation; buffers stay as they are.

    So every layer keeps its scale, and the copy is another model of the same kind, not a degenerate one.
    """
    made, random = copy.deepcopy(model), generator(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.numel() > 1:
                drawn = torch.randn(parameter.shape, generator=random).to(parameter)
                parameter.copy_(parameter.mean() + parameter.std() * drawn)
    return made
