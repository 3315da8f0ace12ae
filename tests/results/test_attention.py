"""Attention by layer and head from a study's files, also with absent modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import attention_rows, make_study, write_parquet

from eavdash.config.choices import MODALITIES
from eavdash.results import attention, tables
from eavdash.store import RunDir


def rewrite(run: RunDir, frame: pd.DataFrame, layers: int = 1) -> None:
    """Replace the predictions, their attention and the checksums."""
    write_parquet(run.predictions_file, frame)
    write_parquet(run.attention_file, attention_rows(frame, layers))
    run.update(checksums=run.seal())


def without(run: RunDir, modality: str, trials: int) -> None:
    """Remove the modality from the first test trials of a run."""
    frame = pd.read_parquet(run.predictions_file)
    gone = frame["trial"].isin(list(frame.loc[frame["split"] == "test", "trial"].unique()[:trials]))
    shares = [f"attention_{m}" for m in MODALITIES]
    frame.loc[gone, f"attention_{modality}"] = 0
    frame[shares] = frame[shares].div(frame[shares].sum(axis=1), axis=0)
    rewrite(run, frame)


def test_the_mean_over_heads_equals_the_share_in_other_tables(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), folds=(0, 1), seeds=(0, 1))
    found = attention.heads(study)
    fused = tables.trials(study, ["fusion"])
    assert (found.without, found.problems) == ((), ())
    assert len(attention.of_trials(found.table, fused)) == len(found.table) == len(fused) == 80
    shares = attention.mean_shares(found.table)
    assert shares.shape == (4, 3)
    assert shares.sum(axis=1) == pytest.approx(1)
    assert np.ptp(shares, axis=0).min() > 0.01  # heads differ
    assert shares.mean(axis=0) == pytest.approx(fused[[f"attention_{m}" for m in MODALITIES]].mean().to_numpy())
    maps = attention.mean_maps(found.table)
    assert maps.shape == (1, 4, 3, 3)
    assert maps.sum(axis=-1) == pytest.approx(1)
    one = attention.of_trials(found.table, fused[(fused["subject"] == "2") & (fused["fold"] == 1)])
    assert set(one["run"]) == {"s02-fusion-fold1-seed0", "s02-fusion-fold1-seed1"}


def test_an_absent_modality_is_left_out_of_means(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",))
    run = study.run("s01-fusion")
    without(run, "audio", 4)
    table = attention.heads(study).table
    row = [f"layer1_head2_audio_{m}" for m in MODALITIES]
    assert table[row].isna().all(axis=1).sum() == 4
    assert attention.mean_maps(table).sum(axis=-1) == pytest.approx(1)  # rows of zeros would give 0.6 for audio
    absent = attention.mean_maps(table[table[row[0]].isna()])
    assert np.isnan(absent[:, :, 1]).all()
    assert absent[:, :, [0, 2]].sum(axis=-1) == pytest.approx(1)
    assert attention.mean_shares(table[table[row[0]].isna()])[:, 1].tolist() == [0] * 4


def test_runs_without_the_file_are_named_and_damaged_ones_are_problems(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2", "3"))
    older, damaged, wrong = (study.run(f"s0{n}-fusion") for n in (1, 2, 3))
    older.attention_file.unlink()
    older.update(checksums=older.seal())
    damaged.attention_file.write_bytes(b"x")
    write_parquet(wrong.attention_file, pd.DataFrame({"subject": ["3"]}))
    wrong.update(checksums=wrong.seal())
    found = attention.heads(study)
    assert found.without == ("s01-fusion",)
    assert found.table.empty
    assert "s02-fusion/attention.parquet: expected checksum" in found.problems[0]
    assert "no trial, window, fold, seed" in found.problems[1]
    assert all("eavdash retry demo --run s0" in problem for problem in found.problems)
    wrong.attention_file.unlink()  # the run had written one
    assert "found none" in attention.heads(study).problems[1]


def test_other_kinds_of_fusion_have_none(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), fusion="paper")
    found = attention.heads(study)
    assert found.table.empty
    assert attention.mean_maps(found.table).shape[0] == 0
