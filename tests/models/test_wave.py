"""Encoders of raw sound against Hugging Face's wav2vec 2.0, HuBERT and WavLM, on small random models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from failing import fails
from test_hf_parity import saved
from torch import Tensor, nn

from eavdash.config.convert import with_settings
from eavdash.config.schema import StudyConfig
from eavdash.data.audio.front_ends import front_end
from eavdash.errors import ConfigError
from eavdash.explain.attributions import integrated_gradients
from eavdash.explain.fused import FusedModel
from eavdash.models import weights
from eavdash.models.build import build, encoder_spec
from eavdash.models.wave import WaveEncoder

transformers = pytest.importorskip("transformers")
SMALL = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
    **{"conv_dim": [16, 16, 24], "conv_kernel": [10, 3, 2], "conv_stride": [5, 2, 2], "num_feat_extract_layers": 3},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
}
LARGE = {**SMALL, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAMILIES = ["Wav2Vec2", "Hubert", "WavLM"]
LENGTH = 1600


def theirs(family: str, kind: str = "Model", **sizes: Any) -> nn.Module:
    """A random model with no tensor at its usual value, so that swapped ones show."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**sizes)
    model = getattr(transformers, f"{family}{kind}")(config).eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=random))
    return model


def ours(folder: Path, classes: int = 3) -> WaveEncoder:
    config = settings(folder)
    torch.manual_seed(0)
    model: WaveEncoder = build(encoder_spec("audio", config, classes, {"frames": LENGTH, "mels": 1}))
    weights.load_configured(model, config, "audio")
    return model.eval()


def settings(folder: Path) -> StudyConfig:
    return with_settings(StudyConfig(stages=("audio",)), ["audio.encoder=wav2vec2", f"audio.weights={folder}"])


def waves(count: int = 2) -> tuple[Tensor, Tensor]:
    x = 0.1 + 0.3 * torch.randn(count, LENGTH, 1, generator=torch.Generator().manual_seed(2))
    return x, torch.ones(count, LENGTH, dtype=torch.bool)


@pytest.mark.parametrize("sizes", [SMALL, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_every_layer_is_hugging_faces(tmp_path: Path, family: str, sizes: dict[str, Any], form: str) -> None:
    model = theirs(family, **sizes)
    own = ours(saved(model, tmp_path / "m", form))
    x, mask = waves()
    wave = x[..., 0]
    normal = (wave - wave.mean(1, keepdim=True)) / (wave.var(1, keepdim=True, correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        made = model(normal, output_hidden_states=True)
        expected = [*made.hidden_states[1:-1], made.last_hidden_state]  # some versions list the last without its norm
        found = own.layers(wave)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        states = own.states(x, mask)
    torch.testing.assert_close(states, torch.stack(expected).mean(dim=0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "kind"), [("Wav2Vec2", "ForPreTraining"), ("Hubert", "ForCTC"), ("WavLM", "ForXVector")]
)
def test_what_other_tasks_add_is_left_out_by_name(tmp_path: Path, family: str, kind: str) -> None:
    extra = {"vocab_size": 7, "codevector_dim": 8, "proj_codevector_dim": 8, "num_codevectors_per_group": 4}
    model = theirs(family, kind, **SMALL, **extra)
    folder = saved(model, tmp_path / "m", "safetensors")
    own = ours(folder)
    left_out = weights.load_pretrained(own, folder)
    ends = {"ForPreTraining": "quantizer.codevectors", "ForCTC": "lm_head.weight", "ForXVector": "tdnn.0.kernel.weight"}
    assert ends[kind] in left_out
    assert len(left_out) + sum(1 for _ in own.net.state_dict()) >= len(model.state_dict()) - 8


@pytest.mark.parametrize("family", FAMILIES)
def test_short_windows_are_run_on_their_recorded_part(tmp_path: Path, family: str) -> None:
    own = ours(saved(theirs(family, **SMALL), tmp_path / "m", "safetensors"))
    x, mask = waves(3)
    mask[1, 900:] = False
    mask[2, 5:] = False  # too short for a state
    spoilt = torch.where(mask[..., None], x, torch.full_like(x, 50.0))
    with torch.no_grad():
        first, second, alone = own(x, mask), own(spoilt, mask), own(x[1:2, :900], mask[1:2, :900])
    assert torch.equal(first.logits, second.logits)
    torch.testing.assert_close(first.logits[1:2], alone.logits, atol=1e-5, rtol=1e-5)
    assert first.logits.isfinite().all()


def test_samples_get_attributions_that_add_up(tmp_path: Path) -> None:
    own = ours(saved(theirs("WavLM", **LARGE), tmp_path / "m", "safetensors"))
    x, mask = waves(1)
    own.fit_features([waves(4)])
    mask[:, 1500:] = False
    found, receipt = integrated_gradients(FusedModel({"audio": own}, None), {"audio": x}, {"audio": mask}, 0, 64, 32)
    assert found["audio"].shape == x.shape
    assert not found["audio"][:, 1500:].any()
    assert found["audio"].abs().sum() > 0
    assert receipt.relative_gap < 0.05


def test_a_fine_tuned_network_learns_the_weights_of_its_layers(tmp_path: Path) -> None:
    own = ours(saved(theirs("Wav2Vec2", **SMALL), tmp_path / "m", "safetensors"))
    x, mask = waves()
    own.train()(x, mask).logits.square().sum().backward()
    assert own.mix.grad is not None
    assert own.mix.grad.abs().sum() > 0


def test_the_front_end_gives_samples() -> None:
    front = front_end(
        with_settings(StudyConfig(stages=("audio",)), ["audio.encoder=wav2vec2", "audio.weights=x"]).audio
    )
    wave = np.linspace(-1, 1, 1000, dtype=np.float32)
    assert front.steps(1.0) == 16_000
    np.testing.assert_array_equal(front.values(wave)[:, 0], wave)
    assert front.values(wave[:100]).shape == (0, 1)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"model_type": "bert"}, "bert"),
        ({"num_attention_heads": 5}, "5"),
        ({"hidden_act": "relu"}, "relu"),
        ({"conv_stride": [5, 2]}, "[5, 2]"),
        ({"add_adapter": True}, "True"),
        ({"layer_norm_eps": 0.1}, "0.1"),
    ],
)
def test_models_that_cannot_be_built_are_refused(tmp_path: Path, change: dict[str, Any], found: str) -> None:
    folder = saved(theirs("Wav2Vec2", **SMALL), tmp_path / "m", "safetensors")
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with fails(ConfigError, where=str(file), expected=next(iter(change)), found=found):
        ours(folder)


def test_other_rates_scalings_and_tensors(tmp_path: Path) -> None:
    folder = saved(theirs("Hubert", **SMALL), tmp_path / "m", "safetensors")
    assert ours(folder).normalise
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    assert not ours(folder).normalise
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with fails(ConfigError, where="preprocessor_config.json", expected="16000", found="8000"):
        ours(folder)
    (folder / "preprocessor_config.json").unlink()
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_hidden_layers": 1}))
    with fails(ConfigError, where="model.safetensors", found="layers.1"):
        ours(folder)
    with fails(ConfigError, where="audio.weights", expected="HuBERT"):
        with_settings(StudyConfig(stages=("audio",)), ["audio.encoder=wav2vec2"])
