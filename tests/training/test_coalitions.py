"""shapley.parquet: every coalition equals the model with these modalities alone, for every kind of fusion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails

from eavdash.config.choices import MODALITIES
from eavdash.errors import IntegrityError, UsageError
from eavdash.explain.fused import load_fused_model
from eavdash.models.base import to_encoder_input
from eavdash.results import shapley
from eavdash.store import RunDir, StudyDir
from eavdash.training import coalitions, inputs
from eavdash.training.finished import add_coalitions
from eavdash.training.parents import windows_of_parents
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context

CLASSES = ("joy", "calm", "anger")
P = [f"p_{c}" for c in CLASSES]
KEYS = ["subject", "trial", "window"]


def config_of(tiny_config, kind: str, **fusion):
    config = tiny_config(3, kind)
    return dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, **fusion))


def trained(run: Callable[[str], RunDir]) -> RunDir:
    for stage in (*MODALITIES, "fusion"):
        made = run(stage)
        assert train_run(made)
        made.transition("running")
        made.transition("done", checksums=made.seal())
    return run("fusion")


def check(run: RunDir) -> pd.DataFrame:
    """Compare each coalition with the rebuilt model, which is given the recordings of these modalities alone."""
    table = pd.read_parquet(run.shapley_file)
    assert [*table.columns] == [*KEYS, "class", "coalition", "value"]
    context = open_run_context(run, torch.device("cpu"))
    windows, _ = windows_of_parents(context)
    model = load_fused_model(StudyDir.of(run), run)
    means = run.config().coalitions.absent == coalitions.MEANS
    index = {m: w.index.set_index(KEYS) for m, w in windows.items()}
    predictions = pd.read_parquet(run.predictions_file)
    predictions = predictions[predictions["frame"] == -1]
    tested = predictions[predictions["split"] == "test"].set_index(KEYS)
    assert set(tested.index) == set(table[KEYS].itertuples(index=False, name=None))
    train = predictions[predictions["split"] == "train"].drop_duplicates(["subject", "trial"])["label"]
    given = {m: inputs.raw(w.values, torch.arange(len(w.values))) for m, w in windows.items()}
    with torch.no_grad():
        encoded = {m: model.encoders[m](to_encoder_input(m, x), mask) for m, (x, mask) in given.items()}
    rows = {m: w.index.loc[w.index["split"] == "train", "row"].tolist() for m, w in windows.items()}
    average = {m: e.tokens[rows[m]][e.mask[rows[m]]].mean(dim=0) for m, e in encoded.items()}
    for key, found in table.groupby(KEYS):
        wide = found.pivot(index="coalition", columns="class", values="value")[list(CLASSES)]
        present = [m for m in model.modalities if key in index[m].index]
        names = ["+".join(c) for size in range(len(present) + 1) for c in combinations(present, size)]
        assert set(wide.index) == set(names)
        assert np.exp(wide.loc["+".join(present)].to_numpy(float)) == pytest.approx(
            tested.loc[key, P].to_numpy(float), abs=1e-5
        )
        shares = train.value_counts(normalize=True)[list(CLASSES)]
        assert np.exp(wide.loc[""].to_numpy(float)) == pytest.approx(shares.to_numpy(), abs=1e-6)
        for name in names[1:]:
            members = name.split("+")
            tokens, masks, logits = {}, {}, {}
            for m in present:
                row = int(index[m].loc[key, "row"])
                if m in members:
                    tokens[m], masks[m], logits[m] = (
                        x[row : row + 1] for x in (encoded[m].tokens, encoded[m].mask, encoded[m].logits)
                    )
                elif means:
                    tokens[m], masks[m] = average[m][None, None], torch.ones(1, 1, dtype=torch.bool)
            with torch.no_grad():
                expected = model.fusion(tokens, masks, logits).logits.double().log_softmax(1)[0].numpy()
            assert wide.loc[name].to_numpy(float) == pytest.approx(expected, abs=1e-4), (key, name)
    return table


@pytest.mark.parametrize(
    ("kind", "settings", "absent"),
    [
        ("attention", {"calibrate": True}, "masked"),
        ("transformer", {}, "masked"),
        ("concat", {"calibrate": True}, "masked"),
        ("concat", {"modality_dropout": 0.0}, "training means"),
        ("paper", {}, "training means"),
        ("paper", {"calibrate": True}, "training means"),
    ],
)
def test_every_coalition_is_the_model_with_these_modalities_alone(sandbox, tiny_config, kind, settings, absent):
    run = trained(sandbox.study(config_of(tiny_config, kind, **settings)))
    described = run.config().coalitions
    assert described.absent == absent
    assert described.reproduction < 1e-5
    assert described.additive.windows == 12
    assert run.status().checksums["shapley.parquet"] == run.seal()["shapley.parquet"]
    assert len(check(run)) == 12 * 8 * 3
    if settings.get("calibrate"):
        assert run.config().calibration["temperature"] != 1


@pytest.mark.parametrize("kind", ["attention", "paper"])
def test_what_was_not_recorded_is_in_no_coalition(sandbox, tiny_config, kind):
    gone = {"joy0-0": ["audio"], "calm0-1": ["eeg", "video"]}
    for trial, columns in gone.items():
        sandbox.trials.loc[sandbox.trials["trial"] == trial, columns] = ""
    table = check(trained(sandbox.study(config_of(tiny_config, kind))))
    assert set(table.loc[table["trial"] == "joy0-0", "coalition"]) == {"", "vision", "eeg", "vision+eeg"}
    assert set(table.loc[table["trial"] == "calm0-1", "coalition"]) == {"", "audio"}
    assert len(table) == 3 * 2 * (4 * 8 + 4 + 2)


def test_the_check_sees_a_defect(sandbox, tiny_config):
    sandbox.trials.loc[sandbox.trials["trial"] == "joy0-0", "audio"] = ""
    run = trained(sandbox.study(config_of(tiny_config, "attention", calibrate=True)))
    table = check(run)
    credit = (table["trial"] == "joy0-0") & (table["coalition"] == "eeg")
    temperature = run.config().calibration["temperature"]
    defects = {
        "swapped": table.assign(coalition=table["coalition"].replace({"vision": "audio", "audio": "vision"})),
        "credit for what is absent": table.assign(coalition=table["coalition"].mask(credit, "audio+eeg")),
        "without the temperature": table.assign(value=table["value"] * temperature),
    }
    for defect in defects.values():
        defect.to_parquet(run.shapley_file)
        with pytest.raises(AssertionError):
            check(run)


@pytest.mark.parametrize("kind", ["transformer", "paper"])
def test_encoders_that_were_fine_tuned_with_the_fusion_are_used(sandbox, tiny_config, kind):
    config = config_of(tiny_config, kind, joint_epochs=1, joint_learning_rate=1e-3)
    sandbox.splits.loc[sandbox.splits["split"] == "validation", "split"] = "train"  # the last epoch is kept
    run = trained(sandbox.study(config))
    assert run.config().joint["epoch"] == 1
    table = check(run)
    _forget(run)
    add_coalitions(run)
    pd.testing.assert_frame_equal(pd.read_parquet(run.shapley_file), table, rtol=0, atol=1e-5)
    assert len(table) == 12 * 8 * 3


def _forget(run: RunDir) -> None:
    """Make a finished run one of an earlier version."""
    run.shapley_file.unlink()
    run.describe(coalitions=None)
    run.update(checksums={k: v for k, v in run.status().checksums.items() if k != "shapley.parquet"})


def test_a_run_of_an_earlier_version_gets_the_same_file(sandbox, tiny_config):
    make = sandbox.study(config_of(tiny_config, "attention"))
    run = trained(make)
    before, described = pd.read_parquet(run.shapley_file), run.config().coalitions
    assert not shapley.lacks_coalitions(run)
    _forget(run)
    assert shapley.lacks_coalitions(run)
    assert not shapley.lacks_coalitions(make("eeg"))
    assert shapley.coalitions(StudyDir.of(run)).without == ("s01-fusion",)
    add_coalitions(run)
    pd.testing.assert_frame_equal(pd.read_parquet(run.shapley_file), before, rtol=0, atol=1e-5)
    assert run.config().coalitions.additive.document() == pytest.approx(described.additive.document(), abs=1e-4)
    assert run.status().checksums == run.seal()
    assert run.status().sizes["shapley.parquet"] == run.shapley_file.stat().st_size


def test_what_cannot_be_computed_is_refused_and_nothing_is_written(sandbox, tiny_config):
    make = sandbox.study(config_of(tiny_config, "attention"))
    run = trained(make)
    with fails(UsageError, expected="a finished fusion run", found="a run of eeg"):
        add_coalitions(make("eeg"))
    _forget(run)
    sandbox.first = 7  # other recordings than those that it was trained on
    with fails(IntegrityError, expected="the probabilities of its predictions", found="a difference of"):
        add_coalitions(run)
    sandbox.first = 0
    rows = pd.read_parquet(run.predictions_file)
    rows[rows["trial"] != "joy0-0"].to_parquet(run.predictions_file)
    run.update(checksums={**run.status().checksums, "predictions.parquet": run.seal()["predictions.parquet"]})
    with fails(IntegrityError, expected="the probabilities of its predictions", found="other windows"):
        add_coalitions(run)
    run.model_file.write_bytes(run.model_file.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"model\.safetensors: expected \d+ bytes"):
        add_coalitions(run)
    assert not run.shapley_file.exists()
    assert run.config().coalitions is None
    assert "shapley.parquet" not in run.status().checksums
