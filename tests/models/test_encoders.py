"""Properties of every encoder (eavdash/models/base.py): shapes, masks, scaling, saved weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from failing import fails
from torch import Tensor

from eavdash.config.presets import preset
from eavdash.config.schema import EegConfig, StudyConfig, VisionConfig
from eavdash.errors import ConfigError, IntegrityError
from eavdash.models.base import Encoder
from eavdash.models.build import build, encoder_spec, load_weights, save_weights

SHAPES = {
    "vision": {"frames": 3, "size": 64},
    "audio": {"frames": 120, "mels": 128},
    "eeg": {"channels": ["Fz", "Cz", "Pz"], "samples": 150},
}
CASES = [
    ("vision", "vit"),
    ("audio", "ast"),
    ("audio", "ast, mean"),
    ("eeg", "eegformer"),
    ("eeg", "yin"),
    ("eeg", "tangent"),
]


def config_for(modality: str, name: str) -> StudyConfig:
    if modality == "eeg":
        return StudyConfig(eeg=EegConfig(encoder=name, low=2.0))
    quick = StudyConfig()
    return replace(quick, audio=replace(quick.audio, pool="mean")) if name == "ast, mean" else quick


def make(modality: str, name: str, classes: int = 4) -> Encoder:
    torch.manual_seed(0)
    config = config_for(modality, name)
    model = build(encoder_spec(modality, config, classes, SHAPES[modality]))
    assert isinstance(model, Encoder)
    return model.eval()


def batch(modality: str, windows: int = 2) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    if modality == "vision":
        return torch.rand(windows, 3, 3, 64, 64, generator=random), torch.ones(windows, 3, dtype=torch.bool)
    if modality == "audio":
        return torch.randn(windows, 120, 128, generator=random) - 4, torch.ones(windows, 120, dtype=torch.bool)
    return torch.randn(windows, 3, 150, generator=random), torch.ones(windows, 150, dtype=torch.bool)


def spoil(x: Tensor, hidden: Tensor, modality: str) -> Tensor:
    """Replace the masked values of ``x`` by absurd ones."""
    axis = 2 if modality == "eeg" else 1
    shape = [len(x)] + [1] * (x.ndim - 1)
    shape[axis] = x.shape[axis]
    return torch.where(hidden.view(shape), torch.full_like(x, 1e6), x)


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_shapes(modality: str, name: str) -> None:
    model = make(modality, name)
    x, mask = batch(modality)
    made = model(x, mask)
    tokens = {"vit": 3, "tangent": 6}.get(name, 1)
    assert made.tokens.shape == (2, tokens, model.feature_dim)
    assert made.mask.shape == (2, tokens)
    assert made.mask.dtype == torch.bool
    assert made.logits.shape == (2, 4)
    assert (made.frame_logits is not None) == (modality == "vision")
    assert model.feature_dim <= 128


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_masked_content_changes_nothing(modality: str, name: str) -> None:
    model = make(modality, name)
    x, mask = batch(modality)
    mask[:, -(mask.shape[1] // 3) :] = False
    with torch.no_grad():
        first, second = model(x, mask), model(spoil(x, ~mask, modality), mask)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.tokens[first.mask], second.tokens[second.mask])


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_an_empty_window_gives_no_nan_in_either_mode(modality: str, name: str) -> None:
    model = make(modality, name)
    x, mask = batch(modality)
    mask[0] = False
    for mode in (True, False):
        model.train(mode)
        made = model(x, mask)
        assert made.logits.isfinite().all()
        assert not made.mask[0].any()
        assert made.mask[1].all()
        made.logits.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_scaling_undoes_gain_and_offset(modality: str, name: str) -> None:
    model = make(modality, name)
    x, mask = batch(modality)
    model.set_scaling(torch.zeros(()).expand_as(model.get_buffer("shift")), torch.ones_like(model.get_buffer("scale")))
    with torch.no_grad():
        plain = model(x, mask).logits
        model.set_scaling(torch.full_like(model.shift, 3.0), torch.full_like(model.scale, 2.0))
        scaled = model(2 * x + 3, mask).logits
    assert torch.allclose(plain, scaled, atol=1e-4)


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_weights_come_back_bit_for_bit(modality: str, name: str, tmp_path: Path) -> None:
    model = make(modality, name)
    model.set_scaling(torch.full_like(model.shift, 0.25), torch.full_like(model.scale, 2.0))
    save_weights(model, tmp_path / "model.safetensors")
    config = config_for(modality, name)
    torch.manual_seed(99)
    other = load_weights(build(encoder_spec(modality, config, 4, SHAPES[modality])), tmp_path / "model.safetensors")
    x, mask = batch(modality)
    with torch.no_grad():
        assert torch.equal(model(x, mask).logits, other.eval()(x, mask).logits)


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_same_seed_same_model(modality: str, name: str) -> None:
    first, second = make(modality, name).state_dict(), make(modality, name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_weights(make("eeg", "yin"), tmp_path / "model.safetensors")
    with fails(IntegrityError, where="model.safetensors", found=("EEGformer", "usual_power")):
        load_weights(make("eeg", "eegformer"), tmp_path / "model.safetensors")


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_weights_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.safetensors"
    if damage == "truncated":
        save_weights(make("eeg", "eegformer"), path)
        path.write_bytes(path.read_bytes()[:1000])
    with fails(IntegrityError, where=str(path)):
        load_weights(make("eeg", "eegformer"), path)


def test_a_spec_of_another_version_is_refused() -> None:
    with fails(ConfigError, where="vit", found="colour"):
        build({"name": "vit", "kwargs": {"classes": 3, "colour": "blue"}})
    with fails(ConfigError, found="resnet", expected=("vit", "ast", "eegformer")):
        build({"name": "resnet", "kwargs": {}})


def test_vision_window_without_temporal_layers_is_the_geometric_mean_of_its_valid_frames() -> None:
    config = StudyConfig(vision=VisionConfig(temporal=0))
    model = build(encoder_spec("vision", config, 4, SHAPES["vision"])).eval()
    x, mask = batch("vision")
    mask[0, 2] = False
    made = model(x, mask)
    p = made.frame_logits.softmax(-1)[0, :2]
    expected = p.prod(dim=0).sqrt()
    assert torch.allclose(made.logits.softmax(-1)[0], expected / expected.sum(), atol=1e-6)


def test_published_sizes() -> None:
    config = preset("paper")
    vision = encoder_spec("vision", config, 5, {"frames": 25, "size": 224})
    vision["kwargs"]["depth"] = 1
    vit = build(vision)
    assert vit.vit.pos_embed.shape == (1, 197, 768)
    assert vit.vit.norm.eps == 1e-12
    audio = encoder_spec("audio", config, 5, {"frames": 498, "mels": 128})
    audio["kwargs"]["depth"] = 1
    ast = build(audio)
    assert ast.ast.pos_embed.shape == (1, 1214, 768)
    assert ast.grid == (12, 101)


def test_published_padding_is_a_log_energy_of_zero_before_scaling() -> None:
    config = preset("paper")
    config = replace(config, audio=replace(config.audio, width=16, depth=1, heads=2))
    model = build(encoder_spec("audio", config, 5, {"frames": 498, "mels": 128})).eval()
    seen = []
    handle = model.ast.patch_embed.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.randn(1, 498, 128), torch.ones(1, 498, dtype=torch.bool))
    handle.remove()
    assert seen[0].shape == (1, 1, 128, 1024)
    assert torch.allclose(seen[0][..., 498:], torch.tensor(0.4670), atol=1e-4)


def test_short_sound_uses_the_middle_of_the_position_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset("paper")
    sizes = {"mels": 128, "frames": 1024, "stride": 10, "width": 16, "depth": 1, "heads": 2}
    monkeypatch.setattr("eavdash.models.build.architecture", lambda path, modality: sizes)
    config = replace(config, audio=replace(config.audio, frames=0, weights="somewhere"))
    model = build(encoder_spec("audio", config, 5, {"frames": 498, "mels": 128})).eval()
    grid = model.ast.pos_embed[:, 2:].unflatten(1, (12, 101))
    assert torch.equal(model._positions(12 * 49)[:, 2:], grid[:, :, 26:75].flatten(1, 2))
    assert torch.equal(model._positions(12 * 101), model.ast.pos_embed)
    with fails(ConfigError, where="audio window", expected="101", found="119"):
        model(torch.randn(1, 1200, 128), torch.ones(1, 1200, dtype=torch.bool))


def test_bands_distinguish_frequencies_that_the_mean_confuses() -> None:
    """Without positions the mean of patches is the same for a low and a high sound; both ignore a shift in time."""
    low, high = torch.full((1, 120, 128), -4.0), torch.full((1, 120, 128), -4.0)
    low[:, 16:64, 16:32], high[:, 16:64, 96:112] = 4.0, 4.0
    later = low.roll(48, dims=1)
    mask = torch.ones(1, 120, dtype=torch.bool)
    for name, differs in (("ast, mean", False), ("ast", True)):
        model = make("audio", name)
        torch.nn.init.zeros_(model.get_parameter("ast.pos_embed"))
        with torch.no_grad():
            tokens = [model(x, mask).tokens for x in (low, high, later)]
        assert bool((tokens[0] - tokens[1]).abs().max() > 1e-3) is differs
        torch.testing.assert_close(tokens[2], tokens[0], rtol=0, atol=1e-5)


def test_the_layer_that_joins_the_bands_is_trained_with_the_head() -> None:
    model = make("audio", "ast")
    x, mask = batch("audio")
    features = model.forward_features(x, mask)
    assert features is not None
    assert features.shape == (2, 2 * 8, model.feature_dim)  # mean and spread at each of 8 frequencies
    torch.testing.assert_close(model.forward_head(features, mask).logits, model(x, mask).logits)
    assert model.new_parts == (model.get_submodule("bands"), model.head)
    mean = make("audio", "ast, mean")
    assert mean.new_parts == (mean.head,)


def test_windows_longer_than_the_configured_spectrogram_are_refused() -> None:
    with fails(ConfigError, where="audio.frames", expected="1998", found="1024"):
        encoder_spec("audio", preset("paper"), 5, {"frames": 1998, "mels": 128})
