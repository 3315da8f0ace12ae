"""A recording's own times: one long file beside a clip per trial, and clocks that differ."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import Facts, fails
from made_media import fif, movie, sine, wav

from eavdash.config.convert import with_settings
from eavdash.config.presets import preset
from eavdash.config.schema import ProtocolConfig
from eavdash.data import gates
from eavdash.data.cache.window_set_spec import window_set_spec
from eavdash.data.frozen import frozen_bytes, merged, read_frozen
from eavdash.data.inputs import load_windows
from eavdash.data.preview import trial_preview
from eavdash.data.segments import in_file, segment
from eavdash.data.table import fingerprint, open_table, select, with_sound_tracks
from eavdash.errors import DataError, RecordingError, TableError
from eavdash.health.check import check_dataset

NAMES = ["Fp1", "Fp2", "C3", "C4", "O1", "O2"]
CONFIG = with_settings(preset("quick"), ["window=2", "vision.crop=centre", "vision.size=16", "vision.patch=8"])
LENGTH, TRIALS = 4, 4  # seconds, clips


def long_eeg(path: Path, before: float = 0.0) -> str:
    """Four trials of four seconds, after ``before`` seconds of silence: 6 Hz, 8 Hz ..., which tell them apart."""
    waves = [np.zeros(round(before * 250)), *(sine(6 + 2 * t, LENGTH, 250, 20e-6) for t in range(TRIALS))]
    signal = np.concatenate(waves)
    return fif(path, np.stack([signal * (1 + n / 10) for n in range(len(NAMES))]), NAMES)


def clips(folder: Path) -> None:
    for t in range(TRIALS):
        wav(folder / f"{t}.wav", sine(300 + 100 * t, LENGTH, 16000, 0.5))


def table(folder: Path, columns: str, row: str) -> Path:
    """A table with a row per trial; ``row`` is evaluated for each ``t``."""

    def cells(t: int) -> str:
        return re.sub(r"\{(.*?)\}", lambda found: f"{eval(found[1], {'t': t}):g}", row)

    lines = [cells(t) for t in range(TRIALS)]
    (folder / "trials.csv").write_text("\n".join([f"subject,trial,label,{columns}", *lines]) + "\n")
    return folder / "trials.csv"


@pytest.fixture
def single(tmp_path: Path) -> np.ndarray:
    """The windows of a table with only the long file, cut by start and stop."""
    (tmp_path / "single").mkdir()
    long_eeg(tmp_path / "single" / "long_raw.fif")
    path = table(tmp_path / "single", "eeg,start,stop", "1,{t},{t%2},long_raw.fif,{4*t},{4*t+4}")
    return np.asarray(load_windows(open_table(path).frame, "eeg", CONFIG, tmp_path / "cache").values)


WAYS = {
    "own times of the EEG": ("eeg,eeg_start,eeg_stop", "long_raw.fif,{4*t},{4*t+4}", 0.0),
    "own times of the clip": ("eeg,start,stop,audio_start,audio_stop", "long_raw.fif,{4*t},{4*t+4},0,4", 0.0),
    "a start alone": ("eeg,eeg_start,stop,eeg_stop,audio_stop", "long_raw.fif,{4*t},4,{4*t+4},", 0.0),
    "an offset": ("eeg,eeg_start,eeg_stop,eeg_offset", "long_raw.fif,{4*t},{4*t+4},2.5", 2.5),
    "an offset of another clock": (
        "eeg,start,stop,eeg_offset,audio_offset",
        "long_raw.fif,{10+4*t},{14+4*t},-7.5,{-10-4*t}",
        2.5,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_one_long_eeg_with_a_clip_per_trial(tmp_path: Path, single: np.ndarray, way: str) -> None:
    columns, cells, before = WAYS[way]
    folder = tmp_path / "lab"
    folder.mkdir()
    clips(folder)
    long_eeg(folder / "long_raw.fif", before)
    path = table(folder, f"audio,{columns}", "1,{t},{t%2},{t}.wav," + cells)
    opened = open_table(path)
    assert not opened.problems
    found = load_windows(opened.frame, "eeg", CONFIG, tmp_path / "cache")
    assert found.values.shape == single.shape == (8, 6, 200)
    # The filters see the same seconds, whatever lies beside them in the file.
    np.testing.assert_allclose(found.values, single, atol=1e-7)
    peaks = np.abs(np.fft.rfft(found.values[:, 0], axis=-1)).argmax(axis=-1) / 2
    assert peaks.tolist() == [6, 6, 8, 8, 10, 10, 12, 12]
    sound = load_windows(opened.frame, "audio", CONFIG, tmp_path / "cache")
    assert sound.index["stop"].tolist() == [2, 4] * TRIALS
    report = check_dataset(path, config=CONFIG)
    assert not [f for f in report.findings if f.severity == "error"], report.findings
    assert report.recordings["duration"].tolist() == pytest.approx([LENGTH] * 2 * TRIALS, abs=0.01)
    eeg = report.recordings[report.recordings["modality"] == "eeg"]
    assert eeg["start"].tolist() == pytest.approx([before + 4 * t for t in range(TRIALS)])
    assert not [f for f in report.findings if "lengths" in f.message or "overlap" in f.message]


def test_the_player_shows_each_recording_from_its_own_start(tmp_path: Path) -> None:
    clips(tmp_path)
    long_eeg(tmp_path / "long_raw.fif", 1.0)
    movie(tmp_path / "long.mp4", [k / 10 for k in range(200)])
    columns = "eeg,audio,video,eeg_start,eeg_stop,eeg_offset,video_start,video_stop"
    path = table(tmp_path, columns, "1,{t},{t%2},long_raw.fif,{t}.wav,long.mp4,{4*t},{4*t+4},1,{4*t+0.5},{4*t+4.5}")
    shown = trial_preview(dict(open_table(path).frame.iloc[2]), CONFIG)
    assert shown.errors == {}
    assert shown.vision
    assert shown.audio
    assert shown.eeg
    assert (shown.vision.start, shown.vision.duration) == (8.5, 4.0)
    assert (shown.audio.start, shown.audio.duration) == (0.0, 4.0)
    assert shown.eeg.duration == 4.0
    spectrum = np.abs(np.fft.rfft(shown.eeg.microvolt[0]))
    assert spectrum.argmax() / 4 == 10
    assert shown.duration == shown.length == 4.0


def test_a_sound_track_has_the_clock_of_its_video(tmp_path: Path) -> None:
    for name in ("v.mp4", "a.wav"):
        (tmp_path / name).write_bytes(b"x")
    path = tmp_path / "trials.csv"
    path.write_text(
        "subject,trial,label,audio,video,video_start,video_stop,video_offset,audio_start\n"
        "1,1,a,,v.mp4,4,8,0.5,1\n1,2,b,a.wav,v.mp4,8,12,0.5,1\n"
    )
    frame = with_sound_tracks(open_table(path).frame)
    assert [segment(row, "audio") for row in frame.to_dict("records")] == [(4.5, 8.5), (1.0, None)]
    assert with_sound_tracks(frame).equals(frame)


@pytest.mark.parametrize(
    ("cells", "facts"),
    [
        ("eeg_start,eeg_stop\n5,5", {"expected": "eeg_stop after eeg_start (5 s", "found": "5 s"}),
        ("stop,eeg_start\n4,40", {"expected": "eeg_stop", "found": "4 s", "remedy": "stands for start or stop"}),
        ("eeg_offset\n-2", {"expected": "at 0 s or later", "found": "-2 s (eeg_offset)"}),
        ("start,eeg_offset\n1,-2", {"expected": "a start in the file of eeg", "found": "-1 s"}),
        ("eeg_start\n-1", {"expected": "eeg_start in seconds, 0 to 1000000", "found": "'-1'"}),
        ("eeg_stop\nx", {"expected": "eeg_stop in seconds", "found": "'x'"}),
        ("eeg_offset\n1e9", {"expected": "eeg_offset in seconds, -1000000 to 1000000"}),
        ("video_offset\ninf", {"expected": "video_offset"}),
    ],
)
def test_impossible_times_name_row_and_column(tmp_path: Path, cells: str, facts: dict[str, Facts]) -> None:
    columns, values = cells.split("\n")
    path = tmp_path / "trials.csv"
    path.write_text(
        f"subject,trial,label,eeg,{columns}\n1,1,a,x.edf,{',' * columns.count(',')}\n1,2,b,x.edf,{values}\n"
    )
    with fails(TableError, where="line 3", **facts):
        open_table(path)


def test_a_segment_beyond_the_file_says_how_to_give_it_its_own_times(tmp_path: Path) -> None:
    clips(tmp_path)
    long_eeg(tmp_path / "long_raw.fif")
    path = table(tmp_path, "audio,eeg,start,stop", "1,{t},{t%2},{t}.wav,long_raw.fif,{4*t},{4*t+4}")
    frame = open_table(path).frame
    with fails(RecordingError, where="trial 1", remedy="eeg_start and eeg_stop"):
        _ = window_set_spec(frame, "audio", CONFIG, tmp_path / "cache").spans
    assert any("eeg_start and eeg_stop" in f.remedy for f in check_dataset(path, config=CONFIG).findings)


def frame_of(path: Path, columns: str, *rows: str) -> pd.DataFrame:
    path.mkdir(exist_ok=True)
    (path / "x.edf").write_bytes(b"x")
    (path / "trials.csv").write_text("\n".join([f"subject,trial,label,eeg,{columns}", *rows]) + "\n")
    return open_table(path).frame


def test_the_gates_compare_what_is_read(tmp_path: Path) -> None:
    """Two trials with different times on the table may read the same seconds, and the other way round."""
    same = frame_of(tmp_path / "1", "start,stop,eeg_start,eeg_stop", "1,1,a,x.edf,0,4,8,12", "1,2,b,x.edf,4,8,8,12")
    with fails(DataError, where="trial 1 of subject 1", found="x.edf"):
        gates.check_pairing(same, ["eeg"])
    apart = frame_of(tmp_path / "2", "eeg_start,eeg_stop", "1,1,a,x.edf,0,4", "1,2,b,x.edf,4,8")
    gates.check_pairing(apart, ["eeg"])
    splits = apart[["subject", "trial", "group"]].assign(fold=0, split=["train", "test"])
    gates.check_study(apart, splits, ProtocolConfig(), ["eeg"], tmp_path / "cache")


def test_keys_and_fingerprints_follow_the_times_in_the_file(tmp_path: Path) -> None:
    rows = ["1,1,a,x.edf,0,4", "1,2,b,x.edf,4,8"]
    usual = frame_of(tmp_path, "start,stop", *rows)
    own = frame_of(tmp_path, "eeg_start,eeg_stop", *rows)
    moved = frame_of(tmp_path, "eeg_start,eeg_stop,eeg_offset", "1,1,a,x.edf,0,4,1", "1,2,b,x.edf,4,8,1")
    empty = frame_of(tmp_path, "start,stop,eeg_start,eeg_stop", *(f"{row},," for row in rows))
    keys = [window_set_spec(f, "eeg", CONFIG, tmp_path / "cache").key for f in (usual, own, empty, moved)]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    prints = []
    for columns, made in (
        ("start,stop", rows),
        ("eeg_start,eeg_stop", rows),
        ("start,stop,eeg_offset", [f"{r}," for r in rows]),
    ):
        frame_of(tmp_path, columns, *made)
        prints.append(fingerprint(open_table(tmp_path)))
    assert prints[0] == prints[2] != prints[1]


def test_own_times_are_frozen_and_selected_but_no_column_of_results(tmp_path: Path) -> None:
    frame_of(tmp_path, "eeg_start,eeg_stop,room", "1,1,a,x.edf,0,4,A", "2,1,b,x.edf,,,B")
    opened = select(open_table(tmp_path), CONFIG)
    (tmp_path / "t.parquet").write_bytes(frozen_bytes(opened))
    again = read_frozen(tmp_path / "t.parquet")
    assert again.frame.equals(opened.frame)
    assert again.frame["eeg_start"].dtype == float
    from eavdash.studies.document import result_columns

    assert result_columns(again.frame).columns.tolist() == ["subject", "trial", "label", "room"]
    with pytest.raises(Exception, match="room") as error:
        select(opened, with_settings(CONFIG, ["where=eeg_start=0"]))
    assert "among subject, trial, label, group, room," in str(error.value)


def test_further_text_of_an_earlier_version_stays_without_a_meaning(tmp_path: Path) -> None:
    """Earlier versions took eeg_start for any further column: such frozen rows are read from start to stop."""
    frame = frame_of(tmp_path, "start,stop,eeg_start", "1,1,a,x.edf,0,4,1", "2,1,b,x.edf,4,8,5")
    table = open_table(tmp_path)
    old = type(table)(frame.assign(eeg_start=frame["eeg_start"].map(str).astype("str")), table.root, "table")
    assert in_file(old.frame, "eeg") is old.frame
    assert segment(old.frame.iloc[0], "eeg") == (0.0, 4.0)
    both = merged(table, old, ["1"]).frame
    assert [segment(row, "eeg") for row in both.to_dict("records")] == [(0.0, 4.0), (5.0, 8.0)]
    assert math.isnan(both["eeg_start"][0])


def test_the_example_of_the_docs_is_read(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```csv\n(.*?)```", docs, re.DOTALL) if "eeg_offset" in block]
    (tmp_path / "trials.csv").write_text(example)
    signal = np.zeros(30 * 250)
    begins = {"1": 2.5, "2": 8.5, "3": 14.5, "4": 22.5}
    for trial, begin in begins.items():
        wav(tmp_path / f"anna-{trial}.wav", sine(200 + 100 * int(trial), LENGTH, 16000, 0.5))
        first = round(begin * 250)
        signal[first : first + LENGTH * 250] = sine(6 + 2 * int(trial), LENGTH, 250, 20e-6)
    fif(tmp_path / "anna_raw.fif", np.stack([signal * (1 + n / 10) for n in range(len(NAMES))]), NAMES)
    table = open_table(tmp_path)
    assert (len(table.frame), table.problems, table.notes) == (4, {}, ())
    windows = load_windows(table.frame, "eeg", CONFIG, tmp_path / "cache")
    peaks = np.abs(np.fft.rfft(windows.values[:, 0], axis=-1)).argmax(axis=-1) / 2
    assert peaks.tolist() == [8, 8, 10, 10, 12, 12, 14, 14]
    assert len(load_windows(table.frame, "audio", CONFIG, tmp_path / "cache").values) == 8
    report = check_dataset(tmp_path, config=CONFIG)
    assert report.ok, report.findings
