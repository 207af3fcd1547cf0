"""The table of webhooks, by number."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from events.record import Record, entity_number
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
from projections.copy_on_write import CopyOnWriteDict


class Webhook(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The current values of a webhook.

    ``types`` is empty for all types. ``secret_at`` is the time of the event that made the secret, and
    ``previous_secret_at`` that of the one before it, or empty. Deliveries ``began`` with the event at
    that position, which created or replayed the webhook, and concern the events ``after`` another
    one. ``enabled_at`` is the time at which deliveries to the URL were last allowed.
    """

    id: int
    url: str
    types: tuple[str, ...]
    description: str
    created_at: str
    version: int
    secret_at: str
    began: int
    after: int
    enabled_at: str
    previous_secret_at: str = ""
    disabled: DisableReason | None = None

    @property
    def subject(self) -> str:
        """The name of the webhook in the log."""
        return f"webhooks/{self.id}"

    @property
    def follower(self) -> str:
        """The name of the follower that delivers; a replay is another follower."""
        return f"webhook-{self.id}-{self.began}"

    @property
    def is_given_up(self) -> bool:
        """Whether the server disabled it, because its receiver failed or is gone."""
        return self.disabled in {"failing", "gone"}

    def wants(self, type_: str) -> bool:
        """Whether events of a type are delivered; those about webhooks never are."""
        kind = type_.partition(".")[0]
        if kind == "webhook":
            return False
        return not self.types or type_ in self.types or f"{kind}.*" in self.types


_decode_shared: Final = msgspec.msgpack.Decoder(tuple[int, list[Webhook]]).decode


class Webhooks:
    """Webhooks that are not deleted, by number."""

    def __init__(self, by_id: MutableMapping[int, Webhook] | None = None, last_id: int = 0) -> None:
        self.by_id: MutableMapping[int, Webhook] = {} if by_id is None else by_id
        self.last_id = last_id

    def stage(self) -> Webhooks:
        """A copy-on-write copy."""
        return Webhooks(CopyOnWriteDict(self.by_id), self.last_id)

    def on_created(self, record: Record, event: WebhookCreated) -> Webhook:
        number = entity_number(record.subject)
        self.last_id = max(self.last_id, number)
        self.by_id[number] = webhook = Webhook(
            number,
            event.url,
            event.types,
            event.description,
            record.time,
            record.position,
            record.time,
            record.position,
            record.position,
            record.time,
        )
        return webhook

    def on_updated(self, record: Record, event: WebhookUpdated) -> Webhook | None:
        values = {"url": event.url, "types": event.types, "description": event.description}
        changes = {name: value for name, value in values.items() if value is not UNSET}
        if event.url is not UNSET:
            changes["enabled_at"] = record.time
        return self._replace(record, **changes)

    def on_deleted(self, record: Record, _: WebhookDeleted) -> Webhook | None:
        return self.by_id.pop(entity_number(record.subject), None)

    def on_disabled(self, record: Record, event: WebhookDisabled) -> Webhook | None:
        return self._replace(record, disabled=event.reason)

    def on_enabled(self, record: Record, _: WebhookEnabled) -> Webhook | None:
        return self._replace(record, disabled=None, enabled_at=record.time)

    def on_secret_rotated(self, record: Record, _: WebhookSecretRotated) -> Webhook | None:
        found = self.by_id.get(entity_number(record.subject))
        previous = "" if found is None else found.secret_at
        return self._replace(record, secret_at=record.time, previous_secret_at=previous)

    def on_replayed(self, record: Record, event: WebhookReplayed) -> Webhook | None:
        return self._replace(record, began=record.position, after=event.after)

    def _replace(self, record: Record, **changes: object) -> Webhook | None:
        number = entity_number(record.subject)
        found = self.by_id.get(number)
        if found is None:
            return None
        self.by_id[number] = changed = msgspec.structs.replace(
            found, version=record.position, **changes
        )
        return changed

    def export_owner(self, _: int) -> tuple[object, object]:
        """Nothing, because no user owns a webhook; see `Table`."""
        return None, None

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Nothing; see `Table`."""

    def export_shared(self) -> object:
        """The last number and all webhooks; see `Table`."""
        return self.last_id, [*self.by_id.values()]

    def load_shared(self, content: Raw) -> None:
        """Add all webhooks from a snapshot; see `Table`."""
        self.last_id, webhooks = _decode_shared(content)
        self.by_id.update({webhook.id: webhook for webhook in webhooks})

    def finish_load(self) -> None:
        """Nothing; see `Table`."""

    def digest_lines(self) -> Iterator[str]:
        """The public content of the table: a line for each webhook, by number."""
        for number in sorted(self.by_id):
            webhook = self.by_id[number]
            status = "disabled" if webhook.disabled else "enabled"
            yield f"webhooks/{number} {status} {webhook.version}"
