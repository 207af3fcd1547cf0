"""Events about a user. Subject: ``users/N``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from events.record import Event, Personal

Role = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]

BUILT_IN_ROLES: Final = ("auditor", "operator")
"""Resources name others in their access."""


class Profile(Personal, frozen=True, gc=False):
    """The personal values of a new user; ``password_hash`` is argon2 or bcrypt."""

    username: str
    email: str
    password_hash: str
    full_name: str | None = None


class ProfileChanges(Personal, frozen=True, gc=False):
    """The changed personal values; unchanged ones are left out."""

    email: str | UnsetType = UNSET
    full_name: str | UnsetType | None = UNSET


class PasswordHash(Personal, frozen=True, gc=False):
    """A new password hash."""

    password_hash: str


class UserRegistered(Event, frozen=True, gc=False):
    """A user was registered.

    ``created_at`` is there only if it differs from the record's time, as after an import.
    """

    type: ClassVar[str] = "user.registered"
    timestamp: ClassVar[str] = "created_at"
    created_at: str | None = None
    personal: Profile | str | None = field(default=None, name="sealed")


class UserUpdated(Event, frozen=True, gc=False):
    """A user changed their profile."""

    type: ClassVar[str] = "user.updated"
    personal: ProfileChanges | str | None = field(default=None, name="sealed")


class UserPasswordChanged(Event, frozen=True, gc=False):
    """The stored password hash was replaced.

    ``changed``: the user chose a new password, which ended every session except ``session``.
    ``rehashed``: the same password under today's hash function; sessions continue.
    """

    type: ClassVar[str] = "user.password_changed"
    reason: Literal["changed", "rehashed"]
    session: str | None = None
    personal: PasswordHash | str | None = field(default=None, name="sealed")


class UserDisabled(Event, frozen=True, gc=False):
    """An operator disabled the account; every session of the user ended."""

    type: ClassVar[str] = "user.disabled"


class UserEnabled(Event, frozen=True, gc=False):
    """An operator enabled the account again."""

    type: ClassVar[str] = "user.enabled"


class UserRoleGranted(Event, frozen=True, gc=False):
    """The user got a role."""

    type: ClassVar[str] = "user.role_granted"
    role: Role


class UserRoleRevoked(Event, frozen=True, gc=False):
    """The user lost a role."""

    type: ClassVar[str] = "user.role_revoked"
    role: Role


class UserErased(Event, frozen=True, gc=False):
    """Account, items and sessions are erased; the key is destroyed next.

    That destruction is the crypto-shredding of everything sealed with the key.
    """

    type: ClassVar[str] = "user.erased"
