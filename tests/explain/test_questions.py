"""Closed forms of both methods on a linear model, for every baseline and contrast, and adaptive points elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from failing import fails
from torch import Tensor, nn

from eavdash.config.choices import MODALITIES
from eavdash.errors import UsageError
from eavdash.explain.attributions import Output, Points, attribute, integrated_gradients
from eavdash.explain.baselines import BASELINES, MIXED, baseline_of, kind_for
from eavdash.explain.fused import FusedModel
from eavdash.explain.question import Question
from eavdash.explain.training_windows import TrainingWindows
from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.fusion import Fusion, FusionOutput, Tensors

SHAPES = {"vision": (2, 3, 4, 4), "audio": (6, 5), "eeg": (3, 8)}
LENGTHS = {"vision": 2, "audio": 6, "eeg": 8}
CLASSES, DRAWS = 4, 5
FIXED = Points(2, 2)


class Linear(Encoder):
    """Logits that are linear in the recorded part of a window, to the power ``power``."""

    def __init__(self, modality: str, power: int = 1) -> None:
        super().__init__(shift_shape=tuple(1 for _ in SHAPES[modality]))
        self.feature_dim, self.head, self.power = CLASSES, nn.Identity(), power
        self.time = 2 if modality == "eeg" else 1
        size = int(torch.tensor(SHAPES[modality]).prod())
        self.register_buffer("weight", torch.randn(CLASSES, size, generator=torch.Generator().manual_seed(size)))
        self.set_scaling(torch.full((1,), 0.25), torch.ones(1))

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        shape = [len(mask), *(mask.shape[1] if axis == self.time else 1 for axis in range(1, x.ndim))]
        recorded = torch.where(mask.view(shape), x, torch.zeros(())) ** self.power
        logits = recorded.flatten(1) @ self.get_buffer("weight").T
        return EncoderOutput(logits[:, None], mask.any(1, keepdim=True), logits)


class Sum(Fusion):
    """The sum of the encoders' logits."""

    def forward(self, tokens: Tensors, masks: Tensors, encoder_logits: Tensors | None = None) -> FusionOutput:
        return FusionOutput(torch.stack([t[:, 0] for t in tokens.values()]).sum(dim=0))


def model(power: int = 1) -> FusedModel:
    return FusedModel({m: Linear(m, power) for m in SHAPES}, Sum(dict.fromkeys(SHAPES, CLASSES)))


def random(seed: int, windows: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    inputs = {m: torch.randn(windows, *shape, generator=generator) for m, shape in SHAPES.items()}
    return inputs, {m: torch.ones(windows, n, dtype=torch.bool) for m, n in LENGTHS.items()}


def training() -> TrainingWindows:
    """Windows of which one has no audio and one a shorter EEG."""
    inputs, masks = random(7, DRAWS)
    masks["audio"][1] = False
    masks["eeg"][2, 5:] = False
    return TrainingWindows(tuple(f"1/{n}/0" for n in range(DRAWS)), inputs, masks)


def starts(fused: FusedModel, inputs: dict[str, Tensor], baseline: str) -> dict[str, Tensor]:
    found = {m: fused.baseline(m, x) for m, x in inputs.items()}
    if baseline == "mean":
        return found
    drawn = training()
    return {
        m: drawn.baseline(m, x) if kind_for(m, baseline) == "training" else x.expand(DRAWS, *x.shape[1:])
        for m, x in found.items()
    }


@pytest.mark.parametrize("against", [None, 0])
@pytest.mark.parametrize("baseline", ["mean", "training", "mixed"])
def test_a_linear_model_has_its_closed_form(baseline: str, against: int | None) -> None:
    fused, (inputs, masks) = model(), random(1)
    begin = starts(fused, inputs, baseline)
    found = attribute(fused, inputs, masks, Output(2, against), begin, FIXED)
    for modality, x in inputs.items():
        weights = fused.encoders[modality].get_buffer("weight")
        slope = (weights[2] - (0 if against is None else weights[against])).view(SHAPES[modality])
        expected = slope * (x[0] - begin[modality].mean(dim=0))
        expected = expected.sum(dim=1) if modality == "vision" else expected
        assert torch.allclose(found.values[modality][0], expected, atol=1e-5), modality
        # Swapped channels, or a wrong class, would be seen.
        assert not torch.allclose(found.values[modality][0], expected.flip(0), atol=1e-2)
    wrong = attribute(fused, inputs, masks, Output(3, against), begin, FIXED)
    assert all(not torch.allclose(wrong.values[m], found.values[m], atol=1e-2) for m in inputs)
    receipt = found.completeness
    assert receipt.gap < 1e-4
    logits = fused.predict(inputs, masks).fused.logits[0]
    assert receipt.output == pytest.approx(float(logits[2] - (0 if against is None else logits[against])), abs=1e-4)
    at_draws = torch.cat([each.fused.logits for each in found.at_baselines])
    of_class = at_draws[:, 2] - (0 if against is None else at_draws[:, against])
    assert receipt.baseline == pytest.approx(float(of_class.mean()), abs=1e-4)


def test_a_contrast_is_the_difference_of_two_explanations() -> None:
    fused, (inputs, masks) = model(power=3), random(1)
    begin = starts(fused, inputs, "training")
    first, second, both = (
        attribute(fused, inputs, masks, output, begin, FIXED) for output in (Output(1), Output(3), Output(1, 3))
    )
    for modality, value in both.values.items():
        assert torch.allclose(value, first.values[modality] - second.values[modality], atol=1e-4)


def test_training_windows_have_the_mean_where_nothing_was_recorded() -> None:
    drawn, mean = training(), {m: torch.full((1, *shape), 9.0) for m, shape in SHAPES.items()}
    audio, eeg = drawn.baseline("audio", mean["audio"]), drawn.baseline("eeg", mean["eeg"])
    assert (audio[1] == 9).all()
    assert torch.equal(audio[0], drawn.inputs["audio"][0])
    assert (eeg[2, :, 5:] == 9).all()
    assert torch.equal(eeg[2, :, :5], drawn.inputs["eeg"][2, :, :5])
    only = TrainingWindows(drawn.names, {}, {})
    assert torch.equal(only.baseline("eeg", mean["eeg"]), mean["eeg"].expand(DRAWS, 3, 8))


def test_the_mean_baseline_is_integrated_gradients() -> None:
    fused, (inputs, masks) = model(power=3), random(1)
    plain, receipt = integrated_gradients(fused, inputs, masks, 1, steps=8)
    found = attribute(fused, inputs, masks, Output(1), starts(fused, inputs, "mean"), Points(8, 512))
    assert found.completeness == receipt
    assert all(torch.equal(found.values[m], plain[m]) for m in plain)


def test_points_are_doubled_until_the_gap_is_small() -> None:
    fused, (inputs, masks) = model(power=40), random(1)
    inputs = {m: x.clamp(-1.2, 1.2) for m, x in inputs.items()}
    begin = {m: torch.zeros_like(x).expand(3, *x.shape[1:]) for m, x in inputs.items()}
    few = attribute(fused, inputs, masks, Output(1), begin, FIXED).completeness
    assert not few.small, "2 points are exact to the third power only"
    enough = attribute(fused, inputs, masks, Output(1), begin, Points(2, 512)).completeness
    assert enough.small
    assert enough.steps > 2
    most = attribute(fused, inputs, masks, Output(1), begin, Points(2, 4)).completeness
    assert most.steps == 4


def test_each_method_has_its_baselines() -> None:
    assert baseline_of("integrated_gradients") == "mean"
    assert baseline_of("expected_gradients") == "mixed"
    assert set(MIXED) == set(MODALITIES)
    with fails(UsageError, where="baseline of integrated_gradients", expected="mean", found="'training'"):
        Question("integrated_gradients", baseline="training")
    with fails(UsageError, where="method", expected=", ".join(BASELINES), found="'guessing'"):
        replace(Question(), method="guessing")
