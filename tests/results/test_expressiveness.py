"""Expressiveness beside being right: correlations against scipy, a planted relation, damaged files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import make_study
from scipy.stats import spearmanr

from eavdash.errors import IntegrityError
from eavdash.report.figures import expressiveness as figures
from eavdash.results import expressiveness, tables
from eavdash.store import StudyDir


def measured(study: StudyDir, effect: float) -> pd.DataFrame:
    """Store measures of which face motion is larger by ``effect`` where vision is right."""
    trials, rng = tables.trials(study), np.random.default_rng(0)
    rows = [
        (r.subject, r.trial, "vision", "motion", float(rng.normal(1, 0.1) + effect * r.correct), "")
        for r in trials[trials["stage"] == "vision"].itertuples()
    ]
    expressiveness.save(study, [*rows, ("1", "", "eeg", "", math.nan, "s01.mat: expected EEG, found none")])
    table = expressiveness.load(study)
    assert table is not None
    return expressiveness.beside(table, trials, "motion")


def test_a_planted_relation_is_found_and_none_is_not(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=[str(i) for i in range(8)], stages=("vision",), trials=20)
    rows = measured(study, 1.0)
    found = expressiveness.relation(rows, "motion")
    assert found.within > 0.6
    assert found.low > 0.4
    people = rows.groupby("subject", sort=False)[["value", "correct"]].mean()
    assert found.across == pytest.approx(spearmanr(people["value"], people["correct"]).statistic)
    assert found.p < 0.05
    own = [spearmanr(m["value"], m["correct"]).statistic for _, m in rows.groupby("subject")]
    assert found.within == pytest.approx(np.mean(own))
    nothing = expressiveness.relation(measured(study, 0.0), "motion")
    assert abs(nothing.within) < 0.2
    assert nothing.p > 0.05
    cells = expressiveness.cells(rows)
    assert cells["n"].sum() == 160
    assert len(figures.by_label(cells)) == 5
    assert len(figures.against_accuracy(cells, "motion").data) == 5
    assert figures.relation_table([found])["measure"].tolist() == ["Vision: face motion"]


def test_few_subjects_have_no_correlation_over_subjects(tmp_path: Path) -> None:
    found = expressiveness.relation(measured(make_study(tmp_path, stages=("vision",)), 1.0), "motion")
    assert math.isnan(found.across)
    assert figures.relation_table([found])["p"].tolist() == ["too few"]


def test_a_missing_file_is_none_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    study = make_study(tmp_path, stages=("eeg",))
    assert expressiveness.load(study) is None
    study.expressiveness_file.write_bytes(b"no table")
    with pytest.raises(IntegrityError, match="eavdash expressiveness demo"):
        expressiveness.load(study)
    pd.DataFrame({"subject": ["1"]}).to_parquet(study.expressiveness_file)
    with pytest.raises(IntegrityError, match="no trial"):
        expressiveness.load(study)
