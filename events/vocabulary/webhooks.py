"""Events about a webhook. Subject: ``webhooks/N``.

Everything in them is in clear, because it belongs to the server and not to a user. The secret of a
webhook is in no event: it follows from the secret key of the server and the time of the event that
made it. So a rotation has a later time than the event of the secret before it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from events.record import Number, PlainEvent

EventPattern = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\.(?:[a-z][a-z0-9_]{0,62}|\*)$(?!\n)")
]
"""An event type, or all types of a kind, such as ``invoice.*``."""

DisableReason = Literal["operator", "gone", "failing"]


class WebhookCreated(PlainEvent, frozen=True, gc=False):
    """Later events of these types, or of all without any, are delivered to a URL."""

    type: ClassVar[str] = "webhook.created"
    url: str
    types: tuple[EventPattern, ...] = ()
    description: str = ""


class WebhookUpdated(PlainEvent, frozen=True, gc=False):
    """Members of a webhook were replaced; unchanged ones are left out."""

    type: ClassVar[str] = "webhook.updated"
    url: str | UnsetType = UNSET
    types: tuple[EventPattern, ...] | UnsetType = UNSET
    description: str | UnsetType = UNSET


class WebhookDeleted(PlainEvent, frozen=True, gc=False):
    """Nothing is delivered to the webhook any more."""

    type: ClassVar[str] = "webhook.deleted"


class WebhookDisabled(PlainEvent, frozen=True, gc=False):
    """Deliveries stopped.

    ``operator``: an operator stopped them. ``gone``: the receiver answered 410. ``failing``: it
    failed for days.
    """

    type: ClassVar[str] = "webhook.disabled"
    reason: DisableReason


class WebhookEnabled(PlainEvent, frozen=True, gc=False):
    """Deliveries continue with the first event that was not delivered."""

    type: ClassVar[str] = "webhook.enabled"


class WebhookSecretRotated(PlainEvent, frozen=True, gc=False):
    """The webhook has a new secret; the one before it signs, too, for a day."""

    type: ClassVar[str] = "webhook.secret_rotated"


class WebhookReplayed(PlainEvent, frozen=True, gc=False):
    """Deliveries begin again after the position ``after``."""

    type: ClassVar[str] = "webhook.replayed"
    after: Number
