"""Events about a user. Subject: ``users/N``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from events.record import Event, Number, Personal, PlainEvent
from events.vocabulary.sessions import Device

Role = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]

BUILT_IN_ROLES: Final = ("auditor", "operator")
"""Resources name others in their access."""

SECRETS: Final = frozenset({"password_hash", "recovery_hashes", "secret"})
"""Personal values of events about a user that no output may show, not even to the user."""


def without_secrets(type_: str, personal: Mapping[str, Any]) -> dict[str, Any]:
    """The personal values of an event of a type that outputs may show.

    A resource may have fields with the names of secrets: they are values that its owner typed.
    """
    hidden = SECRETS if type_.startswith("user.") else frozenset[str]()
    return {name: value for name, value in personal.items() if name not in hidden}


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


class EmailChange(Personal, frozen=True, gc=False):
    """The new address and the one before it, and a new full name."""

    email: str
    previous: str
    full_name: str | UnsetType | None = UNSET


class VerifiedEmail(Personal, frozen=True, gc=False):
    """The address that the user proved to read."""

    email: str


class TotpSecret(Personal, frozen=True, gc=False):
    """The secret of the second factor, in base32 (RFC 6238)."""

    secret: str


class RecoveryHashes(Personal, frozen=True, gc=False):
    """The SHA-256 of each recovery code, in hex."""

    recovery_hashes: list[str]


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


class UserDisabled(PlainEvent, frozen=True, gc=False):
    """An operator disabled the account; every session of the user ended."""

    type: ClassVar[str] = "user.disabled"


class UserEnabled(PlainEvent, frozen=True, gc=False):
    """An operator enabled the account again."""

    type: ClassVar[str] = "user.enabled"


class UserRoleGranted(PlainEvent, frozen=True, gc=False):
    """The user got a role."""

    type: ClassVar[str] = "user.role_granted"
    role: Role


class UserRoleRevoked(PlainEvent, frozen=True, gc=False):
    """The user lost a role."""

    type: ClassVar[str] = "user.role_revoked"
    role: Role


class UserErased(PlainEvent, frozen=True, gc=False):
    """Account, items and sessions are erased; the key is destroyed next.

    That destruction is the crypto-shredding of everything sealed with the key.
    """

    type: ClassVar[str] = "user.erased"


class UserEmailChanged(Event, frozen=True, gc=False):
    """The user gave another email address.

    It counts once it is verified; until then, the address before it does. With ``counts`` it counts
    at once, because an operator set it.
    """

    type: ClassVar[str] = "user.email_changed"
    counts: bool = False
    personal: EmailChange | str | None = field(default=None, name="sealed")


class UserEmailVerificationRequested(Event, frozen=True, gc=False):
    """The user asked for another mail with a link that verifies the address."""

    type: ClassVar[str] = "user.email_verification_requested"
    personal: Device | str | None = field(default=None, name="sealed")


class UserEmailVerified(Event, frozen=True, gc=False):
    """The user proved to read the mail of the sealed address."""

    type: ClassVar[str] = "user.email_verified"
    personal: VerifiedEmail | str | None = field(default=None, name="sealed")


class UserPasswordResetRequested(Event, frozen=True, gc=False):
    """A link was requested that sets a new password until ``expires_at``.

    It goes by ``mail`` to the user, or as a ``link`` to the operator that is the actor. The link names
    the position of this event, and is void after any later change of the password.
    """

    type: ClassVar[str] = "user.password_reset_requested"
    timestamp: ClassVar[str] = "expires_at"
    expires_at: str
    delivery: Literal["mail", "link"] = "mail"
    personal: Device | str | None = field(default=None, name="sealed")


class UserPasswordReset(Event, frozen=True, gc=False):
    """A link set a new password, and ended every session of the user.

    ``request`` is the position of the event that requested the link. With ``email_verified`` the link
    was mailed, which proves that the user reads the mail of the address that counts.
    """

    type: ClassVar[str] = "user.password_reset"
    request: Number
    email_verified: bool = False
    personal: PasswordHash | str | None = field(default=None, name="sealed")


class UserTotpStarted(Event, frozen=True, gc=False):
    """A secret was made for a second factor, which a code must confirm."""

    type: ClassVar[str] = "user.totp_started"
    personal: TotpSecret | str | None = field(default=None, name="sealed")


class UserTotpEnabled(Event, frozen=True, gc=False):
    """A code confirmed the secret: every login needs a second factor now.

    ``step`` is the time step of that code, which counts 30 seconds since 1970.
    """

    type: ClassVar[str] = "user.totp_enabled"
    step: Number
    personal: RecoveryHashes | str | None = field(default=None, name="sealed")


class UserTotpDisabled(PlainEvent, frozen=True, gc=False):
    """The second factor was removed with its secret and recovery codes."""

    type: ClassVar[str] = "user.totp_disabled"


class UserSecondFactorUsed(PlainEvent, frozen=True, gc=False):
    """A code was used in a login, and is void from now on.

    It is that of a time ``step``, or the recovery code number ``recovery`` from 0.
    """

    type: ClassVar[str] = "user.second_factor_used"
    step: Number | None = None
    recovery: Number | None = None
