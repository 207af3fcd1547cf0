"""Deliver an event, or a test, to a webhook."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from eventapi.values.times import time_of
from eventapi.webhooks.signing import Headers, WebhookSecrets
from events.record import Record
from projections.tables.webhooks import Webhook

_decode: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode


class Post(Protocol):
    """Posts a body to a URL; see `eventapi.webhooks.transport.Transport.post`."""

    def __call__(self, url: str, headers: Headers, body: bytes) -> Awaitable[int]: ...


def without_seals(line: bytes) -> bytes:
    """A line of the log without its sealed values: no erasure could reach a receiver.

    Its ``commitment`` stays: values cannot be guessed from it without the sealed salt, and a receiver
    that is shown the sealed text later can check it. So does its ``requesthash``, a sealed hash.
    """
    members = _decode(line)
    members["data"].pop("sealed", None)
    return msgspec.json.encode(members)


class Deliveries:
    """Signs and posts deliveries."""

    def __init__(
        self, webhook_secrets: WebhookSecrets, post: Post, now: Callable[[], float] = time.time
    ) -> None:
        """``now`` is the time of this machine: receivers compare theirs with it."""
        self.secrets = webhook_secrets
        self._post = post
        self._now = now

    async def deliver(self, webhook: Webhook, record: Record, line: bytes) -> int:
        """Deliver a record of the log; returns the status, and raises `NotDelivered`."""
        number = str(record.position)
        return await self._send(webhook, record.source, number, without_seals(line))

    async def test(self, webhook: Webhook, source: str) -> int:
        """Deliver an event that is in no log; see `deliver`."""
        number = f"test-{secrets.token_hex(8)}"
        members = {
            "specversion": "1.0",
            "id": number,
            "source": source,
            "type": "webhook.test",
            "subject": webhook.subject,
            "time": time_of(self._now()),
            "data": {},
        }
        return await self._send(webhook, source, number, msgspec.json.encode(members))

    async def _send(self, webhook: Webhook, source: str, number: str, body: bytes) -> int:
        headers = self.secrets.headers(webhook, source, number, body, self._now())
        return await self._post(webhook.url, headers, body)
