"""Vectors of test trials: tokens of the encoders, and what the fusion's last layer sees, for every kind of fusion."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from failing import fails

from eavdash.config.choices import MODALITIES
from eavdash.errors import UsageError
from eavdash.models.base import last_linear
from eavdash.training.finished import load_finished
from eavdash.training.representations import represent
from eavdash.training.run import train_run
from eavdash.training.run_context import open_run_context


@pytest.mark.parametrize("kind", ["attention", "transformer", "concat", "paper"])
def test_the_last_layer_makes_the_decision_of_what_it_sees(sandbox, tiny_config, kind: str) -> None:
    config = tiny_config(1, kind)
    runs = sandbox.study(dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, calibrate=False)))
    for stage in (*MODALITIES, "fusion"):
        made = runs(stage)
        if stage == "fusion":
            with fails(UsageError, found="queued"):
                represent(made)
        assert train_run(made)
        made.transition("running")
        made.transition("done", checksums=made.seal())
    run = runs("fusion")
    table = represent(run)
    predictions = pd.read_parquet(run.predictions_file)
    tested = predictions[(predictions["split"] == "test") & (predictions["frame"] == -1)]
    keys = list(tested[["subject", "trial"]].drop_duplicates().itertuples(index=False, name=None))
    spaces = dict(iter(table.groupby("space")))
    assert set(spaces) == {*MODALITIES, "fusion"}
    for rows in spaces.values():
        assert list(rows[["subject", "trial"]].itertuples(index=False, name=None)) == keys

    fusion, joined = load_finished(open_run_context(run, torch.device("cpu")))
    index = joined.index.reset_index(drop=True)
    first = index[(index["subject"] == keys[0][0]) & (index["trial"] == keys[0][1])].index.to_numpy(copy=True)
    for modality in MODALITIES:
        tokens, masks = joined.tokens[modality][first], joined.masks[modality][first]
        windows = [x[m].mean(dim=0).numpy() for x, m in zip(tokens, masks, strict=True) if m.any()]
        assert spaces[modality]["values"].iloc[0] == pytest.approx(np.mean(windows, axis=0), abs=1e-4)
    seen = torch.tensor(np.array(spaces["fusion"]["values"].iloc[0]))
    part = [{m: values[m][first] for m in MODALITIES} for values in (joined.tokens, joined.masks, joined.logits)]
    with torch.no_grad():
        made = fusion(*part)
        if kind == "attention":
            assert seen.numpy() == pytest.approx(made.logits.mean(dim=0).numpy(), abs=1e-4)
            return
        layer = last_linear(fusion.head)
        assert layer is not None
        assert len(seen) == layer.in_features
        if kind == "concat":  # the last layer is linear: the mean of what it sees gives the mean of the logits
            assert layer(seen).numpy() == pytest.approx(made.logits.mean(dim=0).numpy(), abs=1e-4)
        if kind == "paper":
            frames = part[1]["vision"]
            logits = torch.stack([x[m].mean(dim=0) for x, m in zip(made.frame_logits, frames, strict=True)])
            assert layer(seen).numpy() == pytest.approx(logits.mean(dim=0).numpy(), abs=1e-4)


def test_an_encoder_alone_has_its_own_tokens(sandbox, tiny_config) -> None:
    run = sandbox.study(tiny_config(1, "attention"))("eeg")
    assert train_run(run)
    run.transition("running")
    run.transition("done", checksums=run.seal())
    table = represent(run)
    assert set(table["space"]) == {"eeg"}
    assert all(np.isfinite(values).all() for values in table["values"])
