"""Joint fine-tuning: never worse on validation, in its own files, resumable, and used by explanations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails

from eavdash.config.choices import MODALITIES
from eavdash.errors import IntegrityError
from eavdash.explain.fused import load_fused_model
from eavdash.models import build
from eavdash.models.base import to_encoder_input
from eavdash.models.seeds import generator
from eavdash.training import inputs, stage2
from eavdash.training.features import load_encoder
from eavdash.training.joint import JointModel, JointSource
from eavdash.training.parents import windows_of_parents
from eavdash.training.run import train_run
from eavdash.training.run_context import labels_of, open_run_context, rows_of

P = ["p_joy", "p_calm", "p_anger"]


def joint(tiny_config, rate=1e-3, epochs=2, kind="attention", **fusion):
    config = tiny_config(3, kind)
    fusion = {"joint_epochs": epochs, "joint_learning_rate": rate, **fusion}
    return dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, **fusion))


def encoders(run):
    for stage in MODALITIES:
        train_run(run(stage))
        made = run(stage)
        made.update(checksums=made.seal())
    return {m: run(m).model_file.read_bytes() for m in MODALITIES}


@pytest.mark.parametrize("kind", ["attention", "transformer", "paper"])
def test_the_fusion_run_holds_the_whole_model_and_the_encoders_runs_do_not_change(sandbox, tiny_config, kind):
    rate = 3e-4 if kind == "transformer" else 1e-3  # it starts calibrated: larger steps only make it worse
    config = joint(tiny_config, rate, 3, kind, calibrate=True)
    once = dataclasses.replace(config.train.fusion, epochs=1, learning_rate=1e-5)  # far from converged
    run = sandbox.study(dataclasses.replace(config, train=dataclasses.replace(config.train, fusion=once)))
    before = encoders(run)
    assert train_run(run("fusion"))
    fusion = run("fusion")
    assert {m: run(m).model_file.read_bytes() for m in MODALITIES} == before
    result = fusion.config().joint
    assert result["beyond_the_paper"] is True
    assert (result["epochs"], result["epoch"] > 0) == (3, True)
    assert result["after"] < result["before"]
    fusion.update(checksums=fusion.seal())
    assert "encoders.safetensors" in fusion.status().checksums
    rows = fusion.metrics()
    assert [r["epoch"] for r in rows] == [1, 2, 3, 4]
    assert [r.get("phase") for r in rows] == [None] + ["joint"] * 3
    assert fusion.status().epochs == fusion.status().epoch == 4
    assert fusion.status().best_epoch == 1 + result["epoch"]
    assert not (fusion.path / "joint.jsonl").exists()

    # Rebuilt from config.json alone, it gives the tested predictions; with the parents' encoders it would not.
    model = load_fused_model(fusion.study, fusion)
    changed = [m for m in MODALITIES if not _same(model.encoders[m], load_encoder(run(m)))]
    assert changed == list(MODALITIES)
    predictions = pd.read_parquet(fusion.predictions_file)
    predictions = predictions[predictions["frame"] == -1].reset_index(drop=True)
    found = _decide(sandbox, run, model)
    assert found == pytest.approx(predictions[P].to_numpy(), abs=1e-5)
    for m in MODALITIES:
        model.encoders[m] = load_encoder(run(m))
    assert np.abs(_decide(sandbox, run, model) - predictions[P].to_numpy()).max() > 1e-3

    content = bytearray(fusion.encoders_file.read_bytes())
    content[-1] ^= 1
    fusion.encoders_file.write_bytes(content)
    with fails(IntegrityError, where="encoders.safetensors", expected="checksum"):
        load_fused_model(fusion.study, fusion)


def _same(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def _decide(sandbox, run, model):
    """Run the model on every window, in the order of the predictions."""
    context = open_run_context(run("fusion"), torch.device("cpu"))
    windows, _ = windows_of_parents(context)
    given = {m: inputs.raw(w.values, torch.as_tensor(w.index["row"].to_numpy(copy=True))) for m, w in windows.items()}
    with torch.no_grad():
        output = model.predict(
            {m: to_encoder_input(m, g[0]) for m, g in given.items()}, {m: g[1] for m, g in given.items()}
        )
    return output.fused.logits.double().softmax(1).numpy()


def test_a_model_that_would_get_worse_is_not_changed(sandbox, tiny_config):
    plain, spoiling = joint(tiny_config, epochs=0), joint(tiny_config, rate=3.0)  # steps far too long
    first, second = sandbox.study(plain, "plain"), sandbox.study(spoiling, "spoiling")
    for run in (first, second):
        encoders(run)
        assert train_run(run("fusion"))
    result = second("fusion").config().joint
    assert (result["epoch"], result["after"]) == (0, result["before"])
    assert all(r["validation_loss"] > result["before"] for r in second("fusion").metrics() if "phase" in r)
    assert second("fusion").model_file.read_bytes() == first("fusion").model_file.read_bytes()
    assert second("fusion").status().best_epoch == first("fusion").status().best_epoch
    model = load_fused_model(second("fusion").study, second("fusion"))
    assert all(_same(model.encoders[m], load_encoder(second(m))) for m in MODALITIES)
    assert not first("fusion").encoders_file.exists()
    assert first("fusion").config().encoders is None
    tables = [pd.read_parquet(r("fusion").baselines_file)[P].to_numpy() for r in (first, second)]
    assert np.array_equal(*tables)  # they use the original encoders


@pytest.mark.parametrize("stop", [2, 4, 5])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(sandbox, tiny_config, content, stop):
    whole, broken = (sandbox.study(joint(tiny_config), name) for name in ("whole", "broken"))
    for run in (whole, broken):
        encoders(run)
    assert train_run(whole("fusion"))
    seen = []
    assert not train_run(broken("fusion"), report=seen.append, should_stop=lambda: len(seen) >= stop)
    assert broken("fusion").resume_file.exists()
    assert broken("fusion").joint_resume_file.exists() == (stop > 3)
    assert train_run(broken("fusion"))
    assert content(broken("fusion")) == content(whole("fusion"))
    assert broken("fusion").encoders_file.read_bytes() == whole("fusion").encoders_file.read_bytes()


def test_absent_recordings_and_no_validation(sandbox, tiny_config):
    sandbox.trials.loc[sandbox.trials["trial"].isin(["joy3-0", "calm4-1", "anger0-0"]), "audio"] = ""
    sandbox.splits.loc[sandbox.splits["split"] == "validation", "split"] = "train"
    run = sandbox.study(joint(tiny_config, 1e-2))
    encoders(run)
    assert train_run(run("fusion"))
    result = run("fusion").config().joint
    assert (result["epoch"], result["before"], result["after"]) == (2, None, None)  # the last epoch
    predictions = pd.read_parquet(run("fusion").predictions_file)
    absent = predictions["trial"].isin(["joy3-0", "calm4-1", "anger0-0"])
    assert (predictions.loc[absent, "attention_audio"] == 0).all()


def test_replaced_windows_teach_the_fusion_and_not_the_encoder(sandbox, tiny_config):
    run = sandbox.study(joint(tiny_config))
    encoders(run)
    train_run(run("fusion"))
    context = open_run_context(run("fusion"), torch.device("cpu"))
    windows, _ = windows_of_parents(context)
    joined = stage2.join_features({m: stage2.features(run(m), w, context.device) for m, w in windows.items()})
    train = rows_of(joined.index, "train")
    source = stage2.FeatureSource(joined, labels_of(joined.index, context.classes), train, {}, torch.device("cpu"))
    for replaced in (False, True):
        source.corrupted = lambda name, rows, _, moved=replaced: rows.roll(1) if moved and name == "eeg" else rows
        model = JointModel(
            {m: load_encoder(run(m)).requires_grad_(True) for m in windows},
            build.build(run("fusion").config().architecture),
        )
        rows = torch.tensor(train[:8])
        output = JointSource(source, windows, ()).output(model, rows, generator(0))
        output.logits.square().sum().backward()
        learned = {
            m: any(p.grad is not None and p.grad.any() for p in e.parameters()) for m, e in model.encoders.items()
        }
        assert learned == {"vision": True, "audio": True, "eeg": not replaced}
        assert model.fusion.gain.grad.abs() > 0
