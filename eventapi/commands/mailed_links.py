"""Commands about mailed links: new passwords and verified addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from eventapi.commands.command import Command, Decision
from eventapi.commands.keys import RevokeKey
from eventapi.commands.second_factors import RemoveTotp
from eventapi.commands.users import existing
from eventapi.values.times import later
from events.errors import ActionRefused, Fault, Invalid
from events.vocabulary.sessions import Device
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    UserEmailChanged,
    UserEmailVerificationRequested,
    UserEmailVerified,
    UserPasswordReset,
    UserPasswordResetRequested,
    VerifiedEmail,
)
from projections.state import State
from projections.tables.users import User, casefold_key

RESET_SECONDS = 3_600
"""How long a link that sets a new password is valid."""


class RequestPasswordReset(msgspec.Struct, frozen=True):
    """Request a link that sets a new password.

    ``actor`` is the operator that requested it, if it was not the user.
    """

    user: int
    device: Device | None = None
    delivery: Literal["mail", "link"] = "mail"
    actor: str | None = None

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        event = UserPasswordResetRequested(
            later(state.now, RESET_SECONDS), self.delivery, personal=self.device
        )
        return Decision(user.subject, event, self.actor or user.subject, user.subject)


class ResetPassword(msgspec.Struct, frozen=True):
    """Set a new password by a link, and end every session.

    ``request`` is the position of the event that requested the link, ``mailed_to`` the address that
    it was mailed to, if it was. A link is void after any later change of the password, so it works
    once. A mailed one is void as well once another address counts: the old mailbox may be a
    stranger's by now.

    A user who has lost control of an account takes it back by a mailed link. So the commands of
    `withdrawals` must be written before this one in the same group, or it raises `ActionRefused`.
    """

    user: int
    request: int
    mailed_to: str | None
    password_hash: str

    def check(self, state: State) -> User:
        """The user of the link; raises `Invalid` if the link is void."""
        user = state.users.by_id.get(self.user)
        if user is None or user.disabled or user.password_at >= self.request:
            raise void_link()
        if self.mailed_to is not None and casefold_key(self.mailed_to) != casefold_key(user.email):
            raise void_link()
        return user

    def withdrawals(self, state: State) -> Sequence[Command]:
        """The commands that remove what a stranger may have set up in the account.

        A change to an unverified address is always withdrawn. The first use of a mailed link proves
        that the account belongs to the owner of the address. A stranger may have registered it before
        that, so this use also revokes all API keys and removes the second factor.
        """
        user = self.check(state)
        if self.mailed_to is None:
            return ()
        commands: list[Command] = []
        if not user.email_verified:
            commands += [RevokeKey(user.id, key.id) for key in state.keys.of_user(user.id)]
            if user.id in state.second_factors.by_user:
                commands.append(RemoveTotp(user.username, user.subject))
        if user.pending_email is not None:
            commands.append(WithdrawPendingEmail(user.id))
        return commands

    def decide(self, state: State) -> Decision:
        user = self.check(state)
        if self.withdrawals(state):
            raise ActionRefused("the account was changed meanwhile; try again")
        event = UserPasswordReset(
            self.request, self.mailed_to is not None, personal=PasswordHash(self.password_hash)
        )
        return Decision(user.subject, event, user.subject, user.subject)


class WithdrawPendingEmail(msgspec.Struct, frozen=True):
    """Withdraw the change to an address that is not verified yet."""

    user: int

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        event = UserEmailChanged(personal=EmailChange(user.email, user.email))
        return Decision(user.subject, event, user.subject, user.subject)


class RequestEmailVerification(msgspec.Struct, frozen=True):
    """Request another mail with a link that verifies the newest address of a user."""

    user: int
    device: Device | None = None

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        event = UserEmailVerificationRequested(personal=self.device)
        return Decision(user.subject, event, user.subject, user.subject)


class VerifyEmail(msgspec.Struct, frozen=True):
    """Verify an address of a user, who followed the link that was mailed to it.

    Raises `ActionRefused` if it is verified already, and `Invalid` if the link is void.
    """

    user: int
    email: str

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        addresses = filter(None, (user.pending_email, user.email))
        if user.disabled or casefold_key(self.email) not in map(casefold_key, addresses):
            raise void_link()
        if user.email_verified and casefold_key(self.email) == casefold_key(user.email):
            raise ActionRefused("the address is verified already")
        event = UserEmailVerified(personal=VerifiedEmail(self.email))
        return Decision(user.subject, event, user.subject, user.subject)


def void_link() -> Invalid:
    """The refusal of a link that is forged, expired, used or overtaken."""
    return Invalid(Fault("/token", "is not valid, or not valid any more; request another mail"))
