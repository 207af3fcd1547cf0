"""Commands about users."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.commands.command import Decision
from eventapi.values import rules
from events.errors import EmailTaken, InvalidCredentials, NotFound, UsernameTaken
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
    """Change the given values of a user's own profile."""

    user: int
    email: str | UnsetType = UNSET
    full_name: str | UnsetType | None = UNSET

    def decide(self, state: State) -> Decision:
        user = _existing(state, self.user)
        rules.USER.check(email=self.email, full_name=self.full_name)
        if self.email is not UNSET:
            holder = state.users.find_by_email(self.email)
            if holder is not None and holder.id != user.id:
                raise EmailTaken("Email address already registered")
        changes = ProfileChanges(email=self.email, full_name=self.full_name)
        return Decision(user.subject, UserUpdated(personal=changes), user.subject, user.subject)


class RehashPassword(msgspec.Struct, frozen=True):
    """Store the hash of the same password under today's hash function.

    ``replaces`` is the hash that the password was checked against, outside the lock. If the stored
    hash is another one, the password was changed since that check, and the command is refused.
    """

    user: int
    replaces: str
    password_hash: str

    def decide(self, state: State) -> Decision:
        user = _existing(state, self.user)
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
        user = _existing(state, self.user)
        _check_password(user, self.replaces)
        event = UserPasswordChanged(
            "changed", self.session, personal=PasswordHash(self.password_hash)
        )
        return Decision(user.subject, event, user.subject, user.subject)


class DisableUser(msgspec.Struct, frozen=True):
    """Disable an account, and end all of its sessions."""

    username: str
    actor: str

    def decide(self, state: State) -> Decision:
        return Decision(_named(state, self.username).subject, UserDisabled(), self.actor)


class EnableUser(msgspec.Struct, frozen=True):
    """Enable a disabled account."""

    username: str
    actor: str

    def decide(self, state: State) -> Decision:
        return Decision(_named(state, self.username).subject, UserEnabled(), self.actor)


class GrantRole(msgspec.Struct, frozen=True):
    """Give a user a role."""

    username: str
    role: str
    actor: str

    def decide(self, state: State) -> Decision:
        rules.ROLE.check(role=self.role)
        return Decision(
            _named(state, self.username).subject, UserRoleGranted(self.role), self.actor
        )


class RevokeRole(msgspec.Struct, frozen=True):
    """Take a role away from a user."""

    username: str
    role: str
    actor: str

    def decide(self, state: State) -> Decision:
        rules.ROLE.check(role=self.role)
        return Decision(
            _named(state, self.username).subject, UserRoleRevoked(self.role), self.actor
        )


class EraseUser(msgspec.Struct, frozen=True):
    """Erase an account with its items and sessions; the journal destroys the key next.

    If the user and not an operator erases the account, ``password_hash`` is the hash that the
    user's password was checked against.
    """

    username: str
    actor: str
    password_hash: str | None = None

    def decide(self, state: State) -> Decision:
        user = _named(state, self.username)
        if self.password_hash is not None:
            _check_password(user, self.password_hash)
        return Decision(user.subject, UserErased(), self.actor)


class EraseUserAgain(msgspec.Struct, frozen=True):
    """Erase a user whose key is already destroyed.

    Needed when the log is older than the erasure, as after a restore.
    """

    user: int
    actor: str = "operator/eventapi"

    def decide(self, state: State) -> Decision:
        return Decision(_existing(state, self.user).subject, UserErased(), self.actor)


def _check_password(user: User, password_hash: str) -> None:
    """Raise `InvalidCredentials` if the hash is no longer the stored one.

    The caller checked the password against the hash outside the lock.
    """
    if user.password_hash != password_hash:
        raise InvalidCredentials("the password is wrong")


def _named(state: State, username: str) -> User:
    user = state.users.find_by_username(username)
    if user is None:
        raise NotFound(f"there is no user {username!r}")
    return user


def _existing(state: State, number: int) -> User:
    user = state.users.by_id.get(number)
    if user is None or user.status == "erased":
        raise NotFound("there is no such user")
    return user
