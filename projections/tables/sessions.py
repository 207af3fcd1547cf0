"""The table of sessions, in the order of use, with an index by user."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Raw

from events.record import Record
from events.vocabulary.sessions import Device, SessionEnded, SessionRefreshed, SessionStarted
from projections.copy_on_write import CopyOnWriteDict


class Session(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The current values of a session.

    ``user`` is the number of a user; times are RFC 3339. ``generation`` counts the spent refresh
    tokens; the last one was spent at ``refreshed_at``.
    """

    id: str
    user: int
    refresh_hash: str
    address: str | None
    user_agent: str | None
    started_at: str
    expires_at: str
    version: int
    refreshed_at: str = ""
    generation: int = 0


_public_values: Final = attrgetter(
    "id", "refresh_hash", "started_at", "expires_at", "version", "refreshed_at", "generation"
)
_personal_values: Final = attrgetter("address", "user_agent")
_decode_public: Final = msgspec.msgpack.Decoder(
    list[tuple[str, str, str, str, int, str, int]]
).decode
_decode_personal: Final = msgspec.msgpack.Decoder(list[tuple[str | None, str | None]]).decode


class Sessions:
    """Sessions that have not ended, by identifier and by user.

    ``by_id`` is in the order of use, least recently used first.
    """

    def __init__(
        self,
        by_id: MutableMapping[str, Session] | None = None,
        ids_by_user: MutableMapping[int, frozenset[str]] | None = None,
    ) -> None:
        self.by_id: MutableMapping[str, Session] = OrderedDict() if by_id is None else by_id
        self.ids_by_user: MutableMapping[int, frozenset[str]] = (
            {} if ids_by_user is None else ids_by_user
        )

    def stage(self) -> Sessions:
        """A copy-on-write copy."""
        return Sessions(CopyOnWriteDict(self.by_id), CopyOnWriteDict(self.ids_by_user))

    def on_started(self, record: Record, event: SessionStarted) -> Session:
        device = event.personal if isinstance(event.personal, Device) else Device()
        session = Session(
            record.subject.partition("/")[2],
            event.user,
            event.refresh_hash,
            device.address,
            device.user_agent,
            record.time,
            event.expires_at,
            record.position,
        )
        self._use(session)
        others = self.ids_by_user.get(event.user, frozenset())
        self.ids_by_user[event.user] = others | {session.id}
        return session

    def on_refreshed(self, record: Record, event: SessionRefreshed) -> Session | None:
        session = self.by_id.get(record.subject.partition("/")[2])
        if session is None:
            return None
        is_spent = event.refresh_hash != session.refresh_hash
        session = msgspec.structs.replace(
            session,
            refresh_hash=event.refresh_hash,
            expires_at=event.expires_at,
            version=record.position,
            refreshed_at=record.time if is_spent else session.refreshed_at,
            generation=session.generation + is_spent,
        )
        self._use(session)
        return session

    def _use(self, session: Session) -> None:
        """Move a session to the end of the order of use."""
        self.by_id.pop(session.id, None)
        self.by_id[session.id] = session

    def on_ended(self, record: Record, event: SessionEnded) -> None:
        number = record.subject.partition("/")[2]
        session = self.by_id.get(number)
        if event.everywhere and session is not None:
            self.end_all(session.user)
        self._end(number)

    def end_all(self, user: int, keep: str | None = None) -> None:
        """End the sessions of a user, except ``keep``."""
        for session in self.ids_by_user.get(user, frozenset()):
            if session != keep:
                self._end(session)

    def _end(self, number: str) -> None:
        session = self.by_id.pop(number, None)
        if session is None:
            return
        left = self.ids_by_user[session.user] - {number}
        if left:
            self.ids_by_user[session.user] = left
        else:
            del self.ids_by_user[session.user]

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The sessions of one user, for a snapshot; see `Table`."""
        ids = sorted(self.ids_by_user.get(owner, frozenset()))
        sessions = [self.by_id[session] for session in ids]
        return [*map(_public_values, sessions)], [*map(_personal_values, sessions)]

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add the sessions of one user from a snapshot; see `Table`."""
        rows = _decode_public(public)
        devices = [(None, None)] * len(rows) if personal is None else _decode_personal(personal)
        for row, (address, agent) in zip(rows, devices, strict=True):
            number, secret, start, end, version, refreshed, generation = row
            self.by_id[number] = Session(
                number, owner, secret, address, agent, start, end, version, refreshed, generation
            )
        if rows:
            self.ids_by_user[owner] = frozenset(row[0] for row in rows)

    def export_shared(self) -> object:
        """Nothing: the order of use follows from the versions; see `Table`."""
        return None

    def load_shared(self, _: Raw) -> None:
        """Nothing, see `export_shared`."""

    def finish_load(self) -> None:
        """Put the sessions of all users into the order of use; see `Table`."""
        for session in sorted(self.by_id.values(), key=attrgetter("version")):
            self._use(session)

    def digest_lines(self) -> Iterator[str]:
        """The public content of the table: a line for each session, by identifier."""
        for number in sorted(self.by_id):
            session = self.by_id[number]
            yield f"sessions/{number} {session.user} {session.version}"
