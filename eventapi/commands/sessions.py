"""Commands about sessions."""

from __future__ import annotations

import msgspec

from eventapi.commands.command import Decision
from eventapi.values.times import SKEW_SECONDS, later
from events.errors import (
    AccountDisabled,
    InvalidCredentials,
    NotFound,
    SecondFactorRequired,
    Unauthenticated,
)
from events.vocabulary.sessions import (
    Device,
    EndReason,
    SessionEnded,
    SessionRefreshed,
    SessionStarted,
)
from projections.state import State
from projections.tables.sessions import Session

GRACE_SECONDS = 10
"""How long the last spent refresh token is accepted again, because two tabs may race."""


class Lifetime(msgspec.Struct, frozen=True):
    """The maximum age of a session in seconds.

    ``unused`` counts from its last refresh, ``total`` from its start.
    """

    unused: int
    total: int

    def end(self, now: str, started_at: str) -> str:
        """The time at which a session that is used now ends."""
        return min(later(now, self.unused), later(started_at, self.total))


class StartSession(msgspec.Struct, frozen=True):
    """Log in a user whose password was checked against ``password_hash``.

    That hash must still be the stored one, because the check was done outside the lock. The
    identifier ``session`` and the secret behind ``refresh_hash`` are random. If the account has a
    second factor, the command before in the same group uses a code of it.
    """

    user: int
    password_hash: str
    session: str
    refresh_hash: str
    lifetime: Lifetime
    device: Device
    has_second_factor: bool = False

    def decide(self, state: State) -> Decision:
        user = state.users.by_id.get(self.user)
        if user is None or user.password_hash != self.password_hash:
            raise InvalidCredentials("the username or the password is wrong")
        if user.disabled:
            raise AccountDisabled("the account is disabled")
        if not self.has_second_factor and state.second_factors.of(user.id) is not None:
            raise SecondFactorRequired("the account needs a code of its second factor")
        expires_at = self.lifetime.end(state.now, state.now)
        event = SessionStarted(user.id, expires_at, self.refresh_hash, personal=self.device)
        return Decision(f"sessions/{self.session}", event, user.subject, user.subject)


class RefreshSession(msgspec.Struct, frozen=True):
    """Exchange a session's refresh token for the next one.

    The caller must have verified the signature of the token. ``generation`` is that of the token,
    ``refresh_hash`` the hash of the next token. The last token that was spent is accepted again for
    `GRACE_SECONDS`: two tabs may race, and both get the same successor. The use of any older token
    means that the token was copied. The server cannot distinguish the user from the thief, so the
    session ends (RFC 9700, section 4.14.2).
    """

    session: str
    generation: int
    refresh_hash: str
    lifetime: Lifetime

    def decide(self, state: State) -> Decision:
        session = state.sessions.by_id.get(self.session)
        if (
            session is None
            or session.expires_at <= state.now
            or self.generation > session.generation
            or (expires_at := self.lifetime.end(state.now, session.started_at)) <= state.now
        ):
            raise Unauthenticated("the session has ended")
        subject, actor = f"sessions/{session.id}", f"users/{session.user}"
        if self.generation == session.generation:
            return Decision(subject, SessionRefreshed(expires_at, self.refresh_hash), actor)
        if self.generation + 1 == session.generation and _is_in_grace(session, state):
            return Decision(subject, SessionRefreshed(expires_at, session.refresh_hash), actor)
        return Decision(subject, SessionEnded("reuse"), actor)


def _is_in_grace(session: Session, state: State) -> bool:
    """Whether the last refresh token was spent within the grace period.

    The process that spent it may have a slower clock. So a refresh that this process applied just
    now may look older than it is, by up to `SKEW_SECONDS`. A refresh in the future does not count,
    because then the log is ahead of the clock and its times prove nothing.
    """
    if (session.id, session.generation) in state.recent_refreshes:
        return later(session.refreshed_at, GRACE_SECONDS + SKEW_SECONDS) >= state.now
    return session.refreshed_at <= state.now <= later(session.refreshed_at, GRACE_SECONDS)


class ExpireSession(msgspec.Struct, frozen=True):
    """End a session that has expired; the server issues this command itself."""

    session: str

    def decide(self, state: State) -> Decision:
        session = state.sessions.by_id.get(self.session)
        if session is None or session.expires_at > state.now:
            raise NotFound("there is no such session")
        return Decision(f"sessions/{session.id}", SessionEnded("expired"), "operator/eventapi")


class EndSession(msgspec.Struct, frozen=True):
    """End one session of the caller, or with ``everywhere`` all of them."""

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
