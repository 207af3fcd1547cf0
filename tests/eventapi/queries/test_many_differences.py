"""The differences of random pairs of moments equal the comparison of two folds."""

from __future__ import annotations

import asyncio

import pytest

from tests.eventapi.queries.many_differences import compare_pairs, long_log


@pytest.mark.parametrize(
    ("events", "pairs"), [(600, 20), pytest.param(20_000, 50, marks=pytest.mark.long)]
)
def test_random_pairs_of_moments_equal_two_folds(events: int, pairs: int) -> None:
    figures = asyncio.run(compare_pairs(long_log(events), pairs, 20))
    assert figures["differences"] > 20 * pairs
    assert figures["erased"] > pairs
