"""Commands about users."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.commands.command import Decision
from eventapi.values import rules
from events.errors import ActionRefused, EmailTaken, InvalidCredentials, NotFound, UsernameTaken
from events.record import Event
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    Profile,
    ProfileChanges,
    UserDisabled,
    UserEmailChanged,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
)
from projections.state import State
from projections.tables.users import User, casefold_key


class RegisterUser(msgspec.Struct, frozen=True):
    """Create an account; refuse a username or an email address that is taken.

    The password is hashed outside the lock; requests and the command line check the password
    itself. ``actor`` is set if it is not the new user, ``created_at`` if the account is older. With
    ``imported`` no rule applies, because an older service accepted the values; an empty address
    means that the account has none.
    """

    profile: Profile
    actor: str | None = None
    created_at: str | None = None
    imported: bool = False

    def decide(self, state: State) -> Decision:
        profile = self.profile
        if not self.imported:
            rules.USER.check(
                username=profile.username,
                email=profile.email,
                full_name=profile.full_name,
            )
        if casefold_key(profile.username) in state.users.ids_by_name:
            raise UsernameTaken("Username already registered")
        if casefold_key(profile.email) in state.users.ids_by_email:
            raise EmailTaken("Email address already registered")
        subject = f"users/{state.users.last_id + 1}"
        event = UserRegistered(created_at=self.created_at, personal=profile)
        return Decision(subject, event, self.actor or subject, subject)


class UpdateProfile(msgspec.Struct, frozen=True):
    """Change the given values of a user's own profile.

    Another email address counts once it is verified.
    """

    user: int
    email: str | UnsetType = UNSET
    full_name: str | UnsetType | None = UNSET

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        rules.USER.check(email=self.email, full_name=self.full_name)
        event: Event
        if self.email is UNSET or _is_current(user, self.email):
            changes = ProfileChanges(email=self.email, full_name=self.full_name)
            event = UserUpdated(personal=changes)
        else:
            _check_email_free(state, user, self.email)
            change = EmailChange(self.email, user.email, self.full_name)
            event = UserEmailChanged(personal=change)
        return Decision(user.subject, event, user.subject, user.subject)


class SetEmail(msgspec.Struct, frozen=True):
    """Set the email address of a user, which counts at once."""

    username: str
    email: str
    actor: str

    def decide(self, state: State) -> Decision:
        user = named(state, self.username)
        rules.USER.check(email=self.email)
        _check_email_free(state, user, self.email)
        event = UserEmailChanged(counts=True, personal=EmailChange(self.email, user.email))
        return Decision(user.subject, event, self.actor, user.subject)


class RehashPassword(msgspec.Struct, frozen=True):
    """Store the hash of the same password under today's hash function.

    ``replaces`` is the hash that the password was checked against, outside the lock. If the stored
    hash is another one, the password was changed since that check, and the command is refused.
    """

    user: int
    replaces: str
    password_hash: str

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        if user.password_hash != self.replaces:
            raise NotFound("the password was changed meanwhile")
        event = UserPasswordChanged("rehashed", personal=PasswordHash(self.password_hash))
        return Decision(user.subject, event, user.subject, user.subject)


class ChangePassword(msgspec.Struct, frozen=True):
    """Set a new password, and end every session except ``session``.

    ``replaces`` is the hash that the old password was checked against, outside the lock.
    """

    user: int
    replaces: str
    password_hash: str
    session: str

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        check_password(user, self.replaces)
        event = UserPasswordChanged(
            "changed", self.session, personal=PasswordHash(self.password_hash)
        )
        return Decision(user.subject, event, user.subject, user.subject)


class DisableUser(msgspec.Struct, frozen=True):
    """Disable an account, and end all of its sessions.

    With ``keep_operator``, here and below, the last enabled operator stays one.
    """

    username: str
    actor: str
    keep_operator: bool = False

    def decide(self, state: State) -> Decision:
        user = named(state, self.username)
        if self.keep_operator:
            _check_other_operator(state, user)
        return Decision(user.subject, UserDisabled(), self.actor)


class EnableUser(msgspec.Struct, frozen=True):
    """Enable a disabled account."""

    username: str
    actor: str

    def decide(self, state: State) -> Decision:
        return Decision(named(state, self.username).subject, UserEnabled(), self.actor)


class GrantRole(msgspec.Struct, frozen=True):
    """Give a user a role."""

    username: str
    role: str
    actor: str

    def decide(self, state: State) -> Decision:
        rules.ROLE.check(role=self.role)
        return Decision(named(state, self.username).subject, UserRoleGranted(self.role), self.actor)


class RevokeRole(msgspec.Struct, frozen=True):
    """Take a role away from a user.

    With ``must_have`` it is refused if the user does not have the role.
    """

    username: str
    role: str
    actor: str
    keep_operator: bool = False
    must_have: bool = False

    def decide(self, state: State) -> Decision:
        rules.ROLE.check(role=self.role)
        user = named(state, self.username)
        if self.must_have and self.role not in user.roles:
            raise ActionRefused(f"{user.username} does not have the role {self.role}")
        if self.keep_operator and self.role == "operator":
            _check_other_operator(state, user)
        return Decision(user.subject, UserRoleRevoked(self.role), self.actor)


class EraseUser(msgspec.Struct, frozen=True):
    """Erase an account with its items and sessions; the journal destroys the key next.

    If the user and not an operator erases the account, ``password_hash`` is the hash that the
    user's password was checked against.
    """

    username: str
    actor: str
    password_hash: str | None = None
    keep_operator: bool = False

    def decide(self, state: State) -> Decision:
        user = named(state, self.username)
        if self.password_hash is not None:
            check_password(user, self.password_hash)
        if self.keep_operator:
            _check_other_operator(state, user)
        return Decision(user.subject, UserErased(), self.actor)


class EraseUserAgain(msgspec.Struct, frozen=True):
    """Erase a user whose key is already destroyed.

    Needed when the log is older than the erasure, as after a restore.
    """

    user: int
    actor: str = "operator/eventapi"

    def decide(self, state: State) -> Decision:
        return Decision(existing(state, self.user).subject, UserErased(), self.actor)


def check_password(user: User, password_hash: str) -> None:
    """Raise `InvalidCredentials` if the hash is no longer the stored one.

    The caller checked the password against the hash outside the lock.
    """
    if user.password_hash != password_hash:
        raise InvalidCredentials("the password is wrong")


def named(state: State, username: str) -> User:
    """The user with that name; raises `NotFound`."""
    user = state.users.find_by_username(username)
    if user is None:
        raise NotFound(f"there is no user {username!r}")
    return user


def existing(state: State, number: int) -> User:
    """The user with that number, unless erased; raises `NotFound`."""
    user = state.users.by_id.get(number)
    if user is None or user.status == "erased":
        raise NotFound("there is no such user")
    return user


def _is_current(user: User, email: str) -> bool:
    """Whether it is the only address of a user, without regard to case."""
    return user.pending_email is None and casefold_key(email) == casefold_key(user.email)


def _check_email_free(state: State, user: User, email: str) -> None:
    holder = state.users.find_by_email(email)
    if holder is not None and holder.id != user.id:
        raise EmailTaken("Email address already registered")


def _check_other_operator(state: State, user: User) -> None:
    """Raise `ActionRefused` if a user is the last enabled operator."""
    if "operator" not in user.roles or user.disabled:
        return
    others = (one for one in state.users.by_id.values() if one.id != user.id)
    if not any("operator" in one.roles and not one.disabled for one in others):
        raise ActionRefused(
            f"{user.username} is the last operator; give another user the role first, or use "
            "the command line"
        )
