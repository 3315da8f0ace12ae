"""Tables from predictions: items, accuracies and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from fake_study import CLASSES, make_study, write_parquet

from eavdash.config.choices import STAGES
from eavdash.data.table import natural_sort
from eavdash.errors import UsageError
from eavdash.results import reading, tables
from eavdash.store import StudyDir
from eavdash.store.record import write_record

P = [f"p_{c}" for c in ("a", "b")]


def rewrite(study: StudyDir, run: str, frame: pd.DataFrame) -> None:
    """Replace a run's predictions, checksum included."""
    folder = study.run(run)
    write_parquet(folder.predictions_file, frame)
    write_record(folder.status_file, folder.status().replace(checksums=folder.seal()))


def rows(*items: tuple[str, int, int, str, float], seed: int = 0, fold: int = 0) -> pd.DataFrame:
    """Test rows (trial, window, frame, label, p of a)."""
    frame = pd.DataFrame(items, columns=["trial", "window", "frame", "label", "p_a"])
    frame["p_b"] = 1 - frame["p_a"]
    frame["predicted"] = np.where(frame["p_a"] >= 0.5, "a", "b")
    return frame.assign(subject="1", group="g", split="test", fold=fold, seed=seed, study="s", run="r", stage="vision")


def test_a_trial_is_the_mean_of_its_windows_log_probabilities() -> None:
    # Two windows slightly favour a, one strongly favours b: a vote gives a, the log-probabilities give b.
    frame = rows(("1", 0, -1, "b", 0.6), ("1", 1, -1, "b", 0.6), ("1", 2, -1, "b", 0.01))
    assert tables.score_table(frame, "trial")["accuracy"].tolist() == [1.0]
    assert tables.score_table(frame, "window")["accuracy"].tolist() == [pytest.approx(1 / 3)]
    assert tables.score_table(frame, "window")["n"].tolist() == [3]


def test_seeds_are_averaged_and_never_multiply_n() -> None:
    frame = pd.concat(
        [
            rows(("1", 0, -1, "a", 0.9), ("2", 0, -1, "b", 0.9), seed=0),
            rows(("1", 0, -1, "a", 0.9), ("2", 0, -1, "b", 0.1), seed=1),
        ]
    )
    table = tables.score_table(frame)
    assert (table["n"].item(), table["accuracy"].item()) == (2, 0.75)
    assert tables.score_table(frame, by=("seed",))["accuracy"].tolist() == [0.5, 1.0]


def test_balanced_accuracy_and_f1_by_hand() -> None:
    # Labels a a a b; predictions a a b a: recall a 2/3, b 0; F1 a 2*2/(3+3), b 0.
    frame = rows(("1", 0, -1, "a", 1.0), ("2", 0, -1, "a", 1.0), ("3", 0, -1, "a", 0.0), ("4", 0, -1, "b", 1.0))
    table = tables.score_table(frame)
    assert table["accuracy"].item() == 0.5
    assert table["balanced_accuracy"].item() == pytest.approx(1 / 3)
    assert table["macro_f1"].item() == pytest.approx(1 / 3)


def test_frames_count_only_if_a_stage_scores_frames(tmp_path: Path) -> None:
    study = make_study(tmp_path, trials=10, windows=2)
    table = tables.scores(study, "frame")
    assert set(table["stage"]) == {"vision"}
    assert set(table["n"]) == {10 * 2 * 2}


def test_rows_per_subject_and_stage_in_natural_order(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("10", "2", "1"))
    table = tables.scores(study)
    assert list(table.columns) == list(tables.SCORE_COLUMNS)
    assert table["subject"].tolist() == ["1"] * 4 + ["2"] * 4 + ["10"] * 4
    assert table["stage"].tolist()[:4] == ["vision", "audio", "eeg", "fusion"]
    assert set(table["n"]) == {10}
    assert table["accuracy"].between(0, 1).all()


def test_subjects_are_in_the_order_of_the_trial_table(tmp_path: Path) -> None:
    names = ["Zoe", "anna", "Bob", "s10", "S2"]
    study = make_study(tmp_path, subjects=names, stages=("eeg",))
    frame = pd.DataFrame({"subject": names, "trial": "1"})
    assert tables.scores(study)["subject"].tolist() == natural_sort(frame)["subject"].tolist()


def test_folds_together_test_every_trial_once(tmp_path: Path) -> None:
    study = make_study(tmp_path, folds=(0, 1), seeds=(0, 1), trials=5)
    assert set(tables.scores(study)["n"]) == {10}
    assert set(tables.scores(study, by=("fold",))["n"]) == {5}
    assert {"fold", "seed"} <= set(tables.scores(study, by=("fold", "seed")).columns)


def test_baselines_are_stages_on_request(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    assert not set(tables.BASELINES) & set(tables.scores(study)["stage"])
    table = tables.scores(study, baselines=True)
    assert set(table["stage"]) == {*STAGES, *tables.BASELINES} - {"fusion:attention"}
    majority = table[table["stage"] == "majority"]
    assert majority["accuracy"].tolist() == [pytest.approx(1 / len(CLASSES))] * 3


def test_without_a_fusion_the_majority_comes_from_an_encoders_training_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path, stages=("audio", "eeg"), states={"s02-audio": "failed"})
    table = tables.scores(study, baselines=True)
    majority = table[table["stage"] == "majority"]
    assert majority["subject"].tolist() == ["1", "2", "3"]
    assert majority["accuracy"].tolist() == [pytest.approx(1 / len(CLASSES))] * 3
    rows = tables.predictions(study, split=None)
    rows = rows[(rows["run"] == "s01-audio") & (rows["frame"] == -1)]
    kept = rows[(rows["split"] != "train") | (rows["label"] == CLASSES[2])]
    guess = reading.majority(kept)
    assert set(guess["predicted"]) == {CLASSES[2]}
    assert guess[f"p_{CLASSES[2]}"].eq(1).all()


def test_only_finished_runs_are_in_the_tables(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"s01-eeg": "failed", "s02-vision": "running", "s03-fusion": "queued"})
    found = {(s, g) for s, g in tables.scores(study)[["subject", "stage"]].itertuples(index=False)}
    assert {("1", "eeg"), ("2", "vision"), ("3", "fusion")}.isdisjoint(found)
    assert len(found) == 9


def test_a_damaged_file_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    damaged = study.run("s01-audio").predictions_file
    damaged.write_bytes(damaged.read_bytes()[:-10])
    table = tables.scores(study)
    assert len(table) == 11
    (problem,) = table.attrs["problems"]
    assert str(damaged) in problem
    assert "eavdash retry" in problem


def test_a_file_without_its_columns_is_named(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    rewrite(study, "s01-audio", pd.DataFrame({"subject": ["1"]}))
    (problem,) = tables.scores(study).attrs["problems"]
    assert "s01-audio" in problem


def test_an_empty_study_gives_an_empty_table(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"*": "queued"})
    assert tables.scores(study).empty
    assert tables.trials(study).empty
    assert tables.summary(study).empty
    assert tables.scores(study).attrs["problems"] == []


def test_trials_carry_probabilities_and_attention(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    table = tables.trials(study)
    assert np.allclose(table[[f"p_{c}" for c in CLASSES]].sum(axis=1), 1)
    fusion = table[table["stage"] == "fusion"]
    assert np.allclose(fusion[["attention_vision", "attention_audio", "attention_eeg"]].sum(axis=1), 1)
    assert table[table["stage"] == "eeg"]["attention_eeg"].isna().all()
    assert (table["correct"] == (table["label"] == table["predicted"])).all()
    assert set(table["windows"]) == {2}
    score = tables.scores(study)
    assert np.allclose(
        table.groupby(["subject", "stage"])["correct"].mean().sort_index(),
        score.set_index(["subject", "stage"])["accuracy"].sort_index(),
    )


def test_summary_is_over_subjects(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    table, each = tables.summary(study), tables.scores(study)
    eeg = each[each["stage"] == "eeg"]["accuracy"]
    row = table[table["stage"] == "eeg"].iloc[0]
    assert (row["subjects"], row["n"]) == (3, 30)
    assert row["accuracy"] == pytest.approx(eeg.mean())
    assert row["sd"] == pytest.approx(eeg.std())


def test_confusion_counts_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    table = tables.confusion(tables.trials(study, ["eeg"]))
    assert table.index.tolist() == list(CLASSES)
    assert table.to_numpy().sum() == 30


@pytest.mark.parametrize(("level", "by"), [("subject", ()), ("trial", ("subject",))])
def test_wrong_requests_name_the_options(tmp_path: Path, level: str, by: tuple[str, ...]) -> None:
    facts = ("--by", "fold", "'subject'") if by else ("--level", "window", "'subject'")
    with fails(UsageError, where=facts[0], expected=facts[1], found=facts[2]):
        tables.scores(make_study(tmp_path), level, by)
