"""Attention inside encoders: rows that sum to one, places that move with the input, models that stay as they were."""

from __future__ import annotations

import pytest
import torch
from failing import fails
from torch import Tensor

from eavdash.errors import UsageError
from eavdash.explain.attributions import Output, Points
from eavdash.explain.fused import FusedModel
from eavdash.explain.method_registry import METHODS
from eavdash.explain.methods.asked import Asked
from eavdash.explain.methods.attention_rollout import attention_rollout, rollout
from eavdash.explain.methods.attention_weights import own_attention, timm_attention
from eavdash.explain.methods.electrode_attention import electrode_attention, received
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.base import Encoder
from eavdash.models.eegformer import EEGformer
from eavdash.models.layers import SelfAttention
from eavdash.models.timm_vit import TimmViT
from eavdash.models.vit import FrameViT


def vit() -> FrameViT:
    torch.manual_seed(0)
    made = FrameViT(classes=3, size=32, patch=8, width=16, depth=3, heads=2)
    for block in made.vit.blocks:  # type: ignore[union-attr]  # of timm
        torch.nn.init.normal_(block.attn.qkv.weight)  # so that attention is far from uniform
    return made


def ast(pool: str) -> AudioSpectrogramTransformer:
    torch.manual_seed(0)
    return AudioSpectrogramTransformer(3, mels=32, frames=64, stride=16, width=16, depth=2, heads=2, pool=pool)


def eegformer(channels: int = 4) -> EEGformer:
    torch.manual_seed(0)
    made = EEGformer(3, channels, filters=2, width=8, depth=2, heads=2)
    for parameter in made.synchronous.parameters():
        torch.nn.init.normal_(parameter)  # so that attention is far from uniform
    return made.eval()


def asked(modality: str, encoder: Encoder, x: Tensor, mask: Tensor) -> Asked:
    model = FusedModel({modality: encoder}, None)
    return Asked(model, {modality: x}, {modality: mask}, Output(0), {}, Points(2, 2))


def faces(seed: int = 0, frames: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.rand(1, frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return x, torch.ones(1, frames, dtype=torch.bool)


def test_rollout_multiplies_layers_with_their_residuals_and_rows_sum_to_one() -> None:
    random = torch.Generator().manual_seed(0)
    layers = [torch.rand(2, 5, 5, generator=random).softmax(dim=-1) for _ in range(3)]
    found = rollout(layers)
    assert torch.allclose(found.sum(dim=-1), torch.ones(2, 5, dtype=torch.float64))
    eye = torch.eye(5)
    first, second, third = ((each[1] + eye) / 2 for each in layers)
    assert torch.allclose(found[1].float(), third @ second @ first, atol=1e-6)
    assert not torch.allclose(found[1].float(), first @ second @ third, atol=1e-3), "the order of layers matters"


def test_a_vit_shows_where_each_frame_is_looked_at() -> None:
    x, mask = faces()
    mask[0, 2] = False
    encoder = vit()
    found = attention_rollout(asked("vision", encoder, x, mask)).values["vision"]
    assert found.shape == (1, 3, 32, 32)
    assert found.sum(dim=(2, 3))[0].tolist() == pytest.approx([0.5, 0.5, 0], abs=1e-6)
    assert (found >= 0).all()
    patches = found.unfold(2, 8, 8).unfold(3, 8, 8)
    assert (patches == patches[..., :1, :1]).all(), "a patch has one colour"
    assert patches[0, 0, :, :, 0, 0].std() > 0


def test_swapped_patches_swap_their_shares() -> None:
    encoder = vit()
    with torch.no_grad():
        encoder.vit.get_parameter("pos_embed").zero_()
    x, mask = faces(frames=1)
    swapped = x.clone()
    swapped[..., :8, :8], swapped[..., 16:24, 8:16] = x[..., 16:24, 8:16], x[..., :8, :8]
    one, other = (
        attention_rollout(asked("vision", encoder, each, mask)).values["vision"][0, 0] for each in (x, swapped)
    )
    assert one[0, 0] == pytest.approx(float(other[16, 8]), rel=1e-4)
    assert other[0, 0] == pytest.approx(float(one[16, 8]), rel=1e-4)
    assert one[0, 0] != pytest.approx(float(one[16, 8]), rel=1e-3)


@pytest.mark.parametrize("pool", ["class", "mean", "bands"])
def test_an_ast_shows_when_and_at_which_frequencies(pool: str) -> None:
    x = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, 64, dtype=torch.bool)
    found = attention_rollout(asked("audio", ast(pool), x, mask)).values["audio"]
    assert found.shape == x.shape
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    blocks = found.unfold(1, 16, 16).unfold(2, 16, 16)  # (1, 4 in time, 2 in frequency, 16, 16)
    assert torch.allclose(blocks, blocks[..., :1, :1].expand_as(blocks))
    mask[:, 32:] = False
    padded = attention_rollout(asked("audio", ast(pool), x, mask)).values["audio"]
    assert (padded[:, 32:] == 0).all()
    assert 0 < float(padded.sum()) < 1


def test_a_louder_moment_moves_the_rows_of_time_not_of_frequency() -> None:
    """The map of a spectrogram whose halves in time were swapped is the swapped map: axes are not mixed up."""
    encoder = ast("class")
    with torch.no_grad():
        encoder.ast.get_parameter("pos_embed").zero_()
    x = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(1, 64, dtype=torch.bool)
    one = attention_rollout(asked("audio", encoder, x, mask)).values["audio"]
    moved = torch.cat([x[:, 32:], x[:, :32]], dim=1)
    other = attention_rollout(asked("audio", encoder, moved, mask)).values["audio"]
    assert torch.allclose(other, torch.cat([one[:, 32:], one[:, :32]], dim=1), atol=1e-7)
    assert not torch.allclose(other, one, atol=1e-7)


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "vit_tiny_patch16_224"])
def test_models_of_timm_that_the_registry_offers(name: str) -> None:
    assert not METHODS["attention_rollout"].lacking({"vision": f"timm:{name}"})
    found = attention_rollout(asked("vision", TimmViT(3, name, 32), *faces(frames=1))).values["vision"]
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_reading_attention_leaves_the_model_as_it_was() -> None:
    encoder, (x, mask) = vit().eval(), faces()
    blocks = encoder.vit.blocks
    before = [block.attn.fused_attn for block in blocks]
    blocks[1].attn.fused_attn = False  # by choice
    expected = encoder(x, mask).logits
    with timm_attention(blocks) as layers:
        assert not any(block.attn.fused_attn for block in blocks)
        assert torch.allclose(encoder(x, mask).logits, expected, atol=1e-5)
    assert [tuple(each.shape) for each in layers] == [(3, 17, 17)] * 3
    assert torch.allclose(torch.stack(layers).sum(dim=-1), torch.ones(3, 3, 17), atol=1e-5)
    with pytest.raises(RuntimeError, match="stop"), timm_attention(blocks):
        raise RuntimeError("stop")
    assert [block.attn.fused_attn for block in blocks] == [before[0], False, before[2]]
    assert not any(block.attn.attn_drop._forward_pre_hooks for block in blocks)
    assert torch.equal(encoder(x, mask).logits, expected)
    assert len(layers) == 3, "nothing is kept after the block"


def test_weights_of_our_own_layers_are_those_that_they_use() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(8, 1), torch.randn(2, 5, 8)
    with own_attention([layer]) as layers:
        output = layer(x)
    values = layer.qkv(x)[..., 16:]
    assert torch.allclose(layer.proj(layers[0] @ values), output, atol=1e-5)
    assert not layer._forward_pre_hooks


def eeg(channels: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.randn(1, channels, 100, generator=torch.Generator().manual_seed(3))
    return x, torch.ones(1, 100, dtype=torch.bool)


def test_each_electrode_has_its_share_of_attention() -> None:
    encoder, (x, mask) = eegformer(), eeg()
    mask[:, 80:] = False
    shares = received(encoder, x, mask)
    assert shares.shape == (4,)
    assert float(shares.sum()) == pytest.approx(1)
    assert shares.std() > 1e-3
    found = electrode_attention(asked("eeg", encoder, x, mask))
    values = found.values["eeg"]
    assert values.shape == x.shape
    assert torch.allclose(values.sum(dim=2)[0].double(), shares, atol=1e-6)
    assert (values[:, :, 80:] == 0).all()
    assert found.completeness is None
    assert found.spectrum is None


def test_swapped_electrodes_swap_their_attention() -> None:
    encoder, (x, mask) = eegformer(), eeg()
    with torch.no_grad():
        encoder.channel_positions.zero_()
    order = [2, 1, 0, 3]
    one, other = received(encoder, x, mask), received(encoder, x[:, order], mask)
    assert torch.allclose(other, one[order], atol=1e-6)
    assert not torch.allclose(other, one, atol=1e-4)


def test_a_window_without_the_recording_has_no_map() -> None:
    model = FusedModel({"vision": vit(), "eeg": eegformer()}, None)
    x, mask = eeg()
    no_faces = Asked(model, {"eeg": x}, {"eeg": mask}, Output(0), {}, Points(2, 2))
    assert attention_rollout(no_faces).values == {}
    assert set(electrode_attention(no_faces).values) == {"eeg"}


def test_encoders_without_such_attention_are_named() -> None:
    rolled, electrodes = METHODS["attention_rollout"], METHODS["electrode_attention"]
    assert not rolled.lacking({"vision": "vit", "audio": "voice"})
    assert not rolled.lacking({"audio": "ast"})
    assert not rolled.lacking({"vision": "timm:vit_small_patch16_dinov3"})
    assert not electrodes.lacking({"eeg": "eegformer"})
    for name in ("timm:xcit_nano_12_p16_224", "timm:vit_base_patch16_siglip_224", "table"):
        assert f"vision {name}" in rolled.lacking({"vision": name, "audio": "voice"})
    assert rolled.lacking({"eeg": "eegformer"}).startswith(
        "Attention rollout reads the attention inside encoders vit or ast"
    )
    assert "eeg tangent" in electrodes.lacking({"eeg": "tangent"})
    assert not METHODS["saliency"].lacking({"eeg": "tangent"})
    with fails(UsageError, where="attention_rollout", found="EEGformer"):
        attention_rollout(asked("eeg", eegformer(), *eeg()))
    with fails(UsageError, where="electrode_attention", found="FrameViT"):
        electrode_attention(asked("eeg", vit(), *faces()))
