"""Names, numbers and sizes as text."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eavdash.errors import UsageError, sentence
from eavdash.text import json_text, markdown, natural_key, natural_order, plural, size, visible


@given(st.lists(st.text(max_size=6), unique=True))
def test_natural_order_is_total(texts: list[str]) -> None:
    backwards = texts[::-1]
    assert sorted(texts, key=natural_key) == sorted(backwards, key=natural_key)


def test_natural_order_counts() -> None:
    names = ["01", "1", "2", "10", "S1", "s9", "s10"]
    assert sorted(sorted(names), key=natural_key) == names


def test_natural_order_takes_each_text_once() -> None:
    assert natural_order(["s10", "s9", "s10", "S1"]) == ("S1", "s9", "s10")


@given(st.lists(st.text(max_size=6)))
def test_natural_order_takes_any_text(texts: list[str]) -> None:
    assert set(natural_order(texts)) == set(texts)  # digits such as "²" are no numbers


@pytest.mark.parametrize(("number", "text"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1200, "1,200 runs")])
def test_a_number_with_its_noun(number: int, text: str) -> None:
    assert plural(number, "run") == text


def test_a_noun_with_another_plural() -> None:
    assert [plural(n, "study", "studies") for n in (1, 2)] == ["1 study", "2 studies"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (-1, "0 B"),
        (999, "999 B"),
        (2_000, "2.0 kB"),
        (63_400_000, "63 MB"),
        (3_100_000_000, "3.1 GB"),
        (2_000 * 10**12, "2000 TB"),
    ],
)
def test_bytes(number: int, text: str) -> None:
    assert size(number) == text


def test_numbers_of_any_length_are_in_natural_order() -> None:
    long = "9" * 5000
    assert natural_order([f"1{long}", long, "10", "9", "010"]) == ("9", "010", "10", long, f"1{long}")


UNSEEN = {
    "joiners": "\u200b\u200c\u200d\u2060\ufeff",
    "marks of direction": "\u200e\u200f\u061c\u202a\u2066",
    "hyphens and selectors": "\u00ad\u034f\ufe0f\U000e0100",
    "fillers": "\u115f\u3164\uffa0\u2800\u180e",
    "tags": "\U000e0001\U000e0041\U000e007f",
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_what_cannot_be_seen_is_an_escape(kind: str) -> None:
    for character in UNSEEN[kind]:
        shown = visible(f"a{character}b")
        assert shown == f"a{character.encode('unicode_escape').decode()}b"
        assert character not in markdown(f"a{character}b")
        document = json.dumps({"name": f"a{character}b"}, ensure_ascii=False)
        assert character not in json_text(document)
        assert json.loads(json_text(document)) == json.loads(document)


def test_everything_that_can_be_seen_stays() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    for kind in ("L", "N", "P", "S", "Zs"):
        blank = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"}
        seen = "".join(c for c in every if unicodedata.category(c).startswith(kind) and c not in blank)
        assert visible(seen) == seen


def test_a_message_cuts_a_place_of_thousands_of_characters() -> None:
    error = UsageError.at("/" + "a" * 20_000, expected="a folder", found="none", remedy="correct it")
    assert len(str(error)) < 1100
    assert str(error).endswith("...: expected a folder, found none; correct it.")
    assert len(error.where) == 20_001


def test_a_message_has_one_full_stop_whatever_a_library_reports() -> None:
    assert sentence("x", "30 channels", "19; more are not released.", "take fewer") == (
        "x: expected 30 channels, found 19; more are not released; take fewer."
    )
    assert sentence("x", "a name", "'ab...", "see the list.").endswith("found 'ab...; see the list.")
