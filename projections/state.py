"""The state: the tables that the log folds into, and read models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Sequence
from typing import Any

import msgspec

from events.record import START, Event, Record, entity_number
from events.vocabulary import sessions as session_events
from events.vocabulary import signing_keys as key_events
from events.vocabulary import users as user_events
from events.vocabulary.resources import Created, Entity, ResourceEvent
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary
from projections.read_models import NO_READ_MODELS, ApplicationVocabulary, ReadModels
from projections.tables.collections import Collections
from projections.tables.idempotency import HOUR, Changed, IdempotencyRecords
from projections.tables.resources import ResourceTable
from projections.tables.sessions import Sessions
from projections.tables.table import Table
from projections.tables.users import Users


class State:
    """The tables, as of one position of the log.

    ``last`` is the last record that was applied. In a staged copy, ``now`` is the time at which
    commands are decided, and ``recent_refreshes`` has the sessions and generations whose refresh
    this process applied within the grace period of a spent refresh token. A staged copy has no
    ``read_models``, because no code of an application runs under the lock of the log.
    """

    now: str = ""
    recent_refreshes: Container[tuple[str, int]] = frozenset()
    read_models: ReadModels = NO_READ_MODELS

    def __init__(
        self,
        users: Users,
        resources: Collections,
        sessions: Sessions,
        records: IdempotencyRecords,
    ) -> None:
        self.last = START
        self.users = users
        self.resources = resources
        self.sessions = sessions
        self.idempotency = records
        self._apply: dict[type[Event], Callable[[Record, Any], Changed]] = {
            user_events.UserRegistered: users.on_registered,
            user_events.UserUpdated: users.on_updated,
            user_events.UserPasswordChanged: self._password_changed,
            user_events.UserDisabled: self._user_disabled,
            user_events.UserEnabled: users.on_enabled,
            user_events.UserRoleGranted: users.on_role_granted,
            user_events.UserRoleRevoked: users.on_role_revoked,
            user_events.UserErased: self._user_erased,
            session_events.SessionStarted: sessions.on_started,
            session_events.SessionRefreshed: sessions.on_refreshed,
            session_events.SessionEnded: sessions.on_ended,
            key_events.LogResumed: _leave_as_it_is,
            SchemaDeclared: resources.on_declared,
        }

    @classmethod
    def empty(cls, vocabulary: Vocabulary) -> State:
        """The state before the first record of a log with this vocabulary."""
        users = Users({}, {}, {})
        state = cls(users, Collections(vocabulary), Sessions(), IdempotencyRecords())
        if isinstance(vocabulary, ApplicationVocabulary) and vocabulary.read_models:
            state.read_models = ReadModels(vocabulary.read_models)
        return state

    def __getitem__(self, collection: str) -> ResourceTable:
        """The table of a collection, such as ``items``; raises `KeyError`."""
        return self.resources[collection]

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the next record."""
        return self.resources.vocabulary

    @property
    def position(self) -> int:
        """The position of the last record that was applied."""
        return self.last.position

    @property
    def tables(self) -> Sequence[Table]:
        """All tables, as a snapshot exports and loads them."""
        return self.users, self.resources, self.sessions, self.idempotency

    def stage(self) -> State:
        """A copy-on-write copy, in which commands are decided before anything is written.

        This state must not change while the copy is in use.
        """
        draft = State(
            self.users.stage(),
            self.resources.stage(),
            self.sessions.stage(),
            self.idempotency.stage(),
        )
        draft.last = self.last
        draft.now, draft.recent_refreshes = self.now, self.recent_refreshes
        return draft

    def stage_at(self, now: str, recent_refreshes: Container[tuple[str, int]] = ()) -> State:
        """A staged copy in which commands are decided at a time of the log's clock."""
        draft = self.stage()
        draft.now, draft.recent_refreshes = now, recent_refreshes
        return draft

    def apply(self, record: Record) -> Changed:
        """Apply one record; never raises on an event of the vocabulary."""
        last, self.last = self.last, record
        if record.time[HOUR] != last.time[HOUR]:
            self.idempotency.advance(last.time, record.time)
        event = record.event
        if isinstance(event, ResourceEvent):
            entity: Changed = self.resources.apply(record, event)
        else:
            entity = self._apply[type(event)](record, event)
        if isinstance(entity, Entity):
            self.resources.log_bytes.add(entity.owner, record.end - last.end)
        if record.idempotencykey:
            self.idempotency.add(record)
        if self.read_models.current:
            self.read_models.apply(record, self.owner_of(record))
        return entity

    def owner_of(self, record: Record) -> int | None:
        """The number of the owner of a record's resource; ``None`` without one."""
        event = record.event
        if not isinstance(event, ResourceEvent):
            return None
        if isinstance(event, Created):
            return event.owner
        table = self.resources.get(record.subject.partition("/")[0])
        found = table and table.find(entity_number(record.subject))
        return found.owner if found else None

    def _password_changed(self, record: Record, event: user_events.UserPasswordChanged) -> Changed:
        if event.reason == "changed":
            self.sessions.end_all(entity_number(record.subject), keep=event.session)
        return self.users.on_password_changed(record, event)

    def _user_disabled(self, record: Record, event: user_events.UserDisabled) -> Changed:
        self.sessions.end_all(entity_number(record.subject))
        return self.users.on_disabled(record, event)

    def _user_erased(self, record: Record, event: user_events.UserErased) -> Changed:
        number = entity_number(record.subject)
        self.sessions.end_all(number)
        self.resources.erase_user(number, record.position)
        self.idempotency.erase_user(record.subject)
        return self.users.on_erased(record, event)

    def digest(self) -> str:
        """The public digest, 64 hex digits, which covers only values that need no key.

        Anyone can recompute it from the log alone, and a later erasure does not change the digest
        at an earlier position. The position of an entity's last event pins its content through the
        hash chain.
        """
        digest = hashlib.sha256()
        for table in (self.users, self.resources, self.sessions):
            for line in table.digest_lines():
                digest.update(line.encode() + b"\n")
        return digest.hexdigest()

    def checksum(self) -> str:
        """The internal checksum, 64 hex digits, which covers all content.

        It is used only to compare a live state with a rebuilt one.
        """
        content = hashlib.sha256()
        encode = msgspec.msgpack.Encoder(order="deterministic").encode
        resources = [
            table for each in self.resources.values() for table in (each.by_id, each.deleted)
        ]
        for table in (self.users.by_id, *resources, self.sessions.by_id):
            for key in sorted(table):
                content.update(encode(table[key]))  # type: ignore[index]  # its own
        for key, found in sorted(self.idempotency.by_key.items()):
            content.update(encode((key, found)))
        for index in (self.users.ids_by_name, self.users.ids_by_email):
            content.update(encode(dict(sorted(index.items()))))
        for each in self.resources.values():
            for number, users in sorted(each.shares.items()):
                content.update(encode((number, sorted(users.items()))))
        content.update(
            encode(
                (
                    self.last.position,
                    self.last.hash,
                    self.users.last_id,
                    *(table.last_id for table in self.resources.values()),
                    self.idempotency.skipped,
                    [self.resources.log_bytes.of(user) for user in sorted(self.users.by_id)],
                )
            )
        )
        return content.hexdigest()


def _leave_as_it_is(_: Record, __: Event) -> None:
    """Events about the log itself change no table."""
