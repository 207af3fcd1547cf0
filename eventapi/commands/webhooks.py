"""Commands about webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.commands.command import Decision
from eventapi.values.times import later
from eventapi.values.webhooks import url_fault
from events.errors import ActionRefused, Fault, Invalid, NotFound, QuotaExceeded
from events.record import Event
from events.vocabulary.webhooks import (
    DisableReason,
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookReplayed,
    WebhookSecretRotated,
    WebhookUpdated,
)
from projections.state import State
from projections.tables.webhooks import Webhook

MAX_WEBHOOKS: Final = 100
"""Maximum number of webhooks of a server."""

SERVER: Final = "operator/eventapi"
"""The actor of what the server decides by itself."""


class CreateWebhook(msgspec.Struct, frozen=True):
    """Deliver later events to a URL; without types, those of every type."""

    actor: str
    url: str
    types: tuple[str, ...] = ()
    description: str = ""

    def decide(self, state: State) -> Decision:
        _check(state, self.url, self.types)
        if len(state.webhooks.by_id) >= MAX_WEBHOOKS:
            raise QuotaExceeded(f"there are {MAX_WEBHOOKS} webhooks; delete one first")
        event = WebhookCreated(self.url, self.types, self.description)
        return Decision(f"webhooks/{state.webhooks.last_id + 1}", event, self.actor)


class UpdateWebhook(msgspec.Struct, frozen=True):
    """Replace the given members of a webhook."""

    actor: str
    webhook: int
    url: str | UnsetType = UNSET
    types: tuple[str, ...] | UnsetType = UNSET
    description: str | UnsetType = UNSET

    def decide(self, state: State) -> Decision:
        webhook = existing_webhook(state, self.webhook)
        _check(state, self.url, () if self.types is UNSET else self.types)
        event = WebhookUpdated(self.url, self.types, self.description)
        return Decision(webhook.subject, event, self.actor)


class DeleteWebhook(msgspec.Struct, frozen=True):
    """Delete a webhook."""

    actor: str
    webhook: int

    def decide(self, state: State) -> Decision:
        return _about(state, self.webhook, WebhookDeleted(), self.actor)


class DisableWebhook(msgspec.Struct, frozen=True):
    """Stop the deliveries of a webhook.

    With ``version`` it is refused if the webhook was changed meanwhile.
    """

    actor: str
    webhook: int
    reason: DisableReason = "operator"
    version: int | None = None

    def decide(self, state: State) -> Decision:
        webhook = existing_webhook(state, self.webhook)
        if webhook.disabled or self.version not in {None, webhook.version}:
            raise ActionRefused("the webhook is disabled already, or was changed")
        return _about(state, self.webhook, WebhookDisabled(self.reason), self.actor)


class EnableWebhook(msgspec.Struct, frozen=True):
    """Continue the deliveries of a webhook."""

    actor: str
    webhook: int

    def decide(self, state: State) -> Decision:
        if not existing_webhook(state, self.webhook).disabled:
            raise ActionRefused("the webhook is not disabled")
        return _about(state, self.webhook, WebhookEnabled(), self.actor)


class RotateWebhookSecret(msgspec.Struct, frozen=True):
    """Give a webhook a new secret."""

    actor: str
    webhook: int

    def decide(self, state: State) -> Decision:
        webhook = existing_webhook(state, self.webhook)
        # The new secret follows from the time, and times of the log may repeat.
        earliest = later(webhook.secret_at, 1e-6)
        return Decision(webhook.subject, WebhookSecretRotated(), self.actor, earliest=earliest)


class ReplayWebhook(msgspec.Struct, frozen=True):
    """Deliver all events after a position again."""

    actor: str
    webhook: int
    after: int

    def decide(self, state: State) -> Decision:
        if self.after > state.position:
            raise Invalid(Fault("/after", f"must be at most {state.position}, the last position"))
        return _about(state, self.webhook, WebhookReplayed(self.after), self.actor)


def existing_webhook(state: State, number: int) -> Webhook:
    """The webhook with a number; raises `NotFound`."""
    webhook = state.webhooks.by_id.get(number)
    if webhook is None:
        raise NotFound("Webhook not found")
    return webhook


def known_types(state: State) -> list[str]:
    """The types of events that webhooks can deliver."""
    return sorted(name for name in state.vocabulary.types if name.partition(".")[0] != "webhook")


def _about(state: State, number: int, event: Event, actor: str) -> Decision:
    return Decision(existing_webhook(state, number).subject, event, actor)


def _check(state: State, url: str | UnsetType, types: Iterable[str]) -> None:
    """Raise `Invalid` for an unusable URL or an unknown type."""
    known = known_types(state)
    fault = "" if url is UNSET else url_fault(url)
    faults = [Fault("/url", fault)] if fault else []
    faults += [
        Fault(f"/types/{place}", f"must be KIND.*, or one of {', '.join(known)}")
        for place, pattern in enumerate(types)
        if pattern == "webhook.*" or (not pattern.endswith(".*") and pattern not in known)
    ]
    if faults:
        raise Invalid(*faults)
