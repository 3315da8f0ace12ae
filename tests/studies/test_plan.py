"""Planning: names of runs, additions, conflicts, and subjects that cannot be used."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from failing import fails
from short_sounds import AUDIO, table

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import Selection
from eavdash.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    SplitError,
    StudyConflictError,
    UsageError,
)
from eavdash.store import StudyDir
from eavdash.store.record import write_record
from eavdash.studies.plan import plan
from eavdash.studies.write import prepare


def test_one_fold_and_one_seed_have_no_suffix_and_keep_none_when_more_are_added(tmp_path: Path) -> None:
    root = table(tmp_path)
    first = prepare(root, "pilot", AUDIO, Selection(("1",), (0,), (0,)), tmp_path / "c")
    assert first.runs == ["s01-audio"]
    more = prepare(root, "pilot", AUDIO, Selection(("1", "2"), (0, 1), (0, 3)), tmp_path / "c")
    assert more.runs == [
        *("s01-audio", "s01-audio-seed3", "s01-audio-fold1", "s01-audio-fold1-seed3"),
        *("s02-audio", "s02-audio-seed3", "s02-audio-fold1", "s02-audio-fold1-seed3"),
    ]
    assert more.existing == more.runs
    selection = more.study.study().selection
    assert selection.document() == {"subjects": ["1", "2"], "folds": [0, 1], "seeds": [0, 3]}
    splits = pd.read_csv(more.study.splits_file, dtype=str)
    assert set(splits["subject"]) == {"1", "2"}
    assert not splits.duplicated(["subject", "trial", "fold"]).any()


def test_planning_writes_nothing_and_preparing_twice_changes_nothing(tmp_path: Path) -> None:
    root = table(tmp_path)
    made = plan(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    assert len(made.runs) == 15
    assert made.existing == []
    assert not (tmp_path / "c").exists()
    study = prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c").study
    before = {p: p.read_bytes() for p in study.path.rglob("*") if p.is_file()}
    prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    assert {p: p.read_bytes() for p in study.path.rglob("*") if p.is_file()} == before


@pytest.mark.usefixtures("all_usable")
def test_fusion_waits_for_the_modalities_that_were_recorded(tmp_path: Path) -> None:
    root = table(tmp_path, subjects=2, video=True)
    frame = pd.read_csv(root, dtype=str, keep_default_na=False)
    frame.loc[frame["subject"] == "2", "video"] = ""
    frame.to_csv(root, index=False)
    config = preset("quick")
    made = plan(root, "pilot", config, Selection(folds=(0,)), tmp_path / "c")
    parents = {run.name: run.config.parents for run in made.planned if run.config.stage == "fusion"}
    assert parents == {
        "s01-fusion": {"vision": "s01-vision", "audio": "s01-audio"},
        "s02-fusion": {"audio": "s02-audio"},
    }
    assert set(made.left_out) == {"s02-vision"}
    assert "no vision recording of subject 2" in made.left_out["s02-vision"]
    assert "no trial has eeg recordings: eeg not trained" in made.notes
    assert made.runs.index("s01-audio") < made.runs.index("s01-fusion")


def test_a_single_modality_has_no_fusion(tmp_path: Path) -> None:
    made = plan(table(tmp_path), "pilot", preset("quick"), Selection(folds=(0,)), tmp_path / "c")
    assert {run.config.stage for run in made.planned} == {"audio"}
    assert not made.left_out
    assert [note for note in made.notes if "fusion" in note and "audio" in note]


def test_another_configuration_under_the_same_name_is_refused_with_the_difference(tmp_path: Path) -> None:
    root = table(tmp_path)
    prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    other = with_settings(AUDIO, ["window=4"])
    with fails(StudyConflictError, where="study.json", found="window: 5.0 → 4.0") as caught:
        prepare(root, "pilot", other, Selection(), tmp_path / "c")
    assert caught.value.exit_code == 2


def test_changed_recordings_of_a_study_are_refused(tmp_path: Path) -> None:
    root = table(tmp_path)
    prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    soundfile.write(tmp_path / "2-0-calm.wav", np.zeros(3200, dtype="float32"), 16000)
    with fails(StudyConflictError, found="subject 2"):
        prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")


@pytest.mark.parametrize("damage", [b"", b"subject,tri", b"\x00\xff", b"a,b\n1,2\n"])
def test_a_damaged_table_is_made_again_or_reported(tmp_path: Path, damage: bytes) -> None:
    root, c = table(tmp_path), tmp_path / "c"
    study = prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), c).study
    good = study.splits_file.read_bytes()
    study.splits_file.write_bytes(damage)
    prepare(root, "pilot", AUDIO, Selection(("1",), (0,)), c)
    assert study.splits_file.read_bytes() == good
    study.splits_file.write_bytes(damage)
    with fails(IntegrityError, where="splits.csv", remedy="eavdash extend pilot"):
        prepare(root, "pilot", AUDIO, Selection(("2",), (0,)), c)  # the splits of subject 1 are not planned now


def test_a_dataset_that_moved_is_still_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    root = table(tmp_path / "a")
    prepare(root, "pilot", AUDIO, Selection(), tmp_path / "c")
    (tmp_path / "a").rename(tmp_path / "b")
    made = prepare(tmp_path / "b" / "trials.csv", "pilot", AUDIO, Selection(), tmp_path / "c")
    assert made.study.study().dataset.path == str(tmp_path / "b" / "trials.csv")


@pytest.mark.parametrize(("selection", "missing"), [(Selection(("7",)), "7"), (Selection(folds=(9,)), "9")])
def test_missing_subjects_and_folds_cannot_be_selected(tmp_path: Path, selection: Selection, missing: str) -> None:
    with fails(UsageError, expected="1, 2, 3", found=missing):
        plan(table(tmp_path), "pilot", AUDIO, selection, tmp_path / "c")


def test_nothing_to_train_is_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    root = table(tmp_path)
    with pytest.raises(SplitError, match="eeg not trained"):
        prepare(root, "pilot", replace(AUDIO, stages=("eeg",)), Selection(), tmp_path / "c")
    assert not (tmp_path / "c" / "pilot").exists()


def test_one_class_only_is_an_error(tmp_path: Path) -> None:
    root = table(tmp_path)
    frame = pd.read_csv(root, dtype=str, keep_default_na=False)
    frame[frame["label"] == "calm"].to_csv(root, index=False)
    with fails(DataError, where=str(tmp_path), expected="two", found="'calm'", remedy="where"):
        plan(root, "pilot", AUDIO, Selection(), tmp_path / "c")


def test_across_subjects_the_unit_is_all_and_the_subjects_are_fixed(tmp_path: Path) -> None:
    root = table(tmp_path, subjects=4)
    config = replace(AUDIO, protocol=replace(AUDIO.protocol, name="loso"))
    made = prepare(root, "people", config, Selection(("1", "2", "3")), tmp_path / "c")
    assert made.runs == ["all-audio-fold0", "all-audio-fold1", "all-audio-fold2"]
    with fails(StudyConflictError, where="study.json", expected="1, 2, 3", found="1, 2, 3, 4"):
        prepare(root, "people", config, Selection(), tmp_path / "c")


def test_unsafe_names_are_refused(tmp_path: Path) -> None:
    with fails(UsageError, found="../up"):
        plan(table(tmp_path), "../up", AUDIO, Selection(), tmp_path / "c")
    assert StudyDir(tmp_path / "up").exists is False


def test_fine_tuning_without_weights_is_noted(tmp_path: Path) -> None:
    config = replace(preset("paper"), stages=("audio",))
    made = plan(table(tmp_path), "paper", config, Selection(), tmp_path / "c")
    assert any("audio.weights is empty" in note for note in made.notes)
    assert not any("weights" in note for note in plan(table(tmp_path), "q", AUDIO, Selection(), tmp_path / "c").notes)


@pytest.mark.parametrize(
    ("stage", "encoder", "near"),
    [("vision", "timm:deit_tiny_patch16_22", "deit_tiny_patch16_224"), ("eeg", "braindecode:EEGNte", "EEGNet")],
)
def test_an_unknown_library_encoder_is_refused_before_anything_is_written(
    tmp_path: Path, stage: str, encoder: str, near: str
) -> None:
    config = with_settings(replace(preset("quick"), stages=(stage,)), [f"{stage}.encoder={encoder}"])
    with fails(ConfigError, where=f"{stage}.encoder", remedy=near):
        plan(table(tmp_path), "q", config, Selection(), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_missing_weights_are_reported_before_anything_is_written(tmp_path: Path) -> None:
    config = with_settings(AUDIO, [f"audio.weights={tmp_path / 'ast'}"])
    with fails(ConfigError, where="audio.weights", found=str(tmp_path / "ast")):
        plan(table(tmp_path), "pilot", config, Selection(), tmp_path / "c")


@pytest.mark.parametrize("checkpoints", ["new", "with a cache"])
def test_the_same_recording_in_two_splits_stops_the_study(tmp_path: Path, checkpoints: str) -> None:
    root, there = table(tmp_path), tmp_path / checkpoints
    shutil.copy(tmp_path / "2-0-calm.wav", tmp_path / "2-3-calm.wav")
    if checkpoints != "new":
        (there / ".cache").mkdir(parents=True)
    with fails(SplitError) as caught:
        prepare(root, "pilot", AUDIO, Selection(), there)
    for fact in ("audio", "0-calm", "subject 2", "2-3-calm.wav"):
        assert fact in f"{caught.value.where} {caught.value.found}"
    assert not (there / "pilot").exists()
    assert not list(there.glob("*.json"))


def test_a_recording_of_two_labels_stops_the_study(tmp_path: Path) -> None:
    root = table(tmp_path)
    frame = pd.read_csv(root, dtype=str, keep_default_na=False)
    frame.loc[(frame["subject"] == "3") & (frame["trial"] == "1-calm"), "audio"] = "3-1-tense.wav"
    frame.to_csv(root, index=False)
    with fails(DataError, found=("3-1-tense.wav", "calm", "tense")):
        plan(root, "pilot", AUDIO, Selection(), tmp_path / "c")


def test_additional_columns_are_kept_with_the_study(tmp_path: Path) -> None:
    root = table(tmp_path)
    frame = pd.read_csv(root, dtype=str, keep_default_na=False)
    frame["condition"] = ["speaking" if "calm" in t else "listening" for t in frame["trial"]]
    frame.to_csv(root, index=False)
    prepare(root, "pilot", AUDIO, Selection(("1",)), tmp_path / "c")
    made = prepare(root, "pilot", AUDIO, Selection(("2",)), tmp_path / "c")
    kept = pd.read_csv(made.study.trials_file, dtype=str)
    assert list(kept.columns) == ["subject", "trial", "label", "condition"]
    assert dict(zip(kept["subject"], kept["condition"], strict=True)).keys() == {"1", "2"}
    assert set(kept.loc[kept["label"] == "calm", "condition"]) == {"speaking"}


@pytest.mark.usefixtures("all_usable")
def test_pooled_runs_come_first_and_all_subjects_start_from_them(tmp_path: Path) -> None:
    config = with_settings(replace(preset("quick"), stages=("vision", "audio", "fusion")), ["protocol.pooled=true"])
    made = plan(table(tmp_path, subjects=2, video=True), "pilot", config, Selection(folds=(0, 1)), tmp_path / "c")
    assert made.runs[:4] == ["all-vision-fold0", "all-audio-fold0", "all-vision-fold1", "all-audio-fold1"]
    by_name = {run.name: run.config for run in made.planned}
    assert by_name["all-audio-fold1"].pooled is True
    assert (by_name["all-audio-fold1"].subject, by_name["all-audio-fold1"].parents) == ("", {})
    assert by_name["s02-audio-fold1"].parents == {"audio": "all-audio-fold1"}
    assert by_name["s02-fusion-fold1"].parents == {"vision": "s02-vision-fold1", "audio": "s02-audio-fold1"}
    assert "pooled" not in by_name["s02-audio-fold1"].document()


def test_pooled_needs_more_than_one_subject_and_keeps_them(tmp_path: Path) -> None:
    config = with_settings(AUDIO, ["protocol.pooled=true"])
    root = table(tmp_path)
    with fails(SplitError, where="protocol.pooled", expected="2", found="1", remedy="protocol.pooled=false"):
        plan(root, "pilot", config, Selection(("1",)), tmp_path / "c")
    prepare(root, "pilot", config, Selection(("1", "2")), tmp_path / "c")
    with fails(StudyConflictError, expected="1, 2", found="1, 2, 3"):
        prepare(root, "pilot", config, Selection(), tmp_path / "c")


@pytest.mark.parametrize(
    ("settings", "where", "facts"),
    [
        (["protocol.name=loso", "protocol.pooled=true"], "protocol.pooled", ("false", "loso")),
        (["protocol.test_epoch=true"], "protocol.test_epoch", ("false", "paper", "conversation")),
        (
            ["protocol.subject_scaling=true", "audio.scaling=ast"],
            "audio.scaling",
            ("training", "protocol.subject_scaling"),
        ),
        (
            ["protocol.name=loso", "protocol.subject_scaling=calibration:4", "audio.scaling=ast"],
            "audio.scaling",
            ("training", "protocol.subject_scaling"),
        ),
        (["protocol.subject_scaling=calibration:4"], "protocol.subject_scaling", ("loso", "conversation")),
        (["protocol.subject_scaling=calibration:0"], "protocol.subject_scaling", ("off, all", "calibration:K")),
    ],
)
def test_settings_that_conflict_with_a_protocol_are_refused(
    settings: list[str], where: str, facts: tuple[str, ...]
) -> None:
    with fails(ConfigError, where=where, expected=facts):
        with_settings(preset("quick"), settings)


@pytest.mark.parametrize(("bad", "conflict"), [("keep", False), ("interpolate", True)])
def test_a_study_from_before_the_rules_of_bad_channels_goes_on(tmp_path: Path, bad: str, conflict: bool) -> None:
    root = table(tmp_path)
    config = with_settings(AUDIO, [f"eeg.bad_channels={bad}"])
    made = prepare(root, "pilot", config, Selection(), tmp_path / "c")
    document = made.study.study()
    del document.config["eeg"]["bad_rules"]
    write_record(made.study.study_file, document)
    if not conflict:
        assert prepare(root, "pilot", config, Selection(), tmp_path / "c").runs == made.runs
        return
    with fails(StudyConflictError, found="eeg.bad_rules: 'prep' → 'all'"):
        prepare(root, "pilot", config, Selection(), tmp_path / "c")
    earlier = with_settings(config, ["eeg.bad_rules=prep"])
    assert prepare(root, "pilot", earlier, Selection(), tmp_path / "c").runs == made.runs


def test_a_study_from_before_the_spelling_of_names_goes_on_as_it_was(tmp_path: Path) -> None:
    """Two Unicode forms of a label are two classes there, in it and in what is added to it."""
    root = table(tmp_path)
    file = root / "trials.csv" if root.is_dir() else root
    lines = file.read_text(encoding="utf-8").replace(",happy", ",fröhlich").splitlines()
    labels = sorted({line.split(",")[2] for line in lines[1:]})
    composed, decomposed = "fröhlich", "fro\u0308hlich"
    lines = [line.replace(f",{labels[0]}", f",{composed}").replace(f",{labels[1]}", f",{decomposed}") for line in lines]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with fails(DataError, expected="two classes"):
        plan(root, "new", AUDIO, Selection(), tmp_path / "c")
    earlier = with_settings(AUDIO, ["names.labels=written", "names.subjects=written"])
    made = prepare(root, "pilot", earlier, Selection(("1",)), tmp_path / "c")
    frozen = made.study.table_file.read_bytes()
    document = made.study.study()
    del document.config["names"]
    write_record(made.study.study_file, document)
    again = prepare(root, "pilot", AUDIO, Selection(("1",)), tmp_path / "c")
    assert (again.runs, made.study.table_file.read_bytes()) == (made.runs, frozen)
    assert set(again.document.classes) == {composed, decomposed}
    added = prepare(root, "pilot", AUDIO, Selection(("2",)), tmp_path / "c")
    assert set(added.trials["label"]) == {composed, decomposed}
    merging = with_settings(AUDIO, ["names.labels=merged"])
    with fails(DataError, expected="two classes"):
        plan(root, "pilot", merging, Selection(("1",)), tmp_path / "c")


def test_names_that_may_be_the_same_are_noted_in_the_plan(tmp_path: Path) -> None:
    root = table(tmp_path)
    file = root / "trials.csv" if root.is_dir() else root
    label = file.read_text(encoding="utf-8").splitlines()[1].split(",")[2]
    file.write_text(file.read_text(encoding="utf-8").replace(f",{label}", f",{label.upper()}", 1), encoding="utf-8")
    notes = plan(root, "pilot", AUDIO, Selection(), tmp_path / "c").notes
    assert any(repr(label.upper()) in note and "--merge-labels" in note for note in notes)
    merging = with_settings(AUDIO, ["names.labels=merged"])
    made = plan(root, "merged", merging, Selection(), tmp_path / "c")
    assert not any("--merge-labels" in note for note in made.notes)
    assert label.lower() in made.document.classes


def test_the_runs_of_a_plan_are_counted_before_they_are_made(tmp_path: Path) -> None:
    root = table(tmp_path)
    seeds = tuple(range(10_000))
    with fails(
        UsageError,
        expected="100,000 runs",
        found=("150,000", "3 subjects", "5 folds", "10,000 seeds", "1 stage"),
        remedy="--seeds",
    ):
        plan(root, "pilot", AUDIO, Selection(seeds=seeds), tmp_path / "c")
    assert len(plan(root, "pilot", AUDIO, Selection(("1",), (0,), seeds[:20]), tmp_path / "c").runs) == 20


def test_a_window_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    large = with_settings(AUDIO, ["window=86400", "audio.mels=4096"])
    with fails(ConfigError, where="window", expected="4.3 GB", found="audio", remedy="shorter window"):
        plan(tmp_path / "absent", "pilot", large, Selection(), tmp_path / "c")


@pytest.mark.parametrize("path", ["9" * 5000, "a\0b", "absent"])
def test_weights_at_an_impossible_path_are_missing(tmp_path: Path, path: str) -> None:
    with fails(ConfigError, where="audio.weights", found="nothing at"):
        plan(tmp_path, "pilot", with_settings(AUDIO, [f"audio.weights={path}"]), Selection(), tmp_path / "c")


@pytest.mark.usefixtures("all_usable")
def test_calibration_is_checked_and_counted_before_anything_is_written(tmp_path: Path) -> None:
    root, there = table(tmp_path, video=True), tmp_path / "c"
    across = with_settings(AUDIO, ["protocol.name=loso", "protocol.subject_scaling=calibration:4"])
    made = plan(root, "known", across, Selection(), there)
    assert any("12 of 30 trials, the first 4 of each subject" in note for note in made.notes)
    assert (made.splits["split"] == "calibration").sum() == 3 * 12
    assert not any("one label" in note for note in made.notes)
    spoken = pd.read_csv(root)
    by_label = spoken.assign(trial=spoken["label"] + "-" + spoken["group"])
    by_label.to_csv(tmp_path / "sorted.csv", index=False)
    made = plan(tmp_path / "sorted.csv", "known", across, Selection(), there)
    assert any("3 of 3 subjects have one label" in note for note in made.notes)
    few = with_settings(across, ["protocol.subject_scaling=calibration:10"])
    with fails(ConfigError, where="protocol.subject_scaling", expected="subject 1: 10", found="calibration:10"):
        plan(root, "known", few, Selection(), there)
    half = with_settings(across, ["protocol.subject_scaling=calibration:5"])
    with fails(ConfigError, where="protocol.subject_scaling", expected="every label", found="no trial of calm"):
        plan(tmp_path / "sorted.csv", "known", half, Selection(), there)
    rows = pd.read_csv(root)
    silent = (rows["subject"] == 2) & rows["trial"].isin(["0-calm", "0-tense", "1-calm", "1-tense"])
    rows.assign(audio=rows["audio"].mask(silent)).to_csv(root, index=False)
    both = with_settings(across, ["stages=audio,vision"])
    with fails(ConfigError, where="protocol.subject_scaling", expected="audio", found="subject 2"):
        plan(root, "known", both, Selection(), there)
    assert not there.exists()


def test_a_study_of_an_earlier_version_is_extended_with_the_same_scaling(tmp_path: Path) -> None:
    for given, now in ((False, "off"), (True, "all")):
        config = with_settings(AUDIO, [f"protocol.subject_scaling={now}"])
        study = prepare(table(tmp_path), now, config, Selection(("1",)), tmp_path / "c").study
        document = study.study()
        document.config["protocol"]["subject_scaling"] = given
        write_record(study.study_file, document)
        more = prepare(table(tmp_path), now, config, Selection(("1", "2")), tmp_path / "c")
        assert {run.config.subject for run in more.planned} == {"1", "2"}
        with fails(StudyConflictError, found="protocol.subject_scaling"):
            other = with_settings(config, [f"protocol.subject_scaling={'all' if now == 'off' else 'off'}"])
            prepare(table(tmp_path), now, other, Selection(("1",)), tmp_path / "c")
