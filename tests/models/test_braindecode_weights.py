"""Published weights of braindecode's models, imitated by small models: features equal the package's own."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from failing import fails
from safetensors.torch import save_file

pytest.importorskip("braindecode")

from eavdash.config.schema import EegConfig, ProtocolConfig, StudyConfig
from eavdash.errors import ConfigError
from eavdash.explain.attributions import integrated_gradients
from eavdash.explain.fused import FusedModel
from eavdash.models.braindecode_eeg import BraindecodeEncoder, electrodes
from eavdash.models.braindecode_known import known
from eavdash.models.build import build, encoder_spec, load_weights, save_weights
from eavdash.models.weights import load_pretrained
from eavdash.training.headphase import freeze

NAMES = ["Fp1", "Fp2", "F3", "fz", "C3", "Cz", "T3", "PO9"]  # T3 is an old name of T7
#: A small model of each kind: its settings, how its file is called, and a prefix of its tensors' names.
SMALL: dict[str, tuple[dict[str, Any], str, str]] = {
    "CBraMod": ({"n_layer": 1, "dim_feedforward": 32}, "model.safetensors", "module.net."),
    "Labram": ({"num_layers": 1}, "pytorch_model.bin", ""),
    "InterpolatedLaBraM": ({"num_layers": 1}, "weights.pth", "model."),
    "InterpolatedBIOT": ({"num_layers": 1, "embed_dim": 32, "num_heads": 4}, "model.safetensors", "_orig_mod."),
    "EEGPT": ({"depth": 1, "embed_dim": 32, "num_heads": 2}, "model.safetensors", "backbone."),
    "InterpolatedBENDR": (
        {"encoder_h": 32, "contextualizer_hidden": 32, "transformer_layers": 1},
        "model.safetensors",
        "",
    ),
    "SignalJEPA": (
        {"transformer__num_encoder_layers": 1, "transformer__num_decoder_layers": 1},
        "model.safetensors",
        "net.",
    ),
    "CodeBrain": ({"num_res_layers": 1}, "model.safetensors", ""),
}
NAMED = ("Labram", "SignalJEPA", "REVE")


def theirs(name: str, names: list[str] = NAMES, seconds: int = 2, **settings: Any) -> Any:
    """Return a model of braindecode with four classes; CodeBrain fixes a norm in its first pass."""
    facts = known(name)
    assert facts
    torch.manual_seed(0)
    electrode: dict[str, Any] = {"n_chans": len(names)}
    if name in NAMED or name.startswith("Interpolated"):
        electrode = {"chs_info": electrodes(name, names)}
    window = {"n_outputs": 4, "n_times": int(seconds * facts.rate), "sfreq": facts.rate}
    with warnings.catch_warnings(action="ignore"):
        made = importlib.import_module("braindecode.models").__dict__[name](**window, **electrode, **settings).eval()
        made(torch.randn(1, len(names), int(seconds * facts.rate)), **spelt(name, names))
    return made


def spelt(name: str, names: list[str]) -> dict[str, Any]:
    return {"ch_names": names} if name == "Labram" else {}


def publish(folder: Path, model: Any, file: str = "model.safetensors", prefix: str = "") -> Path:
    """Write a folder as braindecode publishes it: config.json and weights."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**model.get_config(), "braindecode_version": "1.8.1"}))
    tensors = {prefix + name: tensor.clone() for name, tensor in model.state_dict().items()}
    if file.endswith(".safetensors"):
        save_file(tensors, folder / file)
    else:
        torch.save(tensors, folder / file)
    return folder


def spec_of(name: str, path: Path | str, names: list[str] = NAMES, seconds: float = 2, **eeg: Any) -> dict[str, Any]:
    facts = known(name)
    assert facts
    settings = {"rate": float(facts.rate), "tokens": "pooled", **eeg}
    config = StudyConfig(eeg=EegConfig(encoder=f"braindecode:{name}", weights=str(path), **settings))
    shape = {"channels": names, "samples": int(seconds * settings["rate"])}
    made: dict[str, Any] = json.loads(json.dumps(encoder_spec("eeg", config, 3, shape)))
    return made


def encoder(name: str, path: Path, **settings: Any) -> BraindecodeEncoder:
    model = build(spec_of(name, path, **settings))
    assert isinstance(model, BraindecodeEncoder)
    left_out = load_pretrained(model, path)
    assert all("final_layer." in n or "chans_id" in n for n in left_out), left_out
    return model.eval()


def windows(name: str, seconds: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two windows in volt, and their masks."""
    facts = known(name)
    assert facts
    x = 2e-5 * torch.randn(2, len(NAMES), int(seconds * facts.rate), generator=torch.Generator().manual_seed(1))
    return x, torch.ones(2, x.shape[2], dtype=torch.bool)


def as_trained(name: str, model: Any, x: torch.Tensor) -> torch.Tensor:
    """Return volts as the model's authors scale them, at the model's own electrodes."""
    x = 1e6 * x
    if name.startswith("Interpolated"):
        x, model.interpolation_layer = model.interpolation_layer(x), None
    if name in ("CBraMod", "Labram", "InterpolatedLaBraM", "CodeBrain"):
        return x / 100
    if name == "InterpolatedBIOT":
        return x / (torch.quantile(x.abs(), 0.95, dim=-1, keepdim=True) + 1e-8)
    if name == "InterpolatedBENDR":
        low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        return 2 * (x - low) / (high - low) - 1
    return x / 20 if name == "EEGPT" else x  # standard deviations


@pytest.mark.parametrize("name", SMALL)
def test_features_equal_those_of_the_package(name: str, tmp_path: Path) -> None:
    settings, file, prefix = SMALL[name]
    model = theirs(name, **settings)
    path = publish(tmp_path / "weights", model, file, prefix)
    ours = encoder(name, path)
    ours.set_scaling(torch.zeros(len(NAMES)), torch.full((len(NAMES),), 2e-5))
    x, mask = windows(name)
    with torch.no_grad():
        expected = model(as_trained(name, model, x), return_features=True, **spelt(name, NAMES))["features"]
        expected = expected.flatten(1, -2).mean(1) if expected.ndim > 2 else expected
        made = ours(x, mask)
        features = ours.forward_features(x, mask)
        assert features is not None
        assert torch.equal(ours.forward_head(features, mask).logits, made.logits)
    assert expected.std() > 0.1
    assert (made.tokens[:, 0] - expected).abs().max() <= 1e-5
    assert made.tokens.shape == (2, 1, ours.feature_dim)
    assert ours.feature_dim <= 512
    freeze(ours)
    assert {n for n, p in ours.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    save_weights(ours, tmp_path / "model.safetensors")
    again = load_weights(build(spec_of(name, path)), tmp_path / "model.safetensors").eval()
    with torch.no_grad():
        assert torch.equal(again(x, mask).logits, made.logits)


def test_whole_features_are_classified_by_the_models_own_last_layer(tmp_path: Path) -> None:
    model = theirs("CBraMod", **SMALL["CBraMod"][0])
    ours = encoder("CBraMod", publish(tmp_path, model), tokens="whole")
    ours.head.load_state_dict({k: v[:3] for k, v in model.final_layer.state_dict().items()})
    x, mask = windows("CBraMod")
    with torch.no_grad():
        made, expected = ours(x, mask), model(1e4 * x)[:, :3]
    assert made.tokens.shape == (2, 1, len(NAMES) * 2 * 200)
    assert (made.logits - expected).abs().max() <= 1e-5


def test_a_study_of_an_earlier_version_keeps_its_tokens() -> None:
    shape = {"channels": NAMES, "samples": 400}
    eeg = {"encoder": "braindecode:CBraMod", "rate": 200.0}
    spec = encoder_spec("eeg", StudyConfig(eeg=EegConfig(**eeg)), 3, shape)
    kwargs = {"classes": 3, "model": "CBraMod", "channels": len(NAMES), "samples": 400, "rate": 200.0}
    assert spec == {"name": "braindecode", "kwargs": kwargs}


def test_shorter_windows_use_the_first_of_the_times_in_a_file(tmp_path: Path) -> None:
    longer = theirs("Labram", seconds=3, num_layers=1)
    ours = encoder("Labram", publish(tmp_path, longer), seconds=2)
    model, tensors = theirs("Labram", num_layers=1), longer.state_dict()
    model.load_state_dict({**tensors, "temporal_embedding": tensors["temporal_embedding"][:, :3]})
    x, mask = windows("Labram")
    with torch.no_grad():
        expected = model(1e4 * x, return_features=True, ch_names=NAMES)["features"].mean(1)
        assert (ours(x, mask).tokens[:, 0] - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["InterpolatedBIOT", "InterpolatedBENDR"])
def test_attributions_are_complete_though_the_scale_is_the_windows_own(name: str, tmp_path: Path) -> None:
    ours = encoder(name, publish(tmp_path, theirs(name, **SMALL[name][0])))
    x, mask = windows(name)
    x, mask = x[:1].clone(), mask[:1].clone()
    mask[:, -50:] = False
    with torch.no_grad():
        once, twice = ours(x, mask).logits, ours(2 * x, mask).logits
    assert (once - twice).abs().max() <= 1e-4
    found, completeness = integrated_gradients(FusedModel({"eeg": ours}, None), {"eeg": x}, {"eeg": mask}, 1, steps=64)
    assert found["eeg"].abs().sum() > 0
    assert (found["eeg"][..., -50:] == 0).all()
    assert completeness.gap <= 0.05 * max(abs(completeness.output), abs(completeness.output - completeness.baseline))


def test_parts_of_other_electrodes_are_trained_with_the_head(tmp_path: Path) -> None:
    model = theirs("EEGPT", [*NAMES, "Oz"], depth=1, embed_dim=32, num_heads=2)
    ours = build(spec_of("EEGPT", publish(tmp_path, model)))
    left_out = load_pretrained(ours, tmp_path)
    assert any(n.startswith("chan_proj.") for n in left_out)
    assert ours.net.chan_proj in ours.new_parts
    assert ours.forward_features(*windows("EEGPT")) is None


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"rate": 100.0, "seconds": 4}, {"where": "eeg.rate", "expected": "200", "remedy": "eeg.rate=200"}),
        ({"seconds": 2.5}, {"where": "window", "found": "500", "remedy": "window=2"}),
        ({"names": ["Fp1", "E17"]}, {"where": "braindecode:InterpolatedLaBraM", "found": "E17"}),
        ({"name": "CBraMod"}, {"where": "config.json", "found": "learned_patcher", "remedy": "same model"}),
    ],
)
def test_what_does_not_fit_the_weights_is_said_while_planning(changed: dict, facts: dict, tmp_path: Path) -> None:
    settings = {"num_layers": 1}
    folder = publish(tmp_path, theirs("Labram", ["Fp1"], **settings))
    arguments = {"name": "InterpolatedLaBraM", **changed}
    with fails(ConfigError, **facts):
        build(spec_of(arguments.pop("name"), folder, **arguments))


def test_windows_that_no_patch_divides_name_the_rate_also_from_scratch() -> None:
    with fails(ConfigError, where="eeg.rate", found="100", remedy="eeg.rate=200"):
        spec_of("CBraMod", "", rate=100.0, seconds=5)
    assert spec_of("CodeBrain", "", rate=100.0, seconds=5)  # cuts the rest off


def test_weights_of_other_channels_or_without_a_tensor_are_refused(tmp_path: Path) -> None:
    small = SMALL["InterpolatedBIOT"][0]
    folder = publish(tmp_path, theirs("BIOT", [*NAMES, "Oz"], **small))
    with fails(ConfigError, where="model.safetensors", found="9", remedy="InterpolatedBIOT"):
        load_pretrained(build(spec_of("BIOT", folder)), folder)
    model = theirs("BIOT", **small)
    for change, fact in (("missing", "no tensor"), ("unknown", "adapter.weight")):
        tensors = dict(model.state_dict())
        if change == "missing":
            del tensors["encoder.channel_tokens.weight"]
        else:
            tensors["adapter.weight"] = torch.zeros(2)
        save_file(tensors, tmp_path / "model.safetensors")
        with fails(ConfigError, where="model.safetensors", found=fact, remedy="braindecode:BIOT"):
            load_pretrained(build(spec_of("BIOT", folder)), folder)


def test_microvolts_need_recordings_in_their_own_unit(tmp_path: Path) -> None:
    folder = publish(tmp_path, theirs("CBraMod", **SMALL["CBraMod"][0]))
    config = StudyConfig(
        protocol=ProtocolConfig(name="loso", subject_scaling="all"),
        eeg=EegConfig(encoder="braindecode:CBraMod", weights=str(folder), rate=200.0),
    )
    with fails(ConfigError, where="protocol.subject_scaling", remedy="protocol.subject_scaling=off"):
        encoder_spec("eeg", config, 3, {"channels": NAMES, "samples": 400})


def test_a_config_cannot_import_anything(tmp_path: Path) -> None:
    folder = publish(tmp_path, theirs("CBraMod", **SMALL["CBraMod"][0]))
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "activation": "torch.os.system"}))
    with fails(ConfigError, where="braindecode:CBraMod", found="not a layer of torch"):
        build(spec_of("CBraMod", folder))


def test_reve_reads_its_positions_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"embed_dim": 32, "depth": 1, "heads": 2, "head_dim": 16}
    bank = {name.upper(): [0.01 * i, 0.02, 0.03] for i, name in enumerate([*NAMES, "Oz"])}
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "reve_positions.json").write_text(json.dumps({n: bank[n.upper()] for n in NAMES}))
    monkeypatch.setenv("REVE_POSITIONS_PATH", str(tmp_path / "bank"))
    model = theirs("REVE", **settings)
    monkeypatch.delenv("REVE_POSITIONS_PATH")
    folder = publish(tmp_path / "weights", model)
    with fails(ConfigError, where="braindecode:REVE", found="nothing is downloaded", remedy="reve_positions.json"):
        spec_of("REVE", folder)
    (folder / "positions.json").write_text(json.dumps(bank))
    ours = encoder("REVE", folder)
    ours.set_scaling(torch.zeros(len(NAMES)), torch.full((len(NAMES),), 2e-5))
    x, mask = windows("REVE")
    x[0, 0, 0] = 1.0  # clipped at 15 standard deviations
    with torch.no_grad():
        expected = model((x / 2e-5).clamp(-15, 15), return_features=True)["features"].flatten(1, -2).mean(1)
        assert (ours(x, mask).tokens[:, 0] - expected).abs().max() <= 1e-5
