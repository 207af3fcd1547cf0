"""The table of API keys, by identifier, with an index by user."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Raw

from events.record import Record
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed, Scope
from projections.copy_on_write import CopyOnWriteDict


class ApiKey(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The current values of an API key.

    ``user`` is the number of a user; times are RFC 3339. ``last_used_at`` may be an hour old.
    """

    id: str
    user: int
    name: str
    scopes: tuple[Scope, ...]
    secret_hash: str
    created_at: str
    expires_at: str | None
    version: int
    last_used_at: str | None = None

    @property
    def subject(self) -> str:
        """The name of the key in the log."""
        return f"keys/{self.id}"


_public_values: Final = attrgetter(
    "id", "scopes", "secret_hash", "created_at", "expires_at", "version", "last_used_at"
)
_decode_public: Final = msgspec.msgpack.Decoder(
    list[tuple[str, tuple[Scope, ...], str, str, str | None, int, str | None]]
).decode
_decode_names: Final = msgspec.msgpack.Decoder(list[str]).decode


class ApiKeys:
    """API keys that are not revoked, by identifier and by user."""

    def __init__(
        self,
        by_id: MutableMapping[str, ApiKey] | None = None,
        ids_by_user: MutableMapping[int, frozenset[str]] | None = None,
    ) -> None:
        self.by_id: MutableMapping[str, ApiKey] = {} if by_id is None else by_id
        self.ids_by_user: MutableMapping[int, frozenset[str]] = (
            {} if ids_by_user is None else ids_by_user
        )

    def stage(self) -> ApiKeys:
        """A copy-on-write copy."""
        return ApiKeys(CopyOnWriteDict(self.by_id), CopyOnWriteDict(self.ids_by_user))

    def of_user(self, user: int) -> list[ApiKey]:
        """The keys of a user, oldest first."""
        keys = [self.by_id[key] for key in self.ids_by_user.get(user, frozenset())]
        return sorted(keys, key=attrgetter("created_at", "id"))

    def on_created(self, record: Record, event: KeyCreated) -> ApiKey:
        key = ApiKey(
            record.subject.partition("/")[2],
            event.user,
            event.personal.name if isinstance(event.personal, KeyName) else "",
            event.scopes,
            event.secret_hash,
            record.time,
            event.expires_at,
            record.position,
        )
        self._add(key)
        return key

    def _add(self, key: ApiKey) -> None:
        self.by_id[key.id] = key
        self.ids_by_user[key.user] = self.ids_by_user.get(key.user, frozenset()) | {key.id}

    def on_used(self, record: Record, _: KeyUsed) -> ApiKey | None:
        key = self.by_id.get(record.subject.partition("/")[2])
        if key is None:
            return None
        key = msgspec.structs.replace(key, version=record.position, last_used_at=record.time)
        self.by_id[key.id] = key
        return key

    def on_revoked(self, record: Record, _: KeyRevoked) -> None:
        key = self.by_id.pop(record.subject.partition("/")[2], None)
        if key is None:
            return
        left = self.ids_by_user[key.user] - {key.id}
        if left:
            self.ids_by_user[key.user] = left
        else:
            del self.ids_by_user[key.user]

    def erase_user(self, user: int) -> None:
        """Remove the keys of a user."""
        for key in self.ids_by_user.get(user, frozenset()):
            del self.by_id[key]
        self.ids_by_user.pop(user, None)

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The keys of one user, for a snapshot; see `Table`."""
        keys = self.of_user(owner)
        return [*map(_public_values, keys)], [key.name for key in keys]

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add the keys of one user from a snapshot; see `Table`."""
        rows = _decode_public(public)
        names = [""] * len(rows) if personal is None else _decode_names(personal)
        for name, (number, scopes, secret_hash, created, expires, version, used) in zip(
            names, rows, strict=True
        ):
            self._add(
                ApiKey(number, owner, name, scopes, secret_hash, created, expires, version, used)
            )

    def export_shared(self) -> object:
        """Nothing; see `Table`."""
        return None

    def load_shared(self, _: Raw) -> None:
        """Nothing; see `Table`."""

    def finish_load(self) -> None:
        """Nothing; see `Table`."""

    def digest_lines(self) -> Iterator[str]:
        """The public content of the table: a line for each key, by identifier."""
        for number in sorted(self.by_id):
            key = self.by_id[number]
            yield f"keys/{number} {key.user} {key.version}"
