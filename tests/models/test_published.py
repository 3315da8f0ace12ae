"""The reference method's EEG encoder and fusion: ours compute the same, and its state dicts are converted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from failing import fails
from published_models import PublishedEeg, PublishedFusion, randomised
from torch import Tensor

from eavdash.errors import ConfigError
from eavdash.models.paper_fusion import PaperFusion
from eavdash.models.published import fusion_tensors, yin_tensors
from eavdash.models.tensorfiles import unwrap
from eavdash.models.weights import fill
from eavdash.models.yin import YinEncoder

FILE = Path("published.pth")
DIMS = {"vision": 768, "audio": 768, "eeg": 60}


def load_yin(tensors: dict[str, Tensor]) -> YinEncoder:
    sizes, found = yin_tensors(FILE, tensors)
    model = YinEncoder(**sizes)
    fill(FILE, model, {"shift": model.shift, "scale": model.scale, **found}, [], "give another file")
    return model.eval()


def test_yin_equals_the_published_encoder() -> None:
    theirs = randomised(PublishedEeg())
    ours = load_yin(theirs.state_dict())
    x = torch.randn(2, 30, 500, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made = ours(x, torch.ones(2, 500, dtype=torch.bool))
        logits, feature = theirs(x), theirs.feature(x)
    assert logits.std() > 0.05
    assert (made.logits - logits).abs().max() <= 1e-5
    assert (made.tokens[:, 0] - feature).abs().max() <= 1e-5


def test_paper_fusion_equals_the_published_layer() -> None:
    theirs = randomised(PublishedFusion(DIMS))
    classes, found, notes = fusion_tensors(FILE, theirs.state_dict(), DIMS, list(DIMS), {})
    ours = PaperFusion(DIMS, classes)
    own = {k: v for k, v in ours.state_dict().items() if k.startswith(("shift", "scale"))}
    fill(FILE, ours, {**own, **found}, [], "")
    random = torch.Generator().manual_seed(2)
    frames, sound, eeg = (torch.randn(2, n, d, generator=random) for n, d in ((5, 768), (1, 768), (1, 60)))
    tokens = {"vision": frames, "audio": sound, "eeg": eeg}
    with torch.no_grad():
        made = ours.eval()(tokens, {m: torch.ones(t.shape[:2], dtype=torch.bool) for m, t in tokens.items()})
        joined = torch.cat([frames, sound.expand(-1, 5, -1), eeg.expand(-1, 5, -1)], dim=2)
        expected = theirs(joined.flatten(0, 1)).view(2, 5, 5)
    assert notes == []
    assert expected.std() > 0.05
    assert (made.frame_logits - expected).abs().max() <= 1e-5


def test_features_may_be_concatenated_in_another_order() -> None:
    dims = {"vision": 8, "audio": 12, "eeg": 4}
    order = ["audio", "eeg", "vision"]
    theirs = randomised(PublishedFusion(dims))
    classes, found, _ = fusion_tensors(FILE, theirs.state_dict(), dims, order, {})
    ours = PaperFusion(dims, classes)
    own = {k: v for k, v in ours.state_dict().items() if k.startswith(("shift", "scale"))}
    fill(FILE, ours, {**own, **found}, [], "")
    tokens = {m: torch.randn(3, 1, d) for m, d in dims.items()}
    with torch.no_grad():
        made = ours.eval()(tokens, {m: torch.ones(3, 1, dtype=torch.bool) for m in dims})
        expected = theirs(torch.cat([tokens[m][:, 0] for m in order], dim=1))
    assert (made.frame_logits[:, 0] - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model."])
def test_prefixes_of_wrappers_are_removed(prefix: str) -> None:
    tensors = randomised(PublishedEeg(3, 2, 8, 1)).state_dict()
    wrapped = {prefix + name: tensor for name, tensor in tensors.items()}
    sizes, found = yin_tensors(FILE, unwrap(wrapped))
    assert sizes == {"classes": 2, "channels": 3, "width": 8, "depth": 1}
    assert torch.equal(found["stem.0.weight"], tensors["conv.0.weight"])


def test_other_names_of_the_same_parts_are_recognised() -> None:
    names = {"attention": "self_attn", "mlp.0": "linear1", "mlp.3": "linear2", "layernorm0": "norm1"}
    names |= {"layernorm1": "norm2"}
    theirs = randomised(PublishedEeg(3, 2, 8, 12))  # more than ten blocks: 10 comes after 9, not after 1
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        if name.startswith("transformer."):
            name = name.replace("transformer.", "encoder.layers.")
            for old, new in names.items():
                name = name.replace(old, new)
        tensors[name] = tensor
    ours = load_yin(tensors)
    x = torch.randn(2, 3, 40)
    with torch.no_grad():
        assert torch.allclose(ours(x, torch.ones(2, 40, dtype=torch.bool)).logits, theirs(x), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ("extra", {"found": "'pe'"}),
        ("conv", {"expected": "two convolutions", "found": "conv.0"}),
        ("norm", {"expected": "transformer.1", "found": "layernorm0"}),
        ("bias", {"found": "'blocks.0.attention.proj.bias'"}),
        ("attention", {"found": "in_proj_weight"}),
        ("shape", {"expected": "stem.4.weight", "found": "(8, 3, 7)"}),
    ],
)
def test_every_tensor_of_an_encoder_is_accounted_for(change: str, facts: dict) -> None:
    tensors = dict(randomised(PublishedEeg(3, 2, 8, 2)).state_dict())
    if change == "extra":
        tensors["pe"] = torch.zeros(1, 500, 8)
    elif change == "conv":
        del tensors["conv.4.weight"]
    elif change == "norm":
        del tensors["transformer.1.layernorm1.weight"], tensors["transformer.1.layernorm1.bias"]
    elif change == "bias":
        del tensors["transformer.0.attention.out_proj.bias"]
    elif change == "attention":
        tensors = {n: t for n, t in tensors.items() if "in_proj" not in n}
    else:
        tensors["conv.4.weight"] = torch.zeros(8, 3, 7)
    with fails(ConfigError, where=str(FILE), **facts):
        load_yin(tensors)


def test_encoders_inside_the_fusions_file_must_be_those_that_were_given() -> None:
    dims = {"eeg": 8}
    eeg = dict(randomised(PublishedEeg(3, 2, 8, 1)).state_dict())
    tensors = dict(randomised(PublishedFusion(dims, 2)).state_dict())
    tensors |= {f"eeg_model.{n}": t.clone() for n, t in eeg.items()}
    classes, _, notes = fusion_tensors(FILE, tensors, dims, ["eeg"], {"eeg": eeg})
    assert (classes, notes) == (2, [])
    tensors["eeg_model.conv.1.running_mean"] += 1
    assert "running statistics" in fusion_tensors(FILE, tensors, dims, ["eeg"], {"eeg": eeg})[2][0]
    tensors["eeg_model.mlp.0.weight"] += 1
    with fails(ConfigError, where=str(FILE), expected="eeg", found="'eeg_model.mlp.0.weight'"):
        fusion_tensors(FILE, tensors, dims, ["eeg"], {"eeg": eeg})
    with fails(ConfigError, where=str(FILE), expected="8 numbers", found=("multihead_attn", "eeg_model")):
        fusion_tensors(FILE, tensors, dims, ["eeg"], {})


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ("extra", {"found": "'gate'"}),
        ("width", {"expected": "16", "found": "8"}),
        ("fc", {"expected": "8", "found": "none"}),
    ],
)
def test_every_tensor_of_a_fusion_is_accounted_for(change: str, facts: dict) -> None:
    tensors = dict(randomised(PublishedFusion({"eeg": 8}, 2)).state_dict())
    dims = {"eeg": 16 if change == "width" else 8}
    if change == "extra":
        tensors["gate"] = torch.zeros(3)
    elif change == "fc":
        del tensors["fc.weight"]
    with fails(ConfigError, where=str(FILE), **facts):
        fusion_tensors(FILE, tensors, dims, ["eeg"], {})
