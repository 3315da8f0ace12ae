"""Records of studies and runs: unknown keys, nulls, versions and damage; what they write is what was there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from damage import CONTROL, STUDY, damaged_study
from documents import run_config, study_document
from failing import fails

from eavdash.config.convert import recorded_config
from eavdash.errors import IntegrityError
from eavdash.results import probes
from eavdash.store import RunDir, StudyDir, datasets, locks
from eavdash.store.atomic import write_json
from eavdash.store.documents import RunConfig, StudyDocument
from eavdash.store.record import write_record


def with_unknown(value: Any, depth: int = 0) -> Any:
    """Return a document with an unknown key in every object."""
    if isinstance(value, dict):
        return {**{k: with_unknown(v, depth + 1) for k, v in value.items()}, f"later{depth}": {"a": [1, None, {}]}}
    return [with_unknown(v, depth + 1) for v in value] if isinstance(value, list) else value


def stripped(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "schema_version"}


OLD_STUDY = {
    "name": "demo",
    "created": "2026-11-29T18:42:47+0000",
    "config": {"preset": "quick", "protocol": {"name": "conversation"}, "of": None},
    "selection": {"subjects": ["1", "2"], "folds": [0, 1], "seeds": [0]},
    "dataset": {"path": "/d", "kind": "eav", "simulated": True, "trials": 400, "fingerprint": {}},
    "classes": ["Anger", "Calmness"],
    "naming": {"fold": None, "seed": 0},
    "versions": {},
    "git_commit": "",
    "notes": [],
}
OLD_RUN = {
    **{"study": "demo", "run": "s01-eeg", "unit": "s01", "stage": "eeg", "fold": 0, "seed": 0, "subject": "1"},
    **{"classes": ["a", "b"], "parents": {}, "config": {"x": None}},
    "model": {"name": "eegformer", "kwargs": {"band": [0.5, 45.0], "of": None}},
    "input": {"channels": ["C3"], "samples": 500, "rate": 16000, "windows": {"train": 3}, "key": "k"},
    "left_out": [{"subject": "1", "trial": "2", "reason": "none"}],
    "computed": {"device": "cpu", "precision": "float32"},
    "epoch_chosen_by": "validation",
    "imported": {"file": "a.pth", "sha256": "0", "left_out": [], "notes": ["n"], "labels": ["a", "b"]},
    "encoders": {"eeg": {"name": "yin", "kwargs": {}}},
    "calibration": {"temperature": 1.0, "before": None},
}


@pytest.mark.parametrize(
    ("document", "kind"),
    [(OLD_STUDY, StudyDocument), (OLD_RUN, RunConfig), ({**OLD_RUN, "pooled": True, "input": {}}, RunConfig)],
)
def test_a_document_of_an_earlier_version_is_written_as_it_was(
    tmp_path: Path, document: dict[str, Any], kind: type[Any]
) -> None:
    record = kind.model_validate_json(json.dumps(document))
    write_record(tmp_path / "x.json", record)
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["schema_version"] == 1
    assert stripped(found) == {key: value for key, value in document.items() if key != "input" or value}
    assert str(found["input"]["rate"] if found.get("input") else 16000) == "16000"


def test_unknown_keys_of_a_study_survive_a_change_at_every_level(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "demo")
    study.path.mkdir()
    document = with_unknown(OLD_STUDY)
    del document["versions"]["later1"]  # versions and fingerprints hold nothing but text
    del document["dataset"]["fingerprint"]["later2"]
    write_json(study.study_file, document)
    found = study.study()
    changed = found.replace(dataset=found.dataset.replace(path="/e"), selection=found.selection.replace(folds=(3,)))
    write_record(study.study_file, changed)
    document["dataset"]["path"], document["selection"]["folds"] = "/e", [3]
    assert stripped(json.loads(study.study_file.read_text())) == document
    write_json(study.control_file, {"paused": True, "colour": {"a": 1}})
    study.set_control(archived=True)
    assert stripped(json.loads(study.control_file.read_text())) == {
        "paused": True,
        "archived": True,
        "colour": {"a": 1},
    }


def test_unknown_keys_of_a_run_survive_its_training(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "demo" / "s01-eeg")
    run.create(run_config())
    document = {**run_config().document(), "later": 1, "input": {"key": "k", "later": [2]}}
    document |= {"model": {"name": "x", "kwargs": {}, "later": 3}}
    write_json(run.config_file, document)
    run.describe(computed={"device": "cpu"}, left_out=[])
    assert json.loads(run.config_file.read_text()) == document | {"computed": {"device": "cpu"}, "left_out": []}


def test_unknown_keys_survive_in_the_other_records(tmp_path: Path) -> None:
    file = datasets.list_file(tmp_path)
    listed = {"datasets": [{"name": "a", "path": "/a", "later": 1}], "later": {}, "schema_version": 1}
    write_json(file, listed)
    datasets.add(tmp_path, "B", "/b")
    listed["datasets"].append({"name": "B", "path": "/b"})
    assert json.loads(file.read_text()) == listed
    study = StudyDir(tmp_path / "demo")
    study.path.mkdir()
    old = {"sentence": "t", "accuracy": 0.2, "n": 30, "independent": 10, "line": 0.4, "above": False, "later": 1}
    write_json(study.probes_file, {"time": old, "later": {"sentence": "l"}})
    probes.keep(study, {"identity": probes.finding("identity", 0.4, 100, 30, 3, 0.34, of="x", subjects=("1",))})
    found = json.loads(study.probes_file.read_text())
    assert (found["time"], found["later"]) == (old, {"sentence": "l"})
    # An earlier version takes every key of this file for a finding.
    assert set(found) == {"time", "identity", "later"}


def test_null_is_missing_and_a_missing_key_is_named(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "demo")
    study.path.mkdir()
    write_json(study.study_file, {**OLD_STUDY, "git_commit": None, "versions": None})
    assert (study.study().git_commit, study.study().versions) == ("", {})
    write_json(study.study_file, {**OLD_STUDY, "classes": None})
    with fails(IntegrityError, where="study.json", expected="a study's document", found="classes"):
        study.study()


@pytest.mark.parametrize("name", [*STUDY, *CONTROL])
def test_each_damage_is_one_sentence_and_runs_can_still_be_read(tmp_path: Path, name: str) -> None:
    study = damaged_study(tmp_path, name)

    def read() -> None:
        recorded_config(study.study())
        study.control()

    with pytest.raises(IntegrityError) as caught:
        read()
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert study.listed
    assert [run.config().stage for run in study.runs()] == ["audio"]


@pytest.mark.parametrize("damage", [STUDY[n] for n in ("number", "empty", "deep", "folder", "fifo", "large", "later")])
def test_a_damaged_configuration_of_a_run_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    run = RunDir(tmp_path / "demo" / "s01-eeg")
    run.create(run_config())
    damage(run.config_file)
    with fails(IntegrityError, where="config.json"):
        run.config()
    assert "config.json" in run.unreadable()


def test_an_untrained_run_has_no_architecture() -> None:
    with fails(IntegrityError, where="config.json", remedy="eavdash retry study --run s01-eeg"):
        _ = run_config().architecture
    assert study_document().naming.fold == 0


@pytest.mark.parametrize("content", ["", "{", "5", '{"pid": "x", "born": 1, "host": "h"}', '{"pid": 1}'])
def test_a_lock_file_that_names_no_process_has_no_owner(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    assert locks.owner(tmp_path / "lock") is None
    (tmp_path / "lock").write_text('{"pid": 1, "born": 7.0, "host": "h", "later": 1}')
    assert locks.owner(tmp_path / "lock").born == 7.0
