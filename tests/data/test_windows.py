"""How windows tile a trial."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from eavdash.data.windows import tile


@pytest.mark.parametrize(
    ("duration", "spans"),
    [
        (20.0, [(0, 5), (5, 10), (10, 15), (15, 20)]),
        (20.1, [(0, 5), (5, 10), (10, 15), (15, 20)]),
        (19.9, [(0, 5), (5, 10), (10, 15), (15, 19.9)]),
        (7.5, [(0, 5), (5, 7.5)]),
        (7.4, [(0, 5)]),
        (5.0, [(0, 5)]),
        (0.3, [(0, 0.3)]),
        (0.0, []),
        (-1.0, []),
    ],
)
def test_tiles(duration: float, spans: list[tuple[float, float]]) -> None:
    np.testing.assert_allclose(np.reshape(tile(duration, 5.0), (-1, 2)), np.reshape(spans, (-1, 2)), atol=1e-9)


def test_tiles_follow_one_another_and_lose_less_than_half_a_window() -> None:
    rng = np.random.default_rng(0)
    for duration, window in rng.uniform(0.5, 60, (200, 2)):
        spans = tile(duration, window)
        assert spans[0][0] == 0
        assert all(a[1] == b[0] for a, b in pairwise(spans))
        assert spans[-1][1] <= duration + 1e-4
        assert spans[-1][1] > duration - window / 2 - 1e-4


def test_rounding_of_the_duration_does_not_lose_a_window() -> None:
    assert len(tile(0.1 * 3, 0.1)) == 3
