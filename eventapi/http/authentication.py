"""Authentication: from the access token of a request to its user."""

from __future__ import annotations

import msgspec
from litestar.types import HTTPScope

from eventapi.security.tokens import Claims
from projections.state import State
from projections.tables.users import User


class Caller(msgspec.Struct, frozen=True, gc=False):
    """The authenticated user, and the state against which the token was checked."""

    state: State
    user: User
    session: str
    """The id of the session."""


class Reader(msgspec.Struct, frozen=True, gc=False):
    """A user, or ``None`` for a caller without a token, and the state to read."""

    state: State
    user: User | None

    @property
    def number(self) -> int:
        """The number of the user; 0 without one."""
        return 0 if self.user is None else self.user.id


def bearer(scope: HTTPScope) -> str | None:
    """The token of the last Authorization header (RFC 6750, section 2.1), if any.

    Whitespace around the value and the token is ignored (RFC 9110, section 5.5).
    """
    found = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            found = value
    if found is None:
        return None
    scheme, _, token = found.decode("latin-1").strip(" \t").partition(" ")
    return token.lstrip(" ") if scheme.lower() == "bearer" else None


def user_of(state: State, claims: Claims, second_end: str) -> User | None:
    """The user of an access token, if its session is active and the user is enabled.

    ``second_end`` is the end of the current second of the log's clock, because ``exp`` has whole
    seconds.
    """
    session = state.sessions.by_id.get(claims.sid)
    if session is None or session.expires_at <= second_end:
        return None
    user = state.users.by_id.get(session.user)
    if user is None or user.disabled or user.username != claims.sub:
        return None
    return user
