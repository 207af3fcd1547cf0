"""What can be wished of users."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.commands.command import Decision
from events.errors import EmailTaken, NotFound, UsernameTaken
from events.users import (
    PasswordHash,
    Profile,
    ProfileChanges,
    UserDisabled,
    UserPasswordChanged,
    UserRegistered,
    UserUpdated,
)
from projections.state import State
from projections.users import User, folded


class RegisterUser(msgspec.Struct, frozen=True):
    """Make an account; ``actor`` where somebody else does it, ``created_at`` where it is older."""

    profile: Profile
    actor: str | None = None
    created_at: str | None = None

    def decide(self, state: State) -> Decision:
        if folded(self.profile.username) in state.users.ids_by_name:
            raise UsernameTaken(f"the username {self.profile.username!r} is taken")
        if folded(self.profile.email) in state.users.ids_by_email:
            raise EmailTaken("the email address is taken")
        subject = f"users/{state.users.last_id + 1}"
        event = UserRegistered(created_at=self.created_at, personal=self.profile)
        return Decision(subject, event, self.actor or subject, subject)


class UpdateProfile(msgspec.Struct, frozen=True):
    """Change what is named of a user's own profile."""

    user: int
    email: str | UnsetType = UNSET
    full_name: str | UnsetType | None = UNSET

    def decide(self, state: State) -> Decision:
        user = _existing(state, self.user)
        if self.email is not UNSET:
            holder = state.users.with_email(self.email)
            if holder is not None and holder.id != user.id:
                raise EmailTaken("the email address is taken")
        changes = ProfileChanges(email=self.email, full_name=self.full_name)
        return Decision(user.subject, UserUpdated(personal=changes), user.subject, user.subject)


class RehashPassword(msgspec.Struct, frozen=True):
    """Store the hash of the same password under today's hash function.

    ``replaces`` is the hash that the password was checked against: where another one stands by
    now, the password was changed meanwhile, and the wish is void.
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


class DisableUser(msgspec.Struct, frozen=True):
    """Lock a user out."""

    username: str
    actor: str

    def decide(self, state: State) -> Decision:
        user = state.users.named(self.username)
        if user is None:
            raise NotFound(f"there is no user {self.username!r}")
        return Decision(user.subject, UserDisabled(), self.actor)


def _existing(state: State, number: int) -> User:
    user = state.users.by_id.get(number)
    if user is None or user.status == "erased":
        raise NotFound("there is no such user")
    return user
