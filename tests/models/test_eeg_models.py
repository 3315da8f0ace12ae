"""EEG encoders: EEGformer's filters, log-power and learning from little data; blocks of the published encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from failing import fails
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.errors import ConfigError
from eavdash.models.eegformer import EEGformer
from eavdash.models.layers import Block
from eavdash.models.yin import YinEncoder


def full(x: Tensor) -> Tensor:
    return torch.ones(x.shape[0], x.shape[2], dtype=torch.bool)


@pytest.mark.parametrize(("channels", "samples"), [(1, 59), (3, 60), (30, 500), (64, 333)])
def test_eegformer_takes_any_channels_and_length(channels: int, samples: int) -> None:
    x = torch.randn(2, channels, samples)
    assert EEGformer(3, channels).eval()(x, full(x)).logits.shape == (2, 3)


def test_eegformer_names_the_shortest_window() -> None:
    x = torch.randn(2, 4, 58)
    with fails(ConfigError, expected="59", found="58", remedy=("eeg.rate", "eeg.width")):
        EEGformer(3, 4)(x, full(x))


def test_composed_kernel_is_the_three_convolutions() -> None:
    torch.manual_seed(0)
    model = EEGformer(3, 2)
    x = torch.randn(5, 1, 200)
    layered = F.conv1d(x, model.kernels[0])
    for kernel in list(model.kernels)[1:]:
        layered = F.conv1d(layered, kernel, groups=len(kernel))
    assert torch.allclose(F.conv1d(x, model._kernel()), layered, atol=1e-5)


def test_padding_does_not_count_as_silence() -> None:
    torch.manual_seed(0)
    model = EEGformer(3, 4).train()
    x = torch.randn(8, 4, 400)
    for _ in range(3):
        model(x, full(x))
    model.eval()
    mask = full(x)
    mask[:, 200:] = False
    with torch.no_grad():
        whole, half = model._log_power(x, full(x)), model._log_power(x, mask)
    assert torch.equal(half[..., 20:], torch.zeros_like(half[..., 20:]))
    assert (half[..., :14].mean() - whole[..., :14].mean()).abs() < 1e-5


def oscillations(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Windows (30 channels, 300 samples, 100 Hz, volt) of pink noise; each of 3 classes has its rhythm."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(300, 0.01)
    spectrum = rng.normal(size=(count, 30, 151)) + 1j * rng.normal(size=(count, 30, 151))
    x = np.fft.irfft(spectrum * (frequency > 0.5) / np.sqrt(np.maximum(frequency, 0.5)), 300)
    x /= x.std()
    labels = np.arange(count) % 3
    for i, label in enumerate(labels):
        noise = np.fft.rfft(rng.normal(size=(1, 300)))
        low, high = ((4, 7), (9, 13), (18, 26))[label]
        rhythm = np.fft.irfft(noise * ((frequency >= low) & (frequency <= high)), 300)
        x[i, 4 * label : 4 * label + 3] += rhythm / rhythm.std()
    return torch.tensor(x * 1e-5, dtype=torch.float32), torch.tensor(labels)


def test_eegformer_learns_band_power_from_few_windows() -> None:
    x, labels = oscillations(60, seed=1)
    new, wanted = oscillations(90, seed=2)
    torch.manual_seed(0)
    model = EEGformer(3, 30)
    model.set_scaling(x.mean((0, 2)), x.std((0, 2)))
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(15):
        for rows in torch.randperm(60).split(15):
            loss = F.cross_entropy(model(x[rows], full(x[rows])).logits, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(new, full(new)).logits.argmax(1) == wanted).double().mean()
    assert accuracy > 0.6  # chance is 1/3, and 0.48 is the 1 % point of guessing 90 times


def fill(module: nn.Module) -> None:
    """Fill every parameter with random values: zero biases and unit norms would hide swapped tensors."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)


@pytest.mark.parametrize("norm_first", [False, True])
def test_block_equals_torchs_encoder_layer(norm_first: bool) -> None:
    torch.manual_seed(0)
    ours = Block(12, 4, 3, 0.0, norm_first=norm_first, activation=nn.ReLU)
    fill(ours)
    theirs = nn.TransformerEncoderLayer(12, 4, 3, 0.0, batch_first=True, norm_first=norm_first)
    state = {
        "self_attn.in_proj_weight": ours.attention.qkv.weight,
        "self_attn.in_proj_bias": ours.attention.qkv.bias,
        "self_attn.out_proj.weight": ours.attention.proj.weight,
        "self_attn.out_proj.bias": ours.attention.proj.bias,
        "linear1.weight": ours.feedforward[0].weight,
        "linear1.bias": ours.feedforward[0].bias,
        "linear2.weight": ours.feedforward[3].weight,
        "linear2.bias": ours.feedforward[3].bias,
        **{f"{n}.{k}": getattr(getattr(ours, n), k) for n in ("norm1", "norm2") for k in ("weight", "bias")},
    }
    theirs.load_state_dict(state)
    x = torch.randn(2, 9, 12)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    theirs.train()  # without dropout the same numbers, by the plain path
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    masked = theirs(x, src_key_padding_mask=~mask)
    assert torch.allclose(ours(x, mask)[mask], masked[mask], atol=1e-5)


def test_published_encoder_is_as_published() -> None:
    model = YinEncoder(5, 30)
    assert [tuple(p.shape) for p in model.stem.parameters()] == [
        (30, 30, 11), (30,), (30,), (60, 30, 11), (60,), (60,),
    ]  # fmt: skip
    assert len(model.blocks) == 6
    assert model.blocks[0].feedforward[0].out_features == 3
    assert [m.out_features for m in model.head if isinstance(m, nn.Linear)] == [15, 5]
    assert model.feature_dim == 60
