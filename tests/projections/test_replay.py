"""A replay restores the live state: whole, up to a position or a time, and after an erasure."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.given import Happened, at, created, folded_records, registered, started
from eventapi.testing.items import ITEMS, empty_state
from eventapi.testing.sample_log import Written, erased_users, write
from eventapi.testing.strategies import sound_histories
from events.errors import DamagedLog
from events.log.memory import MemoryLog
from events.log.port import Head
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vocabulary.users import UserErased
from projections.replay import replay
from projections.state import State

STORY = [
    registered(1, "ann"),
    registered(2, "bob"),
    created(1, 1),
    started("s1", 1),
    created(2, 2),
    ("users/1", UserErased()),
]


def sums(state: State) -> tuple[str, str]:
    return state.digest(), state.checksum()


def replayed(
    written: Written,
    *,
    destroyed: set[str] | None = None,
    position: int | None = None,
    time: str | None = None,
) -> State:
    """Replay the log after some keys are destroyed."""

    async def run() -> State:
        vault = await written.vault(destroyed or set())
        return await replay(written.log, Keyring(), vault, ITEMS, position=position, time=time)

    return asyncio.run(run())


@given(sound_histories())
def test_replay_restores_the_live_state(history: list[Happened]) -> None:
    written = write(history)
    live = folded_records(written.records)
    assert sums(replayed(written)) == sums(live)
    assert replayed(written).last == live.last


def test_empty_log_folds_to_the_empty_state() -> None:
    assert sums(replayed(write([]))) == sums(empty_state())


@given(sound_histories(max_size=15))
def test_a_replay_up_to_any_position_is_the_fold_of_that_many_lines(
    history: list[Happened],
) -> None:
    written = write(history)
    for position in range(len(history) + 1):
        state = replayed(written, position=position)
        assert sums(state) == sums(folded_records(written.records[:position]))
        assert state.position == position


def test_a_position_behind_the_end_means_the_end() -> None:
    assert replayed(write(STORY), position=99).position == len(STORY)


@given(sound_histories(max_size=15))
def test_replay_up_to_a_time_folds_the_events_up_to_it(history: list[Happened]) -> None:
    written = write(history)
    for second in range(len(history) + 2):
        state = replayed(written, time=at(second))
        by_then = [record for record in written.records if record.time <= at(second)]
        assert sums(state) == sums(folded_records(by_then))


@given(sound_histories())
def test_replay_after_an_erasure_restores_the_live_state(history: list[Happened]) -> None:
    """Without the keys of the erased, nothing that is left differs, in either sum."""
    written = write(history)
    live = folded_records(written.records)
    assert sums(replayed(written, destroyed=erased_users(live))) == sums(live)


@given(sound_histories(max_size=15))
def test_a_later_erasure_does_not_change_the_digest_at_an_earlier_position(
    history: list[Happened],
) -> None:
    written = write(history)
    destroyed = erased_users(folded_records(written.records))
    for position in range(len(history) + 1):
        then = folded_records(written.records[:position])
        assert replayed(written, destroyed=destroyed, position=position).digest() == then.digest()


def test_user_before_the_erasure_exists_but_is_unreadable() -> None:
    state = replayed(write(STORY), destroyed={"users/1"}, position=5)
    assert state.users.by_id[1].username == ""
    assert state["items"].by_id[1].title == ""
    assert state.sessions.by_id["s1"].address is None
    assert state.users.find_by_username("ann") is None
    assert state.users.find_by_username("bob") is not None


def test_a_key_missing_without_an_erasure_shows_in_the_checksum() -> None:
    """The control: the comparison after an erasure would notice a difference."""
    written = write(STORY)
    lossy = replayed(written, destroyed={"users/2"})
    live = folded_records(written.records)
    assert lossy.digest() == live.digest()
    assert lossy.checksum() != live.checksum()


def test_keyring_gets_the_keys_of_users_who_are_not_erased() -> None:
    async def run() -> set[str]:
        written, keyring = write(STORY), Keyring()
        await replay(written.log, keyring, await written.vault(), ITEMS)
        return set(keyring)

    assert asyncio.run(run()) == {"users/2"}


def test_key_without_a_user_is_skipped() -> None:
    """A failed registration leaves one behind, and the next one stores another in its place."""

    async def run() -> set[str]:
        written, keyring = write(STORY[:2]), Keyring()
        vault = await written.vault()
        await vault.put({"users/3": bytes(32)})
        await replay(written.log, keyring, vault, ITEMS)
        return set(keyring)

    assert asyncio.run(run()) == {"users/1", "users/2"}


def test_a_seal_under_another_key_is_damage_and_names_the_place() -> None:
    async def run() -> None:
        written = write(STORY)
        vault = await written.vault()
        await vault.put({"users/2": bytes(32)})
        await replay(written.log, Keyring(), vault, ITEMS)

    with pytest.raises(DamagedLog) as caught:
        asyncio.run(run())
    assert caught.value.position == 2


@pytest.mark.parametrize("position", range(1, len(STORY) + 1))
def test_a_changed_line_is_damage_and_names_the_place(position: int) -> None:
    written = write(STORY)
    lines = list(written.lines)
    lines[position - 1] = lines[position - 1].replace(b"operator/test", b"operator/evil")

    async def run() -> None:
        log = MemoryLog(lines, Head(len(lines), written.records[-1].hash))
        await replay(log, Keyring(), await written.vault(), ITEMS)

    with pytest.raises(DamagedLog) as caught:
        asyncio.run(run())
    assert caught.value.position == position


@given(st.integers(0, 3))
def test_progress_ends_at_the_position_reached(missing: int) -> None:
    written = write(STORY[missing:] if not missing else STORY[:-missing])
    seen: list[int] = []

    async def run() -> State:
        return await replay(written.log, Keyring(), MemoryVault(), ITEMS, progress=seen.append)

    assert asyncio.run(run()).position == seen[-1]
