"""What can happen to a session. Subject: ``sessions/ID``, the ID random and not guessable."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import field

from events.record import Event, Number, Personal

EndReason = Literal["logout", "revoked", "reuse", "expired"]


class Device(Personal, frozen=True, gc=False):
    """Where a request came from."""

    address: str | None = None
    user_agent: str | None = None


class SessionStarted(Event, frozen=True, gc=False):
    """A user logged in.

    ``user`` is a user's number, ``expires_at`` RFC 3339, ``refresh_hash`` the SHA-256 of the
    refresh token's secret, in hex: nobody can guess the secret, so its hash tells nothing.
    """

    type: ClassVar[str] = "session.started"
    user: Number
    expires_at: str
    refresh_hash: str
    personal: Device | str | None = field(default=None, name="sealed")


class SessionRefreshed(Event, frozen=True, gc=False):
    """The refresh token was spent and another one given out.

    Or the same one once more, where ``refresh_hash`` is as before: two tabs had raced.
    """

    type: ClassVar[str] = "session.refreshed"
    expires_at: str
    refresh_hash: str
    personal: Device | str | None = field(default=None, name="sealed")


class SessionEnded(Event, frozen=True, gc=False):
    """The session's tokens are good no more; with ``everywhere``, nor are any of its user's."""

    type: ClassVar[str] = "session.ended"
    reason: EndReason
    everywhere: bool = False
