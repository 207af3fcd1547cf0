"""The state: the tables that the log folds into, and read models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Sequence
from copy import copy
from functools import cached_property
from itertools import chain, islice
from typing import Any, Final

import msgspec

from events.record import START, Event, Record, entity_number
from events.vocabulary import keys as api_key_events
from events.vocabulary import security as security_events
from events.vocabulary import sessions as session_events
from events.vocabulary import signing_keys as key_events
from events.vocabulary import users as user_events
from events.vocabulary import webhooks as webhook_events
from events.vocabulary.resources import Created, Entity, ResourceEvent
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary
from projections.read_models import NO_READ_MODELS, ApplicationVocabulary, ReadModels
from projections.tables.activity import Activity
from projections.tables.collections import Collections
from projections.tables.failed_logins import FailedLogins
from projections.tables.idempotency import HOUR, Changed, IdempotencyRecords
from projections.tables.keys import ApiKey, ApiKeys
from projections.tables.resources import ResourceTable
from projections.tables.second_factors import SecondFactors
from projections.tables.sessions import Session, Sessions
from projections.tables.table import Table
from projections.tables.users import Users
from projections.tables.webhooks import Webhooks

_LINES_PER_HASH: Final = 1_024
"""Lines of the digest that are hashed at once, while other threads run."""


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

    def __init__(  # noqa: PLR0917 - one for each table
        self,
        users: Users,
        resources: Collections,
        sessions: Sessions,
        records: IdempotencyRecords,
        keys: ApiKeys,
        second_factors: SecondFactors,
        activity: Activity,
        webhooks: Webhooks,
        failed_logins: FailedLogins,
    ) -> None:
        self.last = START
        self.users = users
        self.resources = resources
        self.sessions = sessions
        self.idempotency = records
        self.keys = keys
        self.second_factors = second_factors
        self.activity = activity
        self.webhooks = webhooks
        self.failed_logins = failed_logins

    @cached_property
    def _apply(self) -> dict[type[Event], Callable[[Record, Any], Changed]]:
        """Handlers by type of event; `Collections` applies those about resources.

        The table is made on first use, because most staged copies are only used for resources.
        """
        users, sessions, keys = self.users, self.sessions, self.keys
        second_factors, webhooks = self.second_factors, self.webhooks
        return {
            user_events.UserRegistered: users.on_registered,
            user_events.UserUpdated: users.on_updated,
            user_events.UserPasswordChanged: self._password_changed,
            user_events.UserDisabled: self._user_disabled,
            user_events.UserEnabled: users.on_enabled,
            user_events.UserRoleGranted: users.on_role_granted,
            user_events.UserRoleRevoked: users.on_role_revoked,
            user_events.UserErased: self._user_erased,
            user_events.UserEmailChanged: users.on_email_changed,
            user_events.UserEmailVerificationRequested: users.on_other,
            user_events.UserEmailVerified: users.on_email_verified,
            user_events.UserPasswordResetRequested: users.on_other,
            user_events.UserPasswordReset: self._password_reset,
            user_events.UserTotpStarted: self._second_factor(second_factors.on_started),
            user_events.UserTotpEnabled: self._second_factor(second_factors.on_enabled),
            user_events.UserTotpDisabled: self._second_factor(second_factors.on_disabled),
            user_events.UserSecondFactorUsed: self._second_factor(second_factors.on_used),
            api_key_events.KeyCreated: keys.on_created,
            api_key_events.KeyUsed: keys.on_used,
            api_key_events.KeyRevoked: keys.on_revoked,
            session_events.SessionStarted: sessions.on_started,
            session_events.SessionRefreshed: sessions.on_refreshed,
            session_events.SessionEnded: sessions.on_ended,
            key_events.LogResumed: _leave_as_it_is,
            SchemaDeclared: self.resources.on_declared,
            webhook_events.WebhookCreated: webhooks.on_created,
            webhook_events.WebhookUpdated: self._webhook(webhooks.on_updated),
            webhook_events.WebhookDeleted: self._webhook(webhooks.on_deleted),
            webhook_events.WebhookDisabled: self._webhook(webhooks.on_disabled),
            webhook_events.WebhookEnabled: self._webhook(webhooks.on_enabled),
            webhook_events.WebhookSecretRotated: self._webhook(webhooks.on_secret_rotated),
            webhook_events.WebhookReplayed: self._webhook(webhooks.on_replayed),
            security_events.LoginFailed: self.failed_logins.on_failed,
            security_events.ValuesOpened: _leave_as_it_is,
        }

    @classmethod
    def empty(cls, vocabulary: Vocabulary) -> State:
        """The state before the first record of a log with this vocabulary."""
        state = cls._without_rows(Collections(vocabulary))
        if isinstance(vocabulary, ApplicationVocabulary) and vocabulary.read_models:
            state.read_models = ReadModels(vocabulary.read_models)
        return state

    @classmethod
    def _without_rows(cls, resources: Collections) -> State:
        return cls(
            Users({}, {}, {}),
            resources,
            Sessions(),
            IdempotencyRecords(),
            ApiKeys(),
            SecondFactors(),
            Activity(resources),
            Webhooks(),
            FailedLogins(),
        )

    def blank(self) -> State:
        """An empty state with the same kinds, and without read models.

        Folding all records of an entity into it leads to that entity.
        """
        return self._without_rows(self.resources.blank()).stage()

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
        return (
            self.users,
            self.resources,
            self.sessions,
            self.idempotency,
            self.keys,
            self.second_factors,
            self.activity,
            self.webhooks,
            self.failed_logins,
        )

    def stage(self) -> State:
        """A copy-on-write copy, in which commands are decided before anything is written.

        This state must not change while the copy is in use.
        """
        resources = self.resources.stage()
        draft = State(
            self.users.stage(),
            resources,
            self.sessions.stage(),
            self.idempotency.stage(),
            self.keys.stage(),
            self.second_factors.stage(),
            self.activity.stage(resources),
            self.webhooks.stage(),
            self.failed_logins.stage(),
        )
        draft.last = self.last
        draft.now, draft.recent_refreshes = self.now, self.recent_refreshes
        return draft

    def frozen(self) -> State:
        """A copy that stays as it is, to be counted and digested in another thread.

        It shares the rows, so it takes milliseconds for a million of them. Nothing can be applied
        to it.
        """
        copied = copy(self)
        copied._apply = {}
        copied.resources = self.resources.frozen()
        for name in ("users", "sessions", "keys", "webhooks"):
            table = copy(getattr(self, name))
            table.by_id = dict(table.by_id)
            setattr(copied, name, table)
        return copied

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
            account = self.account_of(record)
            entity = self._apply[type(event)](record, event)
            if account is not None and not isinstance(event, user_events.UserErased):
                self.activity.add(account, record.position)
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

    def account_of(self, record: Record) -> int | None:
        """The number of the user whose account an event is about, before it is applied."""
        table, _, name = record.subject.partition("/")
        if table == "users":
            return int(name)
        event = record.event
        if isinstance(event, session_events.SessionStarted | api_key_events.KeyCreated):
            return event.user
        found: Session | ApiKey | None = None
        if table == "sessions":
            found = self.sessions.by_id.get(name)
        elif table == "keys":
            found = self.keys.by_id.get(name)
        return None if found is None else found.user

    def has_credential(self, credential: str) -> bool:
        """Whether a session or an API key, named by its subject, has not ended."""
        table, _, name = credential.partition("/")
        return name in (self.keys if table == "keys" else self.sessions).by_id

    def _second_factor(self, change: Callable[[Record, Any], None]) -> Callable[..., Changed]:
        def apply(record: Record, event: Event) -> Changed:
            change(record, event)
            return self.users.on_other(record, event)

        return apply

    def _webhook(self, change: Callable[[Record, Any], Changed]) -> Callable[..., Changed]:
        def apply(record: Record, event: Event) -> Changed:
            before = self.webhooks.by_id.get(entity_number(record.subject))
            if before is not None:
                self.resources.versions.add(record.position, before.version)
            return change(record, event)

        return apply

    def _password_reset(self, record: Record, event: user_events.UserPasswordReset) -> Changed:
        self.sessions.end_all(entity_number(record.subject))
        return self.users.on_password_reset(record, event)

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
        self.keys.erase_user(number)
        self.second_factors.erase_user(number)
        return self.users.on_erased(record, event)

    def digest(self) -> str:
        """The public digest, 64 hex digits, which covers only values that need no key.

        Anyone can recompute it from the log alone, and a later erasure does not change the digest
        at an earlier position. The position of an entity's last event pins its content through the
        hash chain.
        """
        digest = hashlib.sha256()
        tables = (self.users, self.resources, self.sessions, self.keys, self.webhooks)
        lines = chain.from_iterable(table.digest_lines() for table in tables)
        while some := list(islice(lines, _LINES_PER_HASH)):
            digest.update("\n".join((*some, "")).encode())
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
        tables = (
            self.users.by_id,
            *resources,
            self.sessions.by_id,
            self.keys.by_id,
            self.second_factors.by_user,
            self.activity.last,
            self.webhooks.by_id,
        )
        for table in tables:
            for key in sorted(table):
                content.update(encode(table[key]))  # type: ignore[index]  # its own
        for key, found in sorted(self.idempotency.by_key.items()):
            content.update(encode((key, found)))
        for index in (self.users.ids_by_name, self.users.ids_by_email):
            content.update(encode(dict(sorted(index.items()))))
        for each in self.resources.values():
            for number, users in sorted(each.shares.items()):
                content.update(encode((number, sorted(users.items()))))
            # Keys of one rule may be of types without an order, so their encoded form decides.
            content.update(b"".join(sorted(map(encode, each.unique.items()))))
        content.update(
            encode(
                (
                    self.last.position,
                    self.last.hash,
                    self.users.last_id,
                    self.webhooks.last_id,
                    *(table.last_id for table in self.resources.values()),
                    self.idempotency.skipped,
                    self.failed_logins.windows,
                    sorted(self.failed_logins.recorded),
                    [self.resources.log_bytes.of(user) for user in sorted(self.users.by_id)],
                )
            )
        )
        return content.hexdigest()


def _leave_as_it_is(_: Record, __: Event) -> None:
    """These events change no table; those about an account are in `Activity`."""
