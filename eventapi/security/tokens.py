"""Access tokens: JSON Web Tokens (RFC 7519, with the care of RFC 8725), HS256.

A refresh token contains its session and generation under a signature (HMAC, RFC 2104). So a token
that was spent long ago is recognised, and a forged one reveals nothing and ends no session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import jwt
import msgspec
from msgspec import Meta

from eventapi.security.strength import unpredictable_characters
from eventapi.values.times import SKEW_SECONDS
from events.errors import ConfigurationError, Unauthenticated

MIN_KEY_BYTES: Final = 32
MAX_TOKEN_BYTES: Final = 8192
_CACHED_TOKENS: Final = 10_000
_MIN_DISTINCT: Final = 8

_MIN_UNPREDICTABLE: Final = 16

_REMEDY: Final = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"

_WELL_KNOWN: Final = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "your-secret-key-change-this-in-production",
        "your-secret-key-change-in-production",
        "your-super-secret-key-change-in-production",
        "your-secret-key-here-change-in-production",
        "change-this-secret-key-in-production-please",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        "aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow",
        "a-string-secret-at-least-256-bits-long",
        "replace-me-with-a-long-random-string",
        "abcdefghijklmnopqrstuvwxyz0123456789",
    }
)
"""Keys from tutorials and specifications, in lower case."""

Seconds = Annotated[int, Meta(ge=0, le=2**40)]


class Claims(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The claims of a token: username, times in seconds since 1970, and session id."""

    sub: str
    exp: Seconds
    iat: Seconds
    type: Literal["access"]
    sid: str


_REFRESH = re.compile(r"([0-9a-f]{32})\.(0|[1-9][0-9]{0,8})\.([0-9a-f]{64})")


class RefreshClaims(msgspec.Struct, frozen=True):
    """The content of a refresh token: its session, and how many came before it."""

    session: str
    generation: int


def check_secret(secret: str) -> None:
    """Raise `ConfigurationError` for a key that is short, well known or hardly random."""
    if len(secret.encode()) < MIN_KEY_BYTES:
        raise ConfigurationError(f"SECRET_KEY must have {MIN_KEY_BYTES} bytes at least. {_REMEDY}")
    if secret.lower() in _WELL_KNOWN or len(set(secret)) < _MIN_DISTINCT:
        raise ConfigurationError(f"SECRET_KEY is well known or too simple to be secret. {_REMEDY}")
    left = unpredictable_characters(secret)
    if left < _MIN_UNPREDICTABLE:
        raise ConfigurationError(
            f"SECRET_KEY is too simple to be secret: without repetitions it has {left} "
            f"characters, of {_MIN_UNPREDICTABLE} that it needs. {_REMEDY}"
        )


class Tokens:
    """Issues and verifies access tokens."""

    def __init__(self, secrets: Sequence[str], lifetime: int) -> None:
        """The first secret signs, all of them verify; ``lifetime`` is in seconds.

        Raises `ConfigurationError` for a bad secret.
        """
        for secret in secrets:
            check_secret(secret)
        self._secrets = tuple(secrets)
        self.lifetime = lifetime
        # Cache verified signatures, which never change. Everything that time or an event can change
        # is checked at every use.
        self._verified = lru_cache(_CACHED_TOKENS)(self._verify)

    def issue(self, username: str, session: str, now: int, lifetime: int | None = None) -> str:
        """A token for a session, valid from ``now`` (seconds since 1970) for its lifetime."""
        lifetime = self.lifetime if lifetime is None else lifetime
        claims = Claims(username, now + lifetime, now, "access", session)
        return jwt.encode(msgspec.to_builtins(claims), self._secrets[0], algorithm="HS256")

    def claims(self, token: str, now: float) -> Claims:
        """The claims of a valid token; raises `Unauthenticated`.

        The caller checks whether the session is still active.
        """
        claims = self._verified(token)
        if claims.exp <= now:
            raise Unauthenticated("the access token has expired")
        if claims.iat > now + SKEW_SECONDS:
            raise Unauthenticated("the access token is from the future")
        return claims

    def refresh_token(self, refresh: RefreshClaims) -> str:
        """The only refresh token of a session and generation."""
        return f"{_refresh_payload(refresh)}.{_refresh_secret(self._secrets[0], refresh)}"

    def refresh_hash(self, refresh: RefreshClaims) -> str:
        """The SHA-256 of the secret of a refresh token in hex, which the log stores."""
        return hashlib.sha256(_refresh_secret(self._secrets[0], refresh).encode()).hexdigest()

    def refresh_claims(self, token: str) -> RefreshClaims:
        """The content of a genuine refresh token, spent or not; raises `Unauthenticated`."""
        parts = _REFRESH.fullmatch(token)
        if parts is not None:
            refresh = RefreshClaims(parts[1], int(parts[2]))
            genuine = (_refresh_secret(secret, refresh) for secret in self._secrets)
            if any(hmac.compare_digest(one, parts[3]) for one in genuine):
                return refresh
        raise Unauthenticated("the refresh token is not good")

    def scope_of(self, *names: str) -> str:
        """The namespace of idempotency keys of a caller without a token, in hex.

        It depends on the secret, because the log keeps a hash of it, and a dictionary of names
        would otherwise find the name of an erased user.
        """
        names_json = msgspec.json.encode(["scope", *names])
        return hmac.digest(self._secrets[0].encode(), names_json, "sha256").hex()

    def _verify(self, token: str) -> Claims:
        try:
            header, payload, *_ = _canonical_parts(token)
            self._check_signature(token)
            if _strict_json(header) != {"alg": "HS256", "typ": "JWT"}:
                raise Unauthenticated("the access token is not good")
            return msgspec.convert(_strict_json(payload), Claims)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise Unauthenticated("the access token is not good") from None

    def _check_signature(self, token: str) -> None:
        for secret in self._secrets:
            with suppress(jwt.InvalidSignatureError):
                jwt.decode_complete(
                    token,
                    secret,
                    algorithms=["HS256"],
                    options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
                )
                return
        raise jwt.InvalidSignatureError


def _canonical_parts(token: str) -> list[bytes]:
    """The decoded parts; raises `ValueError` for other spellings of the same bits.

    base64 leaves spare bits in the last character.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError("too long")
    parts = []
    for part in token.encode("ascii").split(b"."):
        bits = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(bits).rstrip(b"=") != part:
            raise ValueError("not canonical")
        parts.append(bits)
    return parts


def _strict_json(part: bytes) -> dict[str, Any]:
    """An object in UTF-8 without BOM or duplicate members; else `ValueError`.

    PyJWT also accepts UTF-16 and UTF-32, and of duplicate members the last; other parsers the first.
    """
    value = json.loads(part.decode(), object_pairs_hook=_unique_members)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as for any other fault
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate members")
    return members


def _refresh_secret(secret: str, refresh: RefreshClaims) -> str:
    return hmac.digest(
        secret.encode(), f"refresh.{_refresh_payload(refresh)}".encode(), "sha256"
    ).hex()


def _refresh_payload(refresh: RefreshClaims) -> str:
    return f"{refresh.session}.{refresh.generation}"
