"""Background task: run a follower for each webhook that is enabled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from eventapi.followers.backoff import Backoff
from eventapi.followers.port import FollowerStore
from eventapi.followers.runner import FollowerStatus, Runner
from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from eventapi.tasks.restart import restart_on_error
from eventapi.webhooks.deliveries import Deliveries
from eventapi.webhooks.follower import Count, WebhookFollower
from events.errors import EventapiError
from projections.tables.webhooks import Webhook

logger = logging.getLogger("eventapi.webhooks")

CHANGE_SECONDS: Final = 0.5
"""How often a process looks for webhooks that were changed."""

ACQUIRE_SECONDS: Final = 5.0
"""How often a process tries to acquire the lease of a webhook that another one holds."""

_BACKOFF: Final = Backoff(5.0, 6 * 3_600.0)


class _Running(msgspec.Struct, frozen=True):
    webhook: Webhook
    runner: Runner
    stack: AsyncExitStack


class WebhookTasks:
    """The followers of one process; each runs where its lease is held."""

    def __init__(
        self,
        journal: Journal,
        store: FollowerStore,
        watcher: LogWatcher,
        deliveries: Deliveries,
        count: Count = lambda *_: None,
        *,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._journal = journal
        self._store = store
        self._watcher = watcher
        self.deliveries = deliveries
        self._count = count
        self._backoff = backoff
        self._running: dict[int, _Running] = {}
        self._known: dict[int, Webhook] = {}

    @property
    def lags(self) -> Mapping[str, int]:
        """The number of events that this process has yet to deliver, by webhook."""
        return {f"webhook-{number}": one.runner.lag for number, one in self._running.items()}

    @property
    def failing(self) -> list[int]:
        """The webhooks whose last delivery failed, whichever process runs them.

        Those that the server disabled are among them.
        """
        given_up = {number for number, one in self._known.items() if one.is_given_up}
        statuses = {number: one.runner.status for number, one in self._running.items()}
        found = {one for one, status in statuses.items() if status and status.failing_since}
        return sorted(given_up | found)

    async def status(self, webhook: Webhook) -> FollowerStatus:
        """How far the deliveries of a webhook are; raises `FollowersUnavailable`."""
        running = self._running.get(webhook.id)
        if running is not None and running.webhook.began == webhook.began:
            found = running.runner.status if running.runner.is_holder else None
            if found is not None:
                return found
        return await stored_status(self._store, webhook, self._watcher.position)

    async def run(self) -> None:
        """Run the followers until the watcher closes."""
        try:
            while not self._watcher.closed:
                try:
                    state = await self._journal.state()
                    await self._adapt([*state.webhooks.by_id.values()])
                except EventapiError as error:
                    logger.debug("webhooks wait: %s", error)
                await asyncio.sleep(CHANGE_SECONDS)
        finally:
            await asyncio.gather(*(one.stack.aclose() for one in self._running.values()))
            self._running.clear()

    async def _adapt(self, webhooks: Iterable[Webhook]) -> None:
        """End the followers of changed webhooks, and start those of new versions."""
        by_id = {webhook.id: webhook for webhook in webhooks}
        for number, running in [*self._running.items()]:
            webhook = by_id.get(number)
            if webhook is None or webhook.version != running.webhook.version:
                del self._running[number]
                await running.stack.aclose()
        waiting = {}
        for number, before in self._known.items():
            is_over = number not in by_id or by_id[number].began != before.began
            if is_over and not await self._remove(before.follower):
                waiting[number] = before
        self._known = by_id | waiting
        for number, webhook in by_id.items():
            if number not in self._running and number not in waiting and not webhook.disabled:
                self._running[number] = await self._start(webhook)

    async def _remove(self, follower: str) -> bool:
        """Forget a follower that is over, unless another process still runs it.

        That process stops it soon. Until then the next follower of the webhook must not begin, because
        there would be two senders.
        """
        lease = await self._store.acquire(follower)
        if lease is None:
            return False
        try:
            await self._store.remove(follower)
        finally:
            await lease.release()
        return True

    async def _start(self, webhook: Webhook) -> _Running:
        follower = WebhookFollower(webhook, self._journal, self.deliveries, self._count)
        runner = Runner(
            follower,
            self._store,
            self._journal,
            self._watcher,
            backoff=self._backoff,
            on_failure=follower.disable_if_overdue,
            acquire_seconds=ACQUIRE_SECONDS,
        )
        stack = AsyncExitStack()
        await stack.enter_async_context(restart_on_error(runner.run, webhook.follower))
        return _Running(webhook, runner, stack)


async def stored_status(store: FollowerStore, webhook: Webhook, position: int) -> FollowerStatus:
    """How far the deliveries of a webhook were at the last store.

    ``position`` is that of the last event of the log. Raises `FollowersUnavailable`.
    """
    stored = await store.read(webhook.follower)
    if stored is None:
        return FollowerStatus(webhook.after, max(position - webhook.after, 0), None, None)
    lag = max(position - stored.position, 0)
    return FollowerStatus(stored.position, lag, stored.failing_since or None, stored.status or None)
