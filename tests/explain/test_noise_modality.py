"""Share and Shapley values of the noise modality, against the tables that they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import make_study
from shapley_files import coalition_rows, remove_shapley

from eavdash.explain.noise_modality import COLUMNS, noise_modalities
from eavdash.explain.truth import Truth
from eavdash.results import tables
from eavdash.store import StudyDir

TRUTH = Truth({}, {"1": {"vision": 1.0, "audio": 1.0, "eeg": 0.0}, "2": {"vision": 1.0, "audio": 0.0, "eeg": 0.5}})


def trials_of(study: StudyDir) -> list[tuple[str, str]]:
    table = tables.trials(study, ["fusion"])
    return list(zip(table["subject"], table["trial"], strict=True))


def plant(study: StudyDir, name: str, effects: tuple[float, float, float], one: tuple[float, float, float]) -> int:
    """Write Shapley values (vision, audio, eeg) of a run's test windows, ``one`` those of the first; count them."""
    run = study.run(name)
    frame = pd.read_parquet(run.predictions_file)
    tested = frame[(frame["split"] == "test") & (frame["frame"] == -1)].reset_index(drop=True)
    values = np.tile(effects, (len(tested), 1))
    values[0] = one
    coalition_rows(tested, values, run.config().classes).to_parquet(run.shapley_file)
    run.update(checksums=run.seal())
    return len(tested)


def test_it_counts_the_windows_in_which_the_noise_adds_least(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2"))
    first = plant(study, "s01-fusion", (2.0, 1.0, 0.1), (2.0, 0.05, 0.1))
    second = plant(study, "s02-fusion", (2.0, 1.0, 0.5), (2.0, 0.1, 0.5))
    found = noise_modalities(study, TRUTH, trials_of(study))
    assert list(found.columns) == list(COLUMNS)
    assert list(found["subject"]) == ["1", "2", "all"]
    assert list(found["noise"]) == ["eeg", "audio", ""]
    assert list(found["windows_all"]) == [first, second, first + second]
    assert list(found["lowest_all"]) == [first - 1, 1, first]
    table = tables.trials(study)
    for subject, noise, row in zip(("1", "2"), ("eeg", "audio"), found.itertuples(), strict=False):
        mine = table[table["subject"] == subject]
        assert row.share == pytest.approx(mine.loc[mine["stage"] == "fusion", f"attention_{noise}"].mean())
        others = mine[~mine["stage"].isin(["fusion", noise])]
        right = others.groupby("trial")["correct"].max()
        assert row.windows == 2 * right.sum()
        assert 0 < row.windows < row.windows_all
        assert row.low <= row.rate <= row.high


def test_without_shapley_values_there_are_shares_alone(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2"))
    remove_shapley(study)
    found = noise_modalities(study, TRUTH, trials_of(study))
    assert found["share"].notna().all()
    assert found["rate"].isna().all()
    assert not found["windows_all"].any()
    only = noise_modalities(study, TRUTH, trials_of(study)[:3])
    assert list(only["trials"]) == [3]
