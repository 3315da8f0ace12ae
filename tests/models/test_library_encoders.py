"""Encoders from libraries: they equal the library's own model, and refuse names and sizes that it lacks."""

from __future__ import annotations

import builtins
import importlib
import warnings
from pathlib import Path

import pytest
import timm
import torch
from failing import fails
from safetensors.torch import save_file
from torch import nn

from eavdash.config.schema import EegConfig, StudyConfig, VisionConfig
from eavdash.errors import ConfigError
from eavdash.models.base import Encoder
from eavdash.models.build import build, encoder_spec, load_weights, save_weights
from eavdash.models.timm_vit import TimmViT
from eavdash.models.weights import load_pretrained

CHANNELS, SAMPLES = 6, 500
#: The last two have more than one last layer.
EEG = ("EEGNet", "ShallowFBCSPNet", "Deep4Net", "EEGConformer", "SyncNet", "ATCNet", "BDTCN")
#: One small model of each kind and its image size.
VISION = (
    ("vit_tiny_patch16_224", 32),
    ("deit_tiny_distilled_patch16_224", 32),
    ("eva02_tiny_patch14_224", 28),
    ("xcit_nano_12_p16_224", 32),
)


def vision(name: str, size: int = 32, temporal: int = 0) -> Encoder:
    torch.manual_seed(0)
    config = StudyConfig(vision=VisionConfig(encoder=f"timm:{name}", size=size, temporal=temporal, dropout=0.0))
    model = build(encoder_spec("vision", config, 3, {"frames": 2, "size": size}))
    assert isinstance(model, Encoder)
    return model.eval()


def eeg(name: str, samples: int = SAMPLES) -> Encoder:
    torch.manual_seed(0)
    shape = {"channels": [f"E{i}" for i in range(CHANNELS)], "samples": samples}
    model = build(encoder_spec("eeg", StudyConfig(eeg=EegConfig(encoder=f"braindecode:{name}")), 3, shape))
    assert isinstance(model, Encoder)
    return model.eval()


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(4, CHANNELS, SAMPLES, generator=torch.Generator().manual_seed(1))
    return x, torch.ones(4, SAMPLES, dtype=torch.bool)


@pytest.mark.parametrize(("name", "size"), VISION)
def test_features_equal_timms(name: str, size: int, tmp_path: Path) -> None:
    theirs = timm.create_model(name, pretrained=False, num_classes=7, img_size=size).eval()
    with torch.no_grad():
        for tensor in theirs.parameters():  # zeros and ones would hide swapped tensors
            tensor.add_(0.05 * torch.randn_like(tensor))
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    ours = vision(name, size, temporal=1)
    left_out = load_pretrained(ours, tmp_path)
    assert all(n.startswith("head") for n in left_out)
    assert left_out
    frames = torch.rand(2, 3, 3, size, size)
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(ours.scaled(frames).flatten(0, 1)), pre_logits=True)
        found = ours.forward_features(frames, torch.ones(2, 3, dtype=torch.bool))
    assert found is not None
    assert (found.flatten(0, 1) - expected).abs().max() <= 1e-5
    assert ours(frames, torch.ones(2, 3, dtype=torch.bool)).ordered


@pytest.mark.parametrize("change", ["unknown", "missing", "shape"])
def test_every_tensor_of_a_timm_file_is_accounted_for(change: str, tmp_path: Path) -> None:
    model = vision("vit_tiny_patch16_224")
    assert isinstance(model, TimmViT)
    tensors = {k: v.clone() for k, v in model.vit.state_dict().items()}
    if change == "unknown":
        tensors["adapter.weight"] = torch.zeros(2)
    elif change == "missing":
        del tensors["blocks.3.attn.proj.bias"]
    else:
        tensors["pos_embed"] = torch.zeros(1, 197, 96)
    save_file(tensors, tmp_path / "model.safetensors")
    facts: dict[str, dict[str, str | tuple[str, ...]]] = {
        "unknown": {"found": "adapter.weight"},
        "missing": {"found": "blocks.3.attn.proj.bias"},
        "shape": {"expected": "pos_embed", "found": "197"},
    }
    with fails(ConfigError, where="model.safetensors", remedy="vision.size", **facts[change]):
        load_pretrained(model, tmp_path)


def test_a_timm_model_has_its_own_pixel_scaling() -> None:
    model = vision("deit_tiny_patch16_224")
    assert torch.allclose(model.get_buffer("shift").flatten(), torch.tensor([0.485, 0.456, 0.406]))


@pytest.mark.parametrize(
    ("name", "size", "facts"),
    [
        ("vit_tiny_patch16_244", 32, {"where": "vision.encoder", "remedy": "vit_tiny_patch16_224"}),
        ("resnet18", 32, {"where": "vision.encoder", "found": ("'resnet18'", "kind")}),
        ("vit_tiny_patch16_224", 40, {"where": "vision.size", "found": ("40", "16 pixels")}),
    ],
)
def test_names_and_sizes_that_timm_lacks_are_refused(name: str, size: int, facts: dict) -> None:
    with fails(ConfigError, **facts):
        vision(name, size)


def test_settings_of_our_own_vit_do_not_apply_to_a_timm_model() -> None:
    StudyConfig(vision=VisionConfig(encoder="timm:vit_small_patch14_dinov2", size=518))
    with fails(ConfigError, where="vision.size", found="518"):
        StudyConfig(vision=VisionConfig(size=518))


@pytest.mark.parametrize("name", EEG)
def test_logits_equal_braindecodes(name: str) -> None:
    pytest.importorskip("braindecode")
    ours = eeg(name)
    torch.manual_seed(0)
    made_there = importlib.import_module("braindecode.models").__dict__[name]
    with warnings.catch_warnings(action="ignore"):  # about its own defaults
        theirs = made_there(n_chans=CHANNELS, n_outputs=3, n_times=SAMPLES, sfreq=100.0).eval()
    x, mask = windows()
    with torch.no_grad():
        made, expected = ours(x, mask), theirs(x)
    assert expected.std() > 0
    assert torch.allclose(made.logits, expected, atol=1e-6)
    assert made.tokens.shape == (4, 1, ours.feature_dim)
    assert torch.equal(made.logits, ours.head(made.tokens.view(4, *ours.net(x).shape[1:])).flatten(1))


@pytest.mark.parametrize("name", EEG)
def test_a_braindecode_model_is_an_encoder_like_any_other(name: str, tmp_path: Path) -> None:
    pytest.importorskip("braindecode")
    model = eeg(name)
    x, mask = windows()
    mask[:2, 200:] = False
    spoilt = torch.where(mask[:, None], x, torch.full_like(x, 1e6))
    with torch.no_grad():
        made = model(x, mask)
        assert torch.equal(made.logits, model(spoilt, mask).logits)
    save_weights(model, tmp_path / "model.safetensors")
    torch.manual_seed(3)
    spec = {"classes": 3, "model": name, "channels": CHANNELS, "samples": SAMPLES, "rate": 100.0}
    other = load_weights(build({"name": "braindecode", "kwargs": spec}), tmp_path / "model.safetensors").eval()
    with torch.no_grad():
        assert torch.equal(made.logits, other(x, mask).logits)
    model.train()
    model(x, mask).logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for m in model.new_parts for p in m.parameters())
    assert load_pretrained(other, tmp_path) == []


@pytest.mark.parametrize(
    ("name", "samples", "facts"),
    [
        ("EEGnet", SAMPLES, {"where": "eeg.encoder", "found": "'EEGnet'", "remedy": "EEGNet"}),
        ("NeuroPose", SAMPLES, {"where": "braindecode:NeuroPose"}),
        ("SignalJEPA", SAMPLES, {"where": "braindecode:SignalJEPA", "found": "E0"}),
        ("REVE", SAMPLES, {"where": "braindecode:REVE", "remedy": "REVE_POSITIONS_PATH"}),
    ],
)
def test_unusable_braindecode_models_are_refused(name: str, samples: int, facts: dict) -> None:
    pytest.importorskip("braindecode")
    with fails(ConfigError, **facts):
        eeg(name, samples)


def test_the_error_without_the_extra_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("braindecode"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with fails(ConfigError, where="eeg.encoder", remedy="pip install 'eavdash[braindecode]'"):
        eeg("EEGNet")


def test_encoder_names_need_a_library_and_a_model() -> None:
    assert isinstance(vision("vit_tiny_patch16_224").vit, nn.Module)
    for encoder in ("timm:", "resnet"):
        with fails(ConfigError, where="vision.encoder", found=encoder):
            StudyConfig(vision=VisionConfig(encoder=encoder))
