"""What planning says of EEG headers, and that a study of an earlier version reads as it did."""

from __future__ import annotations

from pathlib import Path

import pytest
from eeg_files import TEN20, edf, noise

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import EegConfig, Selection
from eavdash.errors import DataError, SplitError
from eavdash.store.record import write_record
from eavdash.studies.checks import LATER
from eavdash.studies.plan import plan
from eavdash.studies.write import prepare

EEG = with_settings(preset("quick"), ["stages=eeg", "window=2"])


def dataset(folder: Path, names: dict[str, list[str]]) -> Path:
    """Six trials of two classes for each subject, whose channels have these names."""
    folder.mkdir()
    rows = ["subject,trial,label,eeg"]
    for subject, channels in names.items():
        for trial in range(6):
            file = f"{subject}-{trial}.edf"
            edf(folder / file, noise(len(channels), 2, seed=trial + 10 * len(rows)), channels)
            rows.append(f"{subject},{trial},{'ab'[trial % 2]},{file}")
    (folder / "trials.csv").write_text("\n".join(rows))
    return folder


def test_a_plan_counts_what_is_passed_over_and_names_references(tmp_path: Path) -> None:
    root = dataset(
        tmp_path / "data",
        {"1": [f"EEG {name}-REF" for name in [*TEN20, "probe"]], "2": [f"EEG {name}-LE" for name in [*TEN20, "Cz"]]},
    )
    notes = " | ".join(plan(root, "pilot", EEG, Selection(), tmp_path / "c").notes)
    assert "subject 1: 1 of 20 EEG channels passed over" in notes
    assert "subject 2: names of EEG channels more than once (Cz), left out" in notes
    assert "different references (REF: subject 1; LE: subject 2)" in notes


def test_only_the_subject_whose_channels_are_unknown_is_refused(tmp_path: Path) -> None:
    unknown = ["Cz", "p1x", "p2x", "p3x"]
    root = dataset(tmp_path / "data", {"1": [*TEN20], "2": unknown})
    made = plan(root, "pilot", EEG, Selection(), tmp_path / "c")
    problems = {run.config.unit: run.problem for run in made.planned}
    assert [bool(problem) for problem in problems.values()] == [False, True]
    assert "1 of 4 EEG channels" in [*problems.values()][1]
    with pytest.raises((SplitError, DataError), match="1 of 4 EEG channels"):
        plan(dataset(tmp_path / "other", {"2": unknown}), "other", EEG, Selection(), tmp_path / "c")


def test_a_study_of_an_earlier_version_keeps_how_it_reads(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", {"1": [*TEN20]})
    made = prepare(root, "pilot", EEG, Selection(), tmp_path / "c")
    document = made.study.study()
    for name in LATER:
        del document.config["eeg"][name]
    write_record(made.study.study_file, document)
    again = prepare(root, "pilot", EEG, Selection(), tmp_path / "c")
    assert again.runs == made.runs
    recorded = again.study.study().config["eeg"]
    assert {name: recorded[name] for name in LATER} == {name: getattr(EegConfig(), name) for name in LATER}
    assert any("eeg.montage=10-05" in note for note in again.notes)
    assert preset("paper").eeg.montage == preset("quick").eeg.montage == "auto"
