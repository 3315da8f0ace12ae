"""Mean maps from stored explanations: cells and their normalisation, votes, files, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from fake_study import make_explanation, make_study

from eavdash.errors import IntegrityError, UsageError
from eavdash.explain.explanation import Explanation, save_explanation
from eavdash.explain.maps import permutation
from eavdash.explain.maps.cells import trial_cells
from eavdash.explain.maps.gather import count_explained
from eavdash.explain.maps.record import load_maps, save_maps
from eavdash.explain.maps.study import make_maps
from eavdash.results import tables
from eavdash.results.decision import first_decisions
from eavdash.store import StudyDir

METHOD = ("integrated_gradients", "mean")


@pytest.fixture(autouse=True)
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permutation, "PERMUTATIONS", 99)


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return make_study(tmp_path, subjects=("1", "2"), trials=8, classes=("Anger", "Neutral"))


def explain_all(study: StudyDir, plant: float = 0.0, skip: int = 0) -> pd.DataFrame:
    """Store a small explanation of each test trial's decision; those of Anger have more at Cz."""
    trials = first_decisions(tables.trials(study))
    random = np.random.default_rng(0)
    for row in trials.to_dict("records")[skip:]:
        save_explanation(study.run(row["run"]), made(study, row, random, plant))
    return trials


def made(study: StudyDir, row: dict, random: np.random.Generator, plant: float = 0.0) -> Explanation:
    base = make_explanation(study, row["run"], row["subject"], row["trial"])
    eeg = random.normal(0, 0.01, (2, 11, 20)).astype(np.float32)
    eeg[:, base.channels.index("Cz")] += plant * (row["predicted"] == "Anger")
    values = {"vision": random.normal(size=(2, 2, 16, 16)), "audio": random.normal(size=(2, 20, 16)), "eeg": eeg}
    inputs = {m: np.zeros(v.shape, np.float32) for m, v in values.items()}
    inputs["vision"] = np.full((2, 2, 16, 16, 3), 100, np.uint8)
    return replace(
        base,
        predicted=row["predicted"],
        target=row["predicted"],
        label=row["label"],
        attributions={m: v.astype(np.float32) for m, v in values.items()},
        inputs=inputs,
        masks={m: np.ones((2, n), bool) for m, n in (("vision", 2), ("audio", 20), ("eeg", 20))},
    )


def test_a_trial_is_a_signed_share_of_each_modality(study: StudyDir) -> None:
    explanation = make_explanation(study, "s01-fusion", "1", "2")
    found = trial_cells(explanation)
    shapes = {m: share.shape for m, share in found.shares.items()}
    assert shapes == {"vision": (16, 16), "audio": (16, 10), "eeg": (11, 10)}
    for share in found.shares.values():
        assert np.abs(share).sum() == pytest.approx(1, abs=1e-5)
    # Windows that lack a modality do not count: the second one has no audio.
    assert found.sums["audio"] == pytest.approx(explanation.attributions["audio"][0].sum(), rel=1e-4)
    assert found.sums["eeg"] == pytest.approx(explanation.attributions["eeg"].sum() / 2, rel=1e-4)
    doubled = {m: 2 * v for m, v in explanation.attributions.items()}
    twice = trial_cells(replace(explanation, attributions=doubled))
    assert twice.shares["eeg"] == pytest.approx(found.shares["eeg"])
    assert twice.sizes["eeg"] == pytest.approx(2 * found.sizes["eeg"])
    zero = replace(explanation, attributions={m: 0 * v for m, v in explanation.attributions.items()})
    assert trial_cells(zero).shares == {}


def test_a_planted_electrode_is_found_and_the_files_hold_it(study: StudyDir) -> None:
    trials = explain_all(study, plant=0.05)
    made_maps = make_maps(study, "", *METHOD)
    save_maps(study, made_maps)
    found = load_maps(study, "fusion", *METHOD)
    assert found is not None
    assert found.document.views == ("vision", "audio", "scalp", "eeg")
    tests = {each.label: each for each in found.document.tests if each.view == "scalp"}
    cz = found.document.channels.index("Cz")
    assert tests["Anger"].p < 0.05
    assert found.p["scalp"][0].argmin() == cz
    assert all(each.cells == 0 for each in found.document.tests if each.view == "audio")
    values, n = found.mean("scalp", "Anger")
    assert n == (trials["predicted"] == "Anger").sum()
    assert values.argmax() == cz
    difference, subjects = found.difference("scalp", "Anger")
    assert (int(difference.argmax()), subjects) == (cz, 2)
    by_subject = [found.mean("scalp", "Anger", s)[0] for s in ("1", "2")]
    assert values == pytest.approx(np.mean(by_subject, axis=0), abs=1e-6)  # one vote each
    assert found.mean("eeg")[0].sum(axis=1) == pytest.approx(found.mean("scalp")[0], abs=1e-6)
    assert sum(found.mean("eeg", correct=c)[1] for c in (True, False)) == len(trials)
    assert found.face.shape == (16, 16, 3)
    assert found.places[cz] == pytest.approx([0, -0.06], abs=0.1)
    assert found.document.tested == len(found.trials) == len(trials)
    row = found.table.iloc[0]
    stored = trials[(trials["subject"] == row["subject"]) & (trials["trial"] == row["trial"])].iloc[0]
    assert row["p_label"] == pytest.approx(stored[f"p_{stored['label']}"])
    assert row["surprise"] == pytest.approx(-np.log2(row["p_label"]))


def test_a_trial_unlike_its_class_is_first_in_the_table(study: StudyDir) -> None:
    trials = explain_all(study, plant=0.2)
    row = trials[trials["predicted"] == "Anger"].to_dict("records")[2]
    save_explanation(study.run(row["run"]), made(study, row, np.random.default_rng(9), plant=-0.2))
    table = make_maps(study, "", *METHOD).table
    first = table.sort_values("distance_scalp", ascending=False).iloc[0]
    assert (first["subject"], first["trial"]) == (row["subject"], row["trial"])


def test_missing_damaged_and_odd_maps_are_counted(study: StudyDir) -> None:
    with pytest.raises(UsageError, match="eavdash explain demo --trials all"):
        make_maps(study, "", *METHOD)
    trials = explain_all(study, skip=3)
    assert count_explained(study, trials, *METHOD) == len(trials) - 3
    assert count_explained(study, trials, "expected_gradients", "mixed") == 0
    rows = trials.to_dict("records")
    odd = made(study, rows[4], np.random.default_rng(1))
    audio = {**odd.attributions, "audio": np.ones((2, 20, 3), np.float32)}
    save_explanation(study.run(rows[4]["run"]), replace(odd, attributions=audio))
    other = made(study, rows[5], np.random.default_rng(1))
    save_explanation(study.run(rows[5]["run"]), replace(other, channels=("X1", *other.channels[1:])))
    next(study.run(rows[6]["run"]).explain_dir.glob(f"{rows[6]['trial']}-*.npz")).write_bytes(b"x")
    found = make_maps(study, "", *METHOD)
    assert found.document.left_out == {"damaged files": 1, "other lengths or bands": 1}
    assert found.document.channels == make_explanation(study, rows[0]["run"], "1", "2").channels[1:]
    assert len(found.trials) == len(trials) - 4


def test_only_explanations_of_the_decision_count(study: StudyDir) -> None:
    trials = explain_all(study, skip=1)
    row = trials.to_dict("records")[0]
    one = made(study, row, np.random.default_rng(0))
    other = next(c for c in one.classes if c != row["predicted"])
    save_explanation(study.run(row["run"]), replace(one, target=other))
    save_explanation(study.run(row["run"]), replace(one, against=other))
    assert len(make_maps(study, "", *METHOD).trials) == len(trials) - 1


def test_maps_of_earlier_weights_and_damaged_files(study: StudyDir) -> None:
    explain_all(study)
    save_maps(study, make_maps(study, "", *METHOD))
    arrays, document = study.maps_files("fusion", *METHOD)
    content = arrays.read_bytes()
    arrays.write_bytes(content[:-1])
    with fails(IntegrityError, where=arrays.name, remedy="eavdash maps"):
        load_maps(study, "fusion", *METHOD)
    arrays.write_bytes(content)
    assert load_maps(study, "fusion", *METHOD) is not None
    assert load_maps(study, "vision", *METHOD) is None
    text = document.read_text()
    document.write_text("{")
    with pytest.raises(IntegrityError, match=document.name):
        load_maps(study, "fusion", *METHOD)
    document.write_text(json.dumps(json.loads(text) | {"later": 1}))
    assert load_maps(study, "fusion", *METHOD) is not None
    run = study.run("s01-fusion")
    run.model_file.write_bytes(b"trained again")
    run.update(checksums=run.seal())
    assert load_maps(study, "fusion", *METHOD) is None
