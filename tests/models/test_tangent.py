"""The encoder ``tangent``: parity with pyriemann, derivatives, masks, re-centring by person, and its statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from failing import fails
from torch import Tensor

from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.explain.attributions import integrated_gradients
from eavdash.explain.fused import FusedModel
from eavdash.models import covariance, tangent
from eavdash.models.build import build, encoder_spec
from eavdash.models.tangent import TangentEncoder, bands_for

RATE, SAMPLES = 100.0, 300
BANDS = [[4.0, 8.0], [8.0, 13.0], [20.0, 30.0]]


def windows(count: int, channels: int = 4, seed: int = 0, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return windows of coloured noise, mixed into ``channels``, with another loudness in each window."""
    random = torch.Generator().manual_seed(seed)
    loud = torch.exp(0.5 * torch.randn(count, channels, 1, generator=random))
    sources = loud * torch.randn(count, channels, SAMPLES, generator=random)
    fixed = torch.Generator().manual_seed(99)
    mix = torch.eye(channels) + 0.4 * torch.randn(channels, channels, generator=fixed) if mix is None else mix
    return 1e-5 * (mix @ sources), torch.ones(count, SAMPLES, dtype=torch.bool)


def encoder(channels: int = 4, shrinkage: float = tangent.SHRINKAGE, width: int = 5) -> TangentEncoder:
    torch.manual_seed(0)
    model = TangentEncoder(3, channels, RATE, BANDS, width, shrinkage)
    model.set_scaling(torch.full((channels,), 1e-6), torch.full((channels,), 1e-5))
    return model.eval()


@pytest.fixture
def fitted() -> TangentEncoder:
    model = encoder()
    model.fit_features([windows(20), windows(20, seed=1)])
    return model


@pytest.mark.parametrize("shrinkage", [0.0, 0.05])
def test_tangent_vectors_equal_those_of_pyriemann(shrinkage: float) -> None:
    from pyriemann.estimation import Covariances
    from pyriemann.tangentspace import TangentSpace

    model = encoder(shrinkage=shrinkage)
    train, new = windows(40), windows(10, seed=5)
    model.fit_features([tuple(part[:25] for part in train), tuple(part[25:] for part in train)])
    ours = model._features(model._covariances(*new), None)
    usual = (model.get_buffer("power") / 2).exp()[None, :, :, None]
    for band in range(len(BANDS)):
        signals = [(model._filtered(*x) / usual)[:, band].numpy() for x in (train, new)]

        def shrunk(x: np.ndarray) -> np.ndarray:
            return (1 - shrinkage) * np.cov(x, bias=True) + shrinkage * np.eye(len(x))

        estimate = Covariances("scm" if shrinkage == 0 else shrunk)
        space = TangentSpace(metric="riemann").fit(estimate.transform(signals[0]))
        theirs = space.transform(estimate.transform(signals[1]))
        assert np.abs(ours[:, band, : theirs.shape[1]].numpy() - theirs).max() < 1e-6
        assert np.abs(model.get_buffer("reference")[band].numpy() - space.reference_).max() < 1e-6
    features = model.forward_features(*new)  # single precision outside
    assert torch.allclose(features.double(), ours, atol=1e-5)


@pytest.mark.parametrize("values", [(1.0, 2.0, 5.0), (2.0, 2.0, 2.0), (1.0, 1.0 + 1e-9, 3.0), (1e-4, 1.0, 1.001)])
def test_the_logarithm_and_its_derivative(values: tuple[float, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(2, 3, 3, generator=random, dtype=torch.float64))[0]
    matrix = basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.mT
    assert torch.allclose(torch.linalg.matrix_exp(covariance.logarithm(matrix)), matrix, atol=1e-12)
    # The smallest eigenvalue bounds the step of the differences that the derivative is compared with.
    step = 1e-6 * min(values)
    assert torch.autograd.gradcheck(
        covariance.logarithm, (matrix.requires_grad_(),), eps=step, atol=1e-4, rtol=1e-4, nondet_tol=0
    )


def test_filters_keep_their_band_and_add_no_delay() -> None:
    bands = [(low, high) for low, high in BANDS]
    time = torch.arange(600, dtype=torch.float64) / RATE
    for hertz, inside in ((6.0, 0), (10.0, 1), (25.0, 2)):
        x = torch.sin(2 * math.pi * hertz * time)[None, None]
        made = covariance.filtered(x, covariance.band_filters(bands, RATE))[0, :, 0, 150:450]
        power = made.square().mean(dim=1)
        assert power[inside] > 0.45
        assert all(power[i] < 0.01 for i in range(3) if i != inside)
        assert torch.allclose(made[inside], x[0, 0, 150:450], atol=0.05)


def test_a_padded_window_equals_a_shorter_one(fitted: TangentEncoder) -> None:
    x, mask = windows(3, seed=7)
    mask[:, 220:] = False
    with torch.no_grad():
        padded = fitted.forward_features(torch.where(mask[:, None], x, torch.nan), mask)
        short = fitted.forward_features(x[..., :220], mask[:, :220])
    assert torch.allclose(padded, short, atol=1e-5)


def test_an_average_reference_and_a_flat_channel_give_finite_features(fitted: TangentEncoder) -> None:
    x, mask = windows(12, seed=3)
    x = x - x.mean(dim=1, keepdim=True)
    x[:4, 1] = 0
    model = encoder()
    model.fit_features([(x, mask)])
    made = model(x.requires_grad_(), mask)
    made.logits.sum().backward()
    assert made.tokens.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    statistics = model.person_statistics(x.detach()[:4], mask[:4])
    assert all(value.isfinite().all() for value in statistics.values())
    assert model(x.detach(), mask, {k: v.expand(12, *v.shape) for k, v in statistics.items()}).logits.isfinite().all()


def spread(statistics: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    return {name: value.expand(count, *value.shape) for name, value in statistics.items()}


def test_recentring_removes_what_distinguishes_people(fitted: TangentEncoder) -> None:
    x, mask = windows(24, seed=11)
    gain = torch.tensor([0.5, 3.0, 1.0, 0.2])[:, None]  # other amplifiers or electrodes
    features = []
    for own in (x, x * gain):
        statistics = fitted.person_statistics(own, mask)
        features.append(fitted.forward_features(own, mask, spread(statistics, len(x))))
    assert torch.allclose(*features, atol=1e-4)
    plain = [fitted.forward_features(own, mask) for own in (x, x * gain)]
    assert (plain[0] - plain[1]).abs().max() > 1
    # The person's own windows are centred: in tangent space, whose mean is 0 at the geometric mean, and in power.
    assert features[0].mean(dim=0).abs().max() < 1e-4
    level = features[0][:, :, -4:]
    assert torch.allclose(level.std(dim=0, correction=0), torch.ones(3, 4), atol=1e-3)


def test_each_window_gets_the_statistics_of_its_own_person(fitted: TangentEncoder) -> None:
    one, other = windows(8, seed=1), windows(8, seed=2, mix=torch.diag(torch.tensor([1.0, 4.0, 2.0, 0.3])))
    statistics = [fitted.person_statistics(*person) for person in (one, other)]
    together = {k: torch.stack([statistics[0][k]] * 8 + [statistics[1][k]] * 8) for k in statistics[0]}
    x, mask = torch.cat([one[0], other[0]]), torch.cat([one[1], other[1]])
    made = fitted(x, mask, together)
    alone = [fitted(*p, spread(s, 8)).logits for p, s in zip((one, other), statistics, strict=True)]
    assert torch.allclose(made.logits, torch.cat(alone), atol=1e-5)


def test_statistics_of_a_person_without_recorded_samples_are_those_of_training(fitted: TangentEncoder) -> None:
    x, mask = windows(2)
    found = fitted.person_statistics(x, torch.zeros_like(mask))
    assert torch.equal(found["reference"], fitted.get_buffer("reference"))
    assert torch.equal(found["power"], fitted.get_buffer("power"))


def test_windows_in_parts_or_at_once_give_the_same_statistics(fitted: TangentEncoder, monkeypatch) -> None:
    x, mask = (torch.cat(pair) for pair in zip(windows(20), windows(20, seed=1), strict=True))
    empty = torch.zeros_like(mask[:1])  # a window without recorded samples does not count
    model = encoder()
    model.fit_features([(torch.cat([x[:1], x]), torch.cat([empty, mask]))])
    for name, value in fitted.named_buffers():
        assert torch.allclose(value, model.get_buffer(name), atol=1e-9), name
    monkeypatch.setattr(tangent, "_MOST_NUMBERS", 33 * fitted.get_buffer("reference").numel())
    thinned, half = encoder(), encoder()
    thinned.fit_features([(x[:30], mask[:30]), (x[30:], mask[30:])])
    half.fit_features([(x[::2], mask[::2])])
    assert torch.allclose(thinned.get_buffer("reference"), half.get_buffer("reference"), atol=1e-12)


def test_tokens_are_the_principal_components_of_each_band(fitted: TangentEncoder) -> None:
    x, mask = (torch.cat(pair) for pair in zip(windows(20), windows(20, seed=1), strict=True))
    with torch.no_grad():
        features, made = fitted.forward_features(x, mask), fitted(x, mask)
    assert made.tokens.shape == (40, 3, 5)
    assert made.mask.all()
    for band in range(3):
        centred = (features[:, band] - features[:, band].mean(dim=0)).double()
        spread_of = torch.linalg.svdvals(centred)[:5]
        assert torch.allclose(made.tokens[:, band].double().norm(dim=0), spread_of, rtol=1e-3)


def test_axes_of_fewer_windows_than_numbers_leave_the_rest_of_a_token_empty() -> None:
    model = encoder(width=8)
    model.fit_features([windows(4)])
    with torch.no_grad():
        tokens = model(*windows(30, seed=9)).tokens
    assert tokens.isfinite().all()
    assert (tokens[..., 3:] == 0).all()
    assert (tokens[..., :3].std(dim=0) > 0).all()


def test_attributions_are_complete_and_find_the_channel_and_the_rhythm(fitted: TangentEncoder) -> None:
    x, mask = windows(1, seed=21)
    mask[:, 250:] = False
    time = torch.arange(SAMPLES) / RATE
    x[0, 2] += 6e-5 * torch.sin(2 * math.pi * 10 * time)
    with torch.no_grad():  # a head that reads the alpha power of the third channel alone
        fitted.head.weight.zero_()
        fitted.head.bias.zero_()
        fitted.head.weight[1, 2 * 14 - 2] = 1.0
    made, receipt = integrated_gradients(FusedModel({"eeg": fitted}, None), {"eeg": x}, {"eeg": mask}, 1, steps=64)
    found = made["eeg"][0]
    assert abs(receipt.output - receipt.baseline) > 1
    assert receipt.relative_gap < 0.01
    assert torch.equal(found[:, 250:], torch.zeros(4, 50))
    assert found[2].sum() == pytest.approx(receipt.total, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "bands"),
    [
        ((4, 500, 100.0, 0.5, 45.0), [[1, 4], [4, 8], [8, 13], [13, 20], [20, 30], [30, 45]]),
        ((4, 500, 100.0, 5.0, 90.0), [[5, 8], [8, 13], [13, 20], [20, 30], [30, 45]]),
        ((4, 500, 50.0, 7.5, 20.5), [[7.5, 13], [13, 20.5]]),
        ((4, 200, 100.0, 1.0, 45.0), [[1, 4], [4, 8], [8, 13], [13, 20], [20, 30], [30, 45]]),
    ],
)
def test_bands(arguments, bands) -> None:
    assert bands_for(*arguments) == bands


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ((1, 500, 100.0, 0.5, 45.0), {"where": "eeg.channels", "found": "1", "expected": "2"}),
        ((129, 500, 100.0, 0.5, 45.0), {"where": "eeg.channels", "found": "129", "expected": "128"}),
        ((4, 500, 100.0, 44.5, 49.0), {"where": "eeg.high", "found": "44.5", "remedy": "eeg.rate"}),
        ((4, 199, 100.0, 0.5, 45.0), {"where": "EEG window", "expected": "200", "found": "199"}),
    ],
)
def test_windows_that_it_cannot_read_are_refused(arguments, facts) -> None:
    with fails(ConfigError, **facts):
        bands_for(*arguments)


def test_the_spec_holds_all_that_is_needed(fitted: TangentEncoder) -> None:
    config = with_settings(StudyConfig(), ["eeg.encoder=tangent", "eeg.low=4", "eeg.high=30", "eeg.width=16"])
    spec = encoder_spec("eeg", config, 5, {"channels": ["Fz", "Cz"], "samples": 500})
    model = build(spec)
    assert (model.feature_dim, len(model.get_buffer("filters"))) == (5, 4)  # 2 channels have 5 numbers in a band
    assert model.head.out_features == 5
