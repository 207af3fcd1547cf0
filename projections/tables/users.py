"""The table of users: who there is, by number, name and email address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, MutableMapping
from typing import Literal

import msgspec
from msgspec import UNSET

from events.record import Record, entity_number
from events.vocabulary.password_hashes import HashKind, hash_kind
from events.vocabulary.users import (
    PasswordHash,
    Profile,
    ProfileChanges,
    Role,
    UserDisabled,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
)
from projections.copy_on_write import CopyOnWriteDict

Status = Literal["enabled", "disabled", "erased"]

_UNREADABLE = Profile(username="", email="", password_hash="")
"""What is left of a profile whose key is destroyed."""


class User(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A user as they stand; ``version`` is the position of their last event.

    Of an erased user only the number, the status and the version are left.
    """

    id: int
    username: str
    email: str
    full_name: str | None
    password_hash: str
    status: Status
    roles: frozenset[Role]
    created_at: str
    updated_at: str
    version: int

    @property
    def subject(self) -> str:
        """The user's name in the log."""
        return f"users/{self.id}"

    @property
    def disabled(self) -> bool:
        """Whether the user is locked out."""
        return self.status != "enabled"


def casefold_key(text: str) -> str:
    """The form in which usernames and email addresses are compared."""
    return text.casefold()


class Users:
    """Users by number, with the indexes that keep names and addresses unique."""

    def __init__(
        self,
        by_id: MutableMapping[int, User],
        ids_by_name: MutableMapping[str, int],
        ids_by_email: MutableMapping[str, int],
        last_id: int = 0,
    ) -> None:
        self.by_id = by_id
        self.ids_by_name = ids_by_name
        self.ids_by_email = ids_by_email
        self.last_id = last_id
        self._hash_kinds: Counter[HashKind] = Counter()

    def stage(self) -> Users:
        """A copy-on-write copy."""
        return Users(
            CopyOnWriteDict(self.by_id),
            CopyOnWriteDict(self.ids_by_name),
            CopyOnWriteDict(self.ids_by_email),
            self.last_id,
        )

    def find_by_username(self, username: str) -> User | None:
        """The user of that name, without regard to case."""
        number = self.ids_by_name.get(casefold_key(username))
        return None if number is None else self.by_id[number]

    def find_by_email(self, email: str) -> User | None:
        """The user with that email address, without regard to case."""
        number = self.ids_by_email.get(casefold_key(email))
        return None if number is None else self.by_id[number]

    @property
    def hash_kinds(self) -> Collection[HashKind]:
        """The kinds of password hashes that users have; a draft knows none."""
        return tuple(self._hash_kinds)

    def track_hash_kind(self, user: User) -> None:
        """Count the kind of a user's password hash."""
        kind = hash_kind(user.password_hash)
        if kind is not None:
            self._hash_kinds[kind] += 1

    def _untrack_hash_kind(self, user: User) -> None:
        """Count the kind of a user's password hash no more."""
        kind = hash_kind(user.password_hash)
        if kind is not None:
            self._hash_kinds[kind] -= 1
            if self._hash_kinds[kind] <= 0:
                del self._hash_kinds[kind]

    def on_registered(self, record: Record, event: UserRegistered) -> User:
        profile = event.personal if isinstance(event.personal, Profile) else _UNREADABLE
        user = User(
            entity_number(record.subject),
            profile.username,
            profile.email,
            profile.full_name,
            profile.password_hash,
            "enabled",
            frozenset(),
            event.created_at or record.time,
            record.time,
            record.position,
        )
        self.by_id[user.id] = user
        self.last_id = max(self.last_id, user.id)
        self.track_hash_kind(user)
        self.index(user)
        return user

    def index(self, user: User) -> None:
        """Make a user known by name and email address; an empty one is none."""
        if user.username:
            self.ids_by_name[casefold_key(user.username)] = user.id
        if user.email:
            self.ids_by_email[casefold_key(user.email)] = user.id

    def on_updated(self, record: Record, event: UserUpdated) -> User | None:
        changes = event.personal if isinstance(event.personal, ProfileChanges) else ProfileChanges()
        user = self.by_id.get(entity_number(record.subject))
        if user is None:
            return None
        email = user.email if changes.email is UNSET else changes.email
        full_name = user.full_name if changes.full_name is UNSET else changes.full_name
        if casefold_key(email) != casefold_key(user.email):
            self.ids_by_email.pop(casefold_key(user.email), None)
            if email:
                self.ids_by_email[casefold_key(email)] = user.id
        return self._replace(record, email=email, full_name=full_name)

    def on_password_changed(self, record: Record, event: UserPasswordChanged) -> User | None:
        if not isinstance(event.personal, PasswordHash):
            return self._replace(record)
        before = self.by_id.get(entity_number(record.subject))
        user = self._replace(record, password_hash=event.personal.password_hash)
        if before is not None and user is not None:
            self._untrack_hash_kind(before)
            self.track_hash_kind(user)
        return user

    def on_disabled(self, record: Record, _: UserDisabled) -> User | None:
        return self._replace(record, status="disabled")

    def on_enabled(self, record: Record, _: UserEnabled) -> User | None:
        return self._replace(record, status="enabled")

    def on_role_granted(self, record: Record, event: UserRoleGranted) -> User | None:
        user = self.by_id.get(entity_number(record.subject))
        return user and self._replace(record, roles=user.roles | {event.role})

    def on_role_revoked(self, record: Record, event: UserRoleRevoked) -> User | None:
        user = self.by_id.get(entity_number(record.subject))
        return user and self._replace(record, roles=user.roles - {event.role})

    def on_erased(self, record: Record, _: UserErased) -> User | None:
        user = self.by_id.get(entity_number(record.subject))
        if user is None:
            return None
        self.ids_by_name.pop(casefold_key(user.username), None)
        self.ids_by_email.pop(casefold_key(user.email), None)
        self._untrack_hash_kind(user)
        return self._replace(
            record,
            username="",
            email="",
            full_name=None,
            password_hash="",
            status="erased",
            roles=frozenset(),
            created_at="",
        )

    def _replace(self, record: Record, **changes: object) -> User | None:
        user = self.by_id.get(entity_number(record.subject))
        if user is None:
            return None
        user = msgspec.structs.replace(
            user, updated_at=record.time, version=record.position, **changes
        )
        self.by_id[user.id] = user
        return user

    def digest_lines(self) -> Iterator[str]:
        """What of the table needs no key, a line a user, by number."""
        for number in sorted(self.by_id):
            user = self.by_id[number]
            roles = ",".join(sorted(user.roles)) or "-"
            yield f"users/{user.id} {user.status} {roles} {user.version}"
