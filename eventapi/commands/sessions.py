"""What can be wished of sessions."""

from __future__ import annotations

import msgspec

from eventapi.commands.command import Decision
from events.errors import AccountDisabled, InvalidCredentials, NotFound, Unauthenticated
from events.sessions import Device, EndReason, SessionEnded, SessionRefreshed, SessionStarted
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


class RefreshSession(msgspec.Struct, frozen=True):
    """Spend a session's refresh token, which was found to be genuine, for another one.

    ``generation`` is the token's, ``refresh_hash`` that of the one behind it. The last token that
    was spent is good again if that was not before ``grace_from``: two tabs may race, and both get
    the same successor. Any older one was stolen, from its owner or by its owner: nobody can tell,
    so the session ends (RFC 9700, section 4.14.2).
    """

    session: str
    generation: int
    refresh_hash: str
    expires_at: str
    now: str
    grace_from: str

    def decide(self, state: State) -> Decision:
        session = state.sessions.by_id.get(self.session)
        if (
            session is None
            or session.expires_at <= self.now
            or self.generation > session.generation
        ):
            raise Unauthenticated("the session has ended")
        subject, actor = f"sessions/{session.id}", f"users/{session.user}"
        if self.generation == session.generation:
            return Decision(subject, SessionRefreshed(self.expires_at, self.refresh_hash), actor)
        if self.generation + 1 == session.generation and session.refreshed_at >= self.grace_from:
            return Decision(subject, SessionRefreshed(self.expires_at, session.refresh_hash), actor)
        return Decision(subject, SessionEnded("reuse"), actor)


class ExpireSession(msgspec.Struct, frozen=True):
    """End a session that was not used until ``now``; the server's own act."""

    session: str
    now: str

    def decide(self, state: State) -> Decision:
        session = state.sessions.by_id.get(self.session)
        if session is None or session.expires_at > self.now:
            raise NotFound("there is no such session")
        return Decision(f"sessions/{session.id}", SessionEnded("expired"), "operator/eventapi")


class EndSession(msgspec.Struct, frozen=True):
    """End a session of the caller's; with ``everywhere``, all of them."""

    caller: int
    session: str
    reason: EndReason
    everywhere: bool = False

    def decide(self, state: State) -> Decision:
        session = state.sessions.by_id.get(self.session)
        if session is None or session.user != self.caller:
            raise NotFound("there is no such session")
        event = SessionEnded(self.reason, self.everywhere)
        return Decision(f"sessions/{session.id}", event, f"users/{self.caller}")
