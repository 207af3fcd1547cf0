"""Authentication: from the access token of a request to its user."""

from __future__ import annotations

import msgspec
from litestar.types import HTTPScope

from eventapi.security import api_keys
from eventapi.security.api_keys import PresentedKey
from eventapi.security.tokens import Claims, Tokens
from projections.state import State
from projections.tables.keys import ApiKey
from projections.tables.users import User


class Reader(msgspec.Struct, frozen=True, gc=False):
    """A user, or ``None`` for a caller without a token, and the state to read."""

    state: State
    user: User | None

    @property
    def number(self) -> int:
        """The number of the user; 0 without one."""
        return 0 if self.user is None else self.user.id


class Caller(Reader, frozen=True, gc=False):
    """The authenticated user, and the state against which the token was checked.

    ``session`` is the id of the session; empty for an API key.
    """

    user: User
    session: str
    key: ApiKey | None = None

    @property
    def is_auditor(self) -> bool:
        """Whether the user is an auditor; an API key needs the scope `audit` as well."""
        return "auditor" in self.user.roles and (self.key is None or "audit" in self.key.scopes)

    @property
    def credential(self) -> str:
        """The subject of the session or the API key."""
        return f"sessions/{self.session}" if self.key is None else self.key.subject


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


Credential = Claims | PresentedKey
"""What a token claims; the state decides whether it is still so."""


def credential_of(token: str, tokens: Tokens, now: float) -> Credential:
    """The content of a genuine token; raises `Unauthenticated`.

    ``now`` is in seconds since 1970.
    """
    if token.startswith(api_keys.PREFIX):
        return api_keys.parse_key(token)
    return tokens.claims(token, now)


def caller_of(state: State, credential: Credential, second_end: str) -> Caller | None:
    """The caller of a token; ``None`` if it is no longer valid.

    Its session or key may have ended, or its user may be disabled. ``second_end`` is the end of the
    current second of the log's clock, because ``exp`` has whole seconds.
    """
    if isinstance(credential, PresentedKey):
        return _caller_of_key(state, credential, second_end)
    session = state.sessions.by_id.get(credential.sid)
    if session is None or session.expires_at <= second_end:
        return None
    user = state.users.by_id.get(session.user)
    if user is None or user.disabled or user.username != credential.sub:
        return None
    return Caller(state, user, session.id)


def _caller_of_key(state: State, presented: PresentedKey, second_end: str) -> Caller | None:
    key = state.keys.by_id.get(presented.id)
    if key is None or not presented.matches(key.secret_hash):
        return None
    if key.expires_at is not None and key.expires_at <= second_end:
        return None
    user = state.users.by_id.get(key.user)
    return None if user is None or user.disabled else Caller(state, user, "", key)
