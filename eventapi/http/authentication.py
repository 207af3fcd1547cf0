"""Who calls, by the access token that the request brings."""

from __future__ import annotations

from litestar.types import HTTPScope

from eventapi.security.tokens import Claims
from projections.state import State
from projections.tables.users import User


def bearer(scope: HTTPScope) -> str | None:
    """The token of the Authorization header (RFC 6750, 2.1); of several headers, of the last.

    Blanks around the token are no part of it, nor are those around the value (RFC 9110, 5.5).
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
    """The user whose token says this, if its session goes on and the user is enabled.

    ``second_end`` is that of the log's clock: whole seconds, as ``exp`` has them.
    """
    session = state.sessions.by_id.get(claims.sid)
    if session is None or session.expires_at <= second_end:
        return None
    user = state.users.by_id.get(session.user)
    if user is None or user.disabled or user.username != claims.sub:
        return None
    return user
