"""The trial table: what it accepts, what it refuses and how it says so, selection and fingerprint."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import eav_files
import pandas as pd
import pytest
from failing import Facts, fails
from hypothesis import given
from hypothesis import strategies as st

from eavdash.config.presets import preset
from eavdash.config.schema import StudyConfig
from eavdash.data.named_files import file_of
from eavdash.data.recording import split_item
from eavdash.data.table import expected_recordings, fingerprint, open_table, select
from eavdash.errors import ConfigError, TableError, UsageError

HEADER = "subject,trial,label,group,start,stop,eeg,audio,video\n"
QUICK = preset("quick")


def write(folder: Path, text: str, name: str = "trials.csv") -> Path:
    """A table in ``folder`` with a one-byte file for each recording that it names."""
    for cell in text.replace("\n", ",").split(","):
        if cell.endswith((".wav", ".edf", ".mp4")):
            (folder / cell).parent.mkdir(parents=True, exist_ok=True)
            (folder / cell).write_bytes(b"x")
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_rows_are_text_sorted_and_absolute(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "subject,trial,label,audio,start,stop,room\n01,10,happy,a/x.wav,,,A\n01,2,1,b.wav,0.5,2,B\n1,1,sad,,1,,\n",
    )
    table = open_table(path)
    frame = table.frame
    assert list(zip(frame["subject"], frame["trial"], strict=True)) == [("01", "2"), ("01", "10"), ("1", "1")]
    assert frame["label"].tolist() == ["1", "happy", "sad"]
    assert frame["group"].tolist() == ["2", "10", "1"]
    assert frame["audio"].tolist() == [str(tmp_path / "b.wav"), str(tmp_path / "a/x.wav"), ""]
    assert frame["eeg"].tolist() == ["", "", ""]
    assert frame["room"].tolist() == ["B", "A", ""]
    assert frame["start"].dtype == float
    assert frame["stop"].isna().tolist() == [False, True, True]
    assert table.kind == "table"
    assert table.subjects == ("01", "1")
    assert not table.simulated
    assert "1 trials without a recording" in table.notes[0]
    assert open_table(tmp_path).frame.equals(frame)


def test_parquet_gives_the_same_table(tmp_path: Path) -> None:
    text = HEADER + "1,2,a,,,,,x.wav,\n1,10,b,g,1,2.5,,y.wav,\n"
    (tmp_path / "csv").mkdir()
    from_csv = open_table(write(tmp_path / "csv", text))
    frame = pd.read_csv(tmp_path / "csv/trials.csv")
    assert frame["subject"].dtype == int
    frame.to_parquet(tmp_path / "csv/other.parquet")
    assert open_table(tmp_path / "csv/other.parquet").frame.equals(from_csv.frame)


def test_trial_number_of_mat_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_bytes(b"x")
    table = open_table(write(tmp_path, "subject,trial,label,eeg\n1,1,a,x.mat#41\n"))
    assert table.frame["eeg"][0] == str(tmp_path / "x.mat#41")
    assert not table.problems
    assert file_of("a#1/x.mat#41") == "a#1/x.mat"
    assert file_of("take#2") == "take#2"


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", {"found": "empty file"}),
        (HEADER, {"expected": "one trial", "found": "none"}),
        ("subject,trial,audio\n1,1,x.wav\n", {"found": "no column label"}),
        ("subject,trial,label\n1,1,a\n", {"found": "one of eeg, audio, video"}),
        ("subject,trial,label,audio,audio\n1,1,a,x,y\n", {"found": "audio twice"}),
        (HEADER + "1,1,a,,,,,x.wav,\n1,1,b,,,,,y.wav,\n", {"where": "line 3", "found": ("second time", "line 2")}),
        (HEADER + "1,1,a,,,,x.wav,\n", {"where": "line 2", "expected": "9 fields", "found": "8"}),
        (HEADER + "1,,a,,,,,x.wav,\n", {"where": "line 2", "expected": "a trial", "found": "none"}),
        (HEADER + "1,1,,,,,,x.wav,\n", {"where": "line 2", "expected": "a label"}),
        (HEADER + "1,1,a,,2,1,,x.wav,\n", {"expected": "stop after start (2 s)", "found": "1 s"}),
        (HEADER + "1,1,a,,2,2,,x.wav,\n", {"expected": "stop after start", "found": "2 s"}),
        (HEADER + "1,1,a,,x,,,x.wav,\n", {"expected": "start in seconds, 0 to 1000000", "found": "'x'"}),
        (HEADER + "1,1,a,,nan,,,x.wav,\n", {"expected": "start in seconds", "found": "nan"}),
        (HEADER + "1,1,a,,-1,,,x.wav,\n", {"expected": "start in seconds", "found": "-1"}),
        (HEADER + "1,1,a,,,inf,,x.wav,\n", {"expected": "stop in seconds", "found": "inf"}),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(tmp_path: Path, text: str, facts: dict[str, Facts]) -> None:
    path = write(tmp_path, text)
    with fails(TableError, **facts) as error:
        open_table(path)
    assert str(path) in error.value.where
    assert "\n" not in str(error.value)


def test_unreadable_tables_are_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes((HEADER + "1,1,fr\x90hlich,,,,,x.wav,\n").encode("latin-1"))
    with fails(TableError, where="latin.csv", expected="UTF-8", found="0x90"):
        open_table(latin)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with fails(TableError, where="broken.parquet", expected="parquet"):
        open_table(tmp_path / "broken.parquet")
    (tmp_path / "bytes.csv").write_bytes(b"subject,trial,label,audio\n1,1,\0a\0,x.wav\n\xff\n")
    with fails(TableError, where="bytes.csv"):
        open_table(tmp_path / "bytes.csv")
    with fails(TableError, where="absent", found="nothing", remedy="path"):
        open_table(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    with fails(TableError, where="folder", expected=("trials.csv", "EAV", "BIDS", "DEAP"), found="neither"):
        open_table(tmp_path / "folder")


def test_spreadsheet_habits_are_accepted(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes("\ufeffsubject,trial,label,audio\r\n 1 , 1 ,a,\r\n,,,\r\n1,2,b,\r\n".encode())
    assert open_table(path).frame["trial"].tolist() == ["1", "2"]


def test_missing_file_stops_only_its_subject_and_only_where_needed(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "1,1,a,,,,,x.wav,v.mp4\n2,1,b,,,,,y.wav,w.mp4\n2,2,a,,,,,z.wav,u.mp4\n")
    (tmp_path / "w.mp4").unlink()
    (tmp_path / "u.mp4").unlink()
    table = open_table(path)
    assert list(table.problems) == ["2"]
    assert str(tmp_path / "w.mp4") in table.problems["2"]
    assert "1 more" in table.problems["2"]
    chosen = select(table, QUICK)
    assert chosen.subjects == ("1",)
    assert list(chosen.problems) == ["2"]
    assert not select(table, QUICK, ["1"]).problems
    sounds = dataclasses.replace(QUICK, stages=("audio",))
    assert select(table, sounds).subjects == ("1", "2")
    with pytest.raises(TableError) as error:
        select(table, QUICK, ["2"])
    assert "w.mp4" in str(error.value)


def test_selection_by_subject_and_column(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "subject,trial,label,audio,room\n1,1,a,x.wav,A\n1,2,b,x.wav,B\n2,1,a,x.wav,A\n"))

    def where(*conditions: str, subjects: tuple[str, ...] = ()) -> pd.DataFrame:
        return select(table, dataclasses.replace(QUICK, where=conditions), subjects).frame

    assert len(where("auto")) == 3
    assert where("room=A", subjects=("1",))["trial"].tolist() == ["1"]
    assert where("room=A", "label=a")["subject"].tolist() == ["1", "2"]
    with fails(UsageError, expected="1, 2", found="7, 9") as error:
        where(subjects=("1", "7", "9"))
    assert error.value.exit_code == 2
    with fails(ConfigError, where="mood=A", expected="subject, trial, label, group, room", found="'mood'"):
        where("mood=A")
    with fails(ConfigError, where="'room'", expected="column=value"):
        where("room")
    with fails(TableError, expected="room=C", found="3 trials"):
        where("room=C")


def test_eav_uses_speaking_trials_by_default(tmp_path: Path) -> None:
    eav_files.make_subject(tmp_path / "EAV" / "EAV")
    table = open_table(tmp_path)
    assert (table.kind, table.root, len(table.frame)) == ("eav", tmp_path / "EAV" / "EAV", 200)
    assert set(select(table, QUICK).frame["condition"]) == {"Speaking"}
    assert len(select(table, dataclasses.replace(QUICK, where=())).frame) == 200
    assert not table.simulated
    (table.root / "truth.json").write_text(json.dumps({"simulated": True}))
    assert open_table(tmp_path).simulated


@pytest.mark.parametrize("entry", ["a.mat", "b.PKL", "c.dat", "d e\n.Mat"])
def test_items_of_files_that_hold_many(tmp_path: Path, entry: str) -> None:
    assert file_of(f"/x/{entry}#12") == f"/x/{entry}"
    assert file_of(f"/x/{entry}") == f"/x/{entry}"
    assert file_of(f"/x/{entry}#") == f"/x/{entry}#"
    assert file_of(f"/x/{entry}.wav#1") == f"/x/{entry}.wav#1"


@given(
    st.text(max_size=8), st.sampled_from([".mat", ".pkl", ".dat", ".wav", ""]), st.sampled_from(["#1", "#007", "#", ""])
)
def test_the_file_of_an_entry_is_what_the_readers_take(stem: str, suffix: str, item: str) -> None:
    assert file_of(stem + suffix + item) == split_item(stem + suffix + item)[0]


def test_names_are_by_subject_and_paths_may_be_absolute(tmp_path: Path) -> None:
    """design: (subject, trial) is a trial, (subject, group) a group; absolute paths are taken as they are."""
    (tmp_path / "else").mkdir()
    away = tmp_path / "else" / "y.wav"
    away.touch()
    text = f"subject,trial,label,group,audio\na,1,x,g,x.wav\nb,1,y,g,{away}\nb,2,x,,../{tmp_path.name}/x.wav\n"
    table = open_table(write(tmp_path, text))
    assert not table.problems
    assert table.frame["audio"].tolist() == [
        str(tmp_path / "x.wav"),
        str(away),
        f"{tmp_path}/../{tmp_path.name}/x.wav",
    ]
    assert table.frame.groupby(["subject", "group"]).ngroups == 3


def test_a_filter_may_name_several_values(tmp_path: Path) -> None:
    eav_files.make_subject(tmp_path, trials=10)
    table = open_table(tmp_path)

    def trials(*where: str) -> list[str]:
        return select(table, dataclasses.replace(QUICK, where=where)).frame["trial"].tolist()

    assert trials("auto") == ["2", "4", "6", "8", "10"]
    assert trials("condition=Listening") == ["1", "3", "5", "7", "9"]
    assert trials() == trials("condition=Speaking|Listening") == trials("label=Neutral | Anger")
    assert trials("label=Neutral|Fear", "condition=Listening") == ["1"]


def with_sound_tracks(**changes: object) -> StudyConfig:
    return dataclasses.replace(QUICK, audio=dataclasses.replace(QUICK.audio, from_video=True), **changes)


def test_sound_tracks_stand_in_for_sounds_that_are_not_there(tmp_path: Path) -> None:
    eav_files.make_subject(tmp_path, trials=10)
    table = open_table(tmp_path)
    both = select(table, with_sound_tracks(where=()))
    for row in both.frame.to_dict("records"):
        assert row["audio"] == (row["video"] if row["condition"] == "Listening" else row["audio"])
        assert row["audio"].endswith(".mp4" if row["condition"] == "Listening" else ".wav")
    assert (select(table, dataclasses.replace(QUICK, where=())).frame["audio"] == "").sum() == 5
    assert (table.frame["audio"] == "").sum() == 5
    listening = select(table, with_sound_tracks(where=("condition=Listening",), stages=("audio",)))
    assert (listening.frame["audio"] != "").all()
    wanted = expected_recordings(table)
    assert wanted["audio"].sum() == 5
    assert wanted["eeg"].all()
    assert wanted["vision"].all()


def test_sound_tracks_of_a_missing_video_stop_its_subject(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "subject,trial,label,audio,video\n1,1,a,,v.mp4\n1,2,b,x.wav,\n2,1,a,,w.mp4\n"))
    (tmp_path / "v.mp4").unlink()
    sounds = with_sound_tracks(stages=("audio",))
    assert list(select(table, sounds).problems) == ["1"]
    assert not select(table, dataclasses.replace(QUICK, stages=("audio",))).problems


def test_what_is_expected_of_a_table(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "subject,trial,label,audio,video\n1,1,a,x.wav,\n1,2,b,,\n"))
    wanted = expected_recordings(table)
    assert {m: w.tolist() for m, w in wanted.items()} == {
        "vision": [False, False],
        "audio": [True, True],
        "eeg": [False, False],
    }


def test_files_that_cannot_be_reached_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trials.csv"
    path.write_text(
        "subject,trial,label,audio\n1,1,a,x.wav/inside.wav\n2,1,a,none.wav\n3,1,a,folder\n4,1,a,closed.wav\n"
    )
    (tmp_path / "x.wav").touch()
    (tmp_path / "folder").mkdir()
    stat = os.stat

    def guarded(path: str, **kwargs: object) -> object:
        if str(path).endswith("closed.wav"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", guarded)
    problems = open_table(path).problems
    assert [text.split("found ")[1].split(";")[0] for text in problems.values()] == [
        "Not a directory",
        "no file",
        "a folder, a pipe or a device",
        "Permission denied",
    ]


def test_fingerprint_covers_rows_and_sizes_but_not_times_nor_folders(tmp_path: Path) -> None:
    text = HEADER + "1,1,a,g,0,5,,x.wav,\n2,1,b,g,,,,y.wav,\n"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, text)
    first = fingerprint(open_table(tmp_path / "one"))
    os.utime(tmp_path / "two" / "x.wav", (1, 1))
    assert fingerprint(open_table(tmp_path / "two")) == first
    (tmp_path / "two" / "x.wav").write_bytes(b"longer")
    changed = fingerprint(open_table(tmp_path / "two"))
    assert changed["1"] != first["1"]
    assert changed["2"] == first["2"]
    write(tmp_path / "two", text.replace("2,1,b", "2,1,c"))
    assert fingerprint(open_table(tmp_path / "two"))["2"] != first["2"]
    write(tmp_path / "two", text.replace("0,5", "0,4"))
    assert fingerprint(open_table(tmp_path / "two"))["1"] != first["1"]


def test_real_tables(real_data: Path) -> None:
    speech = open_table(real_data / "speech")
    assert len(speech.frame) == 144
    assert speech.subjects == ("1", "2", "3", "4")
    assert speech.classes == ("Anger", "Calmness", "Happiness", "Neutral", "Sadness")
    eeg = open_table(real_data / "eeg" / "trials.csv")
    assert eeg.frame["start"].notna().all()
    assert not speech.problems
    assert not eeg.problems


def test_the_folder_above_several_tables_names_them(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).mkdir()
        (tmp_path / name / "trials.csv").write_text("")
    names = tuple(str(tmp_path / name) for name in "abc")
    with fails(TableError, found="neither", remedy=("such as", *names, "and 1 more")):
        open_table(tmp_path)
