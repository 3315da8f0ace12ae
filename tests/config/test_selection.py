"""Lists of subjects and numbers as users type them."""

from __future__ import annotations

import pytest
from failing import fails

from eavdash.config.selection import parse_numbers, parse_subjects
from eavdash.errors import UsageError


def test_ranges_take_the_subjects_that_exist() -> None:
    assert parse_subjects("1-42", ["1", "2", "10"]) == ("1", "2", "10")
    assert parse_subjects("2, anna,1-2", ["1", "2", "anna"]) == ("2", "anna", "1")
    assert parse_subjects("1-2", ["01", "02", "03"]) == ("01", "02")


def test_a_subject_named_like_a_range_is_itself() -> None:
    assert parse_subjects("1-2", ["1-2", "1", "2"]) == ("1-2",)


def test_an_incomplete_range_lists_the_subjects_that_it_took() -> None:
    notes: list[str] = []
    assert parse_subjects("1-2,2-9", ["1", "2", "5"], note=notes.append) == ("1", "2", "5")
    (note,) = notes
    assert note.startswith("--subjects 2-9: ")
    assert "2, 5" in note


def test_a_missing_subject_is_named() -> None:
    for text, missing in (("50", "50"), ("1,50", "50"), ("ann,1,7-9,2", "ann, 7-9")):
        with fails(UsageError, where="--subject", expected="1, 2, anna", found=missing) as caught:
            parse_subjects(text, ["1", "2", "anna"], "--subject")
        assert caught.value.found == missing


@pytest.mark.parametrize("text", ["", " , ", "5-9"])
def test_an_empty_selection_is_an_error(text: str) -> None:
    with fails(UsageError, where="--subjects", found=text):
        parse_subjects(text, ["1", "2"])


def test_numbers() -> None:
    assert parse_numbers("all", "--folds") == ()
    assert parse_numbers("0,2-4,2", "--folds") == (0, 2, 3, 4)
    for text in ("", "a", "-1", "1.5", "1,,2", "5-3", "9" * 19):
        with fails(UsageError, where="--folds", found=repr(text)):
            parse_numbers(text, "--folds")


@pytest.mark.parametrize("text", ["0-999999999", "0-9999,10000", "5,0-9999", f"0-{'9' * 18}"])
def test_a_long_list_is_counted_before_it_is_made(text: str) -> None:
    with fails(UsageError, where="--seeds", expected="10,000", found=text, remedy="fewer"):
        parse_numbers(text, "--seeds")
    assert len(parse_numbers("0-9999", "--seeds")) == 10_000


def test_a_number_that_python_does_not_convert_is_no_subject() -> None:
    for text in ("9" * 5000, f"1-{'9' * 5000}"):
        with fails(UsageError, where="--subjects", found="999..."):
            parse_subjects(text, ["1", "2"])
    assert parse_subjects("1-2", ["1", "\N{SUPERSCRIPT TWO}"]) == ("1",)
