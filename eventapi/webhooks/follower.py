"""The follower that delivers events to one webhook."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Final

from eventapi.commands.webhooks import SERVER, DisableWebhook
from eventapi.journal.journal import Journal
from eventapi.values.times import seconds_of
from eventapi.webhooks.deliveries import Deliveries
from events.errors import EventapiError, NotDelivered
from events.messages.server_log import WEBHOOK_DISABLED
from events.record import Record
from events.vocabulary.webhooks import DisableReason
from projections.state import State
from projections.tables.webhooks import Webhook

logger = logging.getLogger("eventapi.webhooks")

PATIENCE_SECONDS: Final = 5 * 86_400
"""A webhook that fails for so long is disabled."""

MIN_ATTEMPTS: Final = 10
"""So many attempts of one process in a row must have failed, too, which takes it 40 minutes.

The server may have been off for most of the days, and start a moment before the receiver.
"""

_GONE: Final = 410

Count = Callable[[int, bool], None]
"""Counts an attempt at a webhook, by number, and whether it failed."""


class WebhookFollower:
    """Delivers events to one version of a webhook, in log order.

    Once the webhook is changed or deleted, it handles nothing more: its task is ended soon, and for
    the new version there is another follower, which tries the same event at once.
    """

    def __init__(
        self,
        webhook: Webhook,
        journal: Journal,
        deliveries: Deliveries,
        count: Count = lambda *_: None,
    ) -> None:
        self.webhook = webhook
        self.name = webhook.follower
        self._journal = journal
        self._deliveries = deliveries
        self._count = count
        self._failing_since = ""
        self._failures = 0

    def wants(self, kind: str, state: State) -> bool:
        # After a change others may be wanted: then none is passed over.
        return self.webhook.wants(kind) or not self._is_current(state)

    async def first_position(self, state: State) -> int:
        return min(self.webhook.after, state.position)

    async def handle(self, record: Record, line: bytes, state: State) -> None:
        if not self._is_current(state):
            await asyncio.Event().wait()  # Until the task is cancelled.
        number = self.webhook.id
        try:
            status = await self._deliveries.deliver(self.webhook, record, line)
        except NotDelivered:
            self._count(number, True)
            raise
        is_success = 200 <= status < 300
        self._count(number, not is_success)
        if is_success:
            return
        if status == _GONE:
            await self._disable("gone")
        raise NotDelivered(f"the receiver answered {status}")

    async def disable_if_overdue(self, failing_since: str) -> float:
        """Disable the webhook if it has failed for too long; called after each failure.

        Returns the seconds that are left, after which the last attempt is due.
        """
        if failing_since != self._failing_since:
            self._failing_since, self._failures = failing_since, 0
        self._failures += 1
        since = max(failing_since, self.webhook.enabled_at)
        elapsed = seconds_of(self._journal.clock.now()) - seconds_of(since)
        left = PATIENCE_SECONDS - elapsed
        if left > 0:
            return left
        if self._failures >= MIN_ATTEMPTS:
            await self._disable("failing")
        return inf

    def _is_current(self, state: State) -> bool:
        found = state.webhooks.by_id.get(self.webhook.id)
        return found is not None and found.version == self.webhook.version

    async def _disable(self, reason: DisableReason) -> None:
        webhook = self.webhook
        try:
            command = DisableWebhook(SERVER, webhook.id, reason, webhook.version)
            await self._journal.execute(command)
        except EventapiError:
            return  # Another process did it, or the next failure repeats it.
        logger.warning(WEBHOOK_DISABLED.fill(webhook=webhook.subject, reason=reason))
