"""Checks of the journal's promises, kept apart so that controls can see them fail."""

from __future__ import annotations

import asyncio

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult
from eventapi.testing.given import profile
from events.errors import EventapiError, StorageFull, UsernameTaken
from tests.eventapi.harness import JournalHarness, Storage, opened


async def a_failed_write_leaves_memory_as_it_was(
    storage: Storage, error: Exception, told: type[EventapiError], *, vault: bool = False
) -> None:
    """Every waiter is told, nothing else changes, and the next write works under the same number.

    ``told`` is what the waiters get; the vault fails instead of the log if ``vault``.
    """
    async with opened(storage) as house:
        await house.register("ann")
        before = await house.sums()
        part = house.vault if vault else house.log
        part.error = error
        answers = await asyncio.gather(
            house.register("bob"), house.create(1), house.register("BOB"), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {told}, answers
        assert await house.sums() == before
        assert house.log.batches == [1]
        part.error = None
        bob = await house.register("bob")
        assert (bob.record.subject, bob.record.position) == ("users/2", 2)
        assert (await house.create(2)).record.subject == "items/1"
        sums = await house.sums()
    async with opened(storage) as again:
        assert await again.sums() == sums


async def nobody_sees_a_write_before_it_is_durable(storage: Storage) -> None:
    """Neither its waiter, nor a reader, nor one who is refused because of it."""
    async with opened(storage) as house:
        house.log.hold()
        before = await house.sums()
        writes = [
            asyncio.create_task(house.register("ann")),
            asyncio.create_task(
                house.journal.execute(RegisterUser(profile("ANN", email="another@example.org")))
            ),
        ]
        await house.log.held()
        assert await house.sums() == before, "a reader saw it"
        assert not any(write.done() for write in writes), "a waiter was told"
        house.log.let_go()
        granted, refused = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(granted, CommandResult)
        assert isinstance(refused, UsernameTaken)


async def what_is_acknowledged_is_seen_everywhere(storage: Storage) -> None:
    """A read that begins after a write was answered sees it, whichever journal wrote."""
    async with opened(storage) as one, opened(storage) as other:
        for number in range(1, 11):
            writer, reader = (one, other) if number % 2 else (other, one)
            outcome = await writer.register(f"user{number}")
            state = await reader.state()
            assert state.position == outcome.record.position == number
            assert state.users.find_by_username(f"user{number}") == outcome.entity
        assert await one.sums() == await other.sums()


async def concurrent_writers_never_collide(storage: Storage) -> None:
    """Numbers and positions are given out once, and everybody agrees, also after a restart."""
    async with opened(storage) as one, opened(storage) as other:
        await one.register("ann")
        writes = [house.create(1) for _ in range(40) for house in (one, other)]
        outcomes = await asyncio.gather(*writes)
        assert len({outcome.record.subject for outcome in outcomes}) == 80
        assert sorted(outcome.record.position for outcome in outcomes) == list(range(2, 82))
        assert await one.sums() == await other.sums()
        sums = await one.sums()
    async with opened(storage) as again:
        assert await again.sums() == sums


async def a_key_is_kept_before_its_first_line(storage: Storage) -> None:
    """The vault is asked to keep the key, and has done so, before the log is appended to."""
    async with opened(storage) as house:
        await house.register("ann")
        await house.create(1)
        assert house.trace == ["put", "append", "append"]


async def the_key_of_a_failed_registration_disturbs_no_other_journal(storage: Storage) -> None:
    """Another journal registers somebody under the number that was not used after all."""
    async with opened(storage) as one, opened(storage) as other:
        one.log.error = StorageFull("full")
        with pytest.raises(StorageFull):
            await one.register("bob")
        one.log.error = None
        await other.register("eve")
        assert await registered_names(one) == {"eve"}
        await one.create(1)
        assert await one.sums() == await other.sums()


async def registered_names(house: JournalHarness) -> set[str]:
    """The names in use, as a reader sees them."""
    return set((await house.state()).users.ids_by_name)
