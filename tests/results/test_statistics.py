"""Intervals, the chance line and paired comparisons against known values."""

from __future__ import annotations

import pytest

from eavdash.results import statistics as st
from eavdash.results.paper import CAVEATS, table1


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, Stat. Med. 17:857, table I, method 3 (score).
    assert st.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert st.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert st.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert st.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert st.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "line"), [(120, 31 / 120), (30, 10 / 30), (100, 0.27)])
def test_chance_line_of_five_classes(n: int, line: float) -> None:
    assert st.chance_line(n, 5) == pytest.approx(line)


def test_chance_line_rises_with_an_unbalanced_class() -> None:
    assert st.chance_line(100, 2, majority=0.7) > st.chance_line(100, 2)
    assert st.chance_line(0, 5) == 1.0


def test_too_few_names_the_numbers() -> None:
    assert st.too_few(20) == ""
    assert "19 of at least 20" in st.too_few(19)
    low, high = st.wilson(st.MIN_TRIALS // 2, st.MIN_TRIALS)  # the constant matches its comment
    assert high - low == pytest.approx(0.4, abs=0.01)


def test_the_papers_table() -> None:
    table = table1()
    assert table["subject"].nunique() == 42
    means = table.groupby("stage")["accuracy"].mean() * 100
    assert means.round(2).to_dict() == {"audio": 58.17, "eeg": 53.51, "fusion": 70.86, "vision": 67.22}
    assert set(table[table["stage"] == "fusion"]["level"]) == {"frame"}
    assert CAVEATS
