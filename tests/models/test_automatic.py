"""Encoders that are chosen by what is at hand, as the preset ``frozen`` leaves them open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from failing import fails

from eavdash.config.choices import AUTO, MODALITIES
from eavdash.config.convert import differences, to_dict, with_settings
from eavdash.config.presets import FROZEN, preset
from eavdash.config.schema import StudyConfig
from eavdash.errors import ConfigError
from eavdash.models import automatic
from eavdash.models.automatic import has_features, is_frozen, resolved
from eavdash.models.catalogue import Entry, entry_of


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    """The encoders that need no folder of weights, by modality; none at first."""
    entries: dict[str, Entry] = {}
    monkeypatch.setattr(automatic, "offered", lambda modality: tuple(filter(None, [entries.get(modality)])))
    return entries


def included(encoder: str, package: str = "") -> Entry:
    entry = entry_of("eeg", encoder)
    assert entry
    return replace(entry, weights="included", package=package, needs=f"pip install {package}")


def test_the_preset_leaves_every_encoder_open() -> None:
    frozen = preset("frozen")
    assert {frozen.modality(m).encoder for m in MODALITIES} == {AUTO}
    assert all(is_frozen(frozen, m) for m in MODALITIES)
    assert frozen.train.fusion == preset("quick").train.fusion


@pytest.mark.usefixtures("at_hand")
def test_without_pretrained_weights_every_stage_is_that_of_quick() -> None:
    config, sentences = resolved(preset("frozen"))
    assert differences(to_dict(preset("quick")), to_dict(config)) == ["preset: 'quick' → 'frozen'"]
    assert [sentence.partition(":")[0] for sentence in sentences] == list(MODALITIES)
    assert all("no pretrained weights" in sentence for sentence in sentences)


def test_an_encoder_whose_weights_are_at_hand_is_chosen_and_frozen(at_hand: dict[str, Entry]) -> None:
    at_hand["eeg"] = included("yin")
    config, sentences = resolved(with_settings(preset("frozen"), ["stages=audio,eeg"]))
    assert (config.eeg.encoder, config.audio.encoder, config.vision.encoder) == ("yin", "ast", "vit")
    assert [is_frozen(config, m) for m in MODALITIES] == [False, False, True]
    assert len(sentences) == 2  # vision is no stage
    assert sentences[1].startswith("eeg: encoder yin")


def test_an_encoder_that_is_not_installed_is_not_chosen_but_named(at_hand: dict[str, Entry]) -> None:
    at_hand["eeg"] = included("yin", "no-such-package")
    config, sentences = resolved(with_settings(preset("frozen"), ["stages=eeg"]))
    assert (config.eeg.encoder, is_frozen(config, "eeg")) == ("eegformer", False)
    assert "pip install no-such-package" in sentences[0]


def test_what_a_user_sets_stays(at_hand: dict[str, Entry]) -> None:
    at_hand["eeg"] = included("yin")
    asked = with_settings(preset("frozen"), ["eeg.encoder=eegformer", "eeg.low=1", "train.eeg.batch=4", "stages=eeg"])
    config, sentences = resolved(asked)
    assert (config.eeg, config.train.eeg, sentences) == (asked.eeg, asked.train.eeg, [])
    config, _ = resolved(with_settings(preset("frozen"), ["eeg.low=1", "train.eeg.batch=4"]))
    assert (config.eeg.encoder, config.eeg.low, config.train.eeg.batch) == ("yin", 1.0, 4)


def test_a_study_keeps_its_choices_whatever_is_at_hand_later(at_hand: dict[str, Entry]) -> None:
    asked = with_settings(preset("frozen"), ["stages=eeg"])
    first, _ = resolved(asked)
    at_hand["eeg"] = included("yin")
    again, sentences = resolved(asked, first)
    assert again == first
    assert "as the study was planned" in sentences[0]
    assert resolved(first) == (first, [])


@pytest.mark.parametrize(
    ("saved", "size"),
    [
        ({"pretrained_cfg": {"input_size": [3, 96, 96]}}, 96),
        ({"pretrained_cfg": {"input_size": 96}}, 64),
        ({"pretrained_cfg": "none"}, 64),
        ({}, 64),
    ],
)
@pytest.mark.usefixtures("at_hand")
def test_weights_of_timm_name_their_model(tmp_path: Path, saved: dict, size: int) -> None:
    settings = {"architecture": "vit_small_patch16_dinov3", **saved}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "model.safetensors").touch()
    for path in (tmp_path, tmp_path / "model.safetensors"):
        config, (sentence, *_) = resolved(with_settings(preset("frozen"), [f"vision.weights={path}"]))
        assert (config.vision.encoder, config.vision.size) == ("timm:vit_small_patch16_dinov3", size)
        assert (is_frozen(config, "vision"), config.vision.temporal) == (True, 0)
        assert sentence.startswith("vision: encoder timm:vit_small_patch16_dinov3 (")
    larger = with_settings(preset("frozen"), [f"vision.weights={tmp_path}", "vision.size=128", "vision.temporal=2"])
    assert (resolved(larger)[0].vision.size, resolved(larger)[0].vision.temporal) == (128, 2)


@pytest.mark.usefixtures("at_hand")
def test_weights_of_a_vit_or_ast_give_its_input(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 48}
    vit = transformers.ViTConfig(**sizes, image_size=32, patch_size=8)
    transformers.ViTForImageClassification(vit).save_pretrained(tmp_path / "vit")
    ast = transformers.ASTConfig(**sizes, num_mel_bins=64, max_length=200)
    transformers.ASTForAudioClassification(ast).save_pretrained(tmp_path / "ast")
    given = [f"vision.weights={tmp_path / 'vit'}", f"audio.weights={tmp_path / 'ast'}"]
    config, _ = resolved(with_settings(preset("frozen"), given))
    assert (config.vision.encoder, config.vision.size) == ("vit", 32)
    assert (config.audio.encoder, config.audio.mels, config.audio.scaling) == ("ast", 64, "ast")
    assert is_frozen(config, "vision")
    assert is_frozen(config, "audio")


CARD = "---\nlibrary_name: braindecode\ntags:\n- braindecode\n- eeg\n- CBraMod\n---\n\n# Labram is another model\n"


@pytest.mark.parametrize(
    ("folder", "config", "card", "encoder", "rate"),
    [
        ("w", {"n_chans": 4}, CARD, "braindecode:CBraMod", 200.0),
        ("w", {"sfreq": 128}, CARD, "braindecode:CBraMod", 128.0),
        ("braindecode--cbramod-pretrained", {}, "", "braindecode:CBraMod", 200.0),
        ("signal-jepa", {}, "no front matter: Labram", "braindecode:SignalJEPA", 128.0),
        ("w", {"model": {"name": "braindecode", "kwargs": {"model": "EEGNet"}}}, "", "braindecode:EEGNet", 100.0),
        ("w", {"model": {"name": "yin", "kwargs": {}}}, "", "yin", 100.0),
    ],
)
@pytest.mark.usefixtures("at_hand")
def test_weights_of_an_eeg_encoder_name_it_and_its_rate(
    tmp_path: Path, folder: str, config: dict, card: str, encoder: str, rate: float
) -> None:
    pytest.importorskip("braindecode")
    weights = tmp_path / folder
    weights.mkdir()
    (weights / "config.json").write_text(json.dumps(config))
    (weights / "model.safetensors").touch()
    if card:
        (weights / "README.md").write_text(card)
    for path in (weights, weights / "model.safetensors"):
        chosen, _ = resolved(with_settings(preset("frozen"), [f"eeg.weights={path}", "stages=eeg"]))
        assert (chosen.eeg.encoder, chosen.eeg.rate, is_frozen(chosen, "eeg")) == (encoder, rate, True)
    asked = with_settings(preset("frozen"), [f"eeg.weights={weights}", "stages=eeg", "eeg.rate=250"])
    assert resolved(asked)[0].eeg.rate == 250


@pytest.mark.usefixtures("at_hand")
def test_weights_of_an_eeg_encoder_without_its_name_are_refused(tmp_path: Path) -> None:
    with fails(ConfigError, where="eeg.encoder", found=AUTO, remedy="braindecode:NAME"):
        resolved(with_settings(preset("frozen"), [f"eeg.weights={tmp_path}"]))


def test_pretrained_is_what_has_weights_or_needs_none() -> None:
    assert not has_features(StudyConfig(), "audio")
    assert has_features(with_settings(StudyConfig(), ["audio.weights=weights/ast"]), "audio")
    assert set(FROZEN) <= set(to_dict(StudyConfig())["train"]["audio"])
