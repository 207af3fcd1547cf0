"""After a replay the new follower waits for the process that runs the old one."""

from __future__ import annotations

import pytest

from eventapi.commands.webhooks import DeleteWebhook, ReplayWebhook
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import Lease, Progress
from eventapi.webhooks.signing import Headers
from tests.eventapi.followers.following import until
from tests.eventapi.harness import Storage, open_harness
from tests.eventapi.webhooks.process import ACTOR, create, delivering

OLD, NEW = "webhook-1-1", "webhook-1-3"


class ObservedFollowers(MemoryFollowers):
    """Followers in memory that count how often each lease was tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[str] = []

    async def acquire(self, name: str) -> Lease | None:
        self.tried.append(name)
        return await super().acquire(name)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for changed webhooks all the time."""
    monkeypatch.setattr("eventapi.webhooks.tasks.CHANGE_SECONDS", 0.01)


async def _deliver(url: str, headers: Headers, body: bytes) -> int:
    return 200


async def test_a_replay_begins_once_the_old_sender_has_stopped(storage: Storage) -> None:
    store = ObservedFollowers()
    async with open_harness(storage) as harness:
        await create(harness, "https://example.org/hook")
        await harness.register("ann")
        sender = await store.acquire(OLD)  # Another worker, which has not seen the replay yet.
        assert sender is not None
        async with delivering(harness, store, _deliver) as process:
            await until(lambda: store.tried.count(OLD) == 2)
            await harness.journal.execute(ReplayWebhook(ACTOR, 1, 0))
            await until(lambda: store.tried.count(OLD) > 5)
            assert NEW not in store.tried
            assert not process.attempts
            sender.check()
            await sender.store(Progress(2, "a hash"))
            await sender.release()
            await until(lambda: process.attempts == [(1, False)])
    assert await store.read(OLD) is None


async def test_a_deleted_webhook_is_forgotten_once_its_sender_has_stopped(
    storage: Storage,
) -> None:
    store = ObservedFollowers()
    async with open_harness(storage) as harness:
        await create(harness, "https://example.org/hook")
        sender = await store.acquire(OLD)
        assert sender is not None
        async with delivering(harness, store, _deliver):
            await until(lambda: store.tried.count(OLD) == 2)
            await harness.journal.execute(DeleteWebhook(ACTOR, 1))
            await until(lambda: store.tried.count(OLD) > 5)
            await sender.store(Progress(1, "a hash"))
            await sender.release()
            await until(lambda: OLD not in store._progress)
