"""Names that differ only in their spelling: one Unicode form for new studies, warnings, and the merge on request."""

from __future__ import annotations

from pathlib import Path

import pytest
from failing import fails
from hypothesis import given
from hypothesis import strategies as st

from eavdash.config.convert import from_dict, to_dict, with_settings
from eavdash.config.presets import PRESETS, preset
from eavdash.config.schema import NamesConfig
from eavdash.data.spelling import doubts, spell
from eavdash.data.table import TrialTable, open_table, select
from eavdash.errors import TableError
from eavdash.health.check import check_dataset

QUICK = preset("quick")
MERGED = with_settings(QUICK, ["names.labels=merged", "names.subjects=merged"])
WRITTEN = with_settings(QUICK, ["names.labels=written", "names.subjects=written"])
COMPOSED, DECOMPOSED = "fröhlich", "fro\u0308hlich"


def table(folder: Path, *rows: str, columns: str = "subject,trial,label,audio") -> TrialTable:
    (folder / "x.wav").write_bytes(b"x")
    (folder / "trials.csv").write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return open_table(folder)


@pytest.mark.parametrize(
    ("names", "merged"),
    [
        (["Happy", "happy", "HAPPY", "happy\u200b", "\ufeffhappy", "ｈａｐｐｙ"], "happy"),
        (["very happy", "very  happy", "Very\u00a0happy", "very\thappy"], "very happy"),
        ([COMPOSED, DECOMPOSED, "FRÖHLICH"], COMPOSED),
        (["1", "1.0", "01", "1,0", "+1", "1.", "001.00"], "1"),
        (["0", "0.0", "00"], "0"),
        (["1.5", "1,50", "01.5"], "1.5"),
        (["-1", "-1.0"], "-1"),
        (["10"], "10"),
        (["S01"], "s01"),
        (["1.0.0"], "1.0.0"),
    ],
)
def test_merged_names(names: list[str], merged: str) -> None:
    assert {spell(name, "merged") for name in names} == {merged}


@given(st.text(max_size=12), st.sampled_from(["written", "unicode", "merged"]))
def test_a_name_is_spelled_once_and_for_all(name: str, how: str) -> None:
    once = spell(name, how)
    assert spell(once, how) == once


def test_labels_of_two_unicode_forms_are_one_class_in_new_studies(tmp_path: Path) -> None:
    opened = table(tmp_path, f"1,1,{COMPOSED},x.wav", f"1,2,{DECOMPOSED},x.wav", "1,3,sad,x.wav")
    assert len(opened.classes) == 3
    assert select(opened, QUICK).classes == (COMPOSED, "sad")
    assert len(select(opened, WRITTEN).classes) == 3
    (sentence,) = doubts(opened.frame, QUICK.names)
    assert "taken as one" in sentence
    assert "taken as one" not in doubts(opened.frame, WRITTEN.names)[0]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["Happy", "happy", "sad"], ("'Happy' in 1 trial", "'happy' in 1 trial")),
        (["1", "1.0", "2"], ("'1' in 1 trial", "'1.0' in 1 trial")),
        (["a b", "a  b", "c"], ("'a b'", "'a  b'")),
    ],
)
def test_labels_alike_are_named_and_merged_on_request(
    tmp_path: Path, labels: list[str], names: tuple[str, ...]
) -> None:
    opened = table(tmp_path, *(f"1,{n},{label},x.wav" for n, label in enumerate(labels)))
    (sentence,) = doubts(opened.frame, QUICK.names)
    assert all(name in sentence for name in names)
    assert "names.labels=merged" in sentence
    assert len(select(opened, QUICK).classes) == 3
    merged = select(opened, MERGED)
    assert len(merged.classes) == 2
    assert doubts(merged.frame, MERGED.names) == []


@pytest.mark.parametrize("label", ["nan", "NaN", "NA", "N/A", "None", "null", "<NA>", "#N/A", "NaT"])
def test_labels_that_stand_for_nothing_are_named(tmp_path: Path, label: str) -> None:
    opened = table(tmp_path, f"1,1,{label},x.wav", "1,2,sad,x.wav", f"1,3,{label},x.wav")
    (sentence,) = doubts(opened.frame, QUICK.names)
    assert f"{label!r} in 2 trials" in sentence
    report = check_dataset(tmp_path, config=QUICK)
    assert [f.severity for f in report.findings if repr(label) in f.message] == ["warning"]


def test_subjects_alike_are_named_and_merged_on_request(tmp_path: Path) -> None:
    rows = ["S01,1,a,x.wav", "s01,2,b,x.wav", "S02,1,a,gone.wav", "s02 ,2,b,x.wav"]
    opened = table(tmp_path, *rows)
    found = doubts(opened.frame, QUICK.names)
    assert len(found) == 2
    assert "'S01' in 1 trial and 's01' in 1 trial" in found[0]
    assert "names.subjects=merged" in found[0]
    assert select(opened, QUICK).subjects == ("S01", "s01", "s02")
    merged = select(opened, MERGED)
    assert merged.subjects == ("s01",)
    assert list(merged.problems) == ["s02"]
    assert select(opened, MERGED, ["S01"]).subjects == ("s01",)
    # Of the result of a selection, as the frozen table is.
    assert select(merged, MERGED, ["s01"]).frame.equals(merged.frame)
    chosen = select(opened, with_settings(MERGED, ["where=subject=S01", "names.labels=written"]))
    assert chosen.frame["trial"].tolist() == ["1", "2"]


def test_a_trial_that_two_merged_subjects_have_is_an_error(tmp_path: Path) -> None:
    opened = table(tmp_path, "S01,1,a,x.wav", "s01,1,b,x.wav")
    with fails(TableError, where="subject s01, trial 1", found="'S01' and 's01'"):
        select(opened, MERGED)


def test_groups_alike_are_named_and_merged_with_the_subjects(tmp_path: Path) -> None:
    opened = table(
        tmp_path,
        "1,1,a,x.wav,Morning",
        "1,2,b,x.wav,morning",
        "1,3,b,x.wav,",
        columns="subject,trial,label,audio,group",
    )
    (sentence,) = doubts(opened.frame, QUICK.names)
    assert "'Morning' and 'morning' of subject 1" in sentence
    assert select(opened, MERGED).frame["group"].tolist() == ["morning", "morning", "3"]


def test_trials_in_their_own_groups_raise_no_doubt(tmp_path: Path) -> None:
    assert doubts(table(tmp_path, "1,1,a,x.wav", "1,01,b,x.wav").frame, QUICK.names) == []


def test_a_table_whose_names_are_plain_stays_the_same_object(tmp_path: Path) -> None:
    opened = table(tmp_path, "1,1,a,x.wav", "1,2,b,x.wav")
    for config in (QUICK, MERGED, WRITTEN):
        assert select(opened, config).frame.equals(opened.frame)


def test_a_study_without_the_setting_keeps_its_names_as_written() -> None:
    for name in PRESETS:
        config = preset(name)
        assert config.names == NamesConfig("unicode", "unicode")
        older = to_dict(config)
        del older["names"]
        assert from_dict(older).names == NamesConfig("written", "written")
