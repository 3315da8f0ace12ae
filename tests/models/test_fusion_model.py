"""Fusion: attention shares, masks, and independence of the number of tokens per modality."""

from __future__ import annotations

import pytest
import torch
from failing import fails
from torch import Tensor, nn

from eavdash.config.schema import FusionConfig, StudyConfig
from eavdash.errors import ConfigError
from eavdash.models.attention_fusion import AttentionFusion
from eavdash.models.build import build, fusion_spec
from eavdash.models.fusion import Fusion, FusionOutput
from eavdash.models.paper_fusion import PaperFusion
from eavdash.models.transformer_fusion import TransformerFusion
from eavdash.training import baselines

DIMS = {"vision": 12, "audio": 10, "eeg": 7}
COUNTS = {"vision": 25, "audio": 2, "eeg": 1}
ATTENDING = ("attention", "transformer")
KINDS = (*ATTENDING, "concat", "paper")


def make(kind: str = "attention", seed: int = 0, **settings: float) -> Fusion:
    torch.manual_seed(seed)
    config = StudyConfig(fusion=FusionConfig(kind=kind, width=16, heads=4, **settings))  # type: ignore[arg-type]
    model = build(fusion_spec(config, 5, DIMS))
    assert isinstance(model, Fusion)
    with torch.no_grad():  # every tensor random, including the class query
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model.eval()


def windows(count: int = 4, seed: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    tokens = {m: torch.randn(count, COUNTS[m], d, generator=random) for m, d in DIMS.items()}
    return tokens, {m: torch.ones(t.shape[:2], dtype=torch.bool) for m, t in tokens.items()}


def ask(model: Fusion, tokens: dict[str, Tensor], masks: dict[str, Tensor]) -> FusionOutput:
    """Run the fusion with fixed encoder logits, which depend on the window and the modality only."""
    count = len(next(iter(tokens.values())))
    random = torch.Generator().manual_seed(2)
    return model(tokens, masks, {m: torch.randn(count, 5, generator=random) for m in DIMS})


@pytest.mark.parametrize("kind", ATTENDING)
def test_attention_sums_to_one_over_present_modalities(kind: str) -> None:
    model = make(kind)
    tokens, masks = windows()
    masks["audio"][1] = False
    masks["vision"][2, 20:] = False
    masks["vision"][3], masks["eeg"][3] = False, False
    made = ask(model, tokens, masks)
    assert made.attention.shape == (4, 4, 3)
    assert torch.allclose(made.attention.sum(-1), torch.ones(4, 4))
    assert (made.attention[1, :, 1] == 0).all()
    assert torch.allclose(made.attention[3], torch.tensor([0.0, 1.0, 0.0]))
    present = torch.stack([m.any(1) for m in masks.values()], dim=1).float()
    assert made.map.shape == (4, 3, 3)
    assert torch.allclose(made.map.sum(-1), present, atol=1e-6)
    assert (made.map * (1 - present[:, None])).abs().max() == 0


@pytest.mark.parametrize("kind", ATTENDING)
@pytest.mark.parametrize("count", [1, 20, 25])
def test_uniform_attention_is_one_share_per_modality_for_any_number_of_tokens(count: int, kind: str) -> None:
    model = make(kind)
    with torch.no_grad():
        model.class_query.zero_()
        for layer in model.layers:
            for qkv in layer.qkv.values():  # queries of zero
                qkv.weight[:16] = 0
                qkv.bias[:16] = 0
    tokens, masks = windows()
    masks["vision"][:, count:] = False
    made = ask(model, tokens, masks)
    assert torch.allclose(made.attention, torch.tensor(1 / 3), atol=1e-6)
    assert torch.allclose(made.maps, torch.tensor(1 / 3), atol=1e-6)
    masks["eeg"][:] = False
    assert torch.allclose(ask(model, tokens, masks).attention, torch.tensor([0.5, 0.5, 0.0]), atol=1e-6)


@pytest.mark.parametrize("kind", ATTENDING)
def test_a_new_fusion_attends_uniformly(kind: str) -> None:
    torch.manual_seed(0)
    model = build(fusion_spec(StudyConfig(fusion=FusionConfig(kind=kind)), 5, DIMS)).eval()
    assert torch.allclose(ask(model, *windows()).attention, torch.tensor(1 / 3), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_content_changes_nothing(kind: str) -> None:
    model = make(kind)
    tokens, masks = windows()
    masks["audio"][:], masks["vision"][:, 21:] = False, False
    first = ask(model, tokens, masks)
    spoilt = {m: torch.where(masks[m][..., None], t, torch.full_like(t, float("nan"))) for m, t in tokens.items()}
    second = ask(model, spoilt, masks)
    assert torch.equal(first.logits, second.logits)
    if first.attention is not None:
        assert torch.equal(first.attention, second.attention)
        assert torch.equal(first.map, second.map)


@pytest.mark.parametrize("kind", KINDS)
def test_absent_is_the_same_as_wholly_masked(kind: str) -> None:
    model = make(kind)
    tokens, masks = windows()
    masks["eeg"][:] = False
    without = {m: t for m, t in tokens.items() if m != "eeg"}
    first, second = ask(model, tokens, masks), ask(model, without, masks)
    assert torch.allclose(first.logits, second.logits, atol=1e-6)
    assert kind not in ATTENDING or torch.equal(second.attention[..., 2], torch.zeros(4, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_windows_without_any_modality_get_the_same_finite_logits(kind: str) -> None:
    model = make(kind)
    tokens, masks = windows()
    for mask in masks.values():
        mask[:2] = False
    made = ask(model, tokens, masks)
    assert made.logits.isfinite().all()
    assert torch.allclose(made.logits[0], made.logits[1])
    if made.attention is not None:
        assert (made.attention[:2] == 0).all()
        assert (made.map[:2] == 0).all()


@pytest.mark.parametrize("kind", [*ATTENDING, "concat"])
def test_modality_dropout_is_for_training_and_never_hides_everything(kind: str) -> None:
    model = make(kind, modality_dropout=0.9)
    tokens, masks = windows(200)
    assert torch.equal(ask(model, tokens, masks).logits, ask(model, tokens, masks).logits)
    model.train()
    masks["eeg"][:100] = False
    present = torch.stack([m.any(1) for m in masks.values()], dim=1)
    kept = model._keep_some(present)
    assert kept.any(dim=1).all()
    assert not (kept & ~present).any()
    assert kept.float().sum(1).mean() < 1.5  # most are dropped at 0.9
    nothing = model._keep_some(torch.zeros_like(present))
    assert not nothing.any()


@pytest.mark.parametrize("kind", ATTENDING)
def test_order_of_frames_matters_and_any_number_works(kind: str) -> None:
    model = make(kind)
    tokens, masks = windows()
    turned = {**tokens, "vision": tokens["vision"].flip(1)}
    assert not torch.allclose(ask(model, tokens, masks).logits, ask(model, turned, masks).logits)
    short = {**tokens, "vision": tokens["vision"][:, :20]}
    assert ask(model, short, {**masks, "vision": masks["vision"][:, :20]}).logits.shape == (4, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_undoes_gain_and_offset_of_tokens(kind: str) -> None:
    model = make(kind)
    tokens, masks = windows()
    plain = ask(model, tokens, masks).logits
    model.set_scaling("audio", torch.full((10,), 3.0), torch.full((10,), 2.0))
    moved = {**tokens, "audio": 2 * tokens["audio"] + 3}
    assert torch.allclose(plain, ask(model, moved, masks).logits, atol=1e-4)


def test_published_layer_classifies_each_frame_without_any_attention() -> None:
    model = make("paper")
    assert isinstance(model, PaperFusion)
    tokens, masks = windows()
    masks["vision"][:, 23:] = False
    made = ask(model, tokens, masks)
    assert made.attention is None
    assert made.frame_logits.shape == (4, 25, 5)
    mean = made.frame_logits[:, :23].log_softmax(-1).mean(1)
    assert torch.allclose(made.logits, mean, atol=1e-5)
    # a softmax over one token is 1: the attention is its value path alone
    x = torch.cat([tokens["vision"][0, 0], tokens["audio"][0].mean(0), tokens["eeg"][0, 0], torch.zeros(3)])
    attention, width = model.attention, 32
    value = attention.in_proj_weight[2 * width :] @ x + attention.in_proj_bias[2 * width :]
    expected = model.head(model.reduce(attention.out_proj(value)))
    assert torch.allclose(made.frame_logits[0, 0], expected, atol=1e-4)


def test_published_sizes_need_no_filling() -> None:
    model = PaperFusion({"vision": 768, "audio": 768, "eeg": 60}, 5)
    assert model.filling == 0
    assert model.attention.embed_dim == 1596
    layers = [m for m in (model.reduce, *model.head) if isinstance(m, nn.Linear)]
    assert [layer.out_features for layer in layers] == [512, 256, 5]


def test_fusion_without_vision() -> None:
    torch.manual_seed(0)
    model = PaperFusion({"audio": 10, "eeg": 7}, 5).eval()
    tokens, masks = windows()
    made = ask(model, tokens, masks)
    assert made.logits.shape == (4, 5)
    assert made.frame_logits is None


def test_no_modality_is_refused() -> None:
    with fails(ConfigError, where="fusion", found="none"):
        AttentionFusion({})
    with fails(ConfigError, where="fusion", expected=("vision", "audio", "eeg"), found="none"):
        make()({}, {}, {})


def test_a_new_fusion_is_the_mean_of_the_softmaxes_of_present_modalities() -> None:
    torch.manual_seed(0)
    model = AttentionFusion(DIMS).eval()
    tokens, masks = windows()
    encoder_logits = {m: torch.randn(4, 5) for m in DIMS}
    masks["eeg"][2:] = False
    encoder_logits["eeg"][2:] = float("nan")
    each = {m: o.softmax(1) for m, o in encoder_logits.items()}
    expected = torch.stack([each["vision"], each["audio"]]).mean(0)
    expected[:2] = torch.stack([each[m][:2] for m in DIMS]).mean(0)
    assert torch.allclose(model(tokens, masks, encoder_logits).logits.softmax(1), expected, atol=1e-6)


def test_a_new_transformer_is_the_geometric_mean_of_the_opinions_of_present_modalities() -> None:
    torch.manual_seed(0)
    model = TransformerFusion(DIMS, 5).eval()
    tokens, masks = windows()
    encoder_logits = {m: torch.randn(4, 5) for m in DIMS}
    masks["eeg"][2:] = False
    encoder_logits["eeg"][2:] = float("nan")
    temperatures = {"vision": 2.0, "audio": 1.0, "eeg": 0.5}
    model.set_temperatures(temperatures)
    logs = {m: (o / temperatures[m]).log_softmax(1) for m, o in encoder_logits.items()}
    expected = (logs["vision"] + logs["audio"]) / 2
    expected[:2] = sum(logs[m][:2] for m in DIMS) / 3
    assert torch.allclose(model(tokens, masks, encoder_logits).logits, expected, atol=1e-5)


def test_an_opinion_that_says_nothing_changes_nothing_where_absence_is_flat() -> None:
    torch.manual_seed(0)
    model = TransformerFusion(DIMS, 5, flat_absence=True).eval()
    older = TransformerFusion(DIMS, 5).eval()  # the others' weights grow
    tokens, masks = windows()
    logits = {m: torch.randn(4, 5) for m in DIMS} | {"eeg": torch.zeros(4, 5)}
    without = {**masks, "eeg": torch.zeros_like(masks["eeg"])}
    with_it = model(tokens, masks, logits).logits.log_softmax(1)
    assert torch.allclose(model(tokens, without, logits).logits.log_softmax(1), with_it, atol=1e-5)
    assert (older(tokens, without, logits).logits.log_softmax(1) - with_it).abs().max() > 0.1
    nobody = {m: torch.zeros_like(mask) for m, mask in masks.items()}
    assert torch.allclose(model(tokens, nobody, logits).logits, torch.zeros(4, 5), atol=1e-6)


def test_a_share_of_the_transformer_is_that_of_the_encoders_opinion_in_its_output() -> None:
    model = make("transformer")
    assert isinstance(model, TransformerFusion)
    tokens, masks = windows()
    masks["audio"][1] = False
    encoder_logits = {m: torch.randn(4, 5) for m in DIMS}
    plain = model(tokens, masks, encoder_logits)  # not calibrated: the attention itself
    temperatures = {"vision": 10.0, "audio": 1.0, "eeg": 0.5}
    model.set_temperatures(temperatures)
    made = model(tokens, masks, encoder_logits)
    sizes = torch.stack([(x / temperatures[m]).std(1, correction=0) for m, x in encoder_logits.items()], dim=1)
    weights = plain.attention * sizes[:, None]
    assert torch.allclose(made.attention, weights / weights.sum(-1, keepdim=True))
    assert torch.allclose(made.attention.sum(-1), torch.ones(4, 4))
    assert (made.attention[1, :, 1] == 0).all()
    assert (made.attention[:, :, 0] < made.attention[:, :, 2]).all()
    flat = model(tokens, masks, {m: torch.zeros(4, 5) for m in DIMS})  # nobody says anything
    assert torch.allclose(flat.attention, plain.attention)


def test_an_encoder_that_guesses_has_a_small_share_whether_it_is_sure_or_not() -> None:
    torch.manual_seed(0)
    labels = torch.arange(60) % 5
    knows = torch.nn.functional.one_hot(labels, 5) * 3.0 + 0.1 * torch.randn(60, 5)
    logits = {"vision": knows, "audio": 0.01 * torch.randn(60, 5), "eeg": 8 * torch.randn(60, 5)}
    here = {m: torch.ones(60, 1, dtype=torch.bool) for m in logits}
    fitted = {m: f.temperature for m, f in baselines.temperatures(logits, here, labels, range(60)).items()}
    model = TransformerFusion(DIMS, 5).eval()
    model.set_temperatures(fitted)
    tokens = {m: torch.randn(60, 1, d) for m, d in DIMS.items()}
    shares = model(tokens, here, logits).attention.mean(dim=(0, 1))
    assert shares[1:].max() < 0.2 * shares[0]


def test_the_transformer_reads_features_with_one_query_key_and_value_for_all_modalities() -> None:
    model = make("transformer")
    assert all(list(layer.qkv) == ["all"] for layer in model.layers)
    tokens, masks = windows()
    flat = {m: torch.zeros(4, 5) for m in DIMS}
    first = model(tokens, masks, flat).logits
    for name in DIMS:  # opinions are flat: what changes comes from features
        moved = {**tokens, name: tokens[name] + 1}
        assert (model(moved, masks, flat).logits - first).abs().max() > 1e-3


def test_gradients_through_the_transformer_are_finite_and_absent_modalities_get_none() -> None:
    model = make("transformer", modality_dropout=0.0).train()
    tokens, masks = windows()
    masks["audio"][0], masks["vision"][1], masks["eeg"][1] = False, False, False
    for mask in masks.values():
        mask[3] = False
    tokens = {m: t.requires_grad_() for m, t in tokens.items()}
    encoder_logits = {m: (1000.0 * torch.randn(4, 5)).requires_grad_() for m in DIMS}
    made = model(tokens, masks, encoder_logits)
    made.logits.square().mean().backward()
    assert made.logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert encoder_logits["audio"].grad[0].abs().max() == 0
    assert tokens["audio"].grad[0].abs().max() == 0
    assert tokens["audio"].grad[2].abs().max() > 0


@pytest.mark.parametrize("kind", ATTENDING)
def test_dropout_never_touches_the_attention_that_is_returned(kind: str) -> None:
    model = make(kind, dropout=0.9, modality_dropout=0.0).train()
    made = ask(model, *windows())
    assert torch.allclose(made.attention.sum(-1), torch.ones(4, 4), atol=1e-5)
    assert torch.allclose(made.maps.sum(-1), torch.ones(4, 1, 4, 3), atol=1e-5)


def test_confident_logits_without_attention_have_no_effect_and_every_gradient_is_finite() -> None:
    model = make().train()
    tokens, masks = windows()
    masks["audio"][0], masks["vision"][1], masks["eeg"][1] = False, False, False
    for mask in masks.values():
        mask[3] = False
    encoder_logits = {m: (1000.0 * torch.randn(4, 5)).requires_grad_() for m in DIMS}
    made = model(tokens, masks, encoder_logits)
    made.logits.sum().backward()
    assert made.logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert encoder_logits["audio"].grad.isfinite().all()
    assert encoder_logits["audio"].grad[0].abs().max() == 0
    # A modality with share s that is certain of class 0 contributes s to its probability, the others 1/5 of the rest.
    model.eval()
    tokens, masks = windows()
    flat = {m: torch.zeros(4, 5) for m in DIMS}
    flat["eeg"][:, 0] = 1e4
    made = model(tokens, masks, flat)
    share = made.attention.mean(1)[:, 2:]
    with torch.no_grad():
        model.gain.fill_(1.0)
    assert torch.allclose(model(tokens, masks, flat).logits.softmax(1)[:, :1], share + (1 - share) / 5, atol=1e-5)


def test_maps_are_shares_per_layer_and_head_and_the_map_is_their_mean() -> None:
    torch.manual_seed(0)
    model = AttentionFusion(DIMS, width=16, heads=4, depth=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    model.eval()
    tokens, masks = windows()
    masks["audio"][1], masks["vision"][2, 20:] = False, False
    made = ask(model, tokens, masks)
    assert made.maps.shape == (4, 3, 4, 3, 3)
    present = torch.stack([m.any(1) for m in masks.values()], dim=1).float()
    assert torch.allclose(made.maps.sum(-1), present[:, None, None].expand(4, 3, 4, 3), atol=1e-5)
    assert (made.maps[1, ..., 1] == 0).all()
    assert torch.equal(made.map, made.maps.mean((1, 2)))
    # Layers and heads differ: nothing has been averaged away.
    assert (made.maps[:, 0] - made.maps[:, 1]).abs().max() > 1e-3
    assert (made.maps[:, :, 0] - made.maps[:, :, 1]).abs().max() > 1e-3
    # Each map sums the token attention of its layer, here layer 1, from one modality's tokens to another's.
    seen: list[Tensor] = []
    hook = model.layers[0].softmax.register_forward_hook(lambda _, __, weights: seen.append(weights))
    ask(model, tokens, masks)
    hook.remove()
    found = seen[0][0, :, :25, 25:27].sum(-1).mean(-1)  # vision's 25 tokens attend to audio's 2
    assert torch.allclose(made.maps[0, 0, :, 0, 1], found, atol=1e-6)


@pytest.mark.parametrize("kind", ATTENDING)
def test_attention_without_encoder_logits_is_refused(kind: str) -> None:
    with fails(ConfigError, where=f"{kind} fusion", found="none", remedy="encoder_logits"):
        make(kind)(*windows())
