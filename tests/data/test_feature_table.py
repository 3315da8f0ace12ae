"""Tables of features: the forms in which programs write them, what is refused, and the windows made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from failing import fails
from feature_files import UNITS, openface, opensmile, read, write

from eavdash.config.convert import with_settings
from eavdash.config.feature_table import FeatureTableConfig
from eavdash.config.schema import StudyConfig
from eavdash.data.formats.feature_table import FeatureTable, read_feature_table
from eavdash.data.inputs import load_windows, unreadable_trials
from eavdash.data.readers import reader_of
from eavdash.data.readers.table import resampled
from eavdash.data.table import open_table, with_sound_tracks
from eavdash.errors import RecordingError

CONFIG = with_settings(StudyConfig(), ["vision.encoder=table", "window=2"])


def table_of(path: Path, time: str = "", *columns: str) -> FeatureTable:
    return read_feature_table(str(path), FeatureTableConfig(time, columns))


def simple(path: Path, rows: int = 5, separator: str = ",") -> Path:
    """Columns time, a, b; a row each 0.1 s."""
    return write(path, ["time", "a", "b"], [[f"{n / 10:g}", str(n), f"{n % 2}.5"] for n in range(rows)], separator)


def test_openface_rows_without_a_face_are_not_recorded(tmp_path: Path) -> None:
    found = table_of(openface(tmp_path / "a.csv", "happy", lost=(3, 4)))
    assert found.columns == UNITS
    assert found.values.shape == (180, len(UNITS))
    assert np.flatnonzero(~found.recorded).tolist() == [3, 4]
    assert found.duration == pytest.approx(6, abs=0.01)


def test_opensmile_with_semicolons_and_a_column_of_names(tmp_path: Path) -> None:
    found = table_of(opensmile(tmp_path / "a.csv", "calm"))
    assert found.columns == ("F0final_sma", "jitterLocal_sma", "pcm_RMSenergy_sma")
    assert found.duration == pytest.approx(6)


def test_pandas_index_of_opensmile_and_times_as_clocks(tmp_path: Path) -> None:
    rows = [["a.wav", f"0 days 00:00:0{n}.500000", f"0 days 00:00:0{n + 1}", str(n)] for n in range(3)]
    found = table_of(write(tmp_path / "a.csv", ["file", "start", "end", "loudness"], rows))
    assert found.columns == ("loudness",)
    assert found.times.tolist() == [0.5, 1.5, 2.5]


def test_pyfeat_leaves_rows_without_a_face_empty(tmp_path: Path) -> None:
    rows = [[str(n), "face.mp4", *(["", ""] if n == 2 else [f"0.{n}", "0.5"])] for n in range(5)]
    path = write(tmp_path / "a.csv", ["frame", "input", "AU01", "AU02"], rows)
    with fails(RecordingError, where=str(path), expected="timestamp", found="AU01", remedy="vision.table.time"):
        table_of(path)
    found = table_of(path, "frame/25")
    assert found.times.tolist() == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert found.recorded.tolist() == [True, True, False, True, True]


def test_decimal_commas_parquet_and_excel(tmp_path: Path) -> None:
    expected = table_of(simple(tmp_path / "a.csv"))
    comma = tmp_path / "b.csv"
    comma.write_text(simple(tmp_path / "c.tsv", separator="\t").read_text().replace(".", ","))
    frame = pd.DataFrame({"time": expected.times, "a": expected.values[:, 0], "b": expected.values[:, 1]})
    frame.to_parquet(tmp_path / "d.parquet")
    pytest.importorskip("openpyxl")
    frame.to_excel(tmp_path / "e.xlsx", index=False)
    for path in (comma, tmp_path / "d.parquet", tmp_path / "e.xlsx"):
        found = table_of(path)
        assert np.array_equal(found.values, expected.values), path
        assert np.array_equal(found.times, expected.times), path


def test_columns_are_chosen_by_patterns(tmp_path: Path) -> None:
    path = openface(tmp_path / "a.csv", "calm")
    assert table_of(path, "", "AU*", "-AU45*", "-au*_C").columns == UNITS[:4]
    assert table_of(path, "", "-AU*_r").columns == ("AU46_c",)
    assert table_of(path, "", "confidence", "AU01_r").columns == ("AU01_r", "confidence")
    with fails(RecordingError, where=str(path), expected="gaze*", found="AU01_r", remedy="table.columns"):
        table_of(path, "", "gaze*")


def test_names_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    rows = [[f"{n / 10}", str(n), "1"] for n in range(4)]
    path = write(tmp_path / "a.csv", ["frameTime", "mfcc[1]", "mfcc[2]"], rows)
    assert table_of(path, "", "mfcc[1]").columns == ("mfcc[1]",)
    assert table_of(path, "", "-mfcc[2]").columns == ("mfcc[1]",)


def test_labels_and_names_are_no_features(tmp_path: Path) -> None:
    rows = [[f"{n / 10}", "3", "7", str(n), "x.wav"] for n in range(4)]
    path = write(tmp_path / "a.csv", ["time", "Label", "subject", "a", "source"], rows)
    assert table_of(path).columns == ("a",)


def test_of_several_faces_the_one_with_most_recorded_rows_is_read(tmp_path: Path) -> None:
    header, rows = read(openface(tmp_path / "a.csv", "calm"))
    other = [[row[0], "1", *row[2:4], str(int(n < 5)), *row[5:]] for n, row in enumerate(rows)]
    both = write(tmp_path / "b.csv", header, [row for pair in zip(other, rows, strict=True) for row in pair])
    found = table_of(both)
    assert np.array_equal(found.values, table_of(tmp_path / "a.csv").values)
    assert "2 faces" in found.note
    assert "face_id 0" in found.note


def change(place: int, column: str, text: str) -> Callable[[list[str], list[list[str]]], None]:
    """Replace a cell; ``place``: row from 0."""

    def apply(header: list[str], rows: list[list[str]]) -> None:
        rows[place][header.index(column)] = text

    return apply


def drop(column: str) -> Callable[[list[str], list[list[str]]], None]:
    def apply(header: list[str], rows: list[list[str]]) -> None:
        at = header.index(column)
        for row in (*rows, header):
            del row[at]

    return apply


def unsorted(header: list[str], rows: list[list[str]]) -> None:
    rows[7], rows[8] = rows[8], rows[7]


def still(header: list[str], rows: list[list[str]]) -> None:
    for row in rows:
        row[5:] = rows[0][5:]


def lost(header: list[str], rows: list[list[str]]) -> None:
    for row in rows:
        row[4] = "0"


@pytest.mark.parametrize(
    ("plant", "where", "expected", "found"),
    [
        (drop("timestamp"), "a.csv", "a column of times", "none among frame, face_id"),
        (change(5, "AU04_r", "nan"), "line 7", "finite samples", "AU04_r"),
        (change(5, "AU04_r", ""), "line 7", "finite samples", "no number in column 'AU04_r'"),
        (change(5, "AU04_r", "inf"), "line 7", "finite samples", "infinite"),
        (change(5, "AU04_r", "1e39"), "line 7", "finite samples", "infinite"),
        (change(5, "AU04_r", "=1+1"), "line 7", "a number in column 'AU04_r'", "'=1+1'"),
        (change(5, "timestamp", "soon"), "line 7", "a number in column 'timestamp'", "'soon'"),
        (change(5, "timestamp", ""), "line 7", "in seconds", "none"),
        (change(5, "timestamp", "-1"), "line 7", "0 to 1,000,000", "-1"),
        (change(179, "timestamp", "1700000000"), "line 181", "0 to 1,000,000", "1700000000"),
        (change(5, "timestamp", "0.133"), "line 7", "that increase", "a second time"),
        (unsorted, "line 10", "that increase", "0.233 after 0.267"),
        (still, "a.csv", "change over time", "all 180 recorded rows"),
        (lost, "a.csv", "at least one recorded row", "none of 180"),
        (lambda header, rows: rows.clear(), "a.csv", "rows", "none"),
        (lambda header, rows: rows.__delitem__(slice(1, None)), "a.csv", "two times", "1"),
        (lambda header, rows: header.__setitem__(6, "AU01_r"), "a.csv", "each column once", "'AU01_r' twice"),
        (lambda header, rows: rows[3].pop(), "line 5", "11 fields", "10"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, plant: Callable[[list[str], list[list[str]]], object], where: str, expected: str, found: str
) -> None:
    header, rows = read(openface(tmp_path / "a.csv", "calm"))
    plant(header, rows)
    path = write(tmp_path / "a.csv", header, rows)
    with fails(RecordingError, where=(str(path), where), expected=expected, found=found) as caught:
        table_of(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02binary", b"just a line of text\nanother one\n"])
def test_what_is_no_table_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with fails(RecordingError, where=str(tmp_path / "a.csv")) as caught:
        table_of(tmp_path / "a.csv")
    assert "just a line" not in str(caught.value)


def test_a_huge_table_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eavdash.data.formats.delimited.TABLE_CELLS", 100)
    with fails(RecordingError, where="a.csv", expected="at most 100 cells"):
        table_of(openface(tmp_path / "a.csv", "calm"))


def test_a_recording_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    with fails(RecordingError, where="a.mp4", expected=".csv", found=".mp4"):
        table_of(tmp_path / "a.mp4")


def made(times: list[float], recorded: list[bool] | None = None) -> FeatureTable:
    values = np.arange(len(times), dtype=np.float32)[:, None]
    return FeatureTable(("a",), np.array(times), values, np.array(recorded or [True] * len(times)))


def test_a_step_is_the_mean_of_its_rows() -> None:
    values, mask = resampled(made([0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]), 0.0, 2, 25)
    assert values[:, 0].tolist() == [1.5, 5.5]
    assert mask.all()


def test_steps_between_slow_rows_take_the_nearest_and_gaps_are_masked() -> None:
    times = [0.05, 0.16, 0.25, 0.95, 1.05]
    values, mask = resampled(made(times), 0.0, 30, 25)
    assert mask[:8].all()
    assert values[:8, 0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert not mask[9:21].any(), "0.25 s to 0.95 s"
    assert mask[22:27].all()


def test_a_lost_row_is_masked_and_not_filled_by_its_neighbours() -> None:
    values, mask = resampled(made([n / 25 for n in range(10)], [n != 4 for n in range(10)]), 0.0, 10, 25)
    assert np.flatnonzero(~mask).tolist() == [4]
    assert values[[3, 5], 0].tolist() == [3, 5]


def dataset(folder: Path, *files: Path) -> pd.DataFrame:
    lines = [f"a,{n},{'x' if n % 2 else 'y'},{file.name}" for n, file in enumerate(files, start=1)]
    (folder / "trials.csv").write_text("\n".join(["subject,trial,label,video", *lines]))
    return open_table(folder / "trials.csv").frame


def test_windows_have_the_tables_columns_and_do_not_depend_on_their_order(tmp_path: Path) -> None:
    one = openface(tmp_path / "1.csv", "calm", seconds=5, lost=range(70, 125))
    header, rows = read(openface(tmp_path / "2.csv", "happy", seconds=5))
    order = [*range(5), 7, 6, 5, 8, 9, 10]
    two = write(tmp_path / "2.csv", [header[n] for n in order], [[row[n] for n in order] for row in rows])
    trials = dataset(tmp_path, one, two)
    windows = load_windows(trials, "vision", CONFIG, tmp_path / "cache")
    assert windows.kind == "table"
    assert windows.meta["columns"] == list(UNITS)
    assert windows.meta["rate"] == 25
    assert windows.values.shape == (6, 50, len(UNITS))  # 5 s are two windows of 2 s and a half
    assert windows.values.dtype == np.float32
    found = table_of(two)
    mean = found.values[:, found.columns.index("AU06_r")][found.times < 2].mean()
    assert windows.values[3, :, UNITS.index("AU06_r")].mean() == pytest.approx(mean, abs=0.05)
    assert windows.mask[1].mean() == pytest.approx(0.15, abs=0.1)
    again = load_windows(trials, "vision", CONFIG, tmp_path / "cache2", jobs=2)
    assert again.meta["key"] == windows.meta["key"]
    assert np.array_equal(again.values, windows.values)


def test_windows_without_a_row_are_marked(tmp_path: Path) -> None:
    trials = dataset(tmp_path, openface(tmp_path / "1.csv", "calm", lost=range(60, 120)))
    windows = load_windows(trials, "vision", CONFIG, tmp_path / "cache")
    assert windows.mask.any(axis=1).tolist() == [True, False, True]
    assert windows.meta["facts"] == [["a", "1", {"rejected": [1]}]]


def test_the_key_covers_how_a_table_is_read_and_nothing_else(tmp_path: Path) -> None:
    trials = dataset(tmp_path, openface(tmp_path / "1.csv", "calm"))

    def key(*settings: str) -> str:
        return str(load_windows(trials, "vision", with_settings(CONFIG, settings), tmp_path / "cache").meta["key"])

    usual = key()
    assert key("vision.width=32", "vision.crop=centre", "vision.frames_per_second=3") == usual
    others = [key("vision.table.columns=AU*"), key("vision.table.time=frame/30"), key("vision.table.rate=10")]
    assert len({usual, *others}) == 4


def test_keys_of_other_recordings_do_not_know_of_tables() -> None:
    for modality in ("vision", "audio"):
        assert "kind" not in reader_of(modality, with_settings(StudyConfig(), ["vision.crop=centre"])).settings


def test_other_columns_name_what_is_missing(tmp_path: Path) -> None:
    header, rows = read(openface(tmp_path / "2.csv", "happy"))
    drop("AU06_r")(header, rows)
    trials = dataset(tmp_path, openface(tmp_path / "1.csv", "calm"), write(tmp_path / "2.csv", header, rows))
    with fails(RecordingError, where="2.csv", expected="6 columns", found="AU06_r", remedy="vision.table.columns"):
        load_windows(trials, "vision", CONFIG, tmp_path / "cache")


def test_a_trial_that_cannot_be_read_is_found_alone(tmp_path: Path) -> None:
    header, rows = read(openface(tmp_path / "2.csv", "happy"))
    change(5, "AU04_r", "nan")(header, rows)
    trials = dataset(tmp_path, openface(tmp_path / "1.csv", "calm"), write(tmp_path / "2.csv", header, rows))
    assert list(unreadable_trials(trials, "vision", CONFIG, tmp_path / "cache")) == [("a", "2")]


def test_a_table_is_no_sound_track(tmp_path: Path) -> None:
    trials = dataset(tmp_path, openface(tmp_path / "1.csv", "calm"))
    assert with_sound_tracks(trials)["audio"].tolist() == [""]
