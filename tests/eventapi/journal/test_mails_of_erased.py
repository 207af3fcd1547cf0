"""The mails of an erased user are removed before the erasure is answered."""

from __future__ import annotations

from collections.abc import Collection

from eventapi.commands.users import EraseUser
from events.errors import MailNotRemoved
from tests.eventapi.harness import JournalHarness, Storage, open_harness

ERASE_ANN = EraseUser("ann", "users/1")


class Mails:
    """Records for whom mails are removed; a test can make that fail."""

    def __init__(self, harness: JournalHarness) -> None:
        self.removed: list[set[str]] = []
        self.fails = False
        harness.journal._destruction._forget = self.remove

    async def remove(self, subjects: Collection[str]) -> None:
        if self.fails:
            raise MailNotRemoved("permission denied")
        self.removed.append(set(subjects))


async def test_they_are_removed_before_the_answer(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        mails = Mails(harness)
        for name in ("ann", "bob"):
            await harness.register(name)
        await harness.journal.execute(ERASE_ANN)
        assert mails.removed == [{"users/1"}]
        assert harness.journal.pending_destruction == frozenset()


async def test_a_failed_removal_stays_pending_and_is_repeated(storage: Storage) -> None:
    async with open_harness(storage) as harness:
        mails = Mails(harness)
        mails.fails = True
        await harness.register("ann")
        await harness.journal.execute(ERASE_ANN)
        assert harness.journal.pending_destruction == {"users/1"}
        assert await storage.keys() == {}
        mails.fails = False
        await harness.journal._destruction.retry()
        assert mails.removed == [{"users/1"}]
        assert harness.journal.pending_destruction == frozenset()
