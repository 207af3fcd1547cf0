"""The webhooks of one process, over a real receiver or a posting function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eventapi.commands.webhooks import CreateWebhook
from eventapi.followers.backoff import Backoff
from eventapi.followers.port import FollowerStore
from eventapi.queries.subscriptions import LogWatcher
from eventapi.webhooks.deliveries import Deliveries, Post
from eventapi.webhooks.signing import WebhookSecrets
from eventapi.webhooks.tasks import WebhookTasks
from eventapi.webhooks.transport import Transport
from events.io.tasks import cancel_and_wait
from projections.tables.webhooks import Webhook
from tests.eventapi.harness import JournalHarness

ACTOR = "operator/test"
SECRETS = WebhookSecrets(["a secret key for tests: 0123456789abcdef"])
QUICK = Backoff(0.02, 0.05)


class WebhookProcess:
    """The tasks of a process, and its attempts."""

    def __init__(
        self,
        harness: JournalHarness,
        store: FollowerStore,
        post: Post | None = None,
        backoff: Backoff = QUICK,
    ) -> None:
        self.attempts: list[tuple[int, bool]] = []
        self.watcher = LogWatcher(harness.log)
        self.tasks = WebhookTasks(
            harness.journal,
            store,
            self.watcher,
            Deliveries(SECRETS, post or Transport(private=True).post),
            lambda number, failed: self.attempts.append((number, failed)),
            backoff=backoff,
        )
        self._task = asyncio.create_task(self.tasks.run())

    async def stop(self) -> None:
        """Stop as a server does that gets SIGTERM."""
        self.watcher.close()
        await self.kill()

    async def kill(self) -> None:
        """Cancel everything at once."""
        await cancel_and_wait(self._task)


@asynccontextmanager
async def delivering(
    harness: JournalHarness,
    store: FollowerStore,
    post: Post | None = None,
    backoff: Backoff = QUICK,
) -> AsyncIterator[WebhookProcess]:
    """Deliver inside the context, and close the store."""
    process = WebhookProcess(harness, store, post, backoff)
    try:
        yield process
    finally:
        await process.stop()
        await store.close()


async def create(harness: JournalHarness, url: str, *types: str) -> Webhook:
    """Create a webhook."""
    result = await harness.journal.execute(CreateWebhook(ACTOR, url, types))
    assert isinstance(result.entity, Webhook)
    return result.entity


async def webhook_of(harness: JournalHarness, number: int = 1) -> Webhook:
    """The current values of a webhook."""
    return (await harness.state()).webhooks.by_id[number]


async def reason_of_end(harness: JournalHarness, number: int = 1) -> str:
    """Wait until a webhook is disabled; the reason."""
    while True:
        found = (await webhook_of(harness, number)).disabled
        if found is not None:
            return found
        await asyncio.sleep(0.01)


async def secret_of(harness: JournalHarness, webhook: Webhook) -> str:
    """The current secret of a webhook."""
    return SECRETS.text(webhook, (await harness.state()).last.source)
