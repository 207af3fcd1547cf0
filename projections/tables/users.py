"""The table of users, by number, name and email address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, MutableMapping
from operator import attrgetter
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw

from events.record import Record, entity_number
from events.vocabulary.password_hashes import HashKind, hash_kind
from events.vocabulary.users import (
    PasswordHash,
    Profile,
    ProfileChanges,
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

_UNREADABLE: Final = Profile(username="", email="", password_hash="")
"""Replaces a profile whose key is destroyed."""


class User(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The current values of a user.

    ``version`` is the position of the user's last event. An erased user keeps only the number, the
    status and the version.
    """

    id: int
    username: str
    email: str
    full_name: str | None
    password_hash: str
    status: Status
    roles: frozenset[str]
    created_at: str
    updated_at: str
    version: int

    @property
    def subject(self) -> str:
        """The user's name in the log."""
        return f"users/{self.id}"

    @property
    def disabled(self) -> bool:
        """Whether the user cannot log in."""
        return self.status != "enabled"


_public_values: Final = attrgetter("status", "roles", "created_at", "updated_at", "version")
_personal_values: Final = attrgetter("username", "email", "full_name", "password_hash")
_decode_public: Final = msgspec.msgpack.Decoder(tuple[Status, frozenset[str], str, str, int]).decode
_decode_personal: Final = msgspec.msgpack.Decoder(tuple[str, str, str | None, str]).decode


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
        """The user with that name, without regard to case."""
        number = self.ids_by_name.get(casefold_key(username))
        return None if number is None else self.by_id[number]

    def find_by_email(self, email: str) -> User | None:
        """The user with that email address, without regard to case."""
        number = self.ids_by_email.get(casefold_key(email))
        return None if number is None else self.by_id[number]

    @property
    def hash_kinds(self) -> Collection[HashKind]:
        """The kinds of password hashes that users have; empty in a staged table."""
        return tuple(self._hash_kinds)

    def _track_hash_kind(self, user: User) -> None:
        """Count the kind of a user's password hash."""
        kind = hash_kind(user.password_hash)
        if kind is not None:
            self._hash_kinds[kind] += 1

    def _untrack_hash_kind(self, user: User) -> None:
        """Stop counting the kind of a user's password hash."""
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
        self.last_id = max(self.last_id, user.id)
        self._insert(user)
        return user

    def _insert(self, user: User) -> None:
        """Add a user, also to the indexes of the username and the email if not empty."""
        self.by_id[user.id] = user
        self._track_hash_kind(user)
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
            self._track_hash_kind(user)
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

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The values of one user, for a snapshot; see `Table`."""
        user = self.by_id[owner]
        return _public_values(user), _personal_values(user)

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add a user from a snapshot; see `Table`."""
        status, roles, created_at, updated_at, version = _decode_public(public)
        username, email, full_name, password_hash = (
            _personal_values(_UNREADABLE) if personal is None else _decode_personal(personal)
        )
        self._insert(
            User(
                owner,
                username,
                email,
                full_name,
                password_hash,
                status,
                roles,
                created_at,
                updated_at,
                version,
            )
        )

    def export_shared(self) -> object:
        """The highest number, for a snapshot; see `Table`."""
        return self.last_id

    def load_shared(self, content: Raw) -> None:
        """Set the highest number from a snapshot; see `Table`."""
        self.last_id = msgspec.msgpack.decode(content, type=int)

    def finish_load(self) -> None:
        """Nothing; see `Table`."""

    def digest_lines(self) -> Iterator[str]:
        """The public content of the table: a line for each user, by number."""
        for number in sorted(self.by_id):
            user = self.by_id[number]
            roles = ",".join(sorted(user.roles)) or "-"
            yield f"users/{user.id} {user.status} {roles} {user.version}"
