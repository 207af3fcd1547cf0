"""Receipts: kept for a day by the times in the log, and not beyond an erasure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventapi.testing.given import created, records_of, registered
from events.record import Record
from events.users import UserErased
from projections.state import State

DAY = 86_400


def receipted(records: Sequence[Record], *times: tuple[int, str]) -> State:
    """The state of records, some of which are the effect of a request with a key, at a time."""
    state = State.empty()
    marks = dict(times)
    for record in records:
        if record.position in marks:
            sealed = msgspec.structs.replace(
                record,
                idempotencykey=f"key {record.position}",
                sealedfor="users/1",
                time=marks[record.position],
            )
            state.apply(sealed)
        else:
            state.apply(record)
    return state


STORY = records_of([registered(1, "ann"), created(1, 1), created(2, 1), created(3, 1)])


def at_day(day: int, second: int = 0) -> str:
    return f"2026-02-{day:02}T00:00:{second:02}.000000Z"


def test_a_receipt_holds_the_entity_as_it_stood() -> None:
    state = receipted(STORY, (2, at_day(1)))
    receipt = state.receipts.valid("key 2", at_day(1))
    assert receipt is not None
    assert receipt.entity == state.items.by_id[1]


def test_a_receipt_is_good_for_a_day_and_no_longer() -> None:
    state = receipted(STORY, (2, at_day(1)))
    assert state.receipts.valid("key 2", at_day(2)) is not None
    assert state.receipts.valid("key 2", at_day(2, 1)) is None


def test_old_receipts_leave_memory_when_a_new_one_comes() -> None:
    state = receipted(STORY, (2, at_day(1)), (3, at_day(1, 1)), (4, at_day(2, 1)))
    assert list(state.receipts.by_key) == ["key 3", "key 4"]


def test_a_draft_lets_go_of_old_receipts_without_touching_the_base() -> None:
    state = receipted(STORY[:3], (2, at_day(1)), (3, at_day(1, 1)))
    draft = state.draft()
    last = msgspec.structs.replace(STORY[3], idempotencykey="key 4", time=at_day(2, 1))
    draft.apply(last)
    assert set(draft.receipts.by_key) == {"key 3", "key 4"}
    assert list(state.receipts.by_key) == ["key 2", "key 3"]


def test_an_erased_user_leaves_no_receipt() -> None:
    state = receipted(STORY, (2, at_day(1)), (3, at_day(1)))
    erasure = Record(5, STORY[0].source, "users/1", at_day(1), "users/1", UserErased())
    state.apply(erasure)
    assert not state.receipts.by_key


def test_receipts_count_in_the_checksum_and_not_in_the_digest() -> None:
    plain, receipts = receipted(STORY), receipted(STORY, (2, STORY[1].time))
    assert plain.digest() == receipts.digest()
    assert plain.checksum() != receipts.checksum()
