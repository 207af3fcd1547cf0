"""Deliver webhooks from the settings: secrets, transport, and the followers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eventapi.bootstrap.http_client import HttpClient
from eventapi.configuration.settings import Settings
from eventapi.followers.port import FollowerStore
from eventapi.journal.journal import Journal
from eventapi.queries.subscriptions import LogWatcher
from eventapi.webhooks.deliveries import Deliveries, Post
from eventapi.webhooks.signing import Headers, WebhookSecrets
from eventapi.webhooks.tasks import WebhookTasks

if TYPE_CHECKING:
    from eventapi.telemetry.metrics.meters import Meters


def post_of(settings: Settings, client: HttpClient) -> Post:
    """Return the function that posts a delivery to the URL of a webhook."""
    transport = client.transport(private=settings.webhook_private_addresses == "on")

    async def post(url: str, headers: Headers, body: bytes) -> int:
        return await transport().post(url, headers, body)

    return post


def deliveries_of(settings: Settings, client: HttpClient, secrets: Sequence[str]) -> Deliveries:
    """The deliveries of this process: they are signed with ``secrets`` and posted."""
    return Deliveries(WebhookSecrets(secrets), post_of(settings, client))


def webhook_tasks(  # noqa: PLR0917 - one of each
    settings: Settings,
    client: HttpClient,
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

    return WebhookTasks(journal, store, watcher, deliveries_of(settings, client, secrets), count)
