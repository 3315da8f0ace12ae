"""The baselines on real speech and EEG, from the recordings to their rows; skipped without these recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.results import tables
from eavdash.results.statistics import chance_line
from eavdash.studies.write import prepare
from eavdash.training.run import train_run


@pytest.mark.parametrize(
    ("modality", "subject", "folds", "simple"),
    [("audio", "1", (0, 1), ["audio:logmel"]), ("eeg", "0", (), ["eeg:bandpower", "eeg:tangent"])],
)
def test_simple_features_recognise_real_recordings(
    real_data: Path, tmp_path: Path, modality, subject, folds, simple
) -> None:
    folder = real_data / {"audio": "speech", "eeg": "eeg"}[modality]
    settings = [f"train.{modality}.epochs=1", f"stages={modality}"]
    config = with_settings(preset("quick"), settings)
    plan = prepare(folder / "trials.csv", "real", config, Selection((subject,), folds), tmp_path / "checkpoints")
    for run in plan.study.runs():
        assert train_run(run)
        for state in ("running", "done"):
            run.transition(state, checksums=run.seal())
        assert not any("missing" in note for note in run.config().baselines.values())
    scores = tables.scores(plan.study, baselines=True).set_index("stage")
    assert set(scores.index) == {modality, *tables.BESIDE[modality], "majority"}
    for name in simple:  # within a person it is easy: above the accuracy that guessing exceeds in one case of twenty
        row = scores.loc[name]
        assert row["accuracy"] > chance_line(int(row["n"]), len(plan.document.classes)), name
    assert scores.loc[f"{modality}:majority", "accuracy"] == scores.loc["majority", "accuracy"]
