"""The table of users, by number, name and email address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, MutableMapping
from operator import attrgetter
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw

from events.record import Event, Record, entity_number
from events.vocabulary.password_hashes import HashKind, hash_kind
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    Profile,
    ProfileChanges,
    UserDisabled,
    UserEmailChanged,
    UserEmailVerified,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserPasswordReset,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
    VerifiedEmail,
)
from projections.copy_on_write import CopyOnWriteDict

Status = Literal["enabled", "disabled", "erased"]

_UNREADABLE: Final = Profile(username="", email="", password_hash="")
"""Replaces a profile whose key is destroyed."""


class User(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The current values of a user.

    ``version`` is the position of the user's last event, ``password_at`` that of the event that set
    the password. ``email`` is the address that counts: mails about the password go there.
    ``pending_email`` replaces it once it is verified. An erased user keeps only the number, the
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
    password_at: int = 0
    email_verified: bool = False
    pending_email: str | None = None

    @property
    def subject(self) -> str:
        """The user's name in the log."""
        return f"users/{self.id}"

    @property
    def disabled(self) -> bool:
        """Whether the user cannot log in."""
        return self.status != "enabled"

    @property
    def newest_email(self) -> str:
        """The address that the user gave last, verified or not."""
        return self.pending_email or self.email

    @property
    def newest_email_verified(self) -> bool:
        """Whether the newest address is verified."""
        return self.email_verified and self.pending_email is None


_public_values: Final = attrgetter(
    "status", "roles", "created_at", "updated_at", "version", "password_at", "email_verified"
)
_personal_values: Final = attrgetter(
    "username", "email", "full_name", "password_hash", "pending_email"
)
_decode_public: Final = msgspec.msgpack.Decoder(
    tuple[Status, frozenset[str], str, str, int, int, bool]
).decode
_decode_personal: Final = msgspec.msgpack.Decoder(
    tuple[str, str, str | None, str, str | None]
).decode
_NO_PERSONAL_VALUES: Final = ("", "", None, "", None)


def casefold_key(text: str) -> str:
    """The form in which usernames and email addresses are compared."""
    return text.casefold()


def _is_same(one: str, other: str) -> bool:
    return casefold_key(one) == casefold_key(other)


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
        """The user with that email address, pending or not, without regard to case."""
        number = self.ids_by_email.get(casefold_key(email))
        return None if number is None else self.by_id[number]

    def find_by_counting_email(self, email: str) -> User | None:
        """The user whose mail goes to that address, without regard to case."""
        user = self.find_by_email(email)
        return user if user and casefold_key(user.email) == casefold_key(email) else None

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
        for address in filter(None, (user.email, user.pending_email)):
            self.ids_by_email[casefold_key(address)] = user.id

    def on_updated(self, record: Record, event: UserUpdated) -> User | None:
        changes = event.personal if isinstance(event.personal, ProfileChanges) else ProfileChanges()
        user = self.by_id.get(entity_number(record.subject))
        if user is None:
            return None
        full_name = user.full_name if changes.full_name is UNSET else changes.full_name
        if changes.email is UNSET:
            return self._replace(record, full_name=full_name)
        is_verified = user.email_verified and _is_same(changes.email, user.email)
        return self._set_email(
            record, user, changes.email, None, full_name=full_name, email_verified=is_verified
        )

    def on_email_changed(self, record: Record, event: UserEmailChanged) -> User | None:
        change = event.personal
        user = self.by_id.get(entity_number(record.subject))
        if user is None or not isinstance(change, EmailChange):
            return self._replace(record)
        full_name = user.full_name if change.full_name is UNSET else change.full_name
        if _is_same(change.email, user.email):
            return self._set_email(record, user, change.email, None, full_name=full_name)
        if event.counts:
            return self._set_email(
                record, user, change.email, None, full_name=full_name, email_verified=False
            )
        return self._set_email(record, user, user.email, change.email, full_name=full_name)

    def on_email_verified(self, record: Record, event: UserEmailVerified) -> User | None:
        verified = event.personal
        user = self.by_id.get(entity_number(record.subject))
        if user is None or not isinstance(verified, VerifiedEmail):
            return self._replace(record)
        if user.pending_email is not None and _is_same(verified.email, user.pending_email):
            return self._set_email(record, user, user.pending_email, None, email_verified=True)
        return self._replace(
            record, email_verified=user.email_verified or _is_same(verified.email, user.email)
        )

    def _set_email(
        self, record: Record, user: User, email: str, pending: str | None, **changes: object
    ) -> User | None:
        """Replace both addresses of a user, also in the index."""
        for before in filter(None, (user.email, user.pending_email)):
            self.ids_by_email.pop(casefold_key(before), None)
        for address in filter(None, (email, pending)):
            self.ids_by_email[casefold_key(address)] = user.id
        return self._replace(record, email=email, pending_email=pending, **changes)

    def on_password_changed(self, record: Record, event: UserPasswordChanged) -> User | None:
        # The same password under another hash function keeps the links that would replace it.
        changes = {"password_at": record.position} if event.reason == "changed" else {}
        return self._set_password(record, event.personal, **changes)

    def on_password_reset(self, record: Record, event: UserPasswordReset) -> User | None:
        changes = {"email_verified": True} if event.email_verified else {}
        return self._set_password(record, event.personal, password_at=record.position, **changes)

    def _set_password(
        self, record: Record, personal: PasswordHash | str | None, **changes: object
    ) -> User | None:
        if not isinstance(personal, PasswordHash):
            return self._replace(record, **changes)
        before = self.by_id.get(entity_number(record.subject))
        user = self._replace(record, password_hash=personal.password_hash, **changes)
        if before is not None and user is not None:
            self._untrack_hash_kind(before)
            self._track_hash_kind(user)
        return user

    def on_other(self, record: Record, _: Event) -> User | None:
        """Any event that changes nothing here but the version."""
        return self._replace(record)

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
        self._untrack_hash_kind(user)
        return self._set_email(
            record,
            user,
            "",
            None,
            username="",
            full_name=None,
            password_hash="",
            status="erased",
            roles=frozenset(),
            created_at="",
            password_at=0,
            email_verified=False,
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
        status, roles, created_at, updated_at, version, password_at, verified = _decode_public(
            public
        )
        username, email, full_name, password_hash, pending_email = (
            _NO_PERSONAL_VALUES if personal is None else _decode_personal(personal)
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
                password_at,
                verified,
                pending_email,
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
