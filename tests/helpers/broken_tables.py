"""Broken and odd trial tables, as CSV and as parquet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from broken import Dataset
from made_media import sine, wav

from eavdash.data.table import open_table

HEADER = "subject,trial,label,group,start,stop,eeg,audio,video\n"
ROW = "1,1,a,,,,,a.wav,\n"


def csv(content: str | bytes, name: str = "trials.csv") -> Callable[[Path], Path]:
    """A table with this content, and a sound of two seconds beside it."""

    def make(folder: Path) -> Path:
        data = content if isinstance(content, bytes) else content.encode()
        (folder / "deep").mkdir()
        wav(folder / "a.wav", sine(440, 2, 16000, 0.5))
        wav(folder / "deep" / "b.wav", sine(550, 2, 16000, 0.5))
        (folder / name).write_bytes(data)
        return folder / name

    return make


def row(*cells: str) -> Callable[[Path], Path]:
    """A table with one sound row and one of these cells."""
    return csv(HEADER + ROW + ",".join(cells) + "\n")


def parquet(**columns: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        wav(folder / "a.wav", sine(440, 2, 16000, 0.5))
        usual = {"subject": ["1", "1"], "trial": ["1", "2"], "label": ["a", "b"], "audio": ["a.wav", "a.wav"]}
        frame = pd.DataFrame({name: pd.Series(cells, dtype=None) for name, cells in {**usual, **columns}.items()})
        frame.to_parquet(folder / "trials.parquet", index=False)
        return folder / "trials.parquet"

    return make


def unreadable_folder(folder: Path) -> Path:
    (folder / "trials.csv").mkdir()
    return folder / "trials.csv"


def looped(folder: Path) -> Path:
    (folder / "trials.csv").symlink_to("trials.csv")
    return folder / "trials.csv"


def piped(folder: Path) -> Path:
    os.mkfifo(folder / "trials.csv")
    return folder / "trials.csv"


def foreign(folder: Path) -> Path:
    """A table whose folder has a name that is not UTF-8."""
    (folder / "plain").mkdir()
    csv(HEADER + ROW)(folder / "plain")
    return (folder / "plain").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")) / "trials.csv"


def trials(count: int, path: Path, *labels: str) -> None:
    table = open_table(path)
    assert len(table.frame) == count
    assert not table.problems
    assert not labels or table.classes == labels


LONG = "x" * 10_000
CASES = [
    Dataset("empty table", csv(""), "an empty file"),
    Dataset("header alone", csv(HEADER), "at least one trial"),
    Dataset("blank lines alone", csv("\n\n,,\n \n"), "an empty file"),
    Dataset("latin-1", csv((HEADER + "1,1,glücklich,,,,,a.wav,\n").encode("latin-1")), "UTF-8 text"),
    Dataset("UTF-16", csv((HEADER + ROW).encode("utf-16")), "UTF-8 text"),
    Dataset("semicolons", csv((HEADER + ROW).replace(",", ";")), "columns separated by commas, found semicolons"),
    Dataset("tabs", csv((HEADER + ROW).replace(",", "\t")), "columns separated by commas, found tabs"),
    Dataset("a spreadsheet", csv(b"PK\x03\x04" + bytes(range(128, 256)) * 20), "UTF-8 text|columns"),
    Dataset("binary zeros", csv(bytes(3000)), "columns|line 1|a CSV file"),
    Dataset("a column twice", csv("subject,trial,label,audio,audio\n1,1,a,a.wav,a.wav\n"), "audio twice"),
    Dataset("no label column", csv("subject,trial,audio\n1,1,a.wav\n"), "no column label"),
    Dataset("no recordings", csv("subject,trial,label\n1,1,a\n"), "one of eeg, audio, video"),
    Dataset("no header", csv(ROW + "1,2,b,,,,,a.wav,\n"), "no column subject"),
    Dataset("a trial twice", csv(HEADER + ROW + ROW), "a second time"),
    Dataset("no label", row("1", "2", "", "", "", "", "", "a.wav", ""), "line 3: expected a label"),
    Dataset("no subject", row("", "2", "a", "", "", "", "", "a.wav", ""), "line 3: expected a subject"),
    Dataset("a field too many", csv(HEADER + ROW + "1,2,a,,,,,a.wav,,,\n"), "line 3: expected 9 fields"),
    Dataset("negative start", row("1", "2", "a", "", "-1", "1", "", "a.wav", ""), "start in seconds"),
    Dataset("stop before start", row("1", "2", "a", "", "1.5", "1", "", "a.wav", ""), "stop after start"),
    Dataset("stop at start", row("1", "2", "a", "", "1", "1", "", "a.wav", ""), "stop after start"),
    Dataset("NaN as text", row("1", "2", "a", "", "nan", "1", "", "a.wav", ""), "start in seconds"),
    Dataset("infinity as text", row("1", "2", "a", "", "0", "inf", "", "a.wav", ""), "stop in seconds"),
    Dataset("a time that no recording has", row("1", "2", "a", "", "0", "1e308", "", "a.wav", ""), "stop in seconds"),
    Dataset("times as clock", row("1", "2", "a", "", "00:01", "00:02", "", "a.wav", ""), "start in seconds"),
    Dataset("a comma in a number", csv(HEADER + '1,1,a,,"0,5",,,a.wav,\n'), "start in seconds"),
    Dataset("NUL in a path", csv(HEADER + "1,1,a,,,,,a\0.wav,\n"), "without control characters|line contains NUL"),
    Dataset("a line break in a label", csv(HEADER + '1,1,"a\nb",,,,,a.wav,\n'), "without control characters"),
    Dataset("a path of 10,000 characters", row("1", "2", "a", "", "", "", "", LONG, ""), "of 10000 characters"),
    Dataset("a field of a megabyte", csv(HEADER + f"1,1,{'y' * 2**20},,,,,a.wav,\n"), "a row of more than"),
    Dataset("a quotation mark left open", csv(HEADER + '1,1,"a,,,,,a.wav,\n1,2,b,,,,,a.wav,\n'), "quotation mark"),
    Dataset("a folder as table", unreadable_folder, "neither|known kind"),
    Dataset("a table that is a link to itself", looped, "found nothing"),
    Dataset("a pipe as table", piped, "Not a directory"),
    Dataset("nothing", lambda folder: folder / "absent.csv", "found nothing"),
    Dataset("an empty folder", lambda folder: folder, "neither"),
    Dataset("random bytes as parquet", csv(np.random.default_rng(0).bytes(5000), "trials.parquet"), "a parquet file"),
    Dataset("empty parquet", csv(b"", "trials.parquet"), "a parquet file"),
    Dataset("lists in parquet", parquet(label=[["a"], ["b", "c"]]), "a text or a number, found .* in column label"),
    Dataset("records in parquet", parquet(note=[{"a": 1}, {"a": 2}]), "a text or a number, found dict in column note"),
    Dataset("bytes in parquet", parquet(audio=[b"a.wav", b"a.wav"]), "found bytes in column audio"),
    Dataset("dates in parquet", parquet(start=pd.to_datetime(["2020-01-01", "2020-01-02"])), "start in seconds"),
    Dataset("no trials in parquet", parquet(subject=[None, None]), "expected a subject"),
    Dataset("a path to nothing", row("1", "2", "a", "", "", "", "", "gone.wav", ""), finding="gone.wav"),
    Dataset(
        "an absolute path to nothing", row("1", "2", "a", "", "", "", "", "/gone/b.wav", ""), finding="/gone/b.wav"
    ),
    Dataset("a path to a folder", row("1", "2", "a", "", "", "", "", "deep", ""), finding="deep"),
    Dataset("a path below a file", row("1", "2", "a", "", "", "", "", "a.wav/b.wav", ""), finding="a.wav/b.wav"),
    Dataset("stop beyond the end", row("1", "2", "a", "", "1", "9", "", "a.wav", ""), finding="1 to 9|1 s to 9 s"),
    Dataset("start beyond the end", row("1", "2", "a", "", "5", "", "", "a.wav", ""), finding="a.wav"),
    Dataset(
        "a trial without a recording",
        row("1", "2", "a", "", "", "", "", "", ""),
        finding="no audio",
        severity="warning",
    ),
    Dataset("a byte-order mark", csv("\ufeff" + HEADER + ROW), content=lambda p: trials(1, p, "a")),
    Dataset("lines of Windows", csv((HEADER + ROW).replace("\n", "\r\n")), content=lambda p: trials(1, p, "a")),
    Dataset("lines of an old Macintosh", csv((HEADER + ROW).replace("\n", "\r")), content=lambda p: trials(1, p, "a")),
    Dataset("quoted fields", csv(HEADER + '"1","1","a, b",,,,,"a.wav",\n'), content=lambda p: trials(1, p, "a, b")),
    Dataset("paths with dots", csv(HEADER + "1,1,a,,,,,deep/../a.wav,\n"), content=lambda p: trials(1, p)),
    Dataset("names in any script", csv(HEADER + "Åsa,試行,😀,,,,,a.wav,\n"), content=lambda p: trials(1, p, "😀")),
    Dataset("a note of two lines", csv("note," + HEADER + '"a\nb",' + ROW), content=lambda p: trials(1, p)),
    Dataset("numbers in parquet", parquet(subject=[1.0, 2.0], label=[1, 2]), content=lambda p: trials(2, p, "1", "2")),
    Dataset("a folder that is not UTF-8", foreign, "a path in UTF-8"),
]
