"""What planning says of EEG headers, and that a study of an earlier version reads as it did."""

from __future__ import annotations

from pathlib import Path

import pytest
from eeg_files import TEN20, edf, noise
from failing import fails

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import EegConfig, Selection
from eavdash.errors import DataError, SplitError
from eavdash.store.record import write_record
from eavdash.studies.checks import LATER, keep_earlier
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


@pytest.mark.parametrize(
    ("setting", "said"),
    [("eeg.rate=60", "27 Hz instead of 45 Hz (eeg.high), as eeg.rate is 60 Hz"), ("eeg.rate=100", "")],
)
def test_a_plan_says_where_the_pass_band_is_lowered(tmp_path: Path, setting: str, said: str) -> None:
    root = dataset(tmp_path / "data", {"1": [*TEN20], "2": [*TEN20]})
    notes = plan(root, "pilot", with_settings(EEG, [setting]), Selection(), tmp_path / "c").notes
    found = [note for note in notes if "eeg.high" in note]
    assert found == ([f"subjects 1, 2: EEG up to {said}"] if said else [])


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
    del document.config["fusion"]["mute_noise"]
    write_record(made.study.study_file, document)
    again = prepare(root, "pilot", EEG, Selection(), tmp_path / "c")
    assert again.runs == made.runs
    assert again.study.study().config["fusion"]["mute_noise"] is False
    recorded = again.study.study().config["eeg"]
    assert {name: recorded[name] for name in LATER} == {name: getattr(EegConfig(), name) for name in LATER}
    assert any("eeg.montage=10-05" in note for note in again.notes)
    assert not any("mute_noise" in note for note in again.notes), "no fusion is trained"
    fused, notes = keep_earlier(preset("quick"), document)
    assert not fused.fusion.mute_noise
    assert notes[0].endswith("fusion.mute_noise=False")
    assert preset("paper").eeg.montage == preset("quick").eeg.montage == "auto"


def other_channels(root: Path, subject: str, trial: int, channels: list[str]) -> None:
    """Record one trial again with other channels."""
    edf(root / f"{subject}-{trial}.edf", noise(len(channels), 2, seed=99), channels)


def test_a_later_file_without_a_common_channel_is_found_at_planning(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", {"1": TEN20[:9], "2": TEN20[:9], "3": TEN20[:9]})
    other_channels(root, "2", 4, TEN20[9:])
    made = plan(root, "pilot", EEG, Selection(), tmp_path / "c")
    problems = {run.config.unit: run.problem for run in made.planned}
    assert [unit for unit, problem in problems.items() if problem] == ["s02"]
    assert "2-4.edf" in problems["s02"]
    assert TEN20[9] in problems["s02"]
    across = with_settings(EEG, ["protocol.name=loso"])
    with fails(DataError, where="2-4.edf", found=TEN20[9]):
        plan(root, "across", across, Selection(), tmp_path / "c")


def test_files_with_fewer_channels_are_noted_at_planning(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", {"1": TEN20[:9], "2": TEN20[:9]})
    assert not [note for note in plan(root, "q", EEG, Selection(), tmp_path / "c").notes if "channels" in note]
    other_channels(root, "2", 4, TEN20[:7])
    (note,) = [note for note in plan(root, "pilot", EEG, Selection(), tmp_path / "c").notes if "channels" in note]
    for fact in ("subject 2", "7 of 9", "6 files", f"{TEN20[8]} in 1"):
        assert fact in note


def test_a_later_file_with_unknown_channels_is_left_out_at_planning(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", {"1": TEN20[:9]})
    other_channels(root, "1", 4, ["Cz", "p1x", "p2x", "p3x"])
    config = with_settings(EEG, ["protocol.folds=2"])
    left_out = plan(root, "pilot", config, Selection(), tmp_path / "c").document.left_out
    assert left_out is not None
    assert [(r.subject, r.trial, r.modality) for r in left_out.recordings] == [("1", "4", "eeg")]
