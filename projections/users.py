"""The table of users: who there is, by number, name and email address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, MutableMapping
from typing import Literal

import msgspec
from msgspec import UNSET

from events.hashes import HashKind, hash_kind
from events.record import Record, entity_number
from events.users import (
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
from projections.overlay import Overlay

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


def folded(text: str) -> str:
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

    def draft(self) -> Users:
        """A copy-on-write copy."""
        return Users(
            Overlay(self.by_id),
            Overlay(self.ids_by_name),
            Overlay(self.ids_by_email),
            self.last_id,
        )

    def named(self, username: str) -> User | None:
        """The user of that name, without regard to case."""
        number = self.ids_by_name.get(folded(username))
        return None if number is None else self.by_id[number]

    def with_email(self, email: str) -> User | None:
        """The user with that email address, without regard to case."""
        number = self.ids_by_email.get(folded(email))
        return None if number is None else self.by_id[number]

    @property
    def hash_kinds(self) -> Collection[HashKind]:
        """The kinds of password hashes that users have; a draft knows none."""
        return tuple(self._hash_kinds)

    def note_hash(self, user: User) -> None:
        """Count the kind of a user's password hash."""
        kind = hash_kind(user.password_hash)
        if kind is not None:
            self._hash_kinds[kind] += 1

    def _drop_hash(self, user: User) -> None:
        """Count the kind of a user's password hash no more."""
        kind = hash_kind(user.password_hash)
        if kind is not None:
            self._hash_kinds[kind] -= 1
            if self._hash_kinds[kind] <= 0:
                del self._hash_kinds[kind]

    def registered(self, record: Record, event: UserRegistered) -> User:
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
        self.note_hash(user)
        self.index(user)
        return user

    def index(self, user: User) -> None:
        """Make a user known by name and email address; an empty one is none."""
        if user.username:
            self.ids_by_name[folded(user.username)] = user.id
        if user.email:
            self.ids_by_email[folded(user.email)] = user.id

    def updated(self, record: Record, event: UserUpdated) -> User | None:
        changes = event.personal if isinstance(event.personal, ProfileChanges) else ProfileChanges()
        user = self.by_id.get(entity_number(record.subject))
        if user is None:
            return None
        email = user.email if changes.email is UNSET else changes.email
        full_name = user.full_name if changes.full_name is UNSET else changes.full_name
        if folded(email) != folded(user.email):
            self.ids_by_email.pop(folded(user.email), None)
            if email:
                self.ids_by_email[folded(email)] = user.id
        return self._replace(record, email=email, full_name=full_name)

    def password_changed(self, record: Record, event: UserPasswordChanged) -> User | None:
        if not isinstance(event.personal, PasswordHash):
            return self._replace(record)
        before = self.by_id.get(entity_number(record.subject))
        user = self._replace(record, password_hash=event.personal.password_hash)
        if before is not None and user is not None:
            self._drop_hash(before)
            self.note_hash(user)
        return user

    def disabled(self, record: Record, _: UserDisabled) -> User | None:
        return self._replace(record, status="disabled")

    def enabled(self, record: Record, _: UserEnabled) -> User | None:
        return self._replace(record, status="enabled")

    def role_granted(self, record: Record, event: UserRoleGranted) -> User | None:
        user = self.by_id.get(entity_number(record.subject))
        return user and self._replace(record, roles=user.roles | {event.role})

    def role_revoked(self, record: Record, event: UserRoleRevoked) -> User | None:
        user = self.by_id.get(entity_number(record.subject))
        return user and self._replace(record, roles=user.roles - {event.role})

    def erased(self, record: Record, _: UserErased) -> User | None:
        user = self.by_id.get(entity_number(record.subject))
        if user is None:
            return None
        self.ids_by_name.pop(folded(user.username), None)
        self.ids_by_email.pop(folded(user.email), None)
        self._drop_hash(user)
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
