"""Hugging Face checkpoints: every tensor is loaded into the right parameter, or the error names it."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from failing import fails
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from eavdash.errors import ConfigError
from eavdash.models.architecture import architecture
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.tensorfiles import read_tensors
from eavdash.models.vit import FrameViT
from eavdash.models.weights import load_pretrained

WIDTH, DEPTH, HEADS = 24, 2, 3


def vit() -> FrameViT:
    return FrameViT(5, size=32, patch=16, width=WIDTH, depth=DEPTH, heads=HEADS)


def ast() -> AudioSpectrogramTransformer:
    return AudioSpectrogramTransformer(5, mels=32, frames=64, stride=10, width=WIDTH, depth=DEPTH, heads=HEADS)


def checkpoint(kind: str) -> dict[str, Tensor]:
    """Random tensors under the published names: zero biases and unit norms would hide swaps."""
    prefix = {"vit": "vit.", "ast": "audio_spectrogram_transformer."}[kind]
    tokens = 2 * 2 + 1 if kind == "vit" else 2 * 5 + 2
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.position_embeddings": (1, tokens, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3 if kind == "vit" else 1, 16, 16),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        "layernorm.weight": (WIDTH,),
        "layernorm.bias": (WIDTH,),
    }
    if kind == "ast":
        shapes["embeddings.distillation_token"] = (1, 1, WIDTH)
    for i in range(DEPTH):
        linear = {f"attention.attention.{n}": (WIDTH, WIDTH) for n in ("query", "key", "value")}
        linear |= {"attention.output.dense": (WIDTH, WIDTH)}
        linear |= {"intermediate.dense": (4 * WIDTH, WIDTH), "output.dense": (WIDTH, 4 * WIDTH)}
        for name, shape in linear.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
        for name in ("layernorm_before", "layernorm_after"):
            shapes |= {f"encoder.layer.{i}.{name}.{k}": (WIDTH,) for k in ("weight", "bias")}
    random = torch.Generator().manual_seed(0)
    tensors = {prefix + n: torch.randn(s, generator=random) * 0.3 for n, s in shapes.items()}
    head = ("classifier.dense", "classifier.layernorm") if kind == "ast" else ("classifier",)
    return tensors | {f"{h}.{k}": torch.randn(7, generator=random) for h in head for k in ("weight", "bias")}


def block_by_hand(t: dict[str, Tensor], x: Tensor) -> Tensor:
    """One encoder layer, computed from the file's tensors by name. ``x`` (T, D)."""

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, (WIDTH,), t[f"{name}.weight"], t[f"{name}.bias"], 1e-12)

    y = norm("layernorm_before", x)
    q, k, v = (linear(f"attention.attention.{n}", y).view(-1, HEADS, WIDTH // HEADS) for n in ("query", "key", "value"))
    heads = []
    for h in range(HEADS):
        weights = (q[:, h] @ k[:, h].T / (WIDTH // HEADS) ** 0.5).softmax(-1)
        heads.append(weights @ v[:, h])
    x = x + linear("attention.output.dense", torch.cat(heads, dim=-1))
    return x + linear("output.dense", F.gelu(linear("intermediate.dense", norm("layernorm_after", x))))


def through_by_hand(tensors: dict[str, Tensor], prefix: str, patches: Tensor) -> Tensor:
    """Apply the file's layers and last norm to embedded patches (T, D)."""
    t = {n.removeprefix(prefix): v for n, v in tensors.items()}
    first = [t["embeddings.cls_token"][0]]
    if "embeddings.distillation_token" in t:
        first.append(t["embeddings.distillation_token"][0])
    x = torch.cat([*first, patches]) + t["embeddings.position_embeddings"][0]
    for i in range(DEPTH):
        layer = f"encoder.layer.{i}."
        x = block_by_hand({n.removeprefix(layer): v for n, v in t.items() if n.startswith(layer)}, x)
    return F.layer_norm(x, (WIDTH,), t["layernorm.weight"], t["layernorm.bias"], 1e-12)


@pytest.mark.parametrize("form", ["folder", "file", "bin"])
def test_vit_equals_a_computation_by_hand(tmp_path: Path, form: str) -> None:
    tensors = checkpoint("vit")
    path = tmp_path / ("pytorch_model.bin" if form == "bin" else "model.safetensors")
    torch.save(tensors, path) if form == "bin" else save_file(tensors, path)
    model = vit().eval()
    assert load_pretrained(model, tmp_path if form == "folder" else path) == ["classifier.bias", "classifier.weight"]
    x = torch.rand(1, 1, 3, 32, 32)
    projection = "vit.embeddings.patch_embeddings.projection."
    patches = F.conv2d((x[0] - 0.5) / 0.5, tensors[projection + "weight"], tensors[projection + "bias"], stride=16)
    expected = through_by_hand(tensors, "vit.", patches[0].flatten(1).T)[0]
    with torch.no_grad():
        found = model(x, torch.ones(1, 1, dtype=torch.bool)).tokens[0, 0]
    assert torch.allclose(found, expected, atol=1e-4)


def test_ast_equals_a_computation_by_hand(tmp_path: Path) -> None:
    tensors = checkpoint("ast")
    save_file(tensors, tmp_path / "model.safetensors")
    model = ast().eval()
    assert len(load_pretrained(model, tmp_path)) == 4
    x = torch.randn(1, 64, 32)
    name = "audio_spectrogram_transformer.embeddings.patch_embeddings.projection."
    scaled = ((x + 4.2677393) / (2 * 4.5689974)).transpose(1, 2)[:, None]
    patches = F.conv2d(scaled, tensors[name + "weight"], tensors[name + "bias"], stride=10)
    expected = through_by_hand(tensors, "audio_spectrogram_transformer.", patches[0].flatten(1).T)[:2].mean(0)
    with torch.no_grad():
        found = model(x, torch.ones(1, 64, dtype=torch.bool)).tokens[0, 0]
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_model_without_a_classifier_and_prefix_loads_too(tmp_path: Path) -> None:
    tensors = {n.removeprefix("vit."): t for n, t in checkpoint("vit").items() if not n.startswith("classifier")}
    save_file(tensors, tmp_path / "model.safetensors")
    assert load_pretrained(vit(), tmp_path) == []


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ("missing", {"found": "blocks.1.norm2.bias"}),
        ("half", {"found": "blocks.0.attn.qkv.weight"}),
        ("unknown", {"found": "adapter.dense.weight"}),
        ("deeper", {"found": "blocks.2.norm1.weight"}),
        ("shape", {"expected": "pos_embed", "found": "(1, 9, 24)"}),
    ],
)
def test_every_tensor_is_accounted_for(tmp_path: Path, change: str, facts: dict) -> None:
    tensors = checkpoint("vit")
    if change == "missing":
        del tensors["vit.encoder.layer.1.layernorm_after.bias"]
    elif change == "half":
        del tensors["vit.encoder.layer.0.attention.attention.key.weight"]
    elif change == "unknown":
        tensors["vit.adapter.dense.weight"] = torch.zeros(3)
    elif change == "deeper":
        tensors["vit.encoder.layer.2.layernorm_before.weight"] = torch.zeros(WIDTH)
    else:
        tensors["vit.embeddings.position_embeddings"] = torch.zeros(1, 9, WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    model = vit()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with fails(ConfigError, where="model.safetensors", remedy="vision.size", **facts):
        load_pretrained(model, tmp_path)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_heads_are_compared_with_the_settings_beside_the_file(tmp_path: Path) -> None:
    save_file(checkpoint("vit"), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 4}))
    with fails(ConfigError, where="config.json", expected="num_attention_heads 3", found="4"):
        load_pretrained(vit(), tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"not weights", "pickle"])
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "weights.bin"
    if content == "pickle":
        torch.save({"a": Path("dangerous")}, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with fails(ConfigError, where=str(path), expected=".safetensors") as refused:
        load_pretrained(vit(), path)
    assert "weights_only" not in str(refused.value)  # torch would advise unpickling the file


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"num_attention_heads": 5}, {"expected": ("num_attention_heads", "24"), "found": "5"}),
        ({"num_attention_heads": None}, {"expected": "num_attention_heads", "found": "None"}),
        ({"layer_norm_eps": "1e-12"}, {"expected": "layer_norm_eps", "found": "'1e-12'"}),
        ({"hidden_act": "mish"}, {"expected": ("hidden_act", "gelu"), "found": "'mish'"}),
        ({"model_type": "deit"}, {"expected": "model_type 'vit'", "found": "model_type 'deit'"}),
        ("{", {"expected": "JSON"}),
        (None, {"expected": ("num_attention_heads", "model.safetensors"), "found": "none"}),
    ],
)
def test_invalid_settings_are_refused(tmp_path: Path, settings: object, facts: dict) -> None:
    save_file(checkpoint("vit"), tmp_path / "model.safetensors")
    if settings is not None:
        text = settings if isinstance(settings, str) else json.dumps(settings)
        (tmp_path / "config.json").write_text(text)
    with fails(ConfigError, where="config.json", **facts):
        architecture(tmp_path, "vision")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"embeddings.distillation_token": torch.zeros(1, 1, WIDTH)}, "distillation token"),
        ({"embeddings.position_embeddings": torch.zeros(1, 7, WIDTH)}, "7 positions"),
        ({"embeddings.patch_embeddings.projection.weight": torch.zeros(WIDTH, 1, 16, 16)}, "(1, 16, 16)"),
    ],
)
def test_another_family_or_kind_of_image_is_named(tmp_path: Path, change: dict[str, Tensor], found: str) -> None:
    tensors = {**checkpoint("vit"), **{f"vit.{name}": tensor for name, tensor in change.items()}}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": HEADS}))
    with fails(ConfigError, where="model.safetensors", found=found):
        architecture(tmp_path, "vision")


@pytest.mark.parametrize("kind", ["int8", "infinite"])
def test_quantised_and_infinite_weights_are_refused(tmp_path: Path, kind: str) -> None:
    tensors = checkpoint("vit")
    name = "vit.encoder.layer.1.output.dense.weight"
    tensors[name] = tensors[name].to(torch.int8) if kind == "int8" else torch.full_like(tensors[name], torch.inf)
    save_file(tensors, tmp_path / "model.safetensors")
    found = "int8" if kind == "int8" else "infinite"
    with fails(ConfigError, where="model.safetensors", expected="'blocks.1.mlp.fc2.weight'", found=found):
        load_pretrained(vit(), tmp_path)


@pytest.mark.parametrize("change", ["lost part", "unlisted", "elsewhere"])
def test_an_incomplete_sharded_checkpoint_is_refused(tmp_path: Path, change: str) -> None:
    tensors = checkpoint("vit")
    parts = {"a.safetensors": dict(list(tensors.items())[:9]), "b.safetensors": dict(list(tensors.items())[9:])}
    listed = {tensor: name for name, part in parts.items() for tensor in part}
    for name, part in parts.items():
        save_file(part, tmp_path / name)
    if change == "lost part":
        (tmp_path / "b.safetensors").unlink()
    elif change == "unlisted":
        del listed["vit.layernorm.bias"]
    else:
        listed["vit.layernorm.bias"] = "../b.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    facts = {
        "lost part": {"where": "b.safetensors"},
        "unlisted": {"where": "index.json", "found": "vit.layernorm.bias"},
        "elsewhere": {"where": "index.json", "found": "'../b"},
    }
    with fails(ConfigError, **facts[change]):
        load_pretrained(vit(), tmp_path)


@pytest.mark.slow
def test_damage_anywhere_in_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    path, random = tmp_path / "weights.pth", torch.Generator().manual_seed(0)
    torch.save({f"layer{i}.weight": torch.zeros(3, 4) for i in range(4)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    refused = 0
    for position in torch.randint(len(whole), (150,), generator=random).tolist():
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :])
        try:
            load_pretrained(vit(), path)
        except ConfigError:
            refused += 1
    assert refused == 150


def test_weights_that_declare_or_unfold_to_more_than_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 90_000_000) + b"{}")
    with fails(ConfigError, where=str(path), expected="10,485,760", found="90,000,000"):
        read_tensors(path)
    os.truncate(path, 10**11)
    with fails(ConfigError, where=str(path), expected="17,179,869,184", found="100,000,000,000"):
        read_tensors(path)
    packed = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain.pt")
    assert len(read_tensors(tmp_path / "plain.pt")[1]["a"]) == 1_000_000
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as parts:
        for name in plain.namelist():
            parts.writestr(name, plain.read(name))
    with fails(ConfigError, where=str(packed), found="4,00"):
        read_tensors(packed)


def test_a_tensor_that_repeats_its_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)
    with fails(ConfigError, where=str(path), found="'a'"):
        read_tensors(path)


def test_a_layer_of_a_large_number_makes_no_deep_model(tmp_path: Path) -> None:
    tensors = checkpoint("vit")
    tensors["vit.encoder.layer.99999999.output.dense.bias"] = torch.zeros(WIDTH)
    save_file(tensors, tmp_path / "model.safetensors")
    with fails(ConfigError, where="model.safetensors", expected="99999999", found=f"{DEPTH + 1}"):
        architecture(tmp_path, "vision")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"num_attention_heads": 1' + "0" * 5000 + "}", '{"max_length": 1000000000000}'],
    ids=["depth", "digits", "size"],
)
def test_a_config_json_of_odd_numbers_or_depth_is_refused(tmp_path: Path, text: str) -> None:
    save_file(checkpoint("ast"), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    with fails(ConfigError, where="config.json"):
        architecture(tmp_path, "audio")
