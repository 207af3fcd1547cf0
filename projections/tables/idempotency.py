"""The table of idempotency records: executed requests and where the log has them.

A record keeps only values that the rest of the state does not have. The response to a repeated
request is made from the log, see `eventapi.queries.history.History.entity_after`.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Raw

from events.record import Record
from events.vocabulary.resources import Entity
from projections.tables.keys import ApiKey
from projections.tables.sessions import Session
from projections.tables.users import User
from projections.tables.webhooks import Webhook

Changed = User | Entity | Session | ApiKey | Webhook | None
"""The entity that a record changed, right after that record; ``None`` if there is none."""

_SECOND = 1_000_000
KEPT_MICROSECONDS = 24 * 3600 * _SECOND
"""The age at which a record is dropped, by the running clock; see `IdempotencyRecords`."""

MAX_GAP_MICROSECONDS = 3600 * _SECOND
"""The maximum that a gap between two consecutive records adds to the running clock."""

RECORDS_PER_USER = 10_000
RECORDS_IN_ALL = 1_000_000
"""Maximum number of records; the oldest are dropped first. One takes about 550 bytes of memory."""

HOUR = slice(13)
"""The part of a record's time down to the hour."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)


class IdempotencyRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The position of a request's effect in the log.

    ``user`` is the subject of the user whose key seals ``request``, the hash of the request.
    ``clock`` is the time of the record by the running clock, in microseconds.
    """

    position: int
    subject: str
    user: str
    request: str
    clock: int


_decode_shared = msgspec.msgpack.Decoder(tuple[int, list[tuple[str, IdempotencyRecord]]]).decode


class IdempotencyRecords:
    """Idempotency records by key, oldest first.

    Their age follows a running clock: the times of the records of the log, where a gap between two
    consecutive records counts for at most one hour. So a system clock that jumps ahead adds at most
    one hour to the age of an idempotency record. ``skipped`` sums up the rest of these gaps.
    """

    def __init__(self, per_user: int = RECORDS_PER_USER, in_all: int = RECORDS_IN_ALL) -> None:
        self.skipped = 0
        self._by_key: OrderedDict[str, IdempotencyRecord] = OrderedDict()
        self._per_user = per_user
        self._in_all = in_all
        self._keys_by_user: dict[str, dict[str, None]] = {}

    @property
    def by_key(self) -> Mapping[str, IdempotencyRecord]:
        """All of them; do not change it."""
        return self._by_key

    def stage(self) -> IdempotencyRecords:
        """A copy-on-write copy."""
        return StagedIdempotencyRecords(self)

    def advance(self, before: str, time: str) -> None:
        """Advance the running clock from one record's time to the next one's.

        Callers may skip it if both times are within the same hour (see `HOUR`): then it has no
        effect.
        """
        gap = _microseconds(time) - _microseconds(before)
        self.skipped += gap - _counted(gap)

    def valid(self, key: str, now: str, last: str) -> IdempotencyRecord | None:
        """The record of a key, or ``None`` if there is none or it is too old.

        ``now`` has the form of a record's time; ``last`` is the time of the last record.
        """
        entry = self._find(key)
        if entry is None:
            return None
        reached = _microseconds(last)
        clock = reached + _counted(_microseconds(now) - reached) - self.skipped
        return entry if clock - entry.clock <= KEPT_MICROSECONDS else None

    def add(self, record: Record) -> None:
        """Add the last record of the log, and drop those that are too old or too many."""
        entry = IdempotencyRecord(
            record.position,
            record.subject,
            sys.intern(record.sealedfor),
            record.requesthash,
            _microseconds(record.time) - self.skipped,
        )
        self._put(record.idempotencykey, entry)

    def export_owner(self, _: int) -> tuple[object, object]:
        """Nothing, because the order of the records spans all users; see `Table`."""
        return None, None

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Nothing; see `Table`."""

    def export_shared(self) -> object:
        """All records, for a snapshot; see `Table`.

        Nothing is personal: the log has the same values in clear, and the request's hash sealed.
        """
        return self.skipped, list(self._by_key.items())

    def finish_load(self) -> None:
        """Nothing; see `Table`."""

    def load_shared(self, content: Raw) -> None:
        """Add the records of a snapshot in their order; see `Table`."""
        self.skipped, records = _decode_shared(content)
        for key, entry in records:
            self._put(key, msgspec.structs.replace(entry, user=sys.intern(entry.user)))

    def erase_user(self, subject: str) -> None:
        """Drop the records of a user."""
        for key in self._keys_by_user.pop(subject, ()):
            del self._by_key[key]

    def _find(self, key: str) -> IdempotencyRecord | None:
        return self._by_key.get(key)

    def _put(self, key: str, entry: IdempotencyRecord) -> None:
        if key in self._by_key:
            self._drop(key)
        keys = self._keys_by_user.setdefault(entry.user, {})
        self._by_key[key] = entry
        keys[key] = None
        if len(keys) > self._per_user:
            self._drop(next(iter(keys)))
        while len(self._by_key) > self._in_all or self._is_first_older(
            entry.clock - KEPT_MICROSECONDS
        ):
            self._drop(next(iter(self._by_key)))

    def _is_first_older(self, clock: int) -> bool:
        return next(iter(self._by_key.values())).clock < clock

    def _drop(self, key: str) -> None:
        user = self._by_key.pop(key).user
        keys = self._keys_by_user[user]
        del keys[key]
        if not keys:
            del self._keys_by_user[user]


class StagedIdempotencyRecords(IdempotencyRecords):
    """The staged table. It drops no records, because a decision only looks one up."""

    def __init__(self, base: IdempotencyRecords) -> None:
        self.skipped = base.skipped
        self._base = base
        self._added: dict[str, IdempotencyRecord] = {}
        self._erased: set[str] = set()

    @property
    def by_key(self) -> Mapping[str, IdempotencyRecord]:
        both = {**self._base.by_key, **self._added}
        return {key: kept for key, kept in both.items() if kept.user not in self._erased}

    def erase_user(self, subject: str) -> None:
        self._erased.add(subject)

    def _find(self, key: str) -> IdempotencyRecord | None:
        entry = self._added.get(key) or self._base._find(key)
        return None if entry is None or entry.user in self._erased else entry

    def _put(self, key: str, entry: IdempotencyRecord) -> None:
        self._added[key] = entry


def _counted(gap: int) -> int:
    """The amount by which a gap advances the running clock."""
    return min(max(gap, 0), MAX_GAP_MICROSECONDS)


def _microseconds(time: str) -> int:
    """A record's time since 1970; 0 for any other text, because a fold must not fail."""
    try:
        return (datetime.fromisoformat(time) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):
        return 0
