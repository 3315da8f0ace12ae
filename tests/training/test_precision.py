"""Number format: float32 on a CPU by default, and one format for training, validation and testing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from eavdash.config.choices import MODALITIES
from eavdash.config.convert import with_settings
from eavdash.training import stage2
from eavdash.training.features import _key, features
from eavdash.training.precision import autocast, resolve_precision
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_auto_is_bf16_only_on_gpus_that_support_it(monkeypatch):
    assert resolve_precision("auto", CPU) == "float32"
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, native=native: native)
        assert resolve_precision("auto", CUDA) == ("bf16" if native else "float32")
        assert resolve_precision("float32", CUDA) == "float32"
    assert resolve_precision("bf16", CPU) == "bf16"


def test_autocast_sets_the_format():
    linear, x = torch.nn.Linear(4, 4), torch.randn(2, 4)
    with autocast("bf16", CPU):
        assert linear(x).dtype == torch.bfloat16
    with autocast("float32", CPU):
        assert linear(x).dtype == torch.float32


def test_on_a_cpu_auto_changes_no_bit(sandbox, tiny_config, content):
    runs = []
    for precision in ("auto", "float32"):
        run = sandbox.study(tiny_config(2, precision=precision), precision)("audio")
        train_run(run)
        assert run.config().computed == {"device": "cpu", "precision": "float32"}
        runs.append(content(run))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("stage", ["vision", "audio", "eeg"])
def test_bf16_trains_every_encoder_and_is_not_float32(sandbox, tiny_config, stage):
    runs = {}
    for precision in ("float32", "bf16"):
        run = sandbox.study(tiny_config(3, precision=precision), precision)(stage)
        train_run(run)
        runs[precision] = run
    assert runs["bf16"].config().computed["precision"] == "bf16"
    one, two = (np.array([row["loss"] for row in runs[p].metrics()]) for p in runs)
    assert (one != two).any()
    assert one == pytest.approx(two, rel=0.1)
    # Validation and testing use the same format: the table's accuracy equals the curve's.
    run = runs["bf16"]
    best = min(run.metrics(), key=lambda r: r["validation_loss"])
    rows = pd.read_parquet(run.predictions_file).query("split == 'validation' and frame == -1")
    assert (rows["predicted"] == rows["label"]).mean() == pytest.approx(best["validation_accuracy"])


def test_fusion_and_its_features_in_bf16(sandbox, tiny_config):
    run = sandbox.study(tiny_config(2, precision="bf16"))
    for stage in (*MODALITIES, "fusion"):
        assert train_run(run(stage))
    windows = read_windows(open_run_context(run("audio"), CPU), "audio")
    assert windows is not None
    assert features(run("audio"), windows, CPU).tokens.dtype == torch.float32
    assert _key(run("audio"), windows, CPU, "bf16") != _key(run("audio"), windows, CPU, "float32")


def test_a_temperature_is_fitted_on_the_tested_logits(sandbox, tiny_config, monkeypatch):
    config = with_settings(tiny_config(1, "concat", precision="bf16"), ["fusion.calibrate=true"])
    run = sandbox.study(config)
    for stage in MODALITIES:
        train_run(run(stage))
    seen = []
    real = stage2.fit_temperature
    monkeypatch.setattr(
        stage2, "fit_temperature", lambda logits, *rest: (seen.append(logits.dtype), real(logits, *rest))[1]
    )
    train_run(run("fusion"))
    assert seen == [torch.bfloat16]
