"""Sums of stored attributions over a study, from the metadata of new files and the arrays of old ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_study import make_explanation, make_study

from eavdash.explain import sums
from eavdash.explain.explanation import Explanation, save_explanation
from eavdash.explain.sums import attribution_sums
from eavdash.store import StudyDir


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return make_study(tmp_path, subjects=("1", "2"))


def save(study: StudyDir, trial: str, **fields: object) -> Explanation:
    explanation = replace(make_explanation(study, "s01-fusion", "1", trial), **fields)  # type: ignore[arg-type]  # some
    save_explanation(study.run("s01-fusion"), explanation)
    return explanation


def without_sums(study: StudyDir) -> None:
    """Make the stored explanations those of an earlier version."""
    for file in study.run("s01-fusion").explain_dir.glob("*.json"):
        document = json.loads(file.read_text())
        del document["sums"]
        file.write_text(json.dumps(document))


@pytest.mark.parametrize("old", [False, True])
def test_sums_are_those_of_the_explanations(study: StudyDir, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = save(study, "2")
    save(study, "4")
    if old:
        without_sums(study)
    else:
        monkeypatch.setattr(np, "load", None)  # arrays are not read
    found = attribution_sums(study)
    assert (found.method, found.baseline, found.problems) == ("integrated_gradients", "mean", ())
    assert len(found.table) == 6
    mine = found.table[found.table["trial"] == "2"]
    assert set(mine["class"]) == {"Anger"}
    assert dict(zip(mine["modality"], mine["value"], strict=True)) == pytest.approx(explanation.sums)


def test_only_the_most_frequent_question_counts_and_no_contrast(study: StudyDir) -> None:
    for trial in ("2", "4"):
        save(study, trial, method="expected_gradients", target="Anger", baseline="training")
    save(study, "6", target="Anger", against="Sadness")
    save(study, "2")
    found = attribution_sums(study)
    assert (found.method, found.baseline) == ("expected_gradients", "training")
    assert set(found.table["trial"]) == {"2", "4"}


def test_magnitudes_and_attention_are_no_evidence_and_do_not_count(study: StudyDir) -> None:
    for trial in ("2", "4", "6"):
        save(study, trial, method="saliency", target="Anger", baseline="none")
        save(study, trial, method="electrode_attention", target="Anger", baseline="none")
    assert attribution_sums(study).table.empty
    save(study, "2", method="occlusion", target="Anger")
    assert attribution_sums(study).method == "occlusion"


def test_other_weights_and_damaged_files(study: StudyDir) -> None:
    save(study, "2")
    save(study, "4")
    damaged = sorted(study.run("s01-fusion").explain_dir.glob("4*.json"))[0]
    damaged.write_text("{")
    found = attribution_sums(study)
    assert set(found.table["trial"]) == {"2"}
    assert [damaged.name in problem for problem in found.problems] == [True]
    run = study.run("s01-fusion")
    run.model_file.write_bytes(b"trained again")
    run.update(checksums=run.seal())
    damaged.unlink()
    assert attribution_sums(study).table.empty


def test_a_file_is_read_again_only_once_it_has_changed(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    save(study, "2")
    attribution_sums(study)
    read = []
    monkeypatch.setattr(sums, "read_record", lambda *args: read.append(args))
    assert len(attribution_sums(study).table) == 3
    assert read == []
