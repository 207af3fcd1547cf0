"""Bodies and responses about webhooks."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.followers.runner import FollowerStatus
from eventapi.http.schemas.requests import Body
from eventapi.http.schemas.responses import Id, Time, Version
from eventapi.values.explanations import CHECK, RULE
from eventapi.values.rules import PLAIN_TEXT
from eventapi.values.webhooks import MAX_URL_CHARACTERS, url_fault
from events.vocabulary.webhooks import DisableReason, EventPattern
from projections.tables.webhooks import Webhook

ReceiverUrl = Annotated[
    str,
    Meta(
        max_length=MAX_URL_CHARACTERS,
        description="An `https://` or `http://` URL without a user, a password and a fragment.",
        examples=["https://example.org/hooks"],
        extra={CHECK: lambda url: url_fault(url) or None},
    ),
]
EventTypes = Annotated[
    tuple[
        Annotated[EventPattern, Meta(extra={RULE: "must be an event type, or KIND.*"})],
        ...,
    ],
    Meta(
        max_length=100,
        description="Types of events, or `KIND.*` for all of a kind. Empty for all types.",
        examples=[["item.*", "user.erased"]],
    ),
]
Description = Annotated[
    str,
    PLAIN_TEXT,
    Meta(max_length=1_000, description="A text for operators, which is in the log in clear."),
]


class NewWebhook(Body, frozen=True):
    """A URL to which events are delivered from now on."""

    url: ReceiverUrl
    types: EventTypes = ()
    description: Description = ""


class WebhookPatch(Body, frozen=True):
    """A merge patch (RFC 7396) of a webhook; ``types`` replaces all types.

    ``null`` removes types or description, as if they had not been given at the creation.
    """

    url: ReceiverUrl | UnsetType = UNSET
    types: EventTypes | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET


class Replay(Body, frozen=True):
    """The position after which all events are delivered again."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class WebhookView(msgspec.Struct, frozen=True, gc=False):
    """A webhook without its secret.

    ``position`` is that of the last event that was delivered or passed over, and ``lag`` the number
    of events after it. ``last_status`` is `ok`, or the reason why the last attempt failed, and
    ``failing_since`` the time of the first attempt that failed since a success.
    """

    id: Id
    url: str
    types: list[str]
    description: str
    created_at: Time
    version: Version
    disabled: bool
    disabled_reason: DisableReason | None
    position: int
    lag: int
    last_status: str
    failing_since: Time | None


class WebhookWithSecret(WebhookView, frozen=True, gc=False, kw_only=True):
    """A webhook with its new secret, which is shown only here."""

    secret: Annotated[str, Meta(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])]


class WebhookTest(msgspec.Struct, frozen=True, gc=False):
    """The result of a test: the status of the receiver, or why there is none."""

    result: Literal["delivered", "failed"]
    status: int | None
    reason: str | None


def webhook_view(webhook: Webhook, status: FollowerStatus) -> WebhookView:
    """The view of a webhook."""
    return WebhookView(
        webhook.id,
        webhook.url,
        [*webhook.types],
        webhook.description,
        webhook.created_at,
        webhook.version,
        webhook.disabled is not None,
        webhook.disabled,
        status.position,
        status.lag,
        status.status or "ok",
        status.failing_since,
    )
