"""Commands of operators, which are about other users."""

from __future__ import annotations

from typing import Literal

import msgspec

from eventapi.commands.command import Command, Decision
from eventapi.commands.mailed_links import RequestPasswordReset
from eventapi.commands.users import existing, named
from events.errors import ActionRefused, Forbidden, PreconditionFailed
from projections.state import State


class ByOperator(msgspec.Struct, frozen=True):
    """A command of an operator over HTTP, which may have waited in the queue.

    It is refused if the operator lost the role meanwhile. ``user`` is the number of the user that the
    command names, because another user may have the name by now; ``versions`` are those at which the
    user may be, or ``None`` for any.
    """

    operator: int
    command: Command
    user: int | None = None
    versions: frozenset[int] | None = None

    def decide(self, state: State) -> Decision:
        operator = state.users.by_id.get(self.operator)
        if operator is None or operator.disabled or "operator" not in operator.roles:
            raise Forbidden("only operators may do this")
        if self.user is not None:
            user = existing(state, self.user)
            if self.versions is not None and user.version not in self.versions:
                raise PreconditionFailed(f"it is at version {user.version}")
        return self.command.decide(state)


class RequestPasswordResetFor(msgspec.Struct, frozen=True):
    """Request a link with which a user sets a new password.

    It goes by ``mail`` to the user, or as a ``link`` to the operator.
    """

    username: str
    actor: str
    delivery: Literal["mail", "link"] = "mail"

    def decide(self, state: State) -> Decision:
        user = named(state, self.username)
        if user.disabled:
            raise ActionRefused(
                f"{user.username} is disabled and cannot use a new password; enable the account first"
            )
        if self.delivery == "mail" and not user.email:
            raise ActionRefused(
                f"{user.username} has no email address; set one, or request a link instead of a mail"
            )
        return RequestPasswordReset(user.id, delivery=self.delivery, actor=self.actor).decide(state)
