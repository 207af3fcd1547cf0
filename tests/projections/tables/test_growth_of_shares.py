"""The cost of a share does not depend on how many there are."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from eventapi.testing.given import Happened, records_of, registered
from projections.state import State
from tests.kinds import INVOICE, KINDS
from tests.projections.tables.test_resources import created, shared, unshared

FEW, MANY = 1_000, 8_000
MOST_GROWTH = 4 * MANY / FEW
"""A quadratic cost grows by another factor of ``MANY / FEW``, which is 8."""


def to_many_users(count: int) -> list[Happened]:
    """A resource is shared with many users, and with none of them any more."""
    users = range(2, count + 2)
    shares, ends = [shared(1, user) for user in users], [unshared(1, user) for user in users]
    return [registered(1, "ann"), created(1, 1), *shares, *ends]


def of_many_resources(count: int) -> list[Happened]:
    """One user gets many resources."""
    numbers = range(1, count + 1)
    shares, ends = [shared(one, 2) for one in numbers], [unshared(one, 2) for one in numbers]
    return [registered(1, "ann"), *(created(one, 1) for one in numbers), *shares, *ends]


def seconds_of_fold(story: list[Happened], *, staged: bool) -> float:
    """The processor time of a fold; each ``staged`` event is decided first, as by the journal."""
    state, records = State.empty(KINDS), records_of(story)
    begun = time.process_time()
    for record in records:
        if staged and record.event.type in {INVOICE.shared.type, INVOICE.unshared.type}:
            state.stage().apply(record)
        state.apply(record)
    return time.process_time() - begun


@pytest.mark.long
@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("story", [to_many_users, of_many_resources])
def test_a_share_costs_the_same_however_many_there_are(
    story: Callable[[int], list[Happened]], staged: bool
) -> None:
    few = min(seconds_of_fold(story(FEW), staged=staged) for _ in range(3))
    assert seconds_of_fold(story(MANY), staged=staged) < MOST_GROWTH * few
