"""Micro-batches add up to the batch, and running out of memory does not change results."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from failing import fails
from torch import nn

from eavdash.config.choices import MODALITIES
from eavdash.config.convert import with_settings
from eavdash.config.schema import Execution, TrainConfig
from eavdash.errors import TrainingError
from eavdash.models import build
from eavdash.models.ast import AudioSpectrogramTransformer
from eavdash.models.eegformer import EEGformer
from eavdash.training import features, headphase, joint, loop, memory, step, warmup
from eavdash.training.loading import Batch
from eavdash.training.memory import GIB, MicroBatchSize
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context, read_windows
from eavdash.training.stage1 import WindowSource

CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"


def vision(temporal: int) -> tuple[nn.Module, Batch, torch.Tensor]:
    """A model with window and frame logits, and windows with some or all frames missing."""
    torch.manual_seed(0)
    sizes = {"size": 16, "patch": 8, "width": 16, "depth": 1, "heads": 2, "temporal": temporal}
    model = build.build({"name": "vit", "kwargs": {"classes": 3, "dropout": 0.0, **sizes}})
    x, mask = torch.rand(7, 4, 3, 16, 16), torch.rand(7, 4) < 0.6
    mask[2] = False
    forward = lambda part: headphase.model_output(model(x[part], mask[part]))  # noqa: E731
    return model, Batch(torch.arange(7), forward, headphase.items(mask)), torch.arange(7) % 3


def gradients_of(model: nn.Module, batch: Batch, labels: torch.Tensor, size: int, smoothing: float = 0.1):
    got = step.gradients(model, batch, labels, MicroBatchSize(size, size), "float32", smoothing, "run")
    return got, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("temporal", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_micro_batches_add_up_to_the_batch(temporal, size):
    model, batch, labels = vision(temporal)
    whole, expected = gradients_of(model, batch, labels, 7)
    split, found = gradients_of(model, batch, labels, size)
    assert split.loss == pytest.approx(whole.loss, rel=1e-5)
    assert split.correct == whole.correct
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-7, msg=name)


def test_the_sum_of_plain_means_would_not():
    """Windows have different numbers of frames, so the mean of the micro-batches' means is another loss."""
    model, batch, labels = vision(0)
    _, expected = gradients_of(model, batch, labels, 7)
    model.zero_grad()
    for part in (slice(0, 3), slice(3, 7)):
        (step.cross_entropy(batch.forward(part), labels[part], 0.1) * (part.stop - part.start) / 7).backward()
    assert not torch.allclose(model.head.weight.grad, expected["head.weight"], rtol=1e-3, atol=1e-6)


def test_no_micro_batch_of_one_window_unless_configured():
    assert [s.stop - s.start for s in step._spans(9, 4)] == [4, 5]
    assert [s.stop - s.start for s in step._spans(3, 1)] == [1, 1, 1]
    assert [s.stop - s.start for s in step._spans(3, 8)] == [3]


class Limited:
    """Makes a model run out of memory with more than ``limit`` windows."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: type[nn.Module], limit: int, error: Exception) -> None:
        self.sizes: list[int] = []
        forward = kind.forward

        def limited(model, x, mask):
            self.sizes.append(len(x))
            made = forward(model, x, mask)  # it has drawn random numbers and updated its buffers before it fails
            if len(x) > limit:
                raise error
            return made

        patch.setattr(kind, "forward", limited)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError(CPU_MESSAGE), MemoryError("no memory")]
)
def test_out_of_memory_halves_until_it_fits(sandbox, tiny_config, content, monkeypatch, caplog, error):
    caplog.set_level(logging.WARNING)
    asked = sandbox.study(tiny_config(3, micro_batch=2), "asked")("eeg")
    train_run(asked)
    limits = Limited(monkeypatch, EEGformer, 3, error)
    found = sandbox.study(tiny_config(3), "found")("eeg")
    assert train_run(found)
    halvings = [r.args for r in caplog.records if "out of memory" in r.message and r.args[2] == "training"]
    assert [(args[0], args[1], args[-1]) for args in halvings] == [("s01-eeg", 8, 4), ("s01-eeg", 4, 2)]
    # The failed attempts leave no trace in weights, running statistics or random draws.
    assert content(found) == content(asked)
    assert limits.sizes[:3] == [8, 4, 2]
    # It is not tried again at every step: only the baselines afterwards begin with their own size.
    assert [size for size in limits.sizes[3:] if size > 4] == [32, 16, 8]


def test_a_resumed_run_keeps_the_size(sandbox, tiny_config, content, monkeypatch):
    with monkeypatch.context() as patch:
        Limited(patch, AudioSpectrogramTransformer, 3, RuntimeError(CPU_MESSAGE))
        whole = sandbox.study(tiny_config(4), "whole")("audio")
        train_run(whole)
        part = sandbox.study(tiny_config(4), "part")("audio")
        assert not train_run(part, report=(seen := []).append, should_stop=lambda: len(seen) >= 2)
    assert train_run(part)  # without a memory limit, and still in micro-batches of two
    assert content(part) == content(whole)
    plain = sandbox.study(tiny_config(4), "plain")("audio")
    train_run(plain)
    assert content(plain)["weights"] != content(whole)["weights"]  # the size makes a difference


def test_one_window_that_does_not_fit_fails_by_name(sandbox, tiny_config, monkeypatch):
    Limited(monkeypatch, EEGformer, 0, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    run = sandbox.study(tiny_config(1))("eeg")
    with fails(TrainingError, where=("s01-eeg", "cpu"), expected="one window", found="CUDA out of memory"):
        train_run(run)


def test_other_errors_are_raised(sandbox, tiny_config, monkeypatch):
    Limited(monkeypatch, EEGformer, 0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train_run(sandbox.study(tiny_config(1))("eeg"))


def test_features_and_evaluation_halve_too(sandbox, tiny_config, content, monkeypatch):
    run = sandbox.study(tiny_config(1))
    for stage in MODALITIES:
        train_run(run(stage))
    Limited(monkeypatch, AudioSpectrogramTransformer, 5, RuntimeError(CPU_MESSAGE))
    assert train_run(run("fusion"))
    assert run("fusion").status().n == 6


def test_micro_batches_keep_the_order_and_are_complete():
    micro_batch = MicroBatchSize(8, 8)

    def compute(rows: torch.Tensor) -> torch.Tensor:
        if len(rows) > 3:
            raise torch.OutOfMemoryError("full")
        return rows * 2

    done = torch.cat(memory.in_micro_batches(torch.arange(13), micro_batch, compute, "run"))
    assert torch.equal(done, torch.arange(13) * 2)
    assert micro_batch.evaluation == 2


@pytest.mark.parametrize(
    ("base", "each", "budget", "expected"), [(1.0, 0.5, 4.0, 6), (1.0, 0.5, 100.0, 16), (8.0, 0.5, 4.0, 1)]
)
def test_the_budget_gives_the_largest_size_that_fits(base, each, budget, expected):
    def peak(windows: int) -> int:
        return int((base + each * windows) * GIB)

    size = memory.largest_fitting(peak, budget, 16)
    assert size == expected
    assert size == 1 or peak(size) <= budget * GIB
    assert memory.largest_fitting(peak, budget, 16, reserve=GIB) <= size


def test_two_windows_that_do_not_even_fit_the_device_leave_one():
    def peak(windows: int) -> int:
        if windows > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried")
        return GIB

    assert memory.largest_fitting(peak, 100.0, 16) == 1


class Measured:
    """Simulates a GPU on which a micro-batch takes 1 GiB, and half a GiB more for each of its windows."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []  # of the measured micro-batches
        self.chosen: list[int] = []
        real = warmup.limit_frozen_to_budget
        patch.setattr(warmup, "peak_memory", lambda work, device: (work(), int((1 + self.sizes[-1] / 2) * GIB))[1])

        def as_on_a_gpu(compute, rows, micro_batch, execution, device, name):
            def noted(part):
                self.sizes.append(len(part))
                return compute(part)

            real(noted, rows, micro_batch, execution, torch.device("cuda"), name)
            self.chosen.append(micro_batch.evaluation)

        for module in (features, headphase, joint):
            patch.setattr(module, "limit_frozen_to_budget", as_on_a_gpu)


@pytest.mark.parametrize(("budget", "expected"), [(2.5, 3), (0.0, 32)])
def test_frozen_features_keep_within_the_budget(sandbox, tiny_config, monkeypatch, budget, expected):
    run = sandbox.study(tiny_config(1))
    train_run(run("audio"))
    measured = Measured(monkeypatch)
    context = open_run_context(run("audio"), torch.device("cpu"))
    features.features(run("audio"), read_windows(context, "audio"), context.device, Execution(memory=budget))
    assert measured.chosen == [expected]
    assert measured.sizes == ([1, 2] if budget else [])


def test_computations_before_the_first_step_stay_within_the_budget(sandbox, tiny_config, monkeypatch):
    run = sandbox.study(with_settings(tiny_config(1), ["fusion.joint_epochs=1"]))
    for stage in MODALITIES:
        train_run(run(stage))
    measured = Measured(monkeypatch)
    train_run(run("fusion"), execution=Execution(memory=2.0))
    assert measured.chosen == [2, 2, 2, 2]  # three encoders' features, and the validation before joint epochs
    windows = read_windows(open_run_context(run("vision"), torch.device("cpu")), "vision")
    source = WindowSource(windows, torch.zeros(len(windows.index), dtype=torch.int64), torch.device("cpu"), False)
    model, micro_batch = features.load_encoder(run("vision")), MicroBatchSize(8, 8)
    headphase.head_source(model, source, range(9), micro_batch, "float32", "run", Execution(memory=2.0))
    assert micro_batch.evaluation == 2


def test_a_budget_on_a_cpu_is_ignored_with_a_warning(sandbox, tiny_config, content, caplog):
    plain = sandbox.study(tiny_config(1), "plain")("eeg")
    train_run(plain)
    run = sandbox.study(tiny_config(1), "budget")("eeg")
    train_run(run, execution=Execution(memory=2.0))
    assert "--memory is measured on a GPU only" in caplog.text
    assert content(run) == content(plain)


def test_a_dry_run_step_has_no_side_effects():
    model, batch, labels = vision(1)
    model.register_buffer("seen", torch.zeros(()))
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with step.dry_run_step(model):
        torch.rand(3)
        model.seen += 1
        step.gradients(model, batch, labels, MicroBatchSize(7, 7), "float32", 0.0, "run")
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_gradients_that_are_not_numbers_end_the_run(sandbox, tiny_config, monkeypatch):
    real = step.gradients

    def poisoned(model, *args):
        got = real(model, *args)
        next(p for p in model.parameters() if p.grad is not None).grad.view(-1)[0] = torch.inf
        return got

    monkeypatch.setattr(loop, "gradients", poisoned)
    with fails(TrainingError, where="s01-eeg, epoch 1", expected="norm", found="inf"):
        train_run(sandbox.study(tiny_config(1))("eeg"))


def test_non_finite_weights_are_not_scored(sandbox, tiny_config, monkeypatch):
    sandbox.splits["split"] = sandbox.splits["split"].replace("validation", "train")
    real = torch.optim.AdamW.step

    def exploding(self, *args):
        real(self, *args)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.fill_(torch.nan)

    config = tiny_config(1)
    one = TrainConfig(epochs=1, batch=1000)
    config = with_settings(config, [f"train.audio.batch={one.batch}"])
    monkeypatch.setattr(torch.optim.AdamW, "step", exploding)
    with fails(TrainingError, where="s01-audio", expected="logit", found="nan"):
        train_run(sandbox.study(config)("audio"))


def test_memory_errors_of_every_kind_are_recognised():
    assert memory.out_of_memory(torch.OutOfMemoryError("x"))
    assert memory.out_of_memory(RuntimeError(CPU_MESSAGE))
    assert memory.out_of_memory(MemoryError())  # as numpy raises while reading recordings
    assert memory.out_of_memory(np.exceptions.AxisError("x")) is False
    assert not memory.out_of_memory(RuntimeError("DefaultCPUAllocator: something else"))


def test_failed_compilation_is_only_logged(sandbox, tiny_config, content, monkeypatch, caplog):
    plain = sandbox.study(tiny_config(2), "plain")("audio")
    train_run(plain)

    def broken(self, *args, **kwargs):
        def call(*inner):
            raise RuntimeError("no compiler here\nand more")

        self._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", broken)
    run = sandbox.study(tiny_config(2), "compiled")("audio")
    train_run(run, execution=Execution(compile=True))
    assert "torch.compile failed (no compiler here)" in caplog.text
    assert run.config().computed["compile"] is False
    assert content(run) == content(plain)


def test_a_compiled_model_is_used_and_its_weights_keep_their_names(sandbox, tiny_config, monkeypatch):
    calls = []

    def counted(self, *args, **kwargs):
        def call(*inner):
            calls.append(1)
            return self._call_impl(*inner)

        self._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", counted)
    run = sandbox.study(tiny_config(1))("audio")
    train_run(run, execution=Execution(compile=True))
    assert calls
    assert run.config().computed == {"device": "cpu", "precision": "float32", "compile": True}
    build.load_weights(build.build(run.config().architecture), run.model_file)
