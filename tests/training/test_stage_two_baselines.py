"""Baselines of a fusion: chosen and calibrated on validation windows; without any, config.json records that."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from torch.nn import functional as F

from eavdash.config.choices import STAGES
from eavdash.errors import ConfigError
from eavdash.models import build
from eavdash.models.concat_fusion import ConcatFusion
from eavdash.training import baselines
from eavdash.training.calibration import NONE, RANGE, fit_temperature
from eavdash.training.run import train_run

P = ["p_joy", "p_calm", "p_anger"]


def draw_logits(count: int, boldness: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw logits, and labels from their softmax; scaled logits are calibrated at T = ``boldness``."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, generator=random)
    labels = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    return logits * boldness, labels


@pytest.mark.parametrize("boldness", [0.3, 1.0, 4.0])
def test_the_planted_temperature_is_found(boldness):
    logits, labels = draw_logits(4000, boldness)
    found = fit_temperature(logits, labels)
    assert found.temperature == pytest.approx(boldness, rel=0.1)
    assert found.windows == 4000
    assert found.after == pytest.approx(float(F.cross_entropy(logits.double() / found.temperature, labels)))
    assert found.after <= found.before
    # No other temperature is better, except for the prior, which is small among so many windows.
    for other in np.geomspace(*RANGE, 50):
        assert float(F.cross_entropy(logits.double() / other, labels)) > found.after - 1e-4


def test_a_few_correct_windows_do_not_give_certainty():
    labels = torch.arange(12) % 3
    found = fit_temperature(F.one_hot(labels, 3).float(), labels)
    assert RANGE[0] * 2 < found.temperature < 1
    wrong = fit_temperature(10.0 * F.one_hot((labels + 1) % 3, 3).float(), labels)
    assert 5 < wrong.temperature < RANGE[1]
    assert fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == NONE


def encoder_logits() -> tuple[dict, dict, torch.Tensor]:
    """Eight windows, 0-3 training, 4-5 validation, 6-7 test: vision has memorised, audio is right on validation."""
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    right = 4.0 * F.one_hot(labels, 2).float()
    wrong = 4.0 * F.one_hot(1 - labels, 2).float()
    vision = torch.cat([right[:4], wrong[4:6], right[6:]])  # best on the test windows as well
    audio = torch.cat([wrong[:4], right[4:6], wrong[6:]])
    masks = {"vision": torch.ones(8, 1, dtype=torch.bool), "audio": torch.ones(8, 1, dtype=torch.bool)}
    return {"vision": vision, "audio": audio}, masks, labels


def test_the_best_single_modality_is_chosen_on_validation_windows():
    logits, masks, labels = encoder_logits()
    train, validation = [0, 1, 2, 3], [4, 5]
    found = baselines.rank(logits, masks, labels, train, validation)
    assert found.order == ("audio", "vision")
    assert found.to_dict() == {
        "chosen": "audio",
        "by": "validation windows",
        "accuracy": {"vision": 0.0, "audio": 1.0},
    }
    # Test labels and test logits have no influence.
    for tested in (labels[6:], 1 - labels[6:]):
        assert baselines.rank(logits, masks, torch.cat([labels[:6], tested]), train, validation) == found
    alone = baselines.rank(logits, masks, labels, train, [])
    assert (alone.order[0], alone.to_dict()["by"]) == ("vision", "training windows")
    masks["audio"][4:6] = False  # not measured: the other one is chosen
    assert baselines.rank(logits, masks, labels, train, validation).order == ("vision", "audio")


def test_a_window_without_the_best_modality_uses_the_next():
    logits, masks, _ = encoder_logits()
    masks["audio"][6] = False
    masks["audio"][7], masks["vision"][7] = False, False
    probabilities = baselines.best_single(logits, masks, ("audio", "vision")).windows
    assert probabilities[0] == pytest.approx(logits["audio"][0].softmax(0).numpy())
    assert probabilities[6] == pytest.approx(logits["vision"][6].softmax(0).numpy())
    assert probabilities[7].tolist() == [0.5, 0.5]


def test_calibrated_averaging_down_weights_modalities_that_are_wrong_on_validation():
    labels = torch.arange(300) % 3
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(3, (300,), generator=random)
    noise[:100] = labels[:100]  # memorised in training
    knows = torch.where(torch.rand(300, generator=random) < 0.8, labels, noise)
    logits = {"vision": 3.0 * F.one_hot(knows, 3).float(), "eeg": 9.0 * F.one_hot(noise, 3).float()}
    masks = {m: torch.ones(300, 1, dtype=torch.bool) for m in logits}
    fitted = baselines.temperatures(logits, masks, labels, list(range(100, 200)))
    assert fitted["eeg"].temperature > 4 * fitted["vision"].temperature
    right = {}
    for name, predictions in (
        ("mean", baselines.mean_of_modalities(logits, masks)),
        ("calibrated", baselines.calibrated_mean(logits, masks, fitted)),
    ):
        right[name] = float((predictions.windows[200:].argmax(1) == labels[200:].numpy()).mean())
    assert right["calibrated"] > right["mean"] + 0.2
    unfitted = baselines.temperatures(logits, masks, labels, [])
    same = baselines.calibrated_mean(logits, masks, unfitted).windows
    assert same == pytest.approx(baselines.mean_of_modalities(logits, masks).windows, abs=1e-12)
    # Validation windows that lack a modality do not count for it.
    masks["eeg"][100:150] = False
    assert baselines.temperatures(logits, masks, labels, list(range(100, 200)))["eeg"].windows == 50


def fused(sandbox, config, name="study"):
    run = sandbox.study(config, name)
    for stage in STAGES:
        train_run(run(stage))
        made = run(stage)
        made.update(checksums=made.seal())
    return run("fusion")


def test_files_record_the_lack_of_validation(sandbox, tiny_config, caplog):
    sandbox.splits.loc[sandbox.splits["split"] == "validation", "split"] = "train"
    config = tiny_config(2)
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, calibrate=True))
    run = fused(sandbox, config)
    config = run.config()
    assert config.baselines["fusion:best"]["by"] == "training windows"
    assert config.baselines["fusion:calibrated"]["by"].startswith("nothing")
    assert set(config.baselines["fusion:calibrated"]["temperatures"].values()) == {1.0}
    assert config.calibration == {"temperature": 1.0, "windows": 0, "before": None, "after": None}
    assert "not calibrated" in caplog.text
    table = pd.read_parquet(run.baselines_file).set_index("stage")
    assert table.loc["fusion:calibrated", P].to_numpy() == pytest.approx(table.loc["fusion:mean", P].to_numpy())


@pytest.mark.parametrize("kind", ["attention", "transformer", "paper"])
def test_a_calibrated_fusion_predicts_with_its_stored_temperature(sandbox, tiny_config, kind):
    plain = tiny_config(2, kind)
    config = dataclasses.replace(plain, fusion=dataclasses.replace(plain.fusion, calibrate=True))
    before, after = fused(sandbox, plain, "plain"), fused(sandbox, config, "calibrated")
    calibration = after.config().calibration
    assert calibration["temperature"] != 1.0
    assert calibration["windows"] == 12
    assert calibration["after"] <= calibration["before"]
    model = build.load_weights(build.build(after.config().architecture), after.model_file)
    assert float(model.get_buffer("temperature")) == pytest.approx(calibration["temperature"])
    tables = [pd.read_parquet(r.predictions_file) for r in (before, after)]
    tables = [t[t["frame"] == -1].reset_index(drop=True) for t in tables]
    logs = [np.log(t[P].to_numpy()) for t in tables]
    if kind != "paper":  # frames are averaged after the division
        scaled = logs[0] / calibration["temperature"]
        scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        assert logs[1] == pytest.approx(scaled, abs=1e-4)
        assert (tables[0]["predicted"] == tables[1]["predicted"]).all()
    # The cross-entropies in config.json equal those of the predictions.
    for table, key in zip(tables, ("before", "after"), strict=True):
        rows = table[table["split"] == "validation"]
        entropy = -np.mean([np.log(row[f"p_{row['label']}"]) for row in rows.to_dict("records")])
        assert entropy == pytest.approx(calibration[key], abs=1e-5)


def test_an_uncalibrated_fusion_has_no_temperature():
    model = ConcatFusion({"audio": 4}, 3)
    assert "temperature" not in model.state_dict()
    with fails(ConfigError, where="fusion temperature", found="2.0", remedy="fusion.calibrate"):
        model.set_temperature(2.0)
    calibrated = ConcatFusion({"audio": 4}, 3, calibrated=True)
    assert "temperature" in calibrated.state_dict()
    with fails(ConfigError, where="fusion temperature", expected="above 0", found="0.0"):
        calibrated.set_temperature(0.0)
