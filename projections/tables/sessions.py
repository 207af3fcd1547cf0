"""The table of sessions: who is logged in, and until when."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, MutableMapping

import msgspec

from events.record import Record
from events.vocabulary.sessions import Device, SessionEnded, SessionRefreshed, SessionStarted
from projections.copy_on_write import CopyOnWriteDict


class Session(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A session as it stands; ``user`` is a user's number, times are RFC 3339.

    ``generation`` counts the refresh tokens that are spent, the last of them at ``refreshed_at``.
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


class Sessions:
    """Sessions that have not ended, by identifier in the order of use, with an index by user."""

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
        """Put a session behind all others."""
        self.by_id.pop(session.id, None)
        self.by_id[session.id] = session

    def on_ended(self, record: Record, event: SessionEnded) -> None:
        number = record.subject.partition("/")[2]
        session = self.by_id.get(number)
        if event.everywhere and session is not None:
            self.end_all(session.user)
        self._end(number)

    def end_all(self, user: int, keep: str | None = None) -> None:
        """End the sessions of a user, but for one."""
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

    def digest_lines(self) -> Iterator[str]:
        """What of the table needs no key, a line a session, by identifier."""
        for number in sorted(self.by_id):
            session = self.by_id[number]
            yield f"sessions/{number} {session.user} {session.version}"
