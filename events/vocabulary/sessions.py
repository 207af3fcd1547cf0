"""Events about a session. Subject: ``sessions/ID`` with an unguessable ID."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import field

from events.record import Event, Number, Personal, PlainEvent

EndReason = Literal["logout", "revoked", "reuse", "expired"]


class Device(Personal, frozen=True, gc=False):
    """The address and user agent that a request came from."""

    address: str | None = None
    user_agent: str | None = None


class SessionStarted(Event, frozen=True, gc=False):
    """A user logged in.

    ``user`` is a user's number, ``expires_at`` RFC 3339, ``refresh_hash`` the SHA-256 of the
    refresh token's secret, in hex. The secret cannot be guessed, so its hash reveals nothing.
    """

    type: ClassVar[str] = "session.started"
    timestamp: ClassVar[str] = "expires_at"
    user: Number
    expires_at: str
    refresh_hash: str
    personal: Device | str | None = field(default=None, name="sealed")


class SessionRefreshed(Event, frozen=True, gc=False):
    """The refresh token was used, and a new one issued.

    With an unchanged ``refresh_hash`` the same token was issued again, because two tabs raced.
    """

    type: ClassVar[str] = "session.refreshed"
    timestamp: ClassVar[str] = "expires_at"
    expires_at: str
    refresh_hash: str
    personal: Device | str | None = field(default=None, name="sealed")


class SessionEnded(PlainEvent, frozen=True, gc=False):
    """The session's tokens, or with ``everywhere`` all of its user's, are invalid now."""

    type: ClassVar[str] = "session.ended"
    reason: EndReason
    everywhere: bool = False
