"""Studies of tables of features: what planning refuses or leaves out, training, fusion and explanation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from feature_files import UNITS, make_dataset, read, write
from trained import train_plan

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection, StudyConfig
from eavdash.errors import ConfigError, DataError
from eavdash.explain.explanation import load_explanation
from eavdash.explain.trial import explain_trial
from eavdash.health.check import check_dataset
from eavdash.results import tables
from eavdash.studies.write import Plan, prepare

SETTINGS = ("vision.encoder=table", "stages=vision", "window=2", "protocol.folds=3", "vision.depth=1")
BOTH = (*SETTINGS, "audio.encoder=table", "stages=vision,audio,fusion", "audio.depth=1")


def config(*settings: str) -> StudyConfig:
    quick = with_settings(preset("quick"), (*SETTINGS, "train.vision.epochs=12", "train.audio.epochs=12", *settings))
    return with_settings(quick, ["train.fusion.epochs=20"])


def planned(root: Path, *settings: str, folds: tuple[int, ...] = (0,)) -> Plan:
    return prepare(root, "units", config(*settings), Selection(folds=folds), root.parent / "checkpoints")


def change(path: Path, column: str, value: str | None, at: int | slice = slice(None)) -> None:
    """Set a column's cells, or remove the column."""
    header, rows = read(path)
    place = header.index(column)
    for row in rows[at] if isinstance(at, slice) else [rows[at]]:
        if value is not None:
            row[place] = value
    if value is None:
        for row in (*rows, header):
            del row[place]
    write(path, header, rows)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", subjects=1)


def test_tables_need_their_encoder_and_recordings_theirs(root: Path) -> None:
    with fails(ConfigError, where=("vision.encoder", ".csv"), found="vit", remedy="vision.encoder=table"):
        planned(root, "vision.encoder=vit", "vision.crop=centre")
    text = root.read_text().replace("_of.csv", "_of.mp4")
    root.write_text(text)
    for name in text.splitlines()[1:]:
        from made_media import movie

        movie(root.parent / name.split(",")[4], [n / 10 for n in range(30)])
    with fails(ConfigError, where=("vision.encoder", ".mp4"), found="table", remedy="vision.encoder=vit"):
        planned(root)


@pytest.mark.parametrize("what", ["nan", "columns", "times", "lost", "kind"])
def test_a_bad_trial_is_left_out_by_name(root: Path, what: str) -> None:
    path = root.parent / "s1-5_of.csv"
    if what == "nan":
        change(path, "AU04_r", "nan", 7)
    elif what == "columns":
        change(path, "AU04_r", None)
    elif what == "times":
        change(path, "timestamp", "0.5", 7)
    elif what == "lost":
        change(path, "success", "0")
    else:
        path.rename(path.with_suffix(".dat"))
        root.write_text(root.read_text().replace("s1-5_of.csv", "s1-5_of.dat"))
    left_out = planned(root).document.left_out
    assert left_out is not None
    (record,) = left_out.recordings
    assert (record.subject, record.trial, record.modality) == ("s1", "5", "vision")
    assert record.kind == ("not-finite" if what == "nan" else "unreadable")
    assert path.stem in record.reason


def test_tables_without_times_are_refused_at_planning(root: Path) -> None:
    for path in root.parent.glob("*_of.csv"):
        change(path, "timestamp", None)
    with pytest.raises(DataError, match=r"a column of times .*vision\.table\.time"):
        planned(root)
    assert not (root.parent / "checkpoints" / "units").exists()
    assert planned(root, "vision.table.time=frame/30").runs


def test_a_column_that_never_changes_is_refused_and_can_be_left_out(root: Path) -> None:
    for path in root.parent.glob("*_of.csv"):
        change(path, "AU46_c", "0.00")
    with fails(
        ConfigError, where=("vision.table.columns", "_of.csv"), found="AU46_c", remedy="vision.table.columns=-AU46_c"
    ):
        planned(root)
    assert planned(root, "vision.table.columns=-AU46_c").runs


@pytest.mark.parametrize("given", ["AU04_r,AU99_r", "AU99_r,AU04_r", "AU*,gaze_angle_*"])
def test_a_named_column_that_no_table_has_is_refused_at_planning(root: Path, given: str) -> None:
    lost = "gaze_angle_*" if "*" in given else "AU99_r"
    with fails(ConfigError, where="vision.table.columns", expected="_of.csv", found=(lost, "AU04_r")):
        planned(root, f"vision.table.columns={given}")
    assert not (root.parent / "checkpoints" / "units").exists()
    assert planned(root, "vision.table.columns=au04_r,AU1*,-AU99_r").runs


def test_weights_of_other_columns_are_refused_at_planning(root: Path, tmp_path: Path) -> None:
    from eavdash.models.build import build, encoder_spec, save_weights

    spec = encoder_spec("vision", config(), 2, {"columns": UNITS[:3]})
    save_weights(build(spec), tmp_path / "model.safetensors")
    with fails(ConfigError, where="model.safetensors", remedy="the same encoder"):
        planned(root, f"vision.weights={tmp_path / 'model.safetensors'}")


def test_training_fusion_and_explanation(tmp_path: Path) -> None:
    table = make_dataset(tmp_path / "data", subjects=1, trials=18, sound=True)
    for number in range(2, 19):  # every file but the first has another order of columns
        path = table.parent / f"s1-{number}_of.csv"
        header, rows = read(path)
        write(path, header[::-1], [row[::-1] for row in rows])
    study = train_plan(planned(table, *BOTH, "fusion.joint_epochs=1"))
    run = study.run("s-s1-vision")
    assert run.config().input.columns == UNITS
    assert run.config().input.rate == 25
    scores = tables.summary(study).set_index("stage")["accuracy"]
    assert scores[["vision", "audio", "fusion"]].min() >= 0.8
    frame = pd.read_parquet(study.run("s-s1-fusion").predictions_file)
    trial = str(frame.loc[frame["split"] == "test", "trial"].iloc[0])
    made = explain_trial(study, "s1", trial, method="integrated_gradients", steps=32)
    assert made.columns == {"vision": UNITS, "audio": ("F0final_sma", "jitterLocal_sma", "pcm_RMSenergy_sma")}
    assert made.attributions["vision"].shape == (3, 50, len(UNITS))
    assert max(one["relative_gap"] for one in made.receipts.completeness) < 0.01
    assert made.receipts.reproduction == pytest.approx(0, abs=1e-4)
    strongest = sorted(made.column_sums, key=lambda name: -abs(made.column_sums[name]))
    assert {"vision AU06_r", "vision AU12_r"} & set(strongest[:4])
    assert made.summary()["attribution_by_column"] == made.column_sums
    again = load_explanation(study.run("s-s1-fusion"), trial, *made.stored)
    assert again is not None
    assert again.columns == made.columns
    assert np.array_equal(again.attributions["vision"], made.attributions["vision"])


def test_windows_without_a_row_are_tested_but_not_trained_on(root: Path) -> None:
    for number in (1, 2, 3, 4, 5, 6):
        change(root.parent / f"s1-{number}_of.csv", "success", "0", slice(60, 120))
    run = train_plan(planned(root, "protocol.subject_scaling=true")).run("s-s1-vision")
    frame = pd.read_parquet(run.predictions_file)
    middle = frame[(frame["window"] == 1) & (frame["trial"].astype(int) <= 6)]
    assert len(middle[middle["split"] == "test"])
    assert not len(middle[middle["split"] == "train"])


def test_times_in_milliseconds_are_refused_with_the_setting_for_them(root: Path) -> None:
    for path in root.parent.glob("*_of.csv"):
        header, rows = read(path)
        for row in rows:
            row[2] = f"{1000 * float(row[2]):.0f}"
        write(path, header, rows)
    with fails(ConfigError, where="vision.table.time", found="a row every 33", remedy="vision.table.time=NAME/1000"):
        planned(root)
    assert planned(root, "vision.table.time=timestamp/1000").runs


@pytest.mark.parametrize("column", ["frame", "timestamp"])
def test_counters_alone_are_no_features(root: Path, column: str) -> None:
    with pytest.raises(DataError, match=f"found only the times and counters {column}"):
        planned(root, f"vision.table.columns={column}")


def test_a_second_column_of_times_and_numbers_beyond_float32_are_named(root: Path) -> None:
    path = root.parent / "s1-3_of.csv"
    header, rows = read(path)
    write(path, [*header, " Timestamp"], [[*row, row[2]] for row in rows])
    change(root.parent / "s1-5_of.csv", "AU04_r", "3e38", 7)
    left = planned(root).document.left_out
    assert left
    reasons = {recording.trial: recording.reason for recording in left.recordings}
    assert set(reasons) == {"3", "5"}
    assert "'timestamp' twice" in reasons["3"]
    assert "3e+38 in column 'AU04_r'" in reasons["5"]


def test_the_advice_to_read_tables_is_for_those_who_do_not(root: Path) -> None:
    report = check_dataset(root, config=config())
    (remedy,) = (f.remedy for f in report.findings if "tables of 6 features" in f.message)
    assert remedy == "nothing: vision.encoder=table reads them"


def test_the_health_check_knows_tables(root: Path) -> None:
    change(root.parent / "s1-3_of.csv", "success", "0", slice(0, 120))
    change(root.parent / "s1-5_of.csv", "AU04_r", None)
    report = check_dataset(root)
    texts = [f"{f.severity} {f.message} {f.remedy}" for f in report.findings]
    assert any("tables of 6 features" in text and "vision.encoder=table" in text for text in texts)
    assert any("few recorded rows in 1 of" in text for text in texts)
    assert any("error" in text and "AU04_r" in text for text in texts)
    assert not any("face" in text for text in texts)
    row = report.recordings.set_index("trial").loc["3"]
    assert row["columns"] == 6
    assert row["row_rate"] == pytest.approx(30, rel=0.02)
    assert row["recorded"] == pytest.approx(1 / 3, abs=0.05)
