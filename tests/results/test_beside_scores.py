"""Context of a study's scores: marks, probes, gain from choosing on test trials, kinds of trials."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from fake_study import CLASSES, make_study

from eavdash.cli.main import main
from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.errors import IntegrityError, UsageError
from eavdash.results import columns, epochs, marks, paper, probes
from eavdash.results.tables import scores
from eavdash.results.timeonly import time_scores
from eavdash.store import StudyDir


def study_of(root: Path, label_of: dict[int, str], folds: int = 5, states: dict[str, str] | None = None) -> StudyDir:
    """Make a study of one subject whose trials have these labels in order; fold n % 5 tests trial n."""
    study = make_study(root, subjects=("1",), stages=("audio",), folds=range(folds), states=states)
    rows = [
        ("1", str(n), f"g{n}", fold, "test" if n % folds == fold else "train")
        for fold in range(folds)
        for n in label_of
    ]
    frame = pd.DataFrame(rows, columns=["subject", "trial", "group", "fold", "split"])
    frame.to_csv(study.splits_file, index=False)
    labels = pd.DataFrame({"subject": "1", "trial": [str(n) for n in label_of], "label": list(label_of.values())})
    labels.to_csv(study.trials_file, index=False)
    return study


def test_time_only_score_is_high_only_if_labels_follow_time(tmp_path: Path) -> None:
    blocks = study_of(tmp_path / "a", {n: CLASSES[n // 10] for n in range(50)})
    found = probes.time_only(blocks)
    assert found.above
    assert found.accuracy >= 0.8
    assert f"{100 * found.accuracy:.0f} %" in found.sentence
    assert f"n = {found.n}" in found.sentence
    # Of a study whose first fold alone is done, only that fold's trials count: as in its scores.
    partly = study_of(
        tmp_path / "c", {n: CLASSES[n // 10] for n in range(50)}, states={"s01-audio-fold0": "done", "*": "queued"}
    )
    assert probes.time_only(partly).n == 10
    order = np.random.default_rng(0).permutation(50)
    mixed = study_of(tmp_path / "b", {n: CLASSES[int(order[n]) % 5] for n in range(50)})
    found = probes.time_only(mixed)
    assert not found.above
    assert found.n == found.independent == 50


@pytest.mark.parametrize(
    ("accuracy", "n", "said"),
    [
        (0.28, 100, "+8 points from chance (n = 100 trials, p = 0.034): a small effect"),
        (0.35, 100, "+15 points from chance (n = 100 trials, p < 0.001): time predicts the label here"),
        (0.26, 100, "p = 0.087): time does not predict the label"),
        (0.0, 0, "p = 1.000): time does not predict"),
    ],
)
def test_time_alone_alarms_only_where_its_effect_matters(accuracy: float, n: int, said: str) -> None:
    found = probes.finding("time", accuracy, n, n, 5, 0.2)
    assert said in found.sentence
    assert found.above == (found.p is not None and found.p < 0.05)


def test_other_subjects_vote_only_across_subjects() -> None:
    labels = pd.DataFrame(
        [(s, str(n), CLASSES[(7 * n) % 5]) for s in "123" for n in range(20)], columns=["subject", "trial", "label"]
    )
    splits = pd.concat(
        labels.assign(fold=k, split=np.where(labels["subject"] == s, "test", "train")) for k, s in enumerate("123")
    )
    assert (time_scores(splits, labels, across=True)["accuracy"] == 1).all()
    assert time_scores(splits, labels, across=False).empty


def test_findings_are_stored_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    study = study_of(tmp_path, {n: CLASSES[n // 10] for n in range(50)})
    assert probes.missing(study) == ["shuffled", "identity"]
    assert len(probes.sentences(study)) == 1  # the time-only score needs no training
    shuffled = probes.finding("shuffled", 0.9, 30, 20, 5, 0.2, stage="eeg", fold=0, subjects=["1"])
    probes.keep(study, {"shuffled": shuffled})
    identity = probes.finding("identity", 0.4, 100, 30, 3, 0.34, stage="eeg", of="simple features of eeg", subjects=[])
    kept = probes.keep(study, {"identity": identity})
    assert list(kept) == list(probes.read(study)) == ["shuffled", "identity"]
    shuffled_text, _, identity_text = probes.sentences(study)
    assert "eeg scores 90 % (n = 30 trials, chance line 35 %): above chance" in shuffled_text
    assert "40 % from simple features of eeg" in identity_text
    assert probes.missing(study) == []
    study.probes_file.write_text("[]")
    with fails(IntegrityError, where="probes.json", remedy=f"eavdash probe {study.name}"):
        probes.read(study)
    assert "probes.json" in probes.sentences(study)[0]


def test_the_command_line_probes_and_shows_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of(tmp_path, {n: CLASSES[n // 10] for n in range(50)})
    root = ["--checkpoints", str(tmp_path)]
    assert main(["probe", study.name, "--probes", "time", *root]) == 0
    assert "position in the session alone" in capsys.readouterr().out
    assert main(["probe", study.name, "--probes", "luck", *root]) == 2
    assert "expected some of shuffled, time, identity" in capsys.readouterr().err
    assert main(["results", study.name, "--json", *root]) == 0
    assert "probe: A trial's position in the session alone" in capsys.readouterr().err


def test_every_option_that_biases_a_score_is_marked() -> None:
    base = preset("quick")
    assert marks.marks_of(base) == ()
    bent = with_settings(
        base,
        ["protocol.name=paper", "protocol.test_epoch=true", "protocol.subject_scaling=true", "protocol.pooled=true"],
    )
    bent = replace(bent, fusion=replace(bent.fusion, joint_epochs=2))
    found = [mark.text for mark in marks.marks_of(bent)]
    assert found[0] == paper.MARK
    assert found[2] == "transductive"
    assert len(found) == 5
    assert all(mark.sentence.startswith(mark.text) for mark in marks.marks_of(bent))
    assert marks.marks_of(with_settings(base, ["protocol.subject_scaling=off"])) == ()
    (known,) = marks.marks_of(with_settings(base, ["protocol.name=loso", "protocol.subject_scaling=calibration:8"]))
    assert known.sentence.startswith(
        "calibration with 8 trials: 8 unlabelled trials of each person are used for scaling"
    )


def test_the_mark_of_the_published_protocol_is_true_of_this_study(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1",), stages=("audio",), protocol="paper")
    (mark,) = marks.study_marks(study.study(), study)
    assert mark == marks.PUBLISHED  # no group is on both sides here, and no figure of the publication is quoted
    splits = pd.read_csv(study.splits_file, dtype=str)
    splits["group"] = splits["group"].str.removesuffix("-train")
    splits.to_csv(study.splits_file, index=False)
    (mark,) = marks.study_marks(study.study(), study)
    assert "10 of 10 test trials share a group" in mark.sentence
    assert not any(number in mark.sentence for number in ("120", "5.3", "40 to 43"))


def test_status_shows_the_marks_beside_accuracies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_study(tmp_path, "honest", subjects=("1",), stages=("audio",))
    make_study(tmp_path, "published", subjects=("1",), stages=("audio", "eeg"), protocol="paper")
    make_study(tmp_path, "torn", subjects=("1",), stages=("audio",)).study_file.write_text("{}")
    root = ["--checkpoints", str(tmp_path)]
    assert main(["status", *root, "--json"]) == 0
    printed = capsys.readouterr()
    assert {row["study"]: row["marks"] for row in json.loads(printed.out)} == {
        "honest": [],
        "published": [paper.MARK],
        "torn": [],
    }
    assert main(["status", *root]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [paper.MARK in line for line in lines] == [False, True, False]
    for command in ("status", "cancel", "retry"):
        assert main([command, "published", *root, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["marks"] for row in rows] == [[paper.MARK]] * 2
        assert main([command, "published", *root]) == 0
        shown = capsys.readouterr()
        assert "accuracy" in shown.out
        assert f"note: {paper.MARK}: {marks.PUBLISHED.why[0]}" in shown.err.replace("\n", " ")
    assert main(["status", "honest", *root]) == 0
    assert "note:" not in capsys.readouterr().err


def test_gain_from_choosing_on_test_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), stages=("audio", "eeg"), protocol="paper")
    assert epochs.epoch_gain(study).empty
    assert epochs.gain_sentence(epochs.epoch_gain(study)) == ""
    for name, accuracy, honest in (("s01-eeg", 0.6, 0.5), ("s02-eeg", 0.5, 0.5), ("s01-audio", 0.7, 0.7)):
        study.run(name).update(accuracy=accuracy, honest_accuracy=honest)
    table = epochs.epoch_gain(study)
    assert table["stage"].tolist() == ["audio", "eeg"]
    assert table["runs"].tolist() == [1, 2]
    assert table["added"].tolist() == pytest.approx([0, 0.05])
    assert "added 3.3 points on average (audio +0.0, eeg +5.0)" in epochs.gain_sentence(table)


def test_scores_are_split_by_a_further_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path, subjects=("1", "2"), stages=("audio",), trials=10)
    assert columns.columns(study) == []
    with fails(UsageError, where="--split condition", remedy="eavdash train"):
        scores(study, split="condition")
    table = pd.read_csv(study.splits_file, dtype=str).drop_duplicates(["subject", "trial"])[["subject", "trial"]]
    table["condition"] = np.where(table["trial"].astype(int) % 4 == 0, "Speaking", "Listening")
    table["stage"] = "one"
    table["name"] = table["subject"] + table["trial"]
    table.to_csv(study.trials_file, index=False)
    assert columns.columns(study) == ["condition"]
    whole, parts = scores(study), scores(study, split="condition", by=("fold",))
    assert list(parts.columns[:5]) == ["study", "subject", "stage", "condition", "fold"]
    assert parts["condition"].tolist() == ["Listening", "Speaking"] * 2
    mean = (parts["accuracy"] * parts["n"]).groupby(parts["subject"]).sum() / parts.groupby("subject")["n"].sum()
    assert mean.tolist() == pytest.approx(whole["accuracy"].tolist())
    for level in ("window", "frame"):
        assert set(scores(study, level, split="condition")["n"]) <= {10}
    assert "trial's stage" in scores(study, split="stage").columns
    assert main(["results", study.name, "--split", "nothing", "--checkpoints", str(tmp_path)]) == 2
    assert "(condition, stage, name)" in capsys.readouterr().err
