"""Memory limits in stage 2: micro-batches add up and are halved when memory runs out; compilation covers all parts."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import torch
from torch import nn

from eavdash.config.choices import MODALITIES
from eavdash.config.convert import with_settings
from eavdash.config.schema import Execution, StudyConfig
from eavdash.models import build
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.attention_fusion import AttentionFusion
from eavdash.models.paper_fusion import PaperFusion
from eavdash.models.seeds import generator
from eavdash.training import stage2, step, warmup
from eavdash.training.features import load_encoder
from eavdash.training.joint import JointModel, JointSource
from eavdash.training.loading import stream
from eavdash.training.memory import MicroBatchSize
from eavdash.training.parents import windows_of_parents
from eavdash.training.run import train_run
from eavdash.training.run_context import labels_of, open_run_context, rows_of

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried")


def settings(tiny_config, joint_epochs=2, kind="attention", **keys):
    config = tiny_config(2, kind)
    fusion = dataclasses.replace(
        config.fusion, joint_epochs=joint_epochs, joint_learning_rate=1e-3, calibrate=True, modality_dropout=0.0
    )
    return with_settings(dataclasses.replace(config, fusion=fusion), [f"{k}={v}" for k, v in keys.items()])


def encoders(run):
    for stage in MODALITIES:
        train_run(run(stage))
        run(stage).update(checksums=run(stage).seal())


def sources(sandbox, tiny_config, kind):
    """A fusion and its encoders with a source of each kind; some windows lack audio or are replaced by others."""
    sandbox.trials.loc[sandbox.trials["trial"].isin(["joy3-0", "calm4-1", "anger2-0"]), "audio"] = ""
    run = sandbox.study(settings(tiny_config, 0, kind))
    encoders(run)
    train_run(run("fusion"))
    context = open_run_context(run("fusion"), torch.device("cpu"))
    windows, _ = windows_of_parents(context)
    joined = stage2.join_features({m: stage2.features(run(m), w, context.device) for m, w in windows.items()})
    labels, train = labels_of(joined.index, context.classes), rows_of(joined.index, "train")
    features = stage2.FeatureSource(joined, labels, train, {"eeg": 0.5}, context.device)
    fusion = build.build(run("fusion").config().architecture)
    build.load_weights(fusion, run("fusion").model_file)
    model = JointModel({m: load_encoder(run(m)).requires_grad_(True) for m in windows}, fusion)
    joint = JointSource(features, windows, MODALITIES)
    return [(fusion, features), (model, joint)], torch.tensor(train)


@pytest.mark.parametrize("kind", ["attention", "paper"])
def test_micro_batches_add_up_to_the_batch(sandbox, tiny_config, kind):
    """With augmentation and replaced windows, which are drawn for the batch, not for its micro-batches."""
    pairs, train = sources(sandbox, tiny_config, kind)
    rows = train[torch.randperm(len(train), generator=generator(1))[:17]]
    for model, source in pairs:
        model.eval()  # dropout would draw differently
        found = {}
        for size in (17, 5, 1):
            with stream(model, source, [rows], generator(2), torch.device("cpu")) as batches:
                got = step.gradients(
                    model, next(iter(batches)), source.labels[rows], MicroBatchSize(size, size), "float32", 0.1, "x"
                )
            found[size] = got, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        whole, expected = found[17]
        assert any(value.abs().max() > 1e-3 for value in expected.values())
        for size in (5, 1):
            split, gradients = found[size]
            assert split.loss == pytest.approx(whole.loss, rel=1e-5)
            assert split.correct == whole.correct
            assert gradients.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(gradients[name], value, rtol=1e-3, atol=1e-6, msg=name)


class Limited:
    """Makes a model run out of memory with more than ``limit`` windows."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: type[nn.Module], limit: int) -> None:
        self.sizes: list[int] = []
        forward = kind.forward

        def limited(model, x, *others):
            count = len(x if isinstance(x, torch.Tensor) else x["audio"])
            self.sizes.append(count)
            made = forward(model, x, *others)  # it has drawn random numbers and updated its buffers before it fails
            if count > limit:
                raise FULL
            return made

        patch.setattr(kind, "forward", limited)


@pytest.mark.parametrize("kind", [AudioSpectrogramTransformer, AttentionFusion])
def test_out_of_memory_halves_until_it_fits(sandbox, tiny_config, content, monkeypatch, caplog, kind):
    """Test memory errors in a fine-tuned encoder and in the fusion itself."""
    caplog.set_level(logging.WARNING)
    joint = 2 if kind is AudioSpectrogramTransformer else 0
    small = {f"train.{stage}.micro_batch": 2 for stage in (["audio"] if joint else ["fusion"])}
    asked = sandbox.study(settings(tiny_config, joint, **small), "asked")
    found = sandbox.study(settings(tiny_config, joint), "found")
    with monkeypatch.context() as patch:
        if joint:  # encoders are the same in both
            patch.setattr(StudyConfig, "training", _whole_batches)
        encoders(asked)
    encoders(found)
    assert train_run(asked("fusion"))
    limits = Limited(monkeypatch, kind, 3)
    assert train_run(found("fusion"))
    halvings = [r.args for r in caplog.records if "out of memory" in r.message and r.args[2] == "training"]
    assert {("s01-fusion", 8, 4), ("s01-fusion", 4, 2)} <= {(args[0], args[1], args[-1]) for args in halvings}
    # The failed attempts leave no trace in weights, running statistics or random draws.
    assert content(found("fusion")) == content(asked("fusion"))
    if joint:
        assert found("fusion").encoders_file.read_bytes() == asked("fusion").encoders_file.read_bytes()
        assert found("fusion").config().joint["epoch"] > 0
    assert max(limits.sizes) == 8  # tried first


def _whole_batches(config, stage):
    return dataclasses.replace(getattr(config.train, stage), micro_batch=0)


def test_both_phases_respect_the_budget(sandbox, tiny_config, content, monkeypatch, caplog):
    asked = sandbox.study(settings(tiny_config, **{"train.fusion.micro_batch": 2}), "asked")
    found = sandbox.study(settings(tiny_config), "found")
    encoders(asked)
    encoders(found)
    train_run(asked("fusion"))
    train_run(found("fusion"), execution=Execution(memory=2.0))
    assert caplog.text.count("--memory is measured on a GPU only") >= 2  # of the fusion, and of the joint epochs
    plain = content(found("fusion"))

    def measured(model, source, train, micro_batch, execution, *others):
        if execution.memory:
            micro_batch.training = micro_batch.evaluation = 2

    monkeypatch.setattr(warmup, "limit_to_budget", measured)
    again = sandbox.study(settings(tiny_config), "again")
    encoders(again)
    train_run(again("fusion"), execution=Execution(memory=2.0))
    assert content(again("fusion"))["weights"] == content(asked("fusion"))["weights"] != plain["weights"]


@pytest.mark.parametrize("works", [True, False])
def test_compiling_reaches_encoders_and_fusion(sandbox, tiny_config, content, monkeypatch, caplog, works):
    plain = sandbox.study(settings(tiny_config), "plain")
    encoders(plain)
    train_run(plain("fusion"))
    called = set()

    def counted(self, *args, **kwargs):
        def call(*inner):
            if not works:
                raise RuntimeError("no compiler here\nand more")
            called.add(type(self).__name__)
            return self._call_impl(*inner)

        self._compiled_call_impl = call

    compiled = sandbox.study(settings(tiny_config), "compiled")
    encoders(compiled)
    monkeypatch.setattr(nn.Module, "compile", counted)
    train_run(compiled("fusion"), execution=Execution(compile=True))
    config = compiled("fusion").config()
    assert config.computed["compile"] is config.joint["compile"] is works
    assert content(compiled("fusion")) == content(plain("fusion"))
    if works:
        expected = {
            type(load_encoder(compiled("vision"))).__name__,
            "AudioSpectrogramTransformer",
            "EEGformer",
            "AttentionFusion",
        }
        assert called >= expected | {"ConcatFusion", PaperFusion.__name__}  # the baselines beside it too
    else:
        assert "torch.compile failed (no compiler here)" in caplog.text
