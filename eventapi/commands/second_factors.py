"""Commands about the second factor of a login (TOTP, RFC 6238)."""

from __future__ import annotations

import msgspec

from eventapi.commands.command import Decision
from eventapi.commands.users import check_password, existing, named
from events.errors import ActionRefused, InvalidCredentials
from events.vocabulary.users import (
    RecoveryHashes,
    TotpSecret,
    UserSecondFactorUsed,
    UserTotpDisabled,
    UserTotpEnabled,
    UserTotpStarted,
)
from projections.state import State


class StartTotp(msgspec.Struct, frozen=True):
    """Set a secret that a code must confirm; it replaces one that was not confirmed."""

    user: int
    secret: str

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        if state.second_factors.of(user.id) is not None:
            raise ActionRefused("the second factor is on; remove it first: DELETE /auth/totp")
        event = UserTotpStarted(personal=TotpSecret(self.secret))
        return Decision(user.subject, event, user.subject, user.subject)


class EnableTotp(msgspec.Struct, frozen=True):
    """Confirm the started secret, which was checked outside the lock.

    ``step`` is the time step of the code that confirmed it.
    """

    user: int
    secret: str
    step: int
    recovery_hashes: tuple[str, ...]

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        factor = state.second_factors.by_user.get(user.id)
        if factor is None or factor.started != self.secret:
            raise ActionRefused("the secret was replaced or confirmed meanwhile")
        hashes = RecoveryHashes(list(self.recovery_hashes))
        event = UserTotpEnabled(self.step, personal=hashes)
        return Decision(user.subject, event, user.subject, user.subject)


class DisableTotp(msgspec.Struct, frozen=True):
    """Remove the second factor of a user, who confirmed it with the password.

    ``password_hash`` is the hash that the password was checked against.
    """

    user: int
    password_hash: str

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        check_password(user, self.password_hash)
        if user.id not in state.second_factors.by_user:
            raise ActionRefused("there is no second factor")
        return Decision(user.subject, UserTotpDisabled(), user.subject)


class RemoveTotp(msgspec.Struct, frozen=True):
    """Remove the second factor of a user who lost it; for operators."""

    username: str
    actor: str

    def decide(self, state: State) -> Decision:
        user = named(state, self.username)
        if user.id not in state.second_factors.by_user:
            raise ActionRefused("there is no second factor")
        return Decision(user.subject, UserTotpDisabled(), self.actor)


class UseSecondFactor(msgspec.Struct, frozen=True):
    """Use the code of a time step, or a recovery code by its hash, for one login."""

    user: int
    step: int | None = None
    recovery_hash: str = ""

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        factor = state.second_factors.of(user.id)
        if factor is not None:
            event = None
            if self.step is not None:
                if self.step > factor.step:
                    event = UserSecondFactorUsed(step=self.step)
            elif self.recovery_hash and self.recovery_hash in factor.recovery_hashes:
                number = factor.recovery_hashes.index(self.recovery_hash)
                event = UserSecondFactorUsed(recovery=number)
            if event is not None:
                return Decision(user.subject, event, user.subject)
        raise InvalidCredentials("the code is wrong, or was used before")
