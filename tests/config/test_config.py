"""Configuration: JSON round trips, settings from the command line, and early rejection of invalid settings."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from failing import fails

from eavdash.config.choices import STAGES
from eavdash.config.convert import differences, from_dict, settings_of, to_dict, with_epochs, with_settings
from eavdash.config.presets import PRESETS, preset
from eavdash.config.reference import reference
from eavdash.config.schema import SETTINGS, StudyConfig
from eavdash.config.setting import value_of
from eavdash.errors import ConfigError, UsageError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back_from_json(name: str) -> None:
    config = preset(name)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_the_paper_preset_is_the_published_configuration() -> None:
    paper = preset("paper")
    assert (paper.protocol.name, paper.eeg.encoder, paper.fusion.kind) == ("paper", "yin", "paper")
    assert (paper.vision.size, paper.vision.width, paper.vision.depth) == (224, 768, 12)
    assert (paper.audio.frames, paper.audio.stride) == (1024, 10)
    assert (paper.train.audio.head_epochs, paper.train.audio.epochs) == (20, 30)


def test_settings_change_what_they_name_and_nothing_else() -> None:
    config = with_settings(
        preset("quick"),
        ["eeg.low=1", "train.audio.epochs=5", "stages=audio,eeg", "train.eeg.augment=false", "eeg.channels=Fz, Cz"],
    )
    assert config.eeg.low == 1.0
    assert config.train.audio.epochs == 5
    assert config.stages == ("audio", "eeg")
    assert config.train.eeg.augment is False
    assert config.eeg.channels == ("Fz", "Cz")
    changed = differences(to_dict(preset("quick")), to_dict(config))
    assert len(changed) == 5
    assert "eeg.low: 0.5 → 1.0" in changed


@pytest.mark.parametrize(
    "setting",
    [
        "eeg.lows=1",
        "eeg=1",
        "eeg.low",
        "eeg.low=x",
        "train.audio.epochs=1.5",
        "train.audio.epochs=0",
        "window=0",
        "window=nan",
        "eeg.high=0.1",
        "vision.size=65",
        "vision.heads=3",
        "protocol.name=random",
        "protocol.subject_scaling=some",
        "protocol.subject_scaling=calibration:x",
        "stages=audio,audio",
        "stages=smell",
        "stages=fusion",
        "fusion.kind=magic",
        "fusion.modality_dropout=1",
        "audio.encoder=vit",
        "train.eeg.augment=perhaps",
        "train.eeg.learning_rate=nan",
        "train.eeg.learning_rate=inf",
        "train.vision.head_learning_rate=0",
        "train.vision.head_epochs=-1",
        "train.eeg.weight_decay=-1",
        "train.eeg.patience=-1",
        "fusion.heads=0",
        "eeg.heads=-4",
        "eeg.width=-4",
        "eeg.filters=0",
        "eeg.segments=0",
        "audio.stride=0",
        "audio.mels=8",
        "audio.frames=-3",
        "audio.rate=100000000",
        "window=1e-9",
        "protocol.folds=1000000000",
        "eeg.rate=1e12",
        "train.eeg.epochs=100000000000000",
        "train.recipe=magic",
        "preset=paper",
    ],
)
def test_an_invalid_setting_is_refused_with_its_name(setting: str) -> None:
    with fails(ConfigError) as caught:
        with_settings(preset("quick"), [setting])
    assert setting.partition("=")[0] in f"{caught.value.where} {caught.value.expected}"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("eeg.lows", "did you mean eeg.low"),
        ("window.xyz", "did you mean window"),
        ("eeg.xyz", "use one of eeg.encoder, "),
        ("odd", "use a key of docs/settings.md: it begins with one of stages, "),
    ],
)
def test_an_unknown_setting_is_answered_with_those_that_may_be_meant(key: str, told: str) -> None:
    with fails(ConfigError) as caught:
        with_settings(preset("quick"), [f"{key}=1"])
    assert told in str(caught.value)
    assert len(str(caught.value)) < 700, "all keys would fill a phone"


def test_an_unknown_key_in_json_is_refused() -> None:
    data = to_dict(preset("quick"))
    data["eeg"]["lows"] = 1
    with fails(ConfigError, where="configuration.eeg", expected="low", found="lows"):
        from_dict(data)


def test_a_wrong_type_in_json_is_refused() -> None:
    data = to_dict(preset("quick"))
    data["train"]["eeg"]["epochs"] = "many"
    with fails(ConfigError, where="train.eeg.epochs", found="'many'"):
        from_dict(data)


def test_epochs_for_every_stage_keep_head_epochs_within() -> None:
    config = with_epochs(preset("paper"), 3)
    assert {config.training(s).epochs for s in STAGES} == {3}
    assert config.train.audio.head_epochs == 3


def test_the_recipe_is_a_setting_of_its_own() -> None:
    quick = preset("quick")
    assert (quick.train.recipe, preset("paper").train.recipe) == ("default", "published")
    changed = differences(to_dict(quick), to_dict(with_settings(quick, ["train.recipe=published"])))
    assert changed == ["train.recipe: 'default' → 'published'"]
    assert with_epochs(preset("paper"), 3).train.recipe == "published"


@pytest.mark.parametrize(("name", "recipe"), [("quick", "default"), ("paper", "published"), ("anything", "default")])
def test_a_study_made_before_the_recipe_keeps_the_one_that_its_preset_decided(name: str, recipe: str) -> None:
    old = to_dict(preset("paper" if name == "paper" else "quick")) | {"preset": name}
    del old["train"]["recipe"]
    assert from_dict(old).train.recipe == recipe


def test_a_record_without_a_fusion_was_made_with_attention_though_quick_takes_the_transformer() -> None:
    assert [preset(name).fusion.kind for name in PRESETS] == ["transformer", "transformer", "paper"]
    whole = to_dict(preset("quick"))
    without = {key: value for key, value in whole.items() if key != "fusion"}
    for old in (without, {**whole, "fusion": {"width": 64}}):
        assert from_dict(old).fusion.kind == "attention"


def test_a_record_without_muting_mutes_no_noise_though_quick_does() -> None:
    assert preset("quick").fusion.mute_noise
    assert not from_dict({**to_dict(preset("quick")), "fusion": {"kind": "transformer"}}).fusion.mute_noise


def test_every_setting_has_a_sentence_and_the_presets_are_within_bounds() -> None:
    for key, entry in SETTINGS.items():
        assert entry.help.endswith("."), key
        assert all(entry.bounds.hold(value_of(preset(name), key)) for name in PRESETS), key


def test_the_reference_in_the_docs_is_that_of_the_schema() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference(), "write it again: python -m eavdash.config.reference"


ODD = ("nan", "inf", "-inf", "-1", "0", "1e-12", "1e12", "1e400", "9" * 5000, "", "💥", "0x10")


@pytest.mark.parametrize("key", SETTINGS)
def test_any_value_of_a_setting_is_within_its_bounds_or_refused_in_one_sentence(key: str) -> None:
    config = StudyConfig()
    for text in ODD:
        refusal, value = None, value_of(config, key)
        try:
            value = value_of(with_settings(config, [f"{key}={text}"]), key)
        except UsageError as error:
            refusal = error
        assert refusal is None or (refusal.exit_code == 2 and refusal.where and len(str(refusal)) < 1500)
        assert SETTINGS[key].bounds.hold(value)
        assert not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("key", [key for key, setting in SETTINGS.items() if setting.kind in (int, float)])
def test_every_number_has_a_least_and_a_largest_value(key: str) -> None:
    bounds = SETTINGS[key].bounds
    assert not bounds.hold(-math.inf)
    assert not bounds.hold(math.inf)
    assert not bounds.hold(math.nan)


@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, math.nan])
def test_a_number_in_json_that_no_float_holds_is_refused(value: float) -> None:
    with fails(ConfigError, where="window", found="inf" if value == value else "nan"):
        from_dict({**to_dict(StudyConfig()), "window": value})


def test_settings_of_are_those_that_make_the_same_configuration() -> None:
    base = preset("quick")
    settings = ["eeg.notch=50.0", "stages=audio,eeg", "where=place=lab", "audio.from_video=true", "fusion.kind=concat"]
    config = with_settings(base, settings)
    among = ("stages", "where", "eeg", "audio")
    found = settings_of(config, base, among)
    assert sorted(found) == sorted(settings[:-1])
    assert with_settings(base, [*found, settings[-1]]) == config
    odd = with_settings(base, ["eeg.notch=60"])
    odd = replace(odd, eeg=replace(odd.eeg, channels=("A,1",)))
    assert settings_of(odd, base, among) == ["eeg.notch=60.0", 'eeg.channels="A,1"']
    assert with_settings(base, settings_of(odd, base, among)) == odd
