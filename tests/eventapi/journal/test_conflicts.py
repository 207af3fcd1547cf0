"""An append that is refused because another one was first is decided and written again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from eventapi.journal.config import DEFAULT_CONFIG, JournalConfig
from events.errors import LogConflict
from events.log.port import Appender, Head
from tests.eventapi.harness import ControlledLog, JournalHarness, Storage

ONE_ATTEMPT = msgspec.structs.replace(DEFAULT_CONFIG, lock_timeout=0.0)


class RefusingLog(ControlledLog):
    """A log that refuses the next appends, as a node of Galera does."""

    refusals = 0

    async def append_through(
        self, appender: Appender, lines: Sequence[bytes], head: Head, *, revokes: bool
    ) -> None:
        if self.refusals:
            self.refusals -= 1
            raise LogConflict("another transaction was first")
        await super().append_through(appender, lines, head, revokes=revokes)


@asynccontextmanager
async def refusing(
    folder: Path, refusals: int, limits: JournalConfig = DEFAULT_CONFIG
) -> AsyncIterator[JournalHarness]:
    """A journal with a user, whose next appends are refused."""
    harness = JournalHarness(Storage("memory", folder), limits=limits)
    harness.log = log = RefusingLog(harness.log._inner, harness.trace)
    harness.journal._log = log
    await harness.journal.start()
    await harness.register("ann")
    log.refusals = refusals
    yield harness
    await harness.journal.close()


async def test_a_refused_batch_is_written_once_at_the_next_attempt(tmp_path: Path) -> None:
    async with refusing(tmp_path, refusals=3) as harness:
        before = harness.log.position
        created = await harness.create(1)
        assert created.record.position == harness.log.position == before + 1


async def test_a_batch_that_is_refused_again_and_again_is_reported(tmp_path: Path) -> None:
    async with refusing(tmp_path, refusals=1, limits=ONE_ATTEMPT) as harness:
        before = harness.log.position
        with pytest.raises(LogConflict):
            await harness.create(1)
        assert harness.log.position == before
        await harness.create(1)


async def test_a_lock_that_others_have_overtaken_is_taken_again(tmp_path: Path) -> None:
    async with refusing(tmp_path, refusals=0, limits=ONE_ATTEMPT) as harness:
        harness.log.false_head = Head()
        with pytest.raises(LogConflict, match="in spite of the lock"):
            await harness.create(1)
        harness.log.false_head = None
        await harness.create(1)
