"""Files of explanations: their names, files of the first version, and the list of what is stored."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing import fails
from fake_study import make_explanation, make_study

from eavdash.errors import IntegrityError
from eavdash.explain.explanation import (
    StoredExplanation,
    load_explanation,
    save_explanation,
    stored_explanations,
)
from eavdash.store import RunDir, StudyDir
from eavdash.store.atomic import sha256


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return make_study(tmp_path, subjects=("1",))


def write_first_version(run: RunDir, trial: str) -> None:
    """Write an explanation exactly as the first version did: no target, baseline, unit, times or frequencies."""
    run.explain_dir.mkdir(exist_ok=True)
    arrays, metadata = (run.explain_dir / f"{trial}-integrated_gradients.{end}" for end in ("npz", "json"))
    buffer = io.BytesIO()
    stored: dict[str, Any] = {
        "attributions.eeg": np.ones((1, 2, 4), np.float32),
        "inputs.eeg": np.ones((1, 2, 4), np.float32),
        "masks.eeg": np.ones((1, 4), bool),
        "window_probabilities.fusion": np.array([[0.25, 0.75]]),
        "trial_probabilities.fusion": np.array([0.25, 0.75]),
        "attention": np.ones((1, 1, 1)),
    }
    np.savez_compressed(buffer, **stored)
    arrays.write_bytes(buffer.getvalue())
    receipts = {
        "steps": 32,
        "target": "Anger",
        "output": "logit",
        "baselines": {"eeg": "each channel's mean"},
        "scaled_as_others": [],
        "completeness": [{"output": 1.5, "baseline": 1.45, "total": 0.05, "gap": 0.0, "relative_gap": 0.0}],
        "reproduction": 0.0,
        "checksums": {run.name: sha256(run.model_file)},
    }
    window = {"window": 0, "start": 0.0, "stop": 5.0, "predicted": "Anger", "modalities": ["eeg"]}
    names = {"study": run.study.name, "run": run.name, "stage": "fusion", "method": "integrated_gradients"}
    document: dict[str, Any] = {
        **names,
        **{"subject": "1", "trial": trial, "label": "Anger", "predicted": "Anger", "classes": ["Calmness", "Anger"]},
        **{"modalities": ["eeg"], "windows": [window], "channels": ["Fz", "Cz"], "rate": 100.0},
        **{"front_end": "logmel", "columns": {}, "receipts": receipts, "arrays": sha256(arrays)},
    }
    metadata.write_text(json.dumps(document))


def test_an_explanation_of_the_first_version_opens(study: StudyDir) -> None:
    run = study.run("s01-fusion")
    write_first_version(run, "2")
    found = load_explanation(run, "2")
    assert found is not None
    assert (found.target, found.against, found.baseline, found.unit) == ("Anger", "", "mean", "logit")
    assert found.times == found.frequencies == found.baseline_probabilities == {}
    assert found.nothing_to_explain == (True,)
    assert found.receipts.training_windows == ()
    assert found.summary()["baseline_probabilities"] == {}
    assert stored_explanations(run, "2") == [StoredExplanation("integrated_gradients")]
    assert load_explanation(run, "2", *stored_explanations(run, "2")[0]) is not None


def test_each_question_has_files_of_its_own(study: StudyDir) -> None:
    run = study.run("s01-fusion")
    write_first_version(run, "2")
    made = replace(make_explanation(study, run.name, "1", "2"), target="Anger")
    questions = [
        made,
        replace(made, target="un/safe ~name"),
        replace(made, against="Calmness"),
        replace(made, method="expected_gradients", baseline="mixed", times={"eeg": np.full((2, 500), 1.5)}),
        replace(made, target="A" * 150, against="B" * 150),
    ]
    for one in questions:
        save_explanation(run, one)
    save_explanation(run, replace(made, trial="2-3"))  # its name begins like those of trial 2
    assert set(stored_explanations(run, "2")) == {
        StoredExplanation("integrated_gradients"),
        *(q.stored for q in questions),
    }
    for one in questions:
        found = load_explanation(run, "2", *one.stored)
        assert found is not None
        assert found.stored == one.stored
        assert all(np.array_equal(found.times[m], times) for m, times in one.times.items())
    assert run.explain_files("2", *questions[2].stored)[0].name == "2-integrated_gradients-Anger~Calmness-mean.npz"
    assert stored_explanations(run, "3") == []


def test_damaged_metadata_and_earlier_weights_are_not_listed(study: StudyDir) -> None:
    run = study.run("s01-fusion")
    made = replace(make_explanation(study, run.name, "1", "2"), target="Anger")
    save_explanation(run, made)
    assert stored_explanations(run, "2") == [made.stored]
    metadata = run.explain_files("2", *made.stored)[1]
    before = metadata.read_text()
    metadata.write_text(before[:-20])
    assert stored_explanations(run, "2") == []
    with fails(IntegrityError, where=str(metadata), remedy="explain the trial again"):
        load_explanation(run, "2", *made.stored)
    metadata.write_text(before)
    run.update(checksums={**run.status().checksums, "model.safetensors": "trained again"})
    assert stored_explanations(run, "2") == []
    assert load_explanation(run, "2", *made.stored) is None
