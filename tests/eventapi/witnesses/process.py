"""The witness task of one process, over real witnesses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eventapi.followers.backoff import Backoff
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import FollowerStore
from eventapi.queries.subscriptions import LogWatcher
from eventapi.webhooks.transport import Transport
from eventapi.witnesses.tasks import Pace, WitnessTasks
from events.errors import NotFound
from events.io.tasks import cancel_and_wait
from events.transparency.checkpoints import Checkpoints
from events.transparency.policy import Policy
from events.transparency.signed_note import Note, TreeHead
from events.transparency.signing.file import FileSigning
from events.transparency.tree import Tree
from tests.eventapi.followers.following import until
from tests.eventapi.witnesses.witness_server import Running
from tests.events.transparency.test_tree import LongLog

QUICK = Pace(check=0.01, refresh=60, acquire=0.01, backoff=Backoff(0.01, 0.02))
TIMEOUT_SECONDS = 1.0


def policy_text(witnesses: Sequence[Running], needed: int | str = "all") -> str:
    """A policy of witnesses w1, w2, ..., of which so many are needed."""
    lines = [
        f"witness w{number} {one.witness.vkey} {one.url}" for number, one in enumerate(witnesses, 1)
    ]
    names = " ".join(f"w{number}" for number in range(1, len(witnesses) + 1))
    return "\n".join([*lines, f"group enough {needed} {names}", "quorum enough", ""])


class Instance:
    """The parts of a process that concern witnesses; `run` starts its task."""

    def __init__(  # noqa: PLR0917 - one of each
        self,
        folder: Path,
        log: LongLog,
        policy: Policy,
        store: FollowerStore | None = None,
        pace: Pace = QUICK,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.log = log
        self.counts: list[tuple[str, bool]] = []
        self.checkpoints = Checkpoints(
            Tree(log), FileSigning(folder / "events.jsonl"), policy=policy
        )
        self.watcher = LogWatcher(log)
        self.transport = Transport(private=True, timeout=TIMEOUT_SECONDS)
        self.tasks = WitnessTasks(
            policy,
            self.checkpoints,
            store or MemoryFollowers(),
            self.watcher,
            self.transport.exchange,
            lambda name, failed: self.counts.append((name, failed)),
            now=now,
            pace=pace,
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self.tasks.run())

    async def stop(self) -> None:
        """Stop as a server does that gets SIGTERM."""
        self.watcher.close()
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def cosigned(self) -> Note | None:
        """The newest checkpoint that enough witnesses have cosigned."""
        try:
            return await self.checkpoints.newest_cosigned()
        except NotFound:
            return None

    async def cosigned_size(self) -> int:
        note = await self.cosigned()
        return 0 if note is None else TreeHead.parse(note).size

    async def until_cosigned(self, size: int) -> Note:
        """Wait until a checkpoint of a size is cosigned."""
        async with asyncio.timeout(60):
            while await self.cosigned_size() < size:  # noqa: ASYNC110 - other tasks change it
                await asyncio.sleep(0.01)
        note = await self.cosigned()
        assert note is not None
        return note

    async def until_asked(self, attempts: int) -> None:
        """Wait until so many attempts have ended."""
        wanted = len(self.counts) + attempts
        await until(lambda: len(self.counts) >= wanted)


async def trusted_by(instance: Instance, witnesses: Sequence[Running]) -> None:
    """Let witnesses trust the key of the log."""
    vkey = (await instance.checkpoints.verifier()).vkey
    for one in witnesses:
        one.witness.trust(vkey)


@asynccontextmanager
async def cosigning(
    folder: Path,
    witnesses: Sequence[Running],
    needed: int | str = "all",
    size: int = 300,
    pace: Pace = QUICK,
) -> AsyncIterator[Instance]:
    """Run an instance whose witnesses trust its log."""
    policy = Policy.parse(policy_text(witnesses, needed).encode())
    instance = Instance(folder, LongLog(size), policy, pace=pace)
    await trusted_by(instance, witnesses)
    instance.start()
    try:
        yield instance
    finally:
        await instance.stop()


def warnings_in(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == level and record.name == "eventapi.witnesses"
    ]
