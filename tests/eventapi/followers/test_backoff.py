"""The pauses between attempts."""

from __future__ import annotations

from math import inf

import pytest

from eventapi.followers.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "most", "seconds"),
    [(1, inf, 5), (4, inf, 40), (30, inf, 21_600), (30, 100, 100), (30, 1, 5), (30, -1, 5)],
)
def test_a_pause_has_limits(failures: int, most: float, seconds: float) -> None:
    assert Backoff(5, 21_600, lambda: 1).seconds(failures, most) == seconds


def test_pauses_grow_from_seconds_to_minutes_and_differ() -> None:
    longest = Backoff(share=lambda: 1.0)
    assert [longest.seconds(count) for count in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]
    shortest = Backoff(share=lambda: 0.0)
    assert [shortest.seconds(count) for count in (1, 2, 3, 10_000)] == [5, 5, 10, 150]
