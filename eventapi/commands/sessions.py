"""What can be wished of sessions."""

from __future__ import annotations

import msgspec

from eventapi.commands.command import Decision
from events.errors import AccountDisabled, InvalidCredentials, Unauthenticated
from events.sessions import Device, EndReason, SessionEnded, SessionStarted
from projections.state import State


class StartSession(msgspec.Struct, frozen=True):
    """Log in a user whose password was checked against ``password_hash``.

    That hash must still be the one that stands: the check was done outside the lock. The
    identifier and the secret behind ``refresh_hash`` are random.
    """

    user: int
    password_hash: str
    session: str
    refresh_hash: str
    expires_at: str
    device: Device

    def decide(self, state: State) -> Decision:
        user = state.users.by_id.get(self.user)
        if user is None or user.password_hash != self.password_hash:
            raise InvalidCredentials("the username or the password is wrong")
        if user.disabled:
            raise AccountDisabled("the account is disabled")
        event = SessionStarted(user.id, self.expires_at, self.refresh_hash, personal=self.device)
        return Decision(f"sessions/{self.session}", event, user.subject, user.subject)


class EndSession(msgspec.Struct, frozen=True):
    """End a session of the caller's."""

    caller: int
    session: str
    reason: EndReason

    def decide(self, state: State) -> Decision:
        session = state.sessions.by_id.get(self.session)
        if session is None or session.user != self.caller:
            raise Unauthenticated("the session has ended")
        actor = f"users/{self.caller}"
        return Decision(f"sessions/{session.id}", SessionEnded(self.reason), actor)
