"""Checks of a run: maps must depend on the weights, agree over seeds, and be those of a model that has learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from linear_model import TARGET, linear_model, window
from torch import Tensor

from eavdash.explain.attributions import Points, attribute
from eavdash.explain.check_record import Check, worst
from eavdash.explain.fused import FusedModel
from eavdash.explain.receipts.randomisation import redrawn
from eavdash.explain.receipts.registry import CHECKS, check_run
from eavdash.explain.receipts.run_question import RunQuestion, RunWindow
from eavdash.models.fusion import Tensors


def mapped(model: FusedModel, asked: RunWindow) -> dict[str, Tensor]:
    baselines = {m: model.baseline(m, x) for m, x in asked.inputs.items()}
    return attribute(model, asked.inputs, asked.masks, TARGET, baselines, Points(4, 4)).values


def edges(model: FusedModel, asked: RunWindow) -> Tensors:
    """A map that does not ask the model: |input - baseline|."""
    found = {m: (x - model.baseline(m, x)).abs() for m, x in asked.inputs.items()}
    return {m: x.sum(dim=2) if x.ndim == 5 else x for m, x in found.items()}


@pytest.fixture(scope="module")
def question() -> RunQuestion:
    windows = [RunWindow(*window(seed), target=TARGET.target) for seed in (1, 2)]
    return RunQuestion(linear_model(), windows, mapped, [linear_model()], correct=15, trials=20, line=0.35)


def by_name(question: RunQuestion) -> dict[str, Check]:
    return {check.name: check for check in check_run(question)}


def test_a_model_that_has_learned_passes(question: RunQuestion) -> None:
    found = by_name(question)
    assert list(found) == [name for name, kind in CHECKS.items() if kind.of == "run"]
    assert worst(found.values()) == "pass", found
    assert found["seeds"].value == pytest.approx(1)
    assert found["decisions"].value == 0.75
    assert found["decisions"].threshold == 0.35
    assert by_name(question) == found


def test_a_map_that_shows_the_inputs_edges_fails_weight_randomisation(question: RunQuestion) -> None:
    found = by_name(replace(question, attribute=edges))
    assert found["weights"].verdict == found["fusion_weights"].verdict == "fail"
    assert found["weights"].value == pytest.approx(1)


def test_a_map_that_ignores_the_fusion_fails_its_randomisation(question: RunQuestion) -> None:
    def of_encoder(model: FusedModel, asked: RunWindow) -> Tensors:
        return {
            m: mapped(FusedModel({m: model.encoders[m]}, None), RunWindow({m: x}, asked.masks, asked.target))[m]  # type: ignore[dict-item]  # a ModuleDict
            for m, x in asked.inputs.items()
        }

    found = by_name(replace(question, attribute=of_encoder))
    assert found["fusion_weights"].verdict == "fail"
    assert found["weights"].verdict == "pass"


def test_models_that_look_elsewhere_do_not_agree(question: RunQuestion) -> None:
    found = by_name(replace(question, others=[linear_model(seed=1), linear_model(seed=2)]))
    assert found["seeds"].verdict == "fail"
    assert "2 other seeds" in found["seeds"].reason


def test_guesses_fail_and_too_few_trials_are_not_judged(question: RunQuestion) -> None:
    assert by_name(replace(question, correct=7))["decisions"].verdict == "fail"
    assert by_name(replace(question, correct=8))["decisions"].verdict == "pass"
    assert by_name(replace(question, trials=0))["decisions"].verdict == "not run"
    assert by_name(replace(question, line=1.0))["decisions"].verdict == "not run"


def test_what_is_not_there_is_not_checked(question: RunQuestion) -> None:
    alone = FusedModel({"eeg": question.model.encoders["eeg"]}, None)  # type: ignore[dict-item]  # a ModuleDict
    windows = [RunWindow({"eeg": w.inputs["eeg"]}, w.masks, w.target) for w in question.windows]
    found = by_name(replace(question, model=alone, windows=windows, others=[]))
    assert found["fusion_weights"].verdict == found["seeds"].verdict == "not run"
    assert found["weights"].verdict == "pass"
    without = by_name(replace(question, windows=[]))
    assert {without[name].verdict for name in ("weights", "fusion_weights", "seeds")} == {"not run"}


def test_redrawn_weights_keep_their_scale_and_buffers_stay() -> None:
    model = linear_model()
    other = redrawn(model, 5)
    own, drawn = model.encoders["eeg"], other.encoders["eeg"]
    assert not torch.equal(own.weight, drawn.weight)
    assert float(drawn.weight.std()) == pytest.approx(float(own.weight.std()), rel=0.1)
    assert torch.equal(own.shift, drawn.shift)
    assert torch.equal(redrawn(model, 5).encoders["eeg"].weight, drawn.weight)
