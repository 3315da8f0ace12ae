"""Our ViT, AST and log-mel front end against Hugging Face's, on random models and synthetic sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eavdash.data.audio.reading import logmel
from eavdash.models.architecture import architecture
from eavdash.models.ast import AUDIOSET_SCALE, AUDIOSET_SHIFT, AudioSpectrogramTransformer
from eavdash.models.vit import FrameViT
from eavdash.models.weights import load_pretrained

transformers = pytest.importorskip("transformers")
CLASSES = 5


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Randomise every tensor: zero biases and unit norms would hide swapped keys."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            centre = 1.0 if "layernorm" in name and name.endswith("weight") else 0.0
            # Matrices preserve the scale of activations: otherwise deep models would only show rounding errors.
            spread = tensor[0].numel() ** -0.5 if tensor.dim() in (2, 4) else 0.2
            tensor.copy_(centre + spread * torch.randn(tensor.shape, generator=random))
    return model.eval()


def saved(model: nn.Module, folder: Path, form: str) -> Path:
    """Save the model as Hugging Face does, or its state dict as pytorch_model.bin beside the config.json."""
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder, max_shard_size="20KB" if form == "parts" else "1GB")
    if form == "bin":
        from safetensors.torch import load_file

        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return folder


def hf_vit(**sizes) -> nn.Module:
    return randomised(transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=CLASSES, **sizes)))


def hf_ast(**sizes) -> nn.Module:
    return randomised(transformers.ASTForAudioClassification(transformers.ASTConfig(num_labels=CLASSES, **sizes)))


SMALL = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 192}
ODD = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80}


#: 28 * (488 / 28) is slightly less than 488 in floating point.
RARE = {"hidden_size": 28, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 488}


@pytest.mark.parametrize("form", ["safetensors", "bin", "parts"])
@pytest.mark.parametrize(
    "sizes",
    [
        {**SMALL, "image_size": 64, "patch_size": 16},
        {**ODD, "image_size": 48, "patch_size": 8, "layer_norm_eps": 1e-6},
        {**RARE, "image_size": 30, "patch_size": 8, "qkv_bias": False, "hidden_act": "gelu_new"},
    ],
)
def test_vit_equals_hugging_faces(tmp_path: Path, sizes: dict, form: str) -> None:
    theirs = hf_vit(**sizes)
    folder = saved(theirs, tmp_path, form)
    ours = FrameViT(CLASSES, **architecture(folder, "vision")).eval()
    assert load_pretrained(ours, folder, head=True) == []
    frames = torch.rand(4, 3, sizes["image_size"], sizes["image_size"], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(pixel_values=(frames - 0.5) / 0.5).logits
        found = ours(frames[:, None], torch.ones(4, 1, dtype=torch.bool)).frame_logits[:, 0]
    assert expected.std() > 0.1
    assert (found - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("form", ["safetensors", "bin", "parts"])
@pytest.mark.parametrize(
    "sizes",
    [
        {**SMALL, "max_length": 256, "num_mel_bins": 128},
        {**ODD, "max_length": 100, "num_mel_bins": 64, "frequency_stride": 16, "time_stride": 16},
        {**RARE, "max_length": 90, "num_mel_bins": 20, "frequency_stride": 6, "patch_size": 8, "hidden_act": "relu"},
    ],
)
def test_ast_equals_hugging_faces(tmp_path: Path, sizes: dict, form: str) -> None:
    theirs = hf_ast(**sizes)
    folder = saved(theirs, tmp_path, form)
    ours = AudioSpectrogramTransformer(CLASSES, **architecture(folder, "audio")).eval()
    assert load_pretrained(ours, folder, head=True) == []
    length, mels = sizes["max_length"], sizes["num_mel_bins"]
    scaled = torch.randn(3, length, mels, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs(input_values=scaled).logits
        found = ours(scaled * AUDIOSET_SCALE + AUDIOSET_SHIFT, torch.ones(3, length, dtype=torch.bool)).logits
    assert expected.std() > 0.1
    assert (found - expected).abs().max() <= 1e-5


@pytest.mark.slow
def test_full_sizes_agree_too(tmp_path: Path) -> None:
    """ViT-B/16 and AST base in their published sizes, with random weights."""
    vit = hf_vit()
    ours: nn.Module = FrameViT(CLASSES, **architecture(saved(vit, tmp_path / "vit", "safetensors"), "vision")).eval()
    load_pretrained(ours, tmp_path / "vit", head=True)
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = vit(pixel_values=(image - 0.5) / 0.5).logits
        found = ours(image[:, None], torch.ones(1, 1, dtype=torch.bool)).frame_logits[:, 0]
    assert relative(found, expected) <= 1e-5
    del vit, ours
    ast = hf_ast()
    ours = AudioSpectrogramTransformer(CLASSES, **architecture(saved(ast, tmp_path / "ast", "bin"), "audio")).eval()
    load_pretrained(ours, tmp_path / "ast", head=True)
    sound = torch.randn(1, 1024, 128, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = ast(input_values=sound).logits
        found = ours(sound * AUDIOSET_SCALE + AUDIOSET_SHIFT, torch.ones(1, 1024, dtype=torch.bool)).logits
    assert relative(found, expected) <= 1e-5


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, absolute for small logits and relative for large ones."""
    return float(((found - expected).abs() / expected.abs().clamp_min(1.0)).max())


def test_a_model_without_head_is_loaded_except_its_pooler(tmp_path: Path) -> None:
    model = randomised(transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=16)))
    folder = saved(model, tmp_path, "safetensors")
    ours = FrameViT(CLASSES, **architecture(folder, "vision")).eval()
    assert load_pretrained(ours, folder) == ["pooler.dense.bias", "pooler.dense.weight"]
    frame = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = model(pixel_values=(frame - 0.5) / 0.5).last_hidden_state[:, 0]
        found = ours(frame[:, None], torch.ones(1, 1, dtype=torch.bool)).tokens[:, 0]
    assert (found - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_log_mel_equals_hugging_faces_extractor(seconds: float) -> None:
    extractor = transformers.ASTFeatureExtractor()
    time = np.arange(int(16000 * seconds)) / 16000
    noise = np.random.default_rng(0).normal(size=len(time))
    wave = (0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * noise + 0.02).astype(np.float32)
    expected = extractor(wave, sampling_rate=16000, return_tensors="np")["input_values"][0]
    energies = logmel(wave, 16000)
    found = np.zeros((1024, 128), dtype=np.float32)
    found[: len(energies)] = energies
    found = (found - AUDIOSET_SHIFT) / AUDIOSET_SCALE
    assert np.abs(found - expected).max() <= 1e-4
