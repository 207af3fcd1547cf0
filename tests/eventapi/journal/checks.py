"""Checks of the journal's promises, in a module so that controls can show that they fail."""

from __future__ import annotations

import asyncio

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult
from eventapi.testing.given import profile
from events.errors import EventapiError, StorageFull, UsernameTaken
from tests.eventapi.harness import JournalHarness, Storage, open_harness


async def failed_write_leaves_memory_unchanged(
    storage: Storage, error: Exception, answer: type[EventapiError], *, vault: bool = False
) -> None:
    """Every waiter gets ``answer``, nothing else changes, and the next write gets the same number.

    With ``vault`` the vault fails instead of the log.
    """
    async with open_harness(storage) as harness:
        await harness.register("ann")
        before = await harness.sums()
        part = harness.vault if vault else harness.log
        part.error = error
        answers = await asyncio.gather(
            harness.register("bob"),
            harness.create(1),
            harness.register("BOB"),
            return_exceptions=True,
        )
        assert {type(one) for one in answers} == {answer}, answers
        assert await harness.sums() == before
        assert harness.log.batches == [1]
        part.error = None
        bob = await harness.register("bob")
        assert (bob.record.subject, bob.record.position) == ("users/2", 2)
        assert (await harness.create(2)).record.subject == "items/1"
        sums = await harness.sums()
    async with open_harness(storage) as again:
        assert await again.sums() == sums


async def write_is_invisible_until_durable(storage: Storage) -> None:
    """Neither its waiter sees it, nor a reader, nor a command that is refused because of it."""
    async with open_harness(storage) as harness:
        harness.log.hold()
        before = await harness.sums()
        writes = [
            asyncio.create_task(harness.register("ann")),
            asyncio.create_task(
                harness.journal.execute(RegisterUser(profile("ANN", email="another@example.org")))
            ),
        ]
        await harness.log.wait_until_held()
        assert await harness.sums() == before, "a reader saw the write"
        assert not any(write.done() for write in writes), "a waiter got an answer"
        harness.log.release()
        granted, refused = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(granted, CommandResult)
        assert isinstance(refused, UsernameTaken)


async def acknowledged_write_is_seen_by_every_journal(storage: Storage) -> None:
    """A read that begins after the answer to a write sees it, whichever journal wrote."""
    async with open_harness(storage) as one, open_harness(storage) as other:
        for number in range(1, 11):
            writer, reader = (one, other) if number % 2 else (other, one)
            outcome = await writer.register(f"user{number}")
            state = await reader.state()
            assert state.position == outcome.record.position == number
            assert state.users.find_by_username(f"user{number}") == outcome.entity
        assert await one.sums() == await other.sums()


async def concurrent_writers_never_collide(storage: Storage) -> None:
    """Numbers and positions are used once, and all journals agree, also after a restart."""
    async with open_harness(storage) as one, open_harness(storage) as other:
        await one.register("ann")
        writes = [harness.create(1) for _ in range(40) for harness in (one, other)]
        outcomes = await asyncio.gather(*writes)
        assert len({outcome.record.subject for outcome in outcomes}) == 80
        assert sorted(outcome.record.position for outcome in outcomes) == list(range(2, 82))
        assert await one.sums() == await other.sums()
        sums = await one.sums()
    async with open_harness(storage) as again:
        assert await again.sums() == sums


async def key_is_stored_before_its_first_line(storage: Storage) -> None:
    """The vault has stored the key before the first line is appended."""
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.create(1)
        assert harness.trace == ["put", "append", "append"]


async def key_of_failed_registration_does_not_affect_other_journals(storage: Storage) -> None:
    """Another journal registers a user with the number of the failed registration."""
    async with open_harness(storage) as one, open_harness(storage) as other:
        one.log.error = StorageFull("full")
        with pytest.raises(StorageFull):
            await one.register("bob")
        one.log.error = None
        await other.register("eve")
        assert await registered_names(one) == {"eve"}
        await one.create(1)
        assert await one.sums() == await other.sums()


async def registered_names(harness: JournalHarness) -> set[str]:
    """The usernames in use, as a reader sees them."""
    return set((await harness.state()).users.ids_by_name)
