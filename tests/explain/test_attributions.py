"""Integrated gradients: completeness, zeros at the baseline and under the mask, and detection of a planted signal."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from failing import fails
from torch import Tensor, nn

from eavdash.config.choices import FUSIONS
from eavdash.config.schema import StudyConfig, VisionConfig
from eavdash.errors import UsageError
from eavdash.explain.attributions import Completeness, Output, Points, along_path, attribute, integrated_gradients
from eavdash.explain.fused import FusedModel
from eavdash.explain.trial import explain_trial
from eavdash.explain.units import unit_of
from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.build import build, encoder_spec, fusion_spec
from eavdash.store import StudyDir

SHAPES = {
    "vision": {"frames": 2, "size": 16},
    "audio": {"frames": 40, "mels": 32},
    "eeg": {"channels": ["Fz", "Cz", "Pz"], "samples": 100},
}
STEPS = 200


def make(kind: str | None = "attention", modalities: tuple[str, ...] = ("vision", "audio", "eeg")) -> FusedModel:
    torch.manual_seed(0)
    config = StudyConfig(vision=VisionConfig(size=16, patch=8))
    encoders = {}
    for modality in modalities:
        spec = encoder_spec(modality, config, 4, SHAPES[modality])
        spec["kwargs"] |= {"width": 16, "depth": 1, "heads": 2}
        encoders[modality] = build(spec)
    dims = {m: e.feature_dim for m, e in encoders.items()}
    fusion = build(fusion_spec(config, 4, dims, kind)) if kind else None
    for part in (*encoders.values(), *([fusion] if fusion else [])):
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return FusedModel(encoders, fusion)  # type: ignore[arg-type]


def window() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    random = torch.Generator().manual_seed(1)
    inputs = {
        "vision": torch.rand(1, 2, 3, 16, 16, generator=random),
        "audio": torch.randn(1, 40, 32, generator=random) * 3 - 4,
        "eeg": torch.randn(1, 3, 100, generator=random),
    }
    lengths = {"vision": 2, "audio": 40, "eeg": 100}
    return inputs, {m: torch.ones(1, n, dtype=torch.bool) for m, n in lengths.items()}


def test_exact_on_a_linear_function_for_any_number_of_steps() -> None:
    weights = torch.randn(3, 7), torch.randn(3, 5)
    inputs, baselines = (torch.randn(1, 7), torch.randn(1, 5)), (torch.randn(1, 7), torch.randn(1, 5))

    def linear(a: Tensor, b: Tensor, fixed: Tensor) -> Tensor:
        return a @ weights[0].T + b @ weights[1].T + fixed

    found, gradients = along_path(linear, inputs, baselines, (torch.ones(1, 1),), 2, steps=2, batch=1)
    for value, gradient, x, base, w in zip(found, gradients, inputs, baselines, weights, strict=True):
        assert torch.allclose(value, w[2] * (x - base), atol=1e-5)
        assert torch.allclose(gradient, w[2][None], atol=1e-5)


@pytest.mark.parametrize("kind", FUSIONS)
def test_attributions_add_up_to_the_logit(kind: str) -> None:
    model, (inputs, masks) = make(kind), window()
    found, receipt = integrated_gradients(model, inputs, masks, target=1, steps=STEPS, batch=50)
    assert {m: tuple(v.shape) for m, v in found.items()} == {
        "vision": (1, 2, 16, 16),
        "audio": (1, 40, 32),
        "eeg": (1, 3, 100),
    }
    assert receipt.total == pytest.approx(sum(float(v.double().sum()) for v in found.values()), abs=1e-4)
    assert sum(float(v.abs().sum()) for v in found.values()) > 0.1
    assert receipt.gap < 0.01 * abs(receipt.output - receipt.baseline) + 1e-3


@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize("kind", FUSIONS)
def test_expected_gradients_add_up_in_each_kind_of_fusion(kind: str, contrast: bool) -> None:
    model, (inputs, masks) = make(kind), window()
    random = torch.Generator().manual_seed(5)
    draws = {m: torch.cat([x, x.flip(-1)]) + torch.rand(2, *x.shape[1:], generator=random) for m, x in inputs.items()}
    output = Output(1, 3 if contrast else None)
    found = attribute(model, inputs, masks, output, draws, Points(2, 512), batch=64)
    receipt = found.completeness
    assert receipt.small
    assert receipt.total == pytest.approx(sum(float(v.double().sum()) for v in found.values.values()), abs=1e-3)
    logits = model.predict(inputs, masks).fused.logits[0].double()
    at_draws = model.predict(draws, {m: mask.expand(2, -1) for m, mask in masks.items()}).fused.logits.double()
    if contrast:  # the difference of two logits is that of their log-probabilities
        chances, draws_chances = logits.log_softmax(0), at_draws.log_softmax(1)
        assert receipt.output == pytest.approx(float(chances[1] - chances[3]), abs=1e-4)
        assert receipt.baseline == pytest.approx(float((draws_chances[:, 1] - draws_chances[:, 3]).mean()), abs=1e-4)
    else:
        assert (receipt.output, receipt.baseline) == pytest.approx(
            (float(logits[1]), float(at_draws[:, 1].mean())), abs=1e-4
        )


def test_units_say_what_is_explained() -> None:
    model, (inputs, masks) = make("attention"), window()
    gain = model.fusion.gain.detach()  # type: ignore[union-attr]  # of this fusion
    logits = model.predict(inputs, masks).fused.logits
    assert unit_of(model) == "log-probability before normalisation"
    assert torch.allclose((logits / gain).exp().sum(), torch.ones(()), atol=1e-5), "probabilities, but for the gain"
    assert unit_of(make("paper")) == "mean log-probability of the frames"
    assert unit_of(make("paper", ("audio", "eeg"))) == "logit"
    assert {unit_of(make(kind)) for kind in ("concat", "transformer")} == {"logit"}
    assert {m: unit_of(make(None, (m,))) for m in SHAPES} == {
        **{"vision": "mean log-probability of the frames", "audio": "logit", "eeg": "logit"},
    }
    assert unit_of(make("concat"), contrast=True) == "difference of logits"


@pytest.mark.slow
def test_more_steps_leave_a_smaller_gap() -> None:
    model, (inputs, masks) = make(), window()
    gaps = [integrated_gradients(model, inputs, masks, 0, steps=n)[1].gap for n in (2, STEPS)]
    assert gaps[1] < gaps[0]


def test_the_size_of_batches_does_not_matter() -> None:
    model, (inputs, masks) = make(), window()
    one, many = (integrated_gradients(model, inputs, masks, 0, steps=8, batch=b)[0] for b in (1, 8))
    assert all(torch.allclose(one[m], many[m], atol=1e-5) for m in one)


def test_zero_at_the_baseline() -> None:
    model, (inputs, masks) = make(), window()
    still = {m: model.baseline(m, x).clone() for m, x in inputs.items()}
    found, receipt = integrated_gradients(model, still, masks, 0, steps=4)
    assert all((v == 0).all() for v in found.values())
    assert receipt.gap == 0
    assert receipt.relative_gap == 0


def test_masked_samples_get_no_attribution() -> None:
    model, (inputs, masks) = make(), window()
    masks["audio"][:, 25:] = False
    masks["vision"][:, 1] = False
    masks["eeg"][:] = False
    found, _ = integrated_gradients(model, inputs, masks, 0, steps=4)
    assert (found["audio"][:, 25:] == 0).all()
    assert (found["vision"][:, 1] == 0).all()
    assert (found["eeg"] == 0).all()
    assert found["audio"][:, :25].abs().max() > 0


def test_an_absent_modality_is_left_out() -> None:
    model, (inputs, masks) = make(), window()
    del inputs["audio"]
    found, receipt = integrated_gradients(model, inputs, masks, 0, steps=STEPS)
    assert set(found) == {"vision", "eeg"}
    assert receipt.gap < 0.05


@pytest.mark.parametrize("modality", ["vision", "audio", "eeg"])
def test_a_single_modality_is_a_model_too(modality: str) -> None:
    model, (inputs, masks) = make(None, (modality,)), window()
    only = {modality: inputs[modality]}
    found, receipt = integrated_gradients(model, only, {modality: masks[modality]}, 0, steps=STEPS)
    assert set(found) == {modality}
    assert receipt.gap < 0.01 * abs(receipt.output - receipt.baseline) + 1e-3
    output = model.predict(only, masks)
    assert output.fused.attention is None
    assert output.fused.map is None


class OneSpot(Encoder):
    """An encoder that uses one electrode and one time segment only."""

    def __init__(self) -> None:
        super().__init__(shift_shape=(1, 3, 1))
        self.feature_dim = 2
        self.head = nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> EncoderOutput:
        power = torch.where(mask[:, None], self.scaled(x), 0.0)[:, 1, 40:60].square().sum(-1)
        logits = torch.stack([power, -power], dim=1)
        return EncoderOutput(logits[:, None], mask.any(1, keepdim=True), logits)


def test_a_planted_spot_is_found_and_nothing_else() -> None:
    model, (inputs, masks) = FusedModel({"eeg": OneSpot()}, None), window()
    found, receipt = integrated_gradients(model, {"eeg": inputs["eeg"]}, {"eeg": masks["eeg"]}, 0, steps=32)
    spot = torch.zeros(3, 100, dtype=torch.bool)
    spot[1, 40:60] = True
    assert torch.allclose(found["eeg"][0][spot], inputs["eeg"][0][spot].square(), atol=1e-4)
    assert (found["eeg"][0][~spot] == 0).all()
    assert receipt.relative_gap < 1e-4


def test_completeness_detects_a_wrong_total() -> None:
    good, bad = Completeness(2.0, 0.5, 1.5), Completeness(2.0, 0.5, 0.9)
    assert good.gap == good.relative_gap == 0
    assert bad.gap == pytest.approx(0.6)
    assert bad.to_dict()["relative_gap"] == pytest.approx(0.4)


@pytest.mark.parametrize("kind", ["attention", "transformer"])
def test_attention_shares_sum_to_one(kind: str) -> None:
    model, (inputs, masks) = make(kind), window()
    fused = model.predict(inputs, masks).fused
    assert fused.attention is not None
    assert fused.map is not None
    assert fused.attention.shape == (1, 4, 3)
    assert fused.attention.sum(-1).numpy() == pytest.approx(1)
    assert fused.map.sum(-1).numpy() == pytest.approx(1)


@pytest.mark.parametrize("steps", [-1, 1_001, 10**9])
def test_the_number_of_steps_has_bounds(tmp_path: Path, steps: int) -> None:
    with fails(UsageError, where="steps", expected="1 to 1,000", found=str(steps)):
        explain_trial(StudyDir(tmp_path), "1", "1", steps=steps)
