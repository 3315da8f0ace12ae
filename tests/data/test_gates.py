"""Gates before training: each with a planted defect that it must catch, and what it must let pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails

from eavdash.config.schema import ProtocolConfig
from eavdash.data import gates
from eavdash.data.splits import make_splits
from eavdash.data.windows import WindowSet
from eavdash.errors import DataError, EavdashError, SplitError

WITHIN, PAPER, LOSO = ProtocolConfig(), ProtocolConfig("paper"), ProtocolConfig("loso")


@pytest.fixture
def trials(tmp_path: Path) -> pd.DataFrame:
    """Three subjects of five groups with a trial of each of two labels; every sound has content of its own."""
    rng = np.random.default_rng(0)
    rows = []
    for subject in "123":
        for number in range(10):
            file = tmp_path / f"{subject}-{number}.wav"
            file.write_bytes(rng.bytes(20_000))
            row = {"subject": subject, "trial": str(number), "label": "ab"[number % 2], "group": f"g{number // 2}"}
            rows.append({**row, "start": np.nan, "stop": np.nan, "eeg": "", "audio": str(file), "video": ""})
    return pd.DataFrame(rows)


def check(trials: pd.DataFrame, tmp_path: Path, protocol: ProtocolConfig = WITHIN) -> None:
    splits = make_splits(trials, protocol)
    assert not splits.problems
    gates.check_study(trials, splits.frame, protocol, ("audio", "eeg"), tmp_path / "cache")


def file_of(trials: pd.DataFrame, subject: str, trial: str) -> Path:
    return Path(trials.loc[(trials["subject"] == subject) & (trials["trial"] == trial), "audio"].iloc[0])


@pytest.mark.parametrize("protocol", [WITHIN, PAPER, LOSO])
def test_a_sound_dataset_passes(trials: pd.DataFrame, tmp_path: Path, protocol: ProtocolConfig) -> None:
    check(trials, tmp_path, protocol)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("protocol", [WITHIN, PAPER, LOSO])
def test_a_trial_listed_twice_is_caught(trials: pd.DataFrame, tmp_path: Path, protocol: ProtocolConfig) -> None:
    splits = make_splits(trials, protocol).frame
    with fails(DataError, where="subject 2, trial 4", expected="one row", found="2"):
        gates.check_study(pd.concat([trials, trials.iloc[14:15]]), splits, protocol, ("audio",), tmp_path)
    planted = splits[(splits["split"] == "test") & (splits["subject"] == "2")].iloc[:1].assign(split="train")
    with fails(SplitError, where="subject 2, trial", expected="one split"):
        gates.check_study(trials, pd.concat([splits, planted]), protocol, ("audio",), tmp_path)


def test_a_group_in_two_splits_is_caught_but_under_paper(trials: pd.DataFrame) -> None:
    splits = make_splits(trials, WITHIN).frame
    at = splits[(splits["fold"] == 0) & (splits["split"] == "test")].index[0]
    splits.loc[at, "split"] = "train"
    with fails(SplitError, where="subject 1, group g0, fold 0", expected="one split"):
        gates.check_disjoint(splits, WITHIN)
    gates.check_disjoint(splits, PAPER)


def test_a_person_in_training_and_test_is_caught_across_subjects(trials: pd.DataFrame) -> None:
    splits = make_splits(trials, LOSO).frame
    here = (splits["fold"] == 0) & (splits["subject"] == "1") & (splits["group"] == "g3")
    splits.loc[here, "split"] = "train"
    with fails(SplitError, where="subject 1, fold 0", expected="one split"):
        gates.check_disjoint(splits, LOSO)


def test_a_recording_of_two_labels_is_caught(trials: pd.DataFrame, tmp_path: Path) -> None:
    trials.loc[1, "audio"] = trials.loc[0, "audio"]
    with fails(DataError, where=("trial 0 of subject 1", "trial 1 of subject 1"), found="a and b"):
        check(trials, tmp_path)


def test_a_copy_in_another_split_is_caught(trials: pd.DataFrame, tmp_path: Path) -> None:
    file_of(trials, "2", "8").write_bytes(file_of(trials, "2", "0").read_bytes())
    with fails(SplitError, where=("trial 0 of subject 2", "trial 8 of subject 2"), found="same content"):
        check(trials, tmp_path)


def test_a_copy_in_the_same_group_passes_and_so_do_equal_ends(trials: pd.DataFrame, tmp_path: Path) -> None:
    file_of(trials, "2", "1").write_bytes(file_of(trials, "2", "0").read_bytes())
    content = bytearray(file_of(trials, "1", "0").read_bytes())
    content[6000] ^= 1  # between the pieces that are compared first
    file_of(trials, "1", "8").write_bytes(content)
    check(trials, tmp_path)


def test_copies_of_another_person_matter_only_where_people_meet(trials: pd.DataFrame, tmp_path: Path) -> None:
    file_of(trials, "2", "8").write_bytes(file_of(trials, "1", "0").read_bytes())
    check(trials, tmp_path)
    for protocol in (LOSO, ProtocolConfig(pooled=True)):
        with fails(SplitError, where=("trial 0 of subject 1", "trial 8 of subject 2")) as caught:
            check(trials, tmp_path, protocol)
        assert "group" not in caught.value.remedy  # a group is of one subject: it would not keep them together


@pytest.mark.parametrize(("start", "caught"), [(4.0, True), (4.99, False), (5.0, False)])
def test_overlapping_segments_are_caught(trials: pd.DataFrame, tmp_path: Path, start: float, caught: bool) -> None:
    trials.loc[[0, 8], "audio"] = trials.loc[0, "audio"]
    trials.loc[0, ["start", "stop"]] = (0.0, 5.0)
    trials.loc[8, ["start", "stop"]] = (start, start + 5)
    if caught:
        with fails(SplitError, found=(f"{start:g} to 5 s of", "in both")):
            check(trials, tmp_path)
    else:
        check(trials, tmp_path)


def test_items_of_one_array_file_are_not_segments_of_it(trials: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"x")
    trials["eeg"] = [f"{tmp_path / 'x.mat'}#{n + 1}" for n in range(len(trials))]
    check(trials, tmp_path)


def window_set(values: np.ndarray, splits: list[str]) -> tuple[WindowSet, pd.DataFrame]:
    count = len(values)
    index = pd.DataFrame({"subject": "1", "trial": [str(n) for n in range(count)], "row": range(count)})
    index["split"] = splits
    return WindowSet("eeg", index, values, np.ones((count, values.shape[-1]), bool)), index


def test_equal_windows_in_two_splits_are_caught_also_across_files() -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 5000)).astype(np.float32)
    splits = ["train", "train", "validation", "test"]
    gates.check_windows(*window_set(values, splits))
    values[1] = values[0]
    gates.check_windows(*window_set(values, splits))
    values[3] = values[1]
    with fails(SplitError, where=("eeg of trial 0", "(train)", "trial 3", "(test)"), found="same samples"):
        gates.check_windows(*window_set(values, splits))
    values[3, 1, 7] += 1e-3
    gates.check_windows(*window_set(values, splits))


def test_windows_of_silence_say_nothing() -> None:
    gates.check_windows(*window_set(np.zeros((2, 3, 50), np.float32), ["train", "test"]))


def test_gates_are_the_work_that_failed_not_wrong_use() -> None:
    assert {error.exit_code for error in (DataError, SplitError)} == {1}
    assert issubclass(SplitError, EavdashError)
