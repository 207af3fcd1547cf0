"""The table of receipts: which requests already had their effect, and what they were answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping
from datetime import datetime, timedelta
from itertools import takewhile

import msgspec

from events.record import Record
from projections.items import Item
from projections.overlay import Overlay
from projections.sessions import Session
from projections.users import User

Entity = User | Item | Session | None
"""What a record left behind: the entity as it then stood, or nothing."""

KEPT = timedelta(hours=24)
"""How long a receipt is kept, by the times in the log."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The record that a request came to, and the entity as it stood right after it."""

    record: Record
    entity: Entity


class Receipts:
    """Receipts by idempotency key, oldest first."""

    def __init__(self, by_key: MutableMapping[str, Receipt] | None = None) -> None:
        self.by_key: MutableMapping[str, Receipt] = OrderedDict() if by_key is None else by_key

    def draft(self) -> Receipts:
        """A copy-on-write copy."""
        return Receipts(Overlay(self.by_key))

    def valid(self, key: str, now: str) -> Receipt | None:
        """The receipt of a key, if it is not too old at a time of the log's form."""
        receipt = self.by_key.get(key)
        return None if receipt is None or receipt.record.time < _oldest(now) else receipt

    def add(self, record: Record, entity: Entity) -> None:
        """Take in the receipt of a record, and let go of those that are too old by then."""
        self.by_key.pop(record.idempotencykey, None)
        self.by_key[record.idempotencykey] = Receipt(record, entity)
        oldest = _oldest(record.time)
        for key in list(takewhile(lambda key: self.by_key[key].record.time < oldest, self.by_key)):
            del self.by_key[key]

    def erase_user(self, subject: str) -> None:
        """Let go of everything that a user was answered."""
        for key in [key for key, kept in self.by_key.items() if kept.record.sealedfor == subject]:
            del self.by_key[key]


def _oldest(now: str) -> str:
    return (datetime.fromisoformat(now) - KEPT).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
