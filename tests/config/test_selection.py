"""Subjects and numbers as people type them."""

from __future__ import annotations

import pytest

from eavdash.config.selection import parse_numbers, parse_subjects
from eavdash.errors import UsageError


def test_ranges_take_the_subjects_that_are_there() -> None:
    assert parse_subjects("1-42", ["1", "2", "10"]) == ("1", "2", "10")
    assert parse_subjects("2, anna,1-2", ["1", "2", "anna"]) == ("2", "anna", "1")
    assert parse_subjects("1-2", ["01", "02", "03"]) == ("01", "02")


def test_a_subject_named_like_a_range_is_itself() -> None:
    assert parse_subjects("1-2", ["1-2", "1", "2"]) == ("1-2",)


def test_a_range_says_what_it_took_where_some_of_it_is_not_there() -> None:
    said: list[str] = []
    assert parse_subjects("1-2,2-9", ["1", "2", "5"], say=said.append) == ("1", "2", "5")
    assert said == ["--subjects 2-9: there are 2, 5"]


def test_a_subject_that_is_not_there_is_named() -> None:
    for text, lacking in (("50", "50"), ("1,50", "50"), ("ann,1,7-9,2", "ann, 7-9")):
        with pytest.raises(UsageError, match=rf"--subject: expected some of 1, 2, anna, found {lacking};"):
            parse_subjects(text, ["1", "2", "anna"], "--subject")


@pytest.mark.parametrize("text", ["", " , ", "5-9"])
def test_nobody_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="--subjects"):
        parse_subjects(text, ["1", "2"])


def test_numbers() -> None:
    assert parse_numbers("all", "--folds") == ()
    assert parse_numbers("0,2-4,2", "--folds") == (0, 2, 3, 4)
    for text in ("", "a", "-1", "1.5", "1,,2"):
        with pytest.raises(UsageError, match="--folds"):
            parse_numbers(text, "--folds")
