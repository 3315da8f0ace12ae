"""Stage 2: frozen encoders, cached features, alignment of modalities, and reliability-matched training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from safetensors.torch import load_file

from eavdash.config import schema as cfg
from eavdash.config.choices import MODALITIES
from eavdash.config.presets import preset
from eavdash.config.schema import TrainConfig
from eavdash.errors import IntegrityError
from eavdash.models import build
from eavdash.models.seeds import generator, seeder
from eavdash.results import tables
from eavdash.training import evaluate, loop, stage2
from eavdash.training.baselines import majority, mean_of_modalities
from eavdash.training.features import Features, features, load_encoder
from eavdash.training.fusion_features import FusionFeatures
from eavdash.training.reliability import reliability
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows

P = ["p_joy", "p_calm", "p_anger"]


def encoders(run):
    for stage in ("vision", "audio", "eeg"):
        train_run(run(stage))
        made = run(stage)
        made.update(checksums=made.seal())


@pytest.mark.parametrize("kind", ["attention", "transformer", "concat", "paper"])
def test_files_of_a_fusion(sandbox, tiny_config, kind):
    run = sandbox.study(tiny_config(2, kind))
    encoders(run)
    assert train_run(run("fusion"))
    predictions = pd.read_parquet(run("fusion").predictions_file)
    windows = predictions[predictions["frame"] == -1]
    assert windows["split"].value_counts().to_dict() == {"train": 36, "validation": 12, "test": 12}
    assert (len(predictions) > len(windows)) == (kind == "paper")
    shares = [c for c in predictions if c.startswith("attention_")]
    if kind in ("attention", "transformer"):
        assert shares == ["attention_vision", "attention_audio", "attention_eeg"]
        assert np.allclose(predictions[shares].sum(axis=1), 1, atol=1e-5)
        kept = pd.read_parquet(run("fusion").attention_file)
        assert [*kept["window"]] == [*windows.loc[windows["split"] == "test", "window"]]
        mean = kept[[f"head{h}_vision" for h in (1, 2)]].mean(axis=1)
        assert np.allclose(mean, windows.loc[windows["split"] == "test", "attention_vision"], atol=1e-6)
        assert {"attention.parquet", "scores.parquet"} <= {*run("fusion").seal()}
    else:
        assert shares == []
        assert not run("fusion").attention_file.exists()
    baselines = pd.read_parquet(run("fusion").baselines_file)
    if kind == "transformer":  # its opinions have the temperatures of the calibrated mean
        temperatures = run("fusion").config().baselines["fusion:calibrated"]["temperatures"]
        stored = load_file(run("fusion").model_file)["temperatures"]
        assert stored.tolist() == pytest.approx([temperatures[m] for m in ("vision", "audio", "eeg")])
        assert stored.min() != 1
    assert baselines["stage"].value_counts(sort=False).to_dict() == dict.fromkeys(tables.BESIDE["fusion"], 60)
    own = baselines.loc[baselines["stage"] == f"fusion:{kind}", P]
    assert own.reset_index(drop=True).equals(windows[P].reset_index(drop=True))
    assert np.allclose(baselines[P].sum(axis=1), 1)
    assert [c for c in baselines if c != "stage"] == [c for c in predictions if c not in shares]
    given = run("fusion").config().input
    assert given.modalities == ("vision", "audio", "eeg")
    assert set(given.reliability["eeg"]) == {"training", "validation", "chance", "replaced"}
    if kind == "paper":
        assert all(r["replaced"] == 0 for r in given.reliability.values())


def test_frozen_encoders_do_not_change(sandbox, tiny_config):
    config = tiny_config(2)
    config = dataclasses.replace(config, eeg=dataclasses.replace(config.eeg, encoder="yin"))  # has batch normalisation
    run = sandbox.study(config)
    encoders(run)
    before = {s: run(s).model_file.read_bytes() for s in MODALITIES}
    encoder = load_encoder(run("eeg"))
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    assert any("running_mean" in k for k in state)
    windows = read_windows(open_run_context(run("eeg"), torch.device("cpu")), "eeg")
    assert windows is not None
    from eavdash.training import features as module

    module._compute(encoder, windows, torch.device("cpu"), 4, "float32", "s01-eeg")
    assert all(torch.equal(state[k], v) for k, v in encoder.state_dict().items())
    train_run(run("fusion"))
    assert {s: run(s).model_file.read_bytes() for s in MODALITIES} == before


def test_features_are_computed_once(sandbox, tiny_config, monkeypatch, caplog):
    from eavdash.training import features as module

    run = sandbox.study(tiny_config(1))
    encoders(run)
    calls = []
    compute = module._compute
    monkeypatch.setattr(module, "_compute", lambda *a: calls.append(1) or compute(*a))
    train_run(run("fusion"))
    assert len(calls) == 3
    train_run(run("fusion"))
    assert len(calls) == 3
    windows = read_windows(open_run_context(run("eeg"), torch.device("cpu")), "eeg")
    assert windows is not None
    kept = features(run("eeg"), windows, torch.device("cpu"))
    for file in (run("eeg").study.cache_dir / "features").iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        file.write_bytes(content)
    again = features(run("eeg"), windows, torch.device("cpu"))
    assert len(calls) == 4
    assert ".npz" in caplog.text
    assert torch.equal(kept.tokens, again.tokens)
    predictions = pd.read_parquet(run("eeg").predictions_file)
    assert np.allclose(predictions[P], again.logits.double().softmax(1), atol=1e-6)


def test_damaged_encoder_is_named(sandbox, tiny_config):
    run = sandbox.study(tiny_config(1))
    encoders(run)
    file = run("audio").model_file
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with fails(IntegrityError, where="s01-audio/model.safetensors", expected="checksum"):
        train_run(run("fusion"))


def test_trials_without_a_modality_are_used(sandbox, tiny_config):
    trials = sandbox.trials
    trials.loc[trials["trial"].isin(["joy3-0", "joy0-0"]), "audio"] = ""
    trials.loc[trials["trial"] == "calm4-1", ["audio", "video", "eeg"]] = ""
    trials.loc[trials["trial"] == "joy4-1", "video"] = ""
    run = sandbox.study(tiny_config(2))
    encoders(run)
    train_run(run("fusion"))
    predictions = pd.read_parquet(run("fusion").predictions_file)
    assert len(predictions) == 58
    keys = list(predictions[["trial", "window"]].itertuples(index=False, name=None))
    assert keys == sorted(keys)  # in the trials' order, also with missing modalities
    absent = predictions["trial"].isin(["joy3-0", "joy0-0"])
    assert (predictions.loc[absent, "attention_audio"] == 0).all()
    assert (predictions.loc[~absent, "attention_audio"] > 0).all()
    kept = pd.read_parquet(run("fusion").attention_file)
    assert set(kept["trial"]) == set(predictions.loc[predictions["split"] == "test", "trial"])
    absent = kept["trial"].isin(["joy3-0", "joy0-0"])
    assert absent.any()
    for head in (1, 2):
        own = kept[[f"layer1_head{head}_audio_{m}" for m in MODALITIES]].sum(axis=1)
        assert (own[absent] == 0).all()
        assert np.allclose(own[~absent], 1, atol=1e-5)
        others = kept[[f"layer1_head{head}_eeg_{m}" for m in MODALITIES]].sum(axis=1)
        assert np.allclose(others, 1, atol=1e-5)
        assert (kept.loc[absent, f"head{head}_audio"] == 0).all()
    reason = "no recording or training window of any modality"
    assert run("fusion").config().left_out == [{"subject": "1", "trial": "calm4-1", "reason": reason}]


def test_test_labels_change_nothing_in_a_fusion(sandbox, tiny_config):
    tested = sandbox.splits["split"] == "test"
    weights = []
    for name in ("right", "wrong"):
        run = sandbox.study(tiny_config(2), name)
        encoders(run)
        train_run(run("fusion"))
        weights.append((run("fusion").model_file.read_bytes(), run("fusion").status().best_epoch))
        other = {"joy": "calm", "calm": "anger", "anger": "joy"}
        sandbox.trials.loc[tested, "label"] = sandbox.trials.loc[tested, "label"].map(other)
    assert weights[0] == weights[1]


def predicted(train: float, validation: float | None, count: int = 200, validating: int = 200) -> pd.DataFrame:
    """Make predictions with given accuracies; wrong predictions are the next class."""
    rows = []
    for split, rate, size in (("train", train, count), ("validation", validation, validating)):
        for i in range(size if rate is not None else 0):
            label = "abcd"[i % 4]
            right = (i // 4) / (size / 4) < (rate or 0)
            rows.append((split, label, label if right else "abcd"[(i + 1) % 4], -1))
    return pd.DataFrame(rows, columns=["split", "label", "predicted", "frame"])


def test_replaced_share_solves_its_equation():
    for train, validation in ((1.0, 0.25), (1.0, 0.6), (0.9, 0.9), (0.7, 0.8), (0.26, 0.25), (1.0, 0.1)):
        r = reliability(predicted(train, validation), "abcd")
        assert r.chance == pytest.approx(0.25)
        assert 0 <= r.replaced <= 1
        if 0 < r.replaced < 1:
            assert r.training * (1 - r.replaced) + r.chance * r.replaced == pytest.approx(r.validation)
    assert reliability(predicted(1.0, 0.25), "abcd").replaced > 0.97
    assert reliability(predicted(0.7, 0.8), "abcd").replaced == 0
    assert reliability(predicted(1.0, None), "abcd").replaced == 0
    few, many = (reliability(predicted(1.0, 0.5, 1600, n), "abcd").replaced for n in (16, 1600))
    assert few > many  # fewer validation windows: less trust


@pytest.mark.parametrize(("train", "validation"), [(0.26, 0.25), (0.28, 0.25), (0.3, 0.2), (0.25, 0.25)])
def test_nothing_is_replaced_where_nothing_has_been_memorised(train: float, validation: float) -> None:
    assert reliability(predicted(train, validation), "abcd").replaced == 0
    assert reliability(predicted(train + 0.15, 0.2), "abcd").replaced > 0.9  # beyond guessing: memorised noise


def synthetic() -> tuple[FusionFeatures, dict[str, float]]:
    """Features of simulated encoders: `eeg` has memorised its training windows and is uninformative on others."""
    random = np.random.default_rng(0)
    count, dim, classes = 300, 8, ("joy", "calm", "anger")
    label = random.integers(0, 3, count)
    split = np.array(["train"] * 200 + ["validation"] * 50 + ["test"] * 50)
    index = pd.DataFrame({"subject": "1", "trial": [f"t{i}" for i in range(count)], "group": "g", "window": 0})
    index = index.assign(label=[classes[k] for k in label], split=split, place=np.arange(count), row=np.arange(count))
    parts, replaced = {}, {}
    for name, strength in (("vision", 0.8), ("audio", 0.8), ("eeg", 0.0)):
        shown = np.where(random.random(count) < strength, label, random.integers(0, 3, count))
        shown = np.where(split == "train", label, shown)  # memorised
        tokens = random.normal(0, 0.5, (count, 1, dim))
        tokens[np.arange(count), 0, shown] += 3.0 if name == "eeg" else 2.0
        logits = torch.as_tensor(tokens[:, 0, :3], dtype=torch.float32)
        parts[name] = Features(
            index, torch.as_tensor(tokens, dtype=torch.float32), torch.ones(count, 1, dtype=torch.bool), logits
        )
        probabilities = torch.softmax(logits.double(), 1).numpy()
        table = evaluate.table(index, evaluate.Predictions(probabilities), classes, 0, 0)
        replaced[name] = reliability(table, classes).replaced
    return stage2.join_features(parts), replaced


@pytest.mark.slow
def test_memorised_noise_is_not_trusted():
    joined, replaced = synthetic()
    assert replaced["eeg"] > 0.9
    assert max(replaced["vision"], replaced["audio"]) < 0.6
    labels = torch.as_tensor([("joy", "calm", "anger").index(x) for x in joined.index["label"]])
    train, validation = list(range(200)), list(range(200, 250))
    config = cfg.FusionConfig(width=16, heads=2)
    spec = build.fusion_spec(dataclasses.replace(preset("quick"), fusion=config), 3, joined.dims)
    results = {}
    for name, shares in (("matched", replaced), ("naive", {})):
        torch.manual_seed(0)
        model = build.build(spec)
        source = stage2.FeatureSource(joined, labels, train, shares, torch.device("cpu"))
        settings = TrainConfig(epochs=25, batch=16, learning_rate=3e-3)
        loop.fit(
            model, source, train, validation, settings, name=name, seed=seeder(0, 0, "fusion"), rules=loop.Recipe()
        )
        output = evaluate.predict(model, source, range(250, 300), 16)
        right = (output.windows.argmax(1) == labels[250:].numpy()).mean()
        results[name] = right, output.attention.mean(axis=(0, 1))
    right, (vision, audio, eeg) = results["matched"]
    assert eeg < min(vision, audio)
    assert right > 0.75
    assert right > results["naive"][0] + 0.1
    assert eeg < results["naive"][1][2]


def test_corruption_uses_training_windows_only():
    joined, _ = synthetic()
    joined.masks["audio"][:100] = False
    labels = torch.zeros(300, dtype=torch.int64)
    source = stage2.FeatureSource(joined, labels, list(range(200)), {"audio": 1.0, "eeg": 0.5}, torch.device("cpu"))
    rows = torch.arange(200)
    other = source.corrupted("audio", rows, generator(0))
    assert torch.equal(other[:100], rows[:100])  # absent stays absent
    assert (other[100:] != rows[100:]).float().mean() > 0.9
    assert other[100:].min() >= 100
    assert other.max() < 200
    share = (source.corrupted("eeg", rows, generator(0)) != rows).float().mean()
    assert 0.35 < share < 0.65
    assert torch.equal(source.corrupted("vision", rows, generator(0)), rows)


def test_modalities_are_aligned_by_window_in_any_order():
    index = pd.DataFrame({"subject": "1", "trial": ["a", "a", "b"], "group": "g", "label": "x", "window": [0, 1, 0]})
    index = index.assign(split="train", place=[0, 0, 1], row=[0, 1, 2])

    def part(rows):
        own = index.iloc[rows].reset_index(drop=True)
        value = torch.tensor(rows, dtype=torch.float32)[:, None, None] + 1
        return Features(own, value, torch.ones(len(rows), 1, dtype=torch.bool), value[:, 0])

    joined = stage2.join_features({"audio": part([1]), "eeg": part([0, 2])})
    assert joined.index[["trial", "window"]].to_numpy().tolist() == [["a", 0], ["a", 1], ["b", 0]]
    assert joined.tokens["audio"].flatten().tolist() == [0, 2, 0]
    assert joined.tokens["eeg"].flatten().tolist() == [1, 0, 3]
    assert joined.present("audio").tolist() == [False, True, False]


def test_baselines_without_training():
    logits = {"vision": torch.tensor([[2.0, 0.0], [0.0, 0.0]]), "eeg": torch.tensor([[0.0, 0.0], [0.0, 3.0]])}
    masks = {"vision": torch.tensor([[True], [False]]), "eeg": torch.tensor([[True], [True]])}
    mean = mean_of_modalities(logits, masks).windows
    first = (torch.softmax(torch.tensor([2.0, 0.0]), 0) + 0.5) / 2
    assert mean[0] == pytest.approx(first.numpy(), abs=1e-6)
    assert mean[1] == pytest.approx(torch.softmax(torch.tensor([0.0, 3.0]), 0).numpy(), abs=1e-6)
    index = pd.DataFrame({"subject": "1", "trial": ["a", "a", "b", "c", "d"], "label": ["x", "x", "y", "y", "x"]})
    index["split"] = ["train"] * 4 + ["test"]
    assert majority(index, ("x", "y")).windows[0] == pytest.approx([1 / 3, 2 / 3])  # trials count, not windows


def test_trial_accuracy_is_the_mean_of_log_probabilities():
    rows = [("a", 0.9, 0.1), ("a", 0.001, 0.999), ("b", 0.4, 0.6)]
    table = pd.DataFrame(rows, columns=["trial", "p_x", "p_y"]).assign(subject="1", split="test", frame=-1)
    table["label"] = ["x", "x", "y"]
    assert evaluate.trial_accuracy(table, ("x", "y")) == (0.5, 2)
    assert evaluate.trial_accuracy(table.iloc[:0], ("x", "y")) == (None, 0)
