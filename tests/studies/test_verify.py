"""Verification of a study's files against their checksums."""

from __future__ import annotations

from pathlib import Path

from fake_study import make_study
from short_sounds import AUDIO, table

from eavdash.config.schema import Selection
from eavdash.studies import extend, verify
from eavdash.studies.write import prepare


def test_an_unchanged_study_has_no_damage(tmp_path: Path) -> None:
    study = make_study(tmp_path, states={"s01-audio": "failed", "s02-eeg": "queued"})
    seen: list[tuple[int, int]] = []
    found = verify.verify(study, lambda done, of, _run: seen.append((done, of)))
    assert (found.runs, found.checked, found.damaged, found.unchecked) == (12, 10, (), ())
    first, second = found.sentence.split("; ")
    assert first.startswith(f"{found.files} files of 10 runs")
    assert second.startswith("2 of 12 runs")
    assert found.files == sum(len(run.status().checksums) for run in study.runs()) > 20
    assert seen[-1] == (12, 12)
    planned = verify.verify(make_study(tmp_path, "planned", states={"*": "queued"}))
    assert "none of 12 runs" in planned.sentence


def test_damaged_files_are_named_with_a_remedy(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    study.run("s01-eeg").model_file.write_bytes(b"weightz")
    study.run("s02-audio").predictions_file.unlink()
    study.run("s03-audio").status_file.write_text("{")
    study.run("s03-eeg").update(checksums={})
    found = verify.verify(study)
    assert [(d.run, d.file) for d in found.damaged] == [
        ("s01-eeg", "model.safetensors"),
        ("s02-audio", "predictions.parquet"),
        ("s03-audio", "status.json"),
    ]
    assert "eavdash retry demo --run s01-eeg" in found.damaged[0].reason
    assert "predictions.parquet" in found.damaged[1].reason
    assert "eavdash retry demo" in found.damaged[2].reason
    assert found.unchecked == ("s03-eeg",)
    first, second = found.sentence.split("; ")
    assert first.endswith("of 10 runs: 2 damaged")
    assert second.startswith("1 of 12 runs")
    study.run("s03-eeg").predictions_file.unlink()
    assert ("s03-eeg", "predictions.parquet") in [(d.run, d.file) for d in verify.verify(study).damaged]
    study.study_file.write_text("{")
    assert verify.verify(study).damaged[0].file == "study.json"


def test_the_remedy_for_an_unreadable_run_works(tmp_path: Path, submitted: list) -> None:
    study = prepare(table(tmp_path), "pilot", AUDIO, Selection(folds=(0,)), tmp_path / "c").study
    extend.extend(study)
    run = study.run("s02-audio")
    run.status_file.write_text("{")
    assert str(run.path) in verify.verify(study).damaged[0].reason
    for file in run.path.iterdir():
        file.unlink()
    run.path.rmdir()
    assert extend.extend(study).queued == ("s02-audio",)
    assert not verify.verify(study).damaged
