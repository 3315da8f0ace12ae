"""Temporal layers: with them the order of frames matters, without them it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig, TrainConfig, VisionConfig
from eavdash.models.build import build, encoder_spec, load_weights, save_weights
from eavdash.models.layers import Block
from eavdash.models.seeds import seeder
from eavdash.models.temporal import TemporalTransformer
from eavdash.models.vit import FrameViT
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.loop import Recipe, fit
from eavdash.training.step import cross_entropy

FRAMES = 6


def make(temporal: int, classes: int = 3) -> FrameViT:
    torch.manual_seed(0)
    config = StudyConfig(vision=VisionConfig(size=16, patch=8, width=16, depth=1, heads=2, temporal=temporal))
    model = build(encoder_spec("vision", config, classes, {"frames": FRAMES, "size": 16}))
    assert isinstance(model, FrameViT)
    return model.eval()


def windows(count: int = 4, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.rand(count, frames, 3, 16, 16, generator=random), torch.ones(count, frames, dtype=torch.bool)


@pytest.mark.parametrize("temporal", [0, 1, 2])
def test_order_of_frames_changes_the_logits_only_with_temporal_layers(temporal: int) -> None:
    model = make(temporal)
    x, mask = windows()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        first, second = model(x, mask), model(x[:, order], mask)
    # Each frame's own logits do not depend on its position.
    assert torch.allclose(first.frame_logits[:, order], second.frame_logits, atol=1e-6)
    same = torch.allclose(first.logits, second.logits, atol=1e-6)
    assert same == (temporal == 0)
    assert torch.allclose(first.tokens[:, order], second.tokens, atol=1e-6) == (temporal == 0)
    assert first.ordered == (temporal > 0)


def test_closed_gates_average_the_frames() -> None:
    model, plain = make(1), make(0)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("temporal.")})
    x, mask = windows()
    mask[0, 4:] = False
    with torch.no_grad():
        near = (model(x, mask).logits.softmax(-1) - plain(x, mask).logits.softmax(-1)).abs().max()
        for block in model.temporal.blocks:
            block.gates.zero_()
        closed, averaged = model(x, mask), plain(x, mask)
    assert torch.allclose(closed.logits, averaged.logits, atol=1e-5)
    assert torch.allclose(closed.tokens, averaged.tokens, atol=1e-5)
    assert 0 < near < 0.05  # where training begins


def test_masked_frames_are_not_read() -> None:
    model = make(2)
    x, mask = windows()
    mask[1, 3:], mask[2] = False, False
    spoilt = torch.where(mask[:, :, None, None, None], x, torch.full_like(x, 1e6))
    with torch.no_grad():
        first, second = model(x, mask), model(spoilt, mask)
        short = model(x[1:2, :3], mask[1:2, :3])
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.tokens[mask], second.tokens[mask])
    assert torch.allclose(short.logits, first.logits[1:2], atol=1e-5)  # padding has no effect
    assert first.logits.isfinite().all()


@pytest.mark.parametrize("frames", [1, 2, 25, 40])
def test_any_number_of_frames(frames: int) -> None:
    x, mask = windows(2, frames)
    made = make(1)(x, mask)
    assert made.logits.shape == (2, 3)
    assert made.tokens.shape == (2, frames, 16)


def test_positions_are_subtracted_from_the_tokens() -> None:
    torch.manual_seed(0)
    model = TemporalTransformer(8, 2, 1).eval()
    for block in model.blocks:
        assert isinstance(block, Block)
        nn.init.zeros_(block.gates)
    x = torch.randn(2, 5, 8)
    assert torch.allclose(model(x, torch.ones(2, 5, dtype=torch.bool)), x, atol=1e-6)


def test_old_specs_average_frames_and_presets_set_temporal(tmp_path: Path) -> None:
    spec = encoder_spec("vision", StudyConfig(), 3, {"frames": 5, "size": 64})
    assert spec["kwargs"]["temporal"] == 1
    del spec["kwargs"]["temporal"]  # as written before the setting existed
    old = build(spec)
    assert old.temporal is None
    save_weights(old, tmp_path / "model.safetensors")
    load_weights(build(spec), tmp_path / "model.safetensors")
    paper = encoder_spec("vision", preset("paper"), 3, {"frames": 25, "size": 224})
    assert paper["kwargs"]["temporal"] == 0


def test_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    model = make(1)
    save_weights(model, tmp_path / "model.safetensors")
    torch.manual_seed(7)
    other = load_weights(build({"name": "vit", "kwargs": SPEC}), tmp_path / "model.safetensors").eval()
    x, mask = windows()
    with torch.no_grad():
        assert torch.equal(model(x, mask).logits, other(x, mask).logits)


SPEC = {"classes": 3, "size": 16, "patch": 8, "width": 16, "depth": 1, "heads": 2, "temporal": 1, "dropout": 0.1}


def test_loss_teaches_frames_and_order() -> None:
    """With both terms in the loss every parameter of the temporal layers learns; with frames alone none does."""
    model = make(1).train()
    x, mask = windows()
    labels = torch.tensor([0, 1, 2, 0])

    def gradients(**changed: bool) -> list[float]:
        made = model(x, mask)
        model.zero_grad()
        decision = ModelOutput(made.logits, made.frame_logits, made.mask, ordered=made.ordered)
        cross_entropy(replace(decision, **changed), labels).backward()  # type: ignore[arg-type]
        return [0.0 if p.grad is None else float(p.grad.abs().sum()) for p in model.temporal.parameters()]

    assert sum(gradients(ordered=False)) == 0
    assert all(g > 0 for g in gradients())


def test_loss_is_the_mean_of_both() -> None:
    logits, frames = torch.randn(2, 3), torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    labels = torch.tensor([0, 2])
    found = cross_entropy(ModelOutput(logits, frames, mask, ordered=True), labels)
    alone = F.cross_entropy(frames[mask], torch.tensor([0, 0, 2, 2, 2, 2]))
    assert torch.allclose(cross_entropy(ModelOutput(logits, frames, mask), labels), alone)
    assert torch.allclose(found, (alone + F.cross_entropy(logits, labels)) / 2)


class Direction(Source):
    """Windows that differ only in the direction of their change in brightness."""

    def __init__(self, count: int) -> None:
        light = torch.linspace(0.1, 0.9, FRAMES)[None].expand(count, -1).clone()
        self.labels = torch.arange(count) % 2
        light[self.labels == 1] = light[self.labels == 1].flip(1)
        noise = torch.rand(count, FRAMES, 3, 16, 16, generator=torch.Generator().manual_seed(2))
        self.x = (light[:, :, None, None, None] + 0.05 * noise).clamp(0, 1)

    def load(self, model: nn.Module, rows: Tensor, augment: torch.Generator | None) -> tuple[Tensor, ...]:
        return self.x[rows], torch.ones(len(rows), FRAMES, dtype=torch.bool)

    def forward(self, model: nn.Module, loaded: tuple[Tensor, ...]) -> ModelOutput:
        made = model(*loaded)
        return ModelOutput(made.logits, made.frame_logits, made.mask, ordered=made.ordered)

    def items(self, loaded: tuple[Tensor, ...]) -> Tensor:
        return loaded[1].sum(dim=1)


@pytest.mark.slow
@pytest.mark.parametrize(("temporal", "learns"), [(1, True), (0, False)])
def test_order_is_learned_only_with_temporal_layers(temporal: int, learns: bool) -> None:
    source = Direction(32)
    model = make(temporal, classes=2)
    settings = TrainConfig(epochs=40, batch=8, learning_rate=3e-3, augment=False)
    fitted = fit(model, source, range(32), [], settings, name="test", seed=seeder(0, 0, "vision"), rules=Recipe())
    assert (fitted.history[-1]["accuracy"] > 0.95) == learns


def test_head_only_epochs_train_only_the_new_parts() -> None:
    source = Direction(8)
    model = make(1, classes=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    settings = TrainConfig(epochs=1, batch=4, head_epochs=1, augment=False)
    fit(
        model,
        source,
        range(8),
        [],
        settings,
        name="test",
        seed=seeder(0, 0, "vision"),
        rules=Recipe(),
        head_epochs=1,
    )
    changed = {k.partition(".")[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"head", "temporal"}
