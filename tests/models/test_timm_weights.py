"""Weights of timm's models at another image size, and its convolutional families, equal timm's own forward pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from failing import fails
from safetensors.torch import save_file

from eavdash.errors import ConfigError
from eavdash.explain.attributions import integrated_gradients
from eavdash.explain.fused import FusedModel
from eavdash.models.timm_vit import TimmViT
from eavdash.models.weights import load_pretrained

#: Models with tables of positions (absolute, with registers or a distillation token, relative) or rotations, with the
#: size of their file and another one.
SIZES = (
    ("vit_small_patch14_reg4_dinov2", 70, 56),
    ("vit_small_patch16_dinov3", 32, 48),
    ("deit_tiny_distilled_patch16_224", 224, 64),
    ("vit_relpos_small_patch16_224", 32, 48),
)
CONVOLUTIONAL = ("convnext_atto", "efficientnet_b0", "mobilenetv3_small_050")


def saved(path: Path, name: str, prefix: str = "", **size: int) -> Any:
    """Write weights of a timm model without zeros and ones, which would hide swapped tensors; return the model."""
    torch.manual_seed(0)
    theirs: Any = timm.create_model(name, pretrained=False, num_classes=7, **size).eval()
    with torch.no_grad():
        for tensor in theirs.parameters():
            tensor.add_(0.05 * torch.randn_like(tensor))
    save_file({prefix + k: v.clone().contiguous() for k, v in theirs.state_dict().items()}, path)
    return theirs


def loaded(path: Path, name: str, size: int, temporal: int = 0) -> TimmViT:
    with torch.device("meta"):
        planned = TimmViT(3, name, size, temporal=temporal)
    left_out = load_pretrained(planned, path, values=False)
    ours = TimmViT(3, name, size, temporal=temporal).eval()
    assert load_pretrained(ours, path) == left_out
    assert left_out
    assert all("head" in n or "classifier" in n for n in left_out)
    return ours


def features(model: Any, images: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
    return found


@pytest.mark.filterwarnings("ignore")  # of timm's interpolation of relative positions
@pytest.mark.parametrize(("name", "size", "other"), SIZES)
def test_weights_load_at_another_size_as_timm_loads_them(name: str, size: int, other: int, tmp_path: Path) -> None:
    theirs = saved(tmp_path / "model.safetensors", name, img_size=size)
    ours = loaded(tmp_path / "model.safetensors", name, other)
    same: Any = timm.create_model(name, pretrained=False, num_classes=7, img_size=other).eval()
    module = sys.modules[type(same).__module__]
    convert = getattr(module, "checkpoint_filter_fn", timm.models.vision_transformer.checkpoint_filter_fn)
    same.load_state_dict(convert(theirs.state_dict(), same))
    frames = torch.rand(2, 2, 3, other, other)
    with torch.no_grad():
        expected = features(same, ours.scaled(frames).flatten(0, 1))
        found = ours.forward_features(frames, torch.ones(2, 2, dtype=torch.bool))
    assert expected.std() > 0.01
    assert (found.flatten(0, 1) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_models_give_one_token_per_frame(name: str, tmp_path: Path) -> None:
    theirs = saved(tmp_path / "model.safetensors", name, prefix="model.backbone.")
    ours = loaded(tmp_path / "model.safetensors", name, 72, temporal=1)
    frames, mask = torch.rand(2, 3, 3, 72, 72), torch.ones(2, 3, dtype=torch.bool)
    with torch.no_grad():
        expected = features(theirs, ours.scaled(frames).flatten(0, 1))
        found = ours.forward_features(frames, mask)
        made = ours(frames, mask)
    assert expected.std() > 0.01
    assert (found.flatten(0, 1) - expected).abs().max() <= 1e-5
    assert made.tokens.shape == (2, 3, ours.feature_dim)
    assert made.ordered


def test_padded_frames_do_not_enter_batch_statistics() -> None:
    torch.manual_seed(0)
    ours = TimmViT(3, "mobilenetv3_small_050", 64).train()
    frames, mask = torch.rand(2, 4, 3, 64, 64), torch.tensor([[True] * 4, [True, True, False, False]])
    spoilt = torch.where(mask[:, :, None, None, None], frames, torch.full_like(frames, 1e6))
    state = {k: v.clone() for k, v in ours.state_dict().items()}
    ours(frames, mask)
    usual = {k: v.clone() for k, v in ours.state_dict().items()}
    ours.load_state_dict(state)
    ours(spoilt, mask)
    assert all(torch.equal(usual[k], v) for k, v in ours.state_dict().items())
    ours.eval()
    assert ours(frames, torch.zeros_like(mask)).logits.isfinite().all()


def test_attributions_of_a_model_without_tokens_are_complete(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors", "convnext_atto")
    ours = loaded(tmp_path / "model.safetensors", "convnext_atto", 32, temporal=1)
    frames, mask = torch.rand(1, 2, 3, 32, 32), torch.ones(1, 2, dtype=torch.bool)
    found, completeness = integrated_gradients(
        FusedModel({"vision": ours}, None), {"vision": frames}, {"vision": mask}, 1, steps=32
    )
    assert found["vision"].shape == (1, 2, 32, 32)
    assert found["vision"].abs().sum() > 0
    assert completeness.relative_gap < 0.05


@pytest.mark.parametrize(
    ("name", "size", "facts"),
    [
        ("vit_small_patch14_dinov2", 96, {"found": ("96", "14 pixels"), "remedy": "vision.size=98"}),
        ("vit_small_patch16_dinov3", 100, {"found": ("100", "16 pixels"), "remedy": "vision.size=96"}),
        ("convnext_atto", 16, {"found": "16", "remedy": "32"}),
    ],
)
def test_sizes_that_do_not_fit_name_one_that_does(name: str, size: int, facts: dict) -> None:
    with fails(ConfigError, where="vision.size", **facts):
        TimmViT(3, name, size)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "model.safetensors", "mobilenetv3_small_050")
    with fails(ConfigError, where="model.safetensors", remedy="same timm model"):
        load_pretrained(TimmViT(3, "convnext_atto", 64), tmp_path)
