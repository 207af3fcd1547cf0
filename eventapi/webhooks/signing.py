"""Secrets and signatures of webhooks.

They follow Standard Webhooks, https://www.standardwebhooks.com.

A secret follows from the secret key of the server and the event that made it, so neither the log nor
any file contains it.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

from eventapi.values.times import seconds_of
from projections.tables.webhooks import Webhook

ROTATION_SECONDS: Final = 86_400
"""How long the secret before a rotation signs, too."""

_PREFIX: Final = "whsec_"

Headers = list[tuple[bytes, bytes]]


class WebhookSecrets:
    """The secrets of webhooks; ``source`` is that of their log."""

    def __init__(self, keys: Sequence[str]) -> None:
        """``keys`` are the secret keys of the server: the first makes new secrets.

        The others sign as well, so a change of the key breaks no receiver at once.
        """
        self._keys = [key.encode() for key in keys]

    def text(self, webhook: Webhook, source: str) -> str:
        """The current secret of a webhook, for its receiver."""
        secret = _secret(self._keys[0], webhook, source, webhook.secret_at)
        return _PREFIX + base64.b64encode(secret).decode()

    def headers(
        self, webhook: Webhook, source: str, number: str, body: bytes, now: float
    ) -> Headers:
        """The headers of the delivery with a number, at a time in seconds since 1970.

        A signature is made with each secret that is valid.
        """
        message, timestamp = f"{source.removeprefix('urn:uuid:')}/{number}", int(now)
        signed = f"{message}.{timestamp}.".encode() + body
        signatures = [
            b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256"))
            for secret in self._valid(webhook, source, now)
        ]
        return [
            (b"content-type", b"application/cloudevents+json"),
            (b"user-agent", b"eventapi"),
            (b"webhook-id", message.encode()),
            (b"webhook-timestamp", b"%d" % timestamp),
            (b"webhook-signature", b" ".join(signatures)),
        ]

    def _valid(self, webhook: Webhook, source: str, now: float) -> list[bytes]:
        times = [webhook.secret_at]
        if webhook.previous_secret_at and now < seconds_of(webhook.secret_at) + ROTATION_SECONDS:
            times.append(webhook.previous_secret_at)
        return [_secret(key, webhook, source, made) for made in times for key in self._keys]


def _secret(key: bytes, webhook: Webhook, source: str, made: str) -> bytes:
    bound = msgspec.json.encode(["webhook", source, webhook.subject, made])
    return hmac.digest(key, bound, "sha256")
