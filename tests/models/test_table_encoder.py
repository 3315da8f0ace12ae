"""The encoder of tables of features: masks, order, outliers, saved weights, and what it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from failing import fails
from torch import Tensor

from eavdash.config.schema import StudyConfig, VisionConfig
from eavdash.errors import ConfigError
from eavdash.models.base import EncoderOutput
from eavdash.models.build import build, encoder_spec, fusion_spec, load_weights, save_weights
from eavdash.models.table import TableTransformer
from eavdash.models.weights import load_pretrained

COLUMNS = ("a", "b", "c")
CONFIG = StudyConfig(vision=VisionConfig(encoder="table", width=16, depth=2, heads=2, dropout=0.0))


def make(seed: int = 0) -> TableTransformer:
    torch.manual_seed(seed)
    model = build(encoder_spec("vision", CONFIG, 3, {"columns": COLUMNS, "frames": 23}))
    assert isinstance(model, TableTransformer)
    return model.eval()


def windows(count: int = 4, length: int = 23) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(count, length, len(COLUMNS), generator=random), torch.ones(count, length, dtype=torch.bool)


def test_there_is_a_token_for_each_fifth_of_a_second() -> None:
    out: EncoderOutput = make()(*windows())
    assert out.tokens.shape == (4, 5, 16)
    assert out.mask.all()
    assert out.logits.shape == (4, 3)
    assert out.frame_logits is None


def test_masked_rows_are_never_read() -> None:
    model = make()
    x, mask = windows()
    mask[0, 3:9] = False
    mask[1, 5:10] = False  # a whole step
    with torch.no_grad():
        out = model(x, mask)
        other = model(torch.where(mask[:, :, None], x, torch.nan), mask)
        short = model(x[:, :20], mask[:, :20])
        padded = model(x, mask & (torch.arange(23) < 20))
    assert torch.equal(out.logits, other.logits)
    assert out.mask[1].tolist() == [True, False, True, True, True]
    assert torch.allclose(short.logits, padded.logits, atol=1e-6)


def test_a_window_without_any_row_has_finite_logits_and_no_token() -> None:
    model = make()
    x, mask = windows()
    mask[2] = False
    out = model(x.requires_grad_(), mask)
    assert not out.mask[2].any()
    assert out.logits.isfinite().all()
    (gradient,) = torch.autograd.grad(out.logits.sum(), x)
    assert gradient.isfinite().all()
    assert (gradient[2] == 0).all()


def test_the_order_of_steps_matters_and_that_within_a_step_does_not() -> None:
    model = make()
    x, mask = windows(length=25)
    within = x.unflatten(1, (5, 5))[:, :, [3, 1, 0, 4, 2]].flatten(1, 2)
    turned = x.unflatten(1, (5, 5)).flip(1).flatten(1, 2)
    with torch.no_grad():
        out = model(x, mask)
        assert torch.allclose(model(within, mask).logits, out.logits, atol=1e-5)
        assert not torch.allclose(model(turned, mask).logits, out.logits, atol=1e-4)


def test_one_wild_number_does_not_decide() -> None:
    model = make()
    x, mask = windows()
    wild = x.clone()
    wild[:, 0, 0] = 1e6
    with torch.no_grad():
        change = (model(wild, mask).tokens - model(x, mask).tokens).norm()
        assert change < 5 * model(x, mask).tokens.norm()


def test_forward_is_head_of_features() -> None:
    model = make()
    x, mask = windows()
    with torch.no_grad():
        features = model.forward_features(x, mask)
        assert torch.equal(model.forward_head(features, mask).logits, model(x, mask).logits)
    assert features.shape == (4, 5, 16)


def test_weights_are_saved_and_loaded_and_those_of_other_columns_refused(tmp_path: Path) -> None:
    model = make()
    model.set_scaling(torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6]))
    save_weights(model, tmp_path / "model.safetensors")
    again = load_weights(make(1), tmp_path / "model.safetensors")
    assert torch.equal(again.get_buffer("scale").flatten(), torch.tensor([4.0, 5, 6]))
    assert load_pretrained(make(2), tmp_path / "model.safetensors") == []
    other = build(encoder_spec("vision", CONFIG, 3, {"columns": COLUMNS[:2]}))
    with fails(ConfigError, where="model.safetensors", remedy="the same encoder"):
        load_pretrained(other, tmp_path / "model.safetensors")


@pytest.mark.parametrize("kind", ["attention", "concat", "paper"])
def test_every_fusion_takes_its_tokens(kind: str) -> None:
    model = make()
    x, mask = windows()
    mask[3] = False
    out = model(x, mask)
    fusion = build(fusion_spec(CONFIG, 3, {"vision": 16, "audio": 8}, kind)).eval()
    tokens, masks = {"vision": out.tokens, "audio": torch.randn(4, 1, 8)}, {"vision": out.mask}
    masks["audio"] = torch.ones(4, 1, dtype=torch.bool)
    fused = fusion(tokens, masks, {"vision": out.logits, "audio": torch.randn(4, 3)})
    assert fused.logits.isfinite().all()
    if fused.attention is not None:
        assert torch.equal(fused.attention[3, :, 0], torch.zeros_like(fused.attention[3, :, 0]))
