"""Trial tables as spreadsheets and editors write them: read alike, or refused with the cause."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from failing import Facts, fails

from eavdash.data.formats.columns import TEMPLATE
from eavdash.data.formats.tablefile import header_of, read_table
from eavdash.data.table import TrialTable, open_table
from eavdash.errors import TableError
from eavdash.store.readable import lent, set_data_folders

HEADER = ["subject", "trial", "label", "audio", "start", "stop"]
ROWS = [["1", "1", "fröhlich", "a.wav", "0.5", "3.5"], ["1", "2", "sad", "b.wav", "", ""]]
PLAIN = [HEADER, *ROWS]


def text(sep: str = ",", rows: list[list[str]] = PLAIN, end: str = "\n") -> str:
    return end.join(sep.join(f'"{c}"' if sep in c else c for c in row) for row in rows) + end


def points(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.replace(".", ",") if cell[:1].isdigit() else cell for cell in row] for row in rows]


def opened(folder: Path, content: bytes, name: str = "trials.csv") -> TrialTable:
    for file in ("a.wav", "b.wav"):
        (folder / file).write_bytes(b"x")
    (folder / name).write_bytes(content)
    return open_table(folder / name)


FORMS: dict[str, bytes] = {
    "semicolons": text(";", end="\r\n").encode(),
    "tabs": text("\t").encode(),
    "bars": text("|").encode(),
    "sep=;": ("sep=;\r\n" + text(";")).encode(),
    "sep=tab": ("sep=\t\n" + text("\t")).encode(),
    "sep=,": ("sep=,\n" + text()).encode(),
    "sep=; with a mark": ("\ufeffsep=;\r\n" + text(";")).encode(),
    "mark": ("\ufeff" + text()).encode(),
    "UTF-16": text("\t").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + text(";").encode("utf-16-be"),
    "UTF-16 without a mark": text().encode("utf-16-le"),
    "UTF-16, big end first, without a mark": text().encode("utf-16-be"),
    "UTF-32": text().encode("utf-32"),
    "Windows-1252": text(";").encode("cp1252"),
    "upper case": text(rows=[[c.upper() for c in HEADER], *ROWS]).encode(),
    "capitals and blanks": text(rows=[[f" {c.capitalize()} " for c in HEADER], *ROWS]).encode(),
    "empty columns": text(rows=[[*row, "", "", ""] for row in PLAIN]).encode(),
    "empty columns of a header": text(rows=[[*HEADER, "", ""], *ROWS]).encode(),
    "empty cells beyond the header": text(rows=[HEADER, *([*row, "", ""] for row in ROWS)]).encode(),
    "decimal commas and semicolons": text(";", rows=points(PLAIN)).encode(),
    "decimal commas in quotes": text(
        rows=[[c.replace(".", ",") if c[:1] in "03" else c for c in r] for r in PLAIN]
    ).encode(),
    "blank lines": ("\n,,\n" + text().replace("\n", "\n\n")).encode(),
    "backslashes": text(rows=[HEADER, *([*r[:3], ".\\" + r[3], *r[4:]] for r in ROWS)]).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read_like_the_plain_one(tmp_path: Path, form: str) -> None:
    expected = opened(tmp_path, text().encode())
    table = opened(tmp_path, FORMS[form])
    assert table.frame.equals(expected.frame)
    assert not table.problems
    assert table.frame["start"][0] == 0.5


def test_a_guess_and_a_change_are_noted_with_an_example(tmp_path: Path) -> None:
    assert "'fröhlich' in line 2" in opened(tmp_path, FORMS["Windows-1252"]).notes[0]
    assert "'0,5' in line 2" in opened(tmp_path, FORMS["decimal commas and semicolons"]).notes[0]
    assert not opened(tmp_path, text().encode()).notes


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        # Not Windows-1252, and two encodings in one file.
        (b"subject,trial,label,audio\n1,1,\x81,a.wav\n", {"expected": "UTF-8 text", "found": "0x81"}),
        ("subject,trial,label,audio\n1,1,ö,a.wav\n".encode() + b"1,2,\xf6,b.wav\n", {"found": "0xf6"}),
        (text(";")[:-4].encode("utf-16")[:-1], {"expected": "UTF-8 text"}),
        (b"subject;trial;label\n1;1;a\n", {"found": "one of eeg, audio, video among subject, trial, label"}),
        (
            text(rows=[HEADER, ["1", "1", "a", "a.wav", "1,500", ""]]).encode(),
            {"where": "line 2", "found": "thousands"},
        ),
        (
            text(";", rows=[HEADER, ["1", "1", "a", "a.wav", "0,5", "1.5"]]).encode(),
            {"where": "line 2", "expected": ("start", "decimal point"), "found": ("'0,5'", "'1.5'")},
        ),
        (text(rows=[[*HEADER, "", ""], [*ROWS[0], "x", "y"]]).encode(), {"found": "one without a name twice"}),
        (text(rows=[HEADER, ROWS[0][:4]]).encode(), {"where": "line 2", "expected": "6 fields", "found": "4"}),
        (text(rows=[["Subject", "SUBJECT", *HEADER[1:]], ["1", *ROWS[0]]]).encode(), {"found": "subject twice"}),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), {"found": ("old format", "password")}),
    ],
)
def test_the_cause_is_named(tmp_path: Path, content: bytes, facts: dict[str, Facts]) -> None:
    with fails(TableError, **facts) as error:
        opened(tmp_path, content)
    assert str(tmp_path / "trials.csv") in error.value.where


def test_a_file_that_is_no_table_is_not_quoted(tmp_path: Path) -> None:
    for content in (b"root:x:0;secret;label\n", b"password;secret\n1;2\n", "geheim;ö\n".encode("cp1252")):
        with pytest.raises(TableError) as error:
            opened(tmp_path, content)
        assert "secret" not in str(error.value)
        assert "geheim" not in str(error.value)


def test_a_table_that_was_read_before_keeps_its_columns(tmp_path: Path) -> None:
    table = opened(tmp_path, b"subject,trial,label,audio,Start,\n1,1,a,a.wav,x,\n1,2,b,b.wav,y,\n")
    assert table.frame.columns.tolist()[-2:] == ["Start", ""]
    assert table.frame["start"].isna().all()
    assert "'Start' is a further column; name it 'start'" in table.notes[0]


def test_a_file_may_have_a_backslash_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("deep\\a.wav", "deep/a.wav", "deep/b.wav"):
        (tmp_path / name).write_bytes(b"x")
    table = opened(
        tmp_path, b"subject,trial,label,audio\n1,1,a,deep\\a.wav\n1,2,b,deep\\b.wav\n2,1,a,D:\\x\\gone.wav\n"
    )
    assert table.frame["audio"][:2].tolist() == [str(tmp_path / "deep\\a.wav"), str(tmp_path / "deep/b.wav")]
    assert list(table.problems) == ["2"]
    assert "the path is one of Windows" in table.problems["2"]


# Workbooks


def book(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return path


CELLS: list[list[object]] = [HEADER, [1, 1.0, "fröhlich", "a.wav", 0.5, 3.5], [None] * 6, [1, 2, "sad", "b.wav"]]


def test_a_workbook_is_read_like_the_plain_table(tmp_path: Path) -> None:
    expected = opened(tmp_path, text().encode()).frame
    path = book(tmp_path / "mine.xlsx", {"Notes": [["x"]], "Trials": CELLS})
    table = open_table(path)
    assert table.frame.equals(expected)
    assert "'Notes'" in table.notes[0]
    path.rename(tmp_path / "named.csv")
    assert open_table(tmp_path / "named.csv").frame.equals(expected)
    (tmp_path / "alone").mkdir()
    book(tmp_path / "alone" / "trials.xlsx", {"any": [HEADER, *ROWS]})
    assert open_table(tmp_path / "alone").frame["start"][0] == 0.5


def test_errors_about_a_workbook_name_its_rows(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", {"trials": [*CELLS, [1, 3, None, "c.wav"]]})
    with fails(TableError, where="line 5", expected="a label"):
        open_table(path)


def declaring(path: Path, size: int) -> None:
    """Make the archive declare a size of its sheet, as a hostile one would."""
    data = bytearray(path.read_bytes())
    at = data.rfind(b"xl/worksheets/sheet1.xml") - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 24 : at + 28] = size.to_bytes(4, "little")
    path.write_bytes(data)


def far_cell(path: Path) -> None:
    """Replace the sheet by one whose single cell is in a row that no spreadsheet has."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1:XFD99999999"/>'
    )
    sheet += '<sheetData><row r="99999999"><c r="XFD99999999"><v>1</v></c></row></sheetData></worksheet>'
    with zipfile.ZipFile(path, "w") as new:
        for name, content in parts.items():
            new.writestr(name, sheet if name.endswith("sheet1.xml") else content)


@pytest.mark.parametrize(
    ("harm", "facts"),
    [
        (lambda p: declaring(p, 2**31), {"expected": "268,435,456 bytes", "found": "2,14"}),
        (lambda p: declaring(p, 200 * 2**20), {"found": "unfolds"}),
        (far_cell, {"expected": "500,000 rows"}),
        (lambda p: p.write_bytes(p.read_bytes()[:-200]), {"expected": ".xlsx workbook"}),
        (lambda p: p.write_bytes(b"nothing"), {"expected": ".xlsx workbook"}),
    ],
)
def test_a_hostile_workbook_is_refused_before_it_fills_memory(
    tmp_path: Path, harm: Callable[[Path], object], facts: dict[str, Facts]
) -> None:
    path = book(tmp_path / "t.xlsx", {"trials": CELLS})
    harm(path)
    with fails(TableError, where=str(path), **facts):
        open_table(path)


def test_another_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.ods", "w") as archive:
        archive.writestr("content.xml", "<x/>")
    with fails(TableError, found="OpenDocument", remedy="UTF-8 CSV"):
        open_table(tmp_path / "t.ods")


def test_without_openpyxl_the_remedy_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "t.xlsx", {"trials": CELLS})
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with fails(TableError, expected="openpyxl", remedy="eavdash[xlsx]"):
        open_table(path)


# Columns of other names


def test_columns_of_other_names_are_taken_as_told(tmp_path: Path) -> None:
    rows = [
        ["Person", "Clip", "Mood", "label", "Sound"],
        ["1", "1", "calm", "x", "a.wav"],
        ["1", "2", "sad", "y", "b.wav"],
    ]
    path = tmp_path / "lab.csv"
    path.write_text(text(";", rows))
    assert header_of(path) == tuple(rows[0])
    columns = {"subject": "Person", "trial": "Clip", "label": "Mood", "audio": "Sound"}
    frame, _ = read_table(path, columns)
    assert frame[["subject", "trial", "label", "audio"]].to_numpy().tolist() == [
        ["1", "1", "calm", "a.wav"],
        ["1", "2", "sad", "b.wav"],
    ]
    assert frame["label (not used)"].tolist() == ["x", "y"]
    with fails(TableError, expected="one column for video", found="Film"):
        read_table(path, {**columns, "video": "Film"})
    with fails(TableError, expected="one column for", found="for several"):
        read_table(path, {**columns, "group": "Clip"})


def test_the_template_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(TEMPLATE)
    frame, notes = read_table(tmp_path / "trials.csv")
    assert (len(frame), notes) == (3, ())
    assert frame["eeg_stop"].tolist()[:2] == [20, 40]


def test_a_path_of_windows_outside_of_the_data_folders_is_not_looked_up(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.wav").write_bytes(b"x")
    (tmp_path / "data" / "trials.csv").write_text("subject,trial,label,audio\n1,1,a,..\\out\\a.wav\n")
    set_data_folders([tmp_path / "data"])
    try:
        with lent(tmp_path / "data"):
            table = open_table(tmp_path / "data")
    finally:
        set_data_folders(None)
    assert table.frame["audio"][0].endswith("..\\out\\a.wav")
    assert list(table.problems) == ["1"]


def test_parquet_times_of_text_may_have_commas(tmp_path: Path) -> None:
    frame = pd.DataFrame([["1", "1", "a", "a.wav", "0,5", "12,25"]], columns=HEADER)
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")[0][["start", "stop"]].to_numpy().tolist() == [[0.5, 12.25]]
