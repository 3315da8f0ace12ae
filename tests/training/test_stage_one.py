"""Stage 1: what may influence a model, and the files of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails
from torch import nn

from eavdash.config.schema import TrainConfig
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, SplitError, TrainingError
from eavdash.models import build
from eavdash.models.base import Encoder, EncoderOutput
from eavdash.models.seeds import generator
from eavdash.training import batching, inputs, loop
from eavdash.training.loading import ModelOutput, Source
from eavdash.training.run import train_run
from eavdash.training.scaling import fit_scaling
from eavdash.training.step import cross_entropy


@pytest.mark.parametrize("stage", ["vision", "audio", "eeg"])
def test_files_of_a_run(sandbox, tiny_config, stage):
    run = sandbox.study(tiny_config(3))(stage)
    rows = []
    assert train_run(run, report=rows.append)
    assert [r["epoch"] for r in rows] == [1, 2, 3]
    keys = ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds"]
    assert [list(r) for r in run.metrics()] == [keys] * 3
    status = run.status()
    assert (status.epoch, status.epochs, status.n, status.state) == (3, 3, 6, "queued")
    predictions = pd.read_parquet(run.predictions_file)
    windows = predictions[predictions["frame"] == -1]
    assert windows["split"].value_counts().to_dict() == {"train": 36, "validation": 12, "test": 12}
    assert set(predictions["frame"]) == ({-1, 0, 1, 2} if stage == "vision" else {-1})
    assert not predictions.duplicated(["subject", "trial", "window", "frame"]).any()
    sums = predictions[["p_joy", "p_calm", "p_anger"]].sum(axis=1)
    assert np.allclose(sums, 1)
    for column in ("subject", "trial", "group", "label", "predicted", "split"):
        assert predictions[column].dtype == "str"
    best = min(run.metrics(), key=lambda r: r["validation_loss"])
    assert status.best_epoch == best["epoch"]
    part = windows[windows["split"] == "validation"]
    assert (part["predicted"] == part["label"]).mean() == pytest.approx(best["validation_accuracy"])
    config = run.config()
    assert config.input.windows == {"train": 36, "validation": 12, "test": 12}
    model = build.build(config.architecture)
    build.load_weights(model, run.model_file)


def test_encoders_learn_the_simulated_classes(sandbox, tiny_config):
    for stage in ("vision", "audio", "eeg"):
        run = sandbox.study(tiny_config(15), f"study-{stage}")(stage)
        train_run(run)
        assert run.status().accuracy > 0.6, stage  # chance is a third


def test_order_of_the_table_changes_nothing(sandbox, tiny_config, content):
    runs = []
    for name in ("sorted", "shuffled"):
        run = sandbox.study(tiny_config(2), name)("eeg")
        train_run(run)
        runs.append(content(run))
        sandbox.trials = sandbox.trials.sample(frac=1, random_state=1)
        sandbox.splits = sandbox.splits.sample(frac=1, random_state=2)
    assert runs[0] == runs[1]


def test_test_labels_change_neither_epoch_nor_weights(sandbox, tiny_config):
    tested = sandbox.splits["split"] == "test"
    runs = []
    for name in ("right", "wrong"):
        run = sandbox.study(tiny_config(3), name)("audio")
        train_run(run)
        runs.append((run.model_file.read_bytes(), run.status().best_epoch))
        other = {"joy": "calm", "calm": "anger", "anger": "joy"}
        sandbox.trials.loc[tested, "label"] = sandbox.trials.loc[tested, "label"].map(other)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("stage", ["vision", "audio", "eeg"])
def test_test_recordings_do_not_change_the_model(sandbox, tiny_config, stage):
    runs = []
    for name in ("right", "other"):
        run = sandbox.study(tiny_config(2), name)(stage)
        train_run(run)
        runs.append(run.model_file.read_bytes())
        rows = sandbox.splits["split"] != "train"
        sandbox.splits.loc[rows, "split"] = "test"  # and no validation: the last epoch is kept
        if name == "right":
            runs.clear()
            run = sandbox.study(tiny_config(2), "no-validation")(stage)
            train_run(run)
            assert run.status().best_epoch == 2
            assert run.metrics()[0]["validation_loss"] is None
            runs.append(run.model_file.read_bytes())
            sandbox.trials.loc[rows, "truth"] = "anger"
    assert runs[0] == runs[1]


def test_equal_seeds_give_equal_models(sandbox, tiny_config):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run = sandbox.study(tiny_config(1), name, seed)("eeg")
        train_run(run)
        weights.append(run.model_file.read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_non_finite_loss_is_named(sandbox, tiny_config, monkeypatch):
    run = sandbox.study(tiny_config(3))("eeg")
    load = sandbox._load

    def broken(*args):
        windows = load(*args)
        windows.values[:] = np.nan
        return windows

    monkeypatch.setattr("eavdash.training.run_context.load_windows", broken)
    with fails(TrainingError, where="s01-eeg, epoch 1", expected="loss", found="nan"):
        train_run(run)


def test_stage_without_recordings_is_an_error(sandbox, tiny_config):
    sandbox.trials["audio"] = ""
    with fails(DataError, where="s01-audio", expected="audio", found="none"):
        train_run(sandbox.study(tiny_config(1))("audio"))


def test_trials_without_the_modality_are_left_out_and_listed(sandbox, tiny_config):
    sandbox.trials.loc[sandbox.trials["trial"] == "joy3-0", "audio"] = ""
    run = sandbox.study(tiny_config(1))("audio")
    train_run(run)
    assert run.config().left_out == [{"subject": "1", "trial": "joy3-0", "reason": "no audio recording"}]
    assert "joy3-0" not in set(pd.read_parquet(run.predictions_file)["trial"])


def test_class_missing_from_training_is_an_error(sandbox, tiny_config):
    gone = (sandbox.trials["label"] == "joy") & (sandbox.splits["split"] == "train")
    sandbox.trials.loc[gone, "audio"] = ""
    with fails(SplitError, where="s01-audio", found="without joy"):
        train_run(sandbox.study(tiny_config(1))("audio"))


def test_trials_that_disappeared_are_an_error(sandbox, tiny_config):
    run = sandbox.study(tiny_config(1))("audio")
    file = sandbox.folder / "data-study" / "trials.csv"
    sandbox.trials.iloc[1:].to_csv(file, index=False)
    with fails(SplitError, where=str(file.parent), expected="30", found=("29", "trial joy0-0")):
        train_run(run)


def test_unknown_device_is_an_error(sandbox, tiny_config):
    run = sandbox.study(tiny_config(1))("audio")
    for device in ("gpu7", "cuda:99", "meta"):
        with fails(TrainingError, where="device", found=device):
            train_run(run, device=device)


def test_earlier_of_two_equal_epochs_is_kept_and_patience_ends_a_run():
    class Constant(Encoder):
        def __init__(self):
            super().__init__((1,))
            self.head = nn.Linear(1, 2)

        def forward(self, x, mask):
            return EncoderOutput(x[:, None], mask, 0 * self.head(x))

    class Ones(Source):
        labels = torch.tensor([0, 1] * 4)

        def load(self, model, rows, augment):
            return torch.ones(len(rows), 1), torch.ones(len(rows), 1).bool()

        def forward(self, model, loaded):
            return ModelOutput(model(*loaded).logits)

    settings = TrainConfig(epochs=20, batch=3, patience=4)
    result = loop.fit(
        Constant(), Ones(), [0, 1, 2, 3], [4, 5], settings, name="x", seed=lambda *a: 1, rules=loop.Recipe()
    )
    assert (result.best_epoch, len(result.history)) == (1, 5)


def test_learning_rate_rises_then_falls():
    rules = loop.Recipe()
    rates = [loop.rate_factor(step, 100, rules) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1
    assert rates[-1] < 0.02
    assert {loop.rate_factor(step, 100, loop.PUBLISHED) for step in range(100)} == {1.0}


def test_no_batch_of_one():
    assert [len(b) for b in batching.batches(torch.arange(9), 4)] == [4, 5]
    assert [len(b) for b in batching.batches(torch.arange(1), 4)] == [1]


def test_loss_counts_recorded_frames_and_frameless_windows_once():
    torch.manual_seed(0)
    frames, windows = torch.randn(2, 3, 4), torch.randn(2, 4)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    loss = cross_entropy(ModelOutput(windows, frames, mask), torch.tensor([1, 2]))
    parts = [-frames[0, 0].log_softmax(0)[1], -frames[0, 1].log_softmax(0)[1], -windows[1].log_softmax(0)[2]]
    assert loss.item() == pytest.approx(float(sum(parts)) / 3, rel=1e-6)


def test_scaling_reads_valid_training_samples_only():
    random = np.random.default_rng(0)
    values = random.normal(3e-5, 1e-5, (4, 2, 500)).astype(np.float32)
    mask = np.ones((4, 500), dtype=bool)
    values[3] = 1.0  # a test window
    values[0, :, 400:], mask[0, 400:] = 5.0, False  # padding
    values[1, 0, :5] = 0.01  # an artefact
    windows = WindowSet("eeg", pd.DataFrame({"subject": ["1"] * 4}), values, mask)
    fitted = fit_scaling(windows, [0, 1, 2])
    assert fitted is not None
    assert fitted[0][1].item() == pytest.approx(3e-5, rel=0.05)
    assert fitted[1].numpy() == pytest.approx(np.array([1e-5, 1e-5]), rel=0.1)
    mel = random.normal(-4, 2, (4, 50, 16)).astype(np.float32)
    mel[:, :, 3] = -7
    audio = WindowSet("audio", windows.index, mel, np.ones((4, 50), dtype=bool))
    fitted = fit_scaling(audio, [0, 1, 2])
    assert fitted is not None
    assert fitted[0][0].item() == pytest.approx(mel[:3, :, 0].mean(), rel=1e-5)
    assert fitted[1][3].item() == 1
    assert fit_scaling(audio, [0, 1, 2], fitted=False) is None
    pixels = random.integers(0, 200, (4, 3, 8, 8, 3)).astype(np.uint8)
    pixels[..., 2] = 90
    shown = np.ones((4, 3), dtype=bool)
    pixels[3], pixels[0, 2], shown[0, 2] = 255, 255, False
    video = WindowSet("vision", windows.index, pixels, shown)
    fitted = fit_scaling(video, [0, 1, 2])
    assert fitted is not None
    red = np.concatenate([pixels[0, :2], *pixels[1:3]])[..., 0] / 255
    assert (fitted[0][0].item(), fitted[1][0].item()) == pytest.approx((red.mean(), red.std()), rel=1e-5)
    assert fitted[1][2].item() == 1
    assert fit_scaling(video, [0, 1, 2], fitted=False) is None


@pytest.mark.parametrize("modality", ["vision", "audio", "eeg"])
def test_augmentation_is_light_seeded_and_leaves_the_original(modality):
    shape = {"vision": (3, 2, 3, 32, 32), "audio": (3, 80, 16), "eeg": (3, 4, 200)}[modality]
    x = torch.rand(shape, generator=generator(0)) * (1e-5 if modality == "eeg" else 1)
    mask = torch.ones((3, shape[1] if modality != "eeg" else 200), dtype=torch.bool)
    model = Encoder({"vision": (1, 1, 3, 1, 1), "audio": (1, 1, 16), "eeg": (1, 4, 1)}[modality])
    if modality == "eeg":
        model.set_scaling(torch.zeros(4), torch.full((4,), 1e-5))
    kept = x.clone()
    first, first_mask = inputs.augment(modality, x, mask, model, generator(1))
    again, _ = inputs.augment(modality, x, mask, model, generator(1))
    assert torch.equal(first, again)
    assert torch.equal(x, kept)
    assert not torch.equal(first, x)
    assert first.shape == x.shape
    assert first_mask.all()
    if modality == "vision":
        assert first.min() >= 0
        assert first.max() <= 1


def test_padding_moves_with_the_signal():
    x = torch.arange(200.0).expand(2, 1, 200)
    mask = (x[:, 0] < 150).clone()
    model = Encoder((1, 1, 1))
    model.set_scaling(torch.zeros(1), torch.full((1,), 1e-3))
    moved, moved_mask = inputs.augment("eeg", x, mask, model, generator(3))
    silent = (moved.abs() < 1e-9).all(dim=2)[:, 0]
    assert not silent.all()
    assert torch.equal(moved_mask[~silent], moved[~silent][:, 0] < 149.5)
