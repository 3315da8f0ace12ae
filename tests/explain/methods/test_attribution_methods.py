"""Every method that attributes: closed forms on a linear model, zeros at the baseline, sums, spectra, no traces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from linear_model import CLASSES, SHAPES, LinearEncoder, linear_model, window
from torch import Tensor

from eavdash.explain.attributions import Attributed, Output, Points, one_colour
from eavdash.explain.fused import FusedModel
from eavdash.explain.method_registry import METHODS
from eavdash.explain.methods.asked import Asked
from eavdash.explain.receipts.cells import Cells
from eavdash.explain.spectrum import by_frequency, frequencies, in_bands
from eavdash.models.fusion import Fusion, FusionOutput, Tensors

RATE, SCALE = 25.0, 2.5
CLASS = Output(1)


class Sum(Fusion):
    """The sum of the tokens that are there."""

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        return FusionOutput(torch.stack([token[:, 0] for token in tokens.values()]).sum(dim=0))


ATTRIBUTING = [name for name, kind in METHODS.items() if kind.attribution]
FROM_BASELINES = [name for name in ATTRIBUTING if METHODS[name].baselines]


def asked(model: FusedModel, seed: int = 1, several: bool = False, points: Points | None = None) -> Asked:
    inputs, masks = window(seed)
    masks["eeg"][:, 40:] = False
    draws = [window(n)[0] for n in ((11, 12, 13) if several else (11,))]
    baselines = {m: torch.cat([draw[m] for draw in draws]) for m in inputs}
    return Asked(model, inputs, masks, CLASS, baselines, points or Points(4, 4), batch=7, seed=3, rate=RATE)


def explain(name: str, question: Asked) -> Attributed:
    found: Attributed = METHODS[name].function(question)
    return found


def slopes(question: Asked) -> dict[str, Tensor]:
    """The gradient of the output by each input, 0 where nothing is recorded."""
    leaves = {m: x.clone().requires_grad_() for m, x in question.inputs.items()}
    value = CLASS.of(question.model.predict(leaves, question.masks).fused.logits).sum()
    return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


def products(question: Asked) -> dict[str, Tensor]:
    means = {m: x.mean(dim=0, keepdim=True) for m, x in question.baselines.items()}
    return {m: one_colour(slope * (question.inputs[m] - means[m])) for m, slope in slopes(question).items()}


def magnitudes(question: Asked) -> dict[str, Tensor]:
    return {m: one_colour(slope.abs() * SCALE) for m, slope in slopes(question).items()}


def cell_means(question: Asked) -> dict[str, Tensor]:
    found = products(question)
    cells = Cells.of(found, question.masks)
    sums = torch.cat([cells.sums(found)[0], torch.zeros(1, dtype=torch.float64)])
    sizes = sum(torch.bincount(labels.flatten(), minlength=cells.count + 1) for labels in cells.labels.values())
    return {m: (sums / sizes)[labels][None].float() for m, labels in cells.labels.items()}


FORMS: dict[str, Callable[[Asked], dict[str, Tensor]]] = {
    "integrated_gradients": products,
    "expected_gradients": products,
    "gradient_shap": products,
    "saliency": magnitudes,
    "occlusion": cell_means,
}


@pytest.mark.parametrize("name", ATTRIBUTING)
def test_a_linear_model_has_its_closed_form(name: str) -> None:
    model = linear_model()
    for encoder in model.encoders.values():
        encoder.get_buffer("scale").fill_(SCALE)
    question = asked(model, several=name in ("expected_gradients", "gradient_shap"))
    found, expected = explain(name, question).values, FORMS[name](question)
    assert list(found) == list(SHAPES)
    for modality, values in found.items():
        assert values.shape == expected[modality].shape
        assert values.abs().max() > 1e-3
        assert torch.allclose(values, expected[modality], atol=1e-5), modality
        # Swapped frames, spectra or electrodes would be seen.
        assert not torch.allclose(values, expected[modality].flip(1), atol=1e-3), modality
    assert (found["eeg"][:, :, 40:] == 0).all(), "nothing is recorded there"


@pytest.mark.parametrize("name", FROM_BASELINES)
def test_nothing_at_the_baseline(name: str) -> None:
    question = asked(linear_model(bend=0.3))
    still = Asked(**{**vars(question), "inputs": {m: x.clone() for m, x in question.baselines.items()}})
    found = explain(name, still)
    # Losses are differences of outputs that were computed in batches of different sizes.
    rounding = 1e-5 if name == "occlusion" else 0.0
    assert max(float(x.abs().max()) for x in found.values.values()) <= rounding
    assert found.completeness is not None
    assert found.completeness.explained == 0
    assert found.spectrum is not None
    assert np.abs(found.spectrum).max() <= rounding


@pytest.mark.parametrize("name", FROM_BASELINES)
def test_a_linear_model_is_complete(name: str) -> None:
    receipt = explain(name, asked(linear_model())).completeness
    assert receipt is not None
    assert receipt.explained > 0.1
    assert receipt.gap < 5e-4


@pytest.mark.parametrize("name", [name for name in ATTRIBUTING if name != "gradient_shap"])  # right on average
def test_only_methods_that_promise_it_are_complete_where_the_model_bends(name: str) -> None:
    question = asked(linear_model(bend=0.8), several=True, points=Points(4, 64))
    receipt = explain(name, question).completeness
    assert receipt is not None
    assert receipt.small == METHODS[name].complete


def test_spectra_of_a_linear_model() -> None:
    question = asked(linear_model())
    recorded = question.masks["eeg"][0].numpy()
    difference = (question.inputs["eeg"] - question.baselines["eeg"])[0].numpy()
    expected = by_frequency(difference, slopes(question)["eeg"][0].numpy(), recorded)
    hertz = frequencies(recorded.size, RATE)
    for name in ("integrated_gradients", "gradient_shap"):
        found = explain(name, question).spectrum
        assert found == pytest.approx(expected, abs=1e-5)
        assert not np.allclose(found, expected[::-1], atol=1e-2)
    assert explain("saliency", question).spectrum is None
    bands = explain("occlusion", question).spectrum
    assert bands is not None
    assert bands.shape == expected.shape
    for name, sums in in_bands(expected, hertz).items():
        assert in_bands(bands, hertz)[name] == pytest.approx(sums, abs=1e-5), name
    assert bands.sum(axis=1) == pytest.approx(explain("occlusion", question).values["eeg"][0].sum(dim=1), abs=1e-4)


def test_random_points_follow_the_seed_and_leave_the_generators_alone() -> None:
    question = asked(linear_model(bend=0.8), several=True)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.uniform(), torch.rand(1)
    np.random.seed(5)
    torch.manual_seed(5)
    one, same = (explain("gradient_shap", question).values["eeg"] for _ in range(2))
    assert (np.random.uniform(), torch.rand(1)) == expected
    assert torch.equal(one, same)
    other = Asked(**{**vars(question), "seed": 4})
    assert not torch.equal(one, explain("gradient_shap", other).values["eeg"])


def test_more_random_points_come_closer_to_the_integral() -> None:
    model = linear_model(bend=0.8)
    exact = explain("expected_gradients", asked(model, several=True, points=Points(8, 8))).values
    gaps = []
    for points in (1, 32):
        found = explain("gradient_shap", asked(model, several=True, points=Points(points, points))).values
        gaps.append(max(float((found[m] - exact[m]).abs().max() / exact[m].abs().max()) for m in found))
    assert gaps[1] < gaps[0] / 2


def test_occlusion_runs_the_other_encoders_once() -> None:
    model = linear_model()
    runs = dict.fromkeys(SHAPES, 0)
    for modality, encoder in model.encoders.items():
        encoder.register_forward_hook(lambda _, given, __, m=modality: runs.__setitem__(m, runs[m] + len(given[0])))
    question = asked(model)
    cells = Cells.of({m: one_colour(x) for m, x in question.inputs.items()}, question.masks)
    explain("occlusion", question)
    for place, modality in enumerate(SHAPES):
        own = int((cells.modality == place).sum())
        bands = SHAPES["eeg"][0] * 3 if modality == "eeg" else 0  # delta, theta and alpha up to 12.5 Hz
        whole = 5  # beside the parts: once encoded, once by Captum (and once for bands), and at both ends
        assert own + bands < runs[modality] <= own + bands + whole


@pytest.mark.parametrize("name", ATTRIBUTING)
def test_an_absent_modality_is_left_out(name: str) -> None:
    encoders = {m: LinearEncoder(m) for m in SHAPES}
    question = asked(FusedModel(encoders, Sum(dict.fromkeys(SHAPES, CLASSES))))
    del question.inputs["audio"], question.masks["audio"]  # type: ignore[attr-defined]  # a dict
    assert set(explain(name, question).values) == {"vision", "eeg"}
