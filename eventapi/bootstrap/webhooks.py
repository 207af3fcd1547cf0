"""Deliver webhooks from the settings: secrets, transport, and the followers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from eventapi.configuration.settings import Settings
from eventapi.followers.port import FollowerStore
from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from eventapi.webhooks.deliveries import Deliveries, Post
from eventapi.webhooks.signing import Headers, WebhookSecrets
from eventapi.webhooks.tasks import WebhookTasks

if TYPE_CHECKING:
    from eventapi.telemetry.metrics.meters import Meters
    from eventapi.webhooks.transport import Transport


def post_of(settings: Settings) -> Post:
    """What posts deliveries; a server without webhooks loads no HTTP client."""

    @cache
    def transport() -> Transport:
        from eventapi.webhooks.transport import Transport  # noqa: PLC0415 - as above

        return Transport(private=settings.webhook_private_addresses == "on")

    async def post(url: str, headers: Headers, body: bytes) -> int:
        return await transport().post(url, headers, body)

    return post


def deliveries_of(settings: Settings, secrets: Sequence[str]) -> Deliveries:
    """What signs and posts deliveries."""
    return Deliveries(WebhookSecrets(secrets), post_of(settings))


def webhook_tasks(  # noqa: PLR0917 - one of each
    settings: Settings,
    journal: Journal,
    store: FollowerStore,
    watcher: LogWatcher,
    secrets: Sequence[str],
    meters: Callable[[], Meters | None],
) -> WebhookTasks:
    """The followers of all webhooks; ``meters`` returns those of this worker."""

    def count(number: int, failed: bool) -> None:
        if (now := meters()) is not None:
            now.count_webhook(number, failed)

    return WebhookTasks(journal, store, watcher, deliveries_of(settings, secrets), count)
