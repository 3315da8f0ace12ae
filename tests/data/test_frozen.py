"""The frozen trial table: read back it is the very same, and damage is reported in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import eav_files
import pandas as pd
import pytest
from failing import fails
from short_sounds import AUDIO, table

from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.data.frozen import frozen_bytes, merged, planned_table, read_frozen, rerooted
from eavdash.data.table import TrialTable, fingerprint, open_table, select
from eavdash.errors import IntegrityError


def same(one: TrialTable, other: TrialTable) -> None:
    """Assert that two tables are equal in everything: values, dtypes, index, order of rows and columns."""
    pd.testing.assert_frame_equal(
        one.frame,
        other.frame,
        check_exact=True,
        check_index_type="exact",
        check_column_type="exact",
        check_like=False,
    )
    assert one.frame.to_csv(index=False) == other.frame.to_csv(index=False)
    assert type(one.frame.index) is type(other.frame.index)
    for name in ("root", "kind", "simulated", "notes", "problems"):
        assert getattr(one, name) == getattr(other, name), name


def lab_table(folder: Path) -> tuple[Path, StudyConfig]:
    """A table with times, items of an array file, empty cells, and further columns of text that looks like numbers."""
    root = table(folder, subjects=3, video=True)
    frame = pd.read_csv(root, dtype=str, keep_default_na=False)
    (folder / "all.mat").touch()
    frame["subject"] = frame["subject"].map({"1": "01", "2": "10", "3": "2"})
    frame["start"] = ["" if n % 3 else str(n / 7) for n in range(len(frame))]
    frame["stop"] = ["" if n % 3 else str(n / 7 + 1) for n in range(len(frame))]
    frame["eeg"] = [f"all.mat#{n + 1}" if n % 2 else "" for n in range(len(frame))]
    frame["video"] = ["" if n % 4 else path for n, path in enumerate(frame["video"])]
    frame["Note ü"] = ["NA", "", "1", "007", "nan", "a,b"] * 5
    frame["none"] = ""
    frame.to_csv(root, index=False)
    return root, replace(AUDIO, where=("label=calm",))


def eav_tree(folder: Path) -> tuple[Path, StudyConfig]:
    """Two subjects in EAV's layout, and one whose label matrix is missing."""
    for name in ("subject1", "subject2", "subject10"):
        made = eav_files.make_subject(folder / "EAV", name, trials=40)
    (made / "EEG" / "subject10_eeg_label.mat").unlink()
    return folder, preset("quick")


def videos(folder: Path) -> tuple[Path, StudyConfig]:
    """Trials whose sound is the video's sound track."""
    root = table(folder, video=True)
    pd.read_csv(root, dtype=str).drop(columns="audio").to_csv(root, index=False)
    return root, replace(AUDIO, audio=replace(AUDIO.audio, from_video=True))


@pytest.mark.parametrize("make", [lab_table, eav_tree, videos])
def test_a_frozen_table_read_back_is_the_very_same(tmp_path: Path, make) -> None:
    root, config = make(tmp_path)
    chosen = select(open_table(root), config)
    file = tmp_path / "study=1" / "trials.parquet"
    file.parent.mkdir()
    file.write_bytes(frozen_bytes(chosen))
    same(read_frozen(file), chosen)
    same(select(read_frozen(file), config), chosen)
    assert frozen_bytes(read_frozen(file)) == file.read_bytes()
    assert fingerprint(read_frozen(file)) == fingerprint(chosen)
    for subjects in (chosen.subjects[:1], chosen.subjects[1:], tuple(reversed(chosen.subjects))):
        read = select(planned_table(file, "/nowhere", subjects), config, subjects)
        same(read, select(open_table(root), config, subjects))


def test_a_subject_that_the_file_lacks_is_read_from_the_dataset(tmp_path: Path) -> None:
    root = table(tmp_path)
    file = tmp_path / "trials.parquet"
    same(planned_table(file, str(root), ("2",)), open_table(root))
    file.write_bytes(frozen_bytes(select(open_table(root), AUDIO, ("1", "3"))))
    same(planned_table(file, str(root), ("1", "2")), open_table(root))
    assert planned_table(file, str(root), ("1", "3")).subjects == ("1", "3")


@pytest.mark.parametrize("damage", ["empty", "short", "text", "another table", "one byte"])
def test_damage_is_one_sentence_with_a_remedy(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "trials.parquet"
    good = frozen_bytes(select(open_table(table(tmp_path)), AUDIO))
    place = good.index(b"tense")
    bad = {
        "empty": b"",
        "short": good[: len(good) // 2],
        "text": b"subject,trial\n1,1\n",
        "one byte": good[:place] + b"c" + good[place + 1 :],
    }
    if damage == "another table":
        pd.DataFrame({"subject": ["1"], "trial": ["1"]}).to_parquet(file)
    else:
        file.write_bytes(bad[damage])
    for subjects in ((), ("2",)):
        with fails(IntegrityError, where="trials.parquet", remedy="eavdash extend") as caught:
            read_frozen(file, subjects)
        assert "\n" not in str(caught.value)


def test_kept_subjects_have_their_old_rows(tmp_path: Path) -> None:
    root = table(tmp_path)
    old = select(open_table(root), AUDIO)
    frame = pd.read_csv(root, dtype=str, keep_default_na=False)
    frame["label"] = frame["label"].replace("calm", "joy")
    frame["session"] = "a"
    frame[frame["subject"] != "3"].to_csv(root, index=False)
    new = select(open_table(root), AUDIO)
    made = merged(replace(new, problems={"2": "lost", "9": "broken"}), old, {"2", "3"}).frame
    assert made["subject"].tolist() == [s for s in "123" for _ in range(10)]
    assert set(made.loc[made["subject"] == "1", "label"]) == {"joy", "tense"}
    pd.testing.assert_frame_equal(made.loc[10:, list(old.frame.columns)], old.frame.loc[10:])
    assert made["session"].tolist() == ["a"] * 10 + [""] * 20
    assert made.dtypes.drop("session").equals(old.frame.dtypes)
    assert merged(replace(new, problems={"2": "lost", "9": "broken"}), old, {"2"}).problems == {"9": "broken"}
    assert merged(new, None, {"2"}).subjects == ("1",)


def test_paths_below_the_root_move_and_others_stay(tmp_path: Path) -> None:
    old = open_table(lab_table(tmp_path)[0])
    old.frame.loc[0, "audio"] = f"{tmp_path}-other/x.wav"
    moved = rerooted(old, Path("/new"))
    assert moved.frame.loc[0, "audio"] == f"{tmp_path}-other/x.wav"
    assert moved.frame.loc[1, "audio"] == old.frame.loc[1, "audio"].replace(str(tmp_path), "/new")
    assert moved.frame.dtypes.equals(old.frame.dtypes)
    same(rerooted(moved, old.root), old)
