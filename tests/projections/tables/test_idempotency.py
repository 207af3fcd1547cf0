"""Receipts: kept for a day by a running clock, bounded, and not beyond an erasure."""

from __future__ import annotations

import msgspec
import pytest

from eventapi.testing.given import created, records_of, registered
from eventapi.testing.items import empty_state
from events.record import Record
from events.vocabulary.users import UserErased
from projections.state import State
from projections.tables.idempotency import IdempotencyRecords

STORY = records_of(
    [registered(1, "ann"), registered(2, "bob"), *(created(number, 1) for number in range(1, 9))]
)


def at(day: int, hour: int = 0, second: int = 0) -> str:
    return f"2026-02-{day:02}T{hour:02}:00:{second:02}.000000Z"


def keyed(record: Record, time: str, user: int = 1) -> Record:
    """A record that is the effect of a request with a key."""
    return msgspec.structs.replace(
        record,
        idempotencykey=f"key {record.position}",
        requesthash="sealed",
        sealedfor=f"users/{user}",
        time=time,
    )


def at_times(*times: str, per_user: int = 100, in_all: int = 100) -> State:
    """The state of records with keys, at these times."""
    state = empty_state()
    state.idempotency = IdempotencyRecords(per_user, in_all)
    for record, time in zip(STORY, times, strict=False):
        state.apply(keyed(record, time))
    return state


def hourly(first: int, count: int) -> list[str]:
    """One time every hour, from the first day of February on."""
    return [at(1 + hour // 24, hour % 24) for hour in range(first, first + count)]


def is_valid(state: State, key: str, now: str) -> bool:
    return state.idempotency.valid(key, now, state.last.time) is not None


def keys_of(state: State) -> list[str]:
    return list(state.idempotency.by_key)


def test_idempotency_record_has_the_position_of_the_effect() -> None:
    state = at_times(at(1), at(1))
    receipt = state.idempotency.valid("key 2", at(1), state.last.time)
    assert receipt is not None
    assert (receipt.position, receipt.subject) == (2, "users/2")
    assert (receipt.user, receipt.request) == ("users/1", "sealed")


def with_records_every_hour(hours: int) -> State:
    """A receipt at the first hour, and a record without a key every hour after it."""
    state = empty_state()
    state.apply(keyed(STORY[0], at(1)))
    for number, time in enumerate(hourly(1, hours), 2):
        state.apply(msgspec.structs.replace(STORY[1], position=number, time=time))
    return state


def test_idempotency_record_is_valid_for_a_day() -> None:
    state = with_records_every_hour(24)
    assert is_valid(state, "key 1", at(2))
    assert not is_valid(state, "key 1", at(2, 0, 1))


@pytest.mark.parametrize("now", [at(3), "2036-01-01T00:00:00.000000Z"])
def test_clock_jump_ages_idempotency_records_by_at_most_an_hour(now: str) -> None:
    """Before the jump is in the log, and also once a record was written at that time."""
    state = at_times(at(1), at(1))
    assert is_valid(state, "key 1", now)
    state.apply(msgspec.structs.replace(STORY[2], time=now))
    assert is_valid(state, "key 1", now)


def test_control_plain_times_would_expire_idempotency_records_after_a_jump(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("projections.tables.idempotency.MAX_GAP_MICROSECONDS", 1 << 60)
    assert not is_valid(at_times(at(1)), "key 1", at(3))


def test_clock_jump_back_makes_no_idempotency_record_younger() -> None:
    state = with_records_every_hour(24)
    state.apply(msgspec.structs.replace(STORY[2], time=at(1, 5)))
    assert not is_valid(state, "key 1", at(1, 6, 1))


def test_fold_does_not_fail_on_an_invalid_time() -> None:
    state = at_times(at(1), "2026-99-99T00:00:00.000000Z", "no time", "2026-01-01", at(1))
    assert is_valid(state, "key 1", at(1))


def test_old_idempotency_records_are_dropped_when_one_is_added() -> None:
    state = with_records_every_hour(24)
    state.apply(keyed(STORY[2], at(2, 0, 1)))
    assert keys_of(state) == ["key 3"]


def test_newest_idempotency_records_of_a_user_are_kept() -> None:
    state = at_times(*hourly(0, 5), per_user=3)
    state.apply(keyed(STORY[5], at(1, 6), user=2))
    assert keys_of(state) == ["key 3", "key 4", "key 5", "key 6"]


def test_newest_idempotency_records_of_all_users_are_kept() -> None:
    state = at_times(*hourly(0, 2), in_all=3)
    for record in STORY[2:5]:
        state.apply(keyed(record, at(1, 6), user=2))
    assert keys_of(state) == ["key 3", "key 4", "key 5"]


def test_a_key_that_is_used_again_counts_as_new() -> None:
    state = at_times(*hourly(0, 3), per_user=3)
    again = keyed(STORY[3], at(1, 4))
    state.apply(msgspec.structs.replace(again, idempotencykey="key 1"))
    assert keys_of(state) == ["key 2", "key 3", "key 1"]


def test_staged_idempotency_records_do_not_change_the_base() -> None:
    state = with_records_every_hour(24)
    draft = state.stage()
    draft.apply(keyed(STORY[2], at(2, 0, 1)))
    assert is_valid(draft, "key 3", at(2, 0, 1))
    assert not is_valid(draft, "key 1", at(2, 0, 1))
    assert keys_of(state) == ["key 1"]


@pytest.mark.parametrize("drafts", range(3))
def test_erased_user_has_no_idempotency_record(drafts: int) -> None:
    state = at_times(at(1), at(1))
    state.apply(keyed(STORY[2], at(1), user=2))
    for _ in range(drafts):
        state = state.stage()
    source = STORY[0].source
    state.apply(Record(4, source, "users/1", at(1), "users/1", UserErased()))
    assert keys_of(state) == ["key 3"]
    assert not is_valid(state, "key 1", at(1))
    assert is_valid(state, "key 3", at(1))


def test_idempotency_records_change_the_checksum_and_not_the_digest() -> None:
    plain, with_keys = empty_state(), empty_state()
    for record in STORY:
        plain.apply(record)
        with_keys.apply(msgspec.structs.replace(record, idempotencykey="key"))
    assert plain.digest() == with_keys.digest()
    assert plain.checksum() != with_keys.checksum()
