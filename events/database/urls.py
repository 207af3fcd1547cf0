"""Addresses of databases: validate them, and mask the secrets in them."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl

HIDDEN: Final = "********"

_DATABASE: Final = re.compile(
    r"(?P<scheme>postgresql|postgres|mysql|mariadb)://"
    r"([^:/@]*(:[^@]*)?@)?"
    r"(?P<host>\[[^/?@\]]+\]|[^:/?@\[\]]*)(:(?P<port>[0-9]{1,5}))?"
    r"/[^?@]+(\?(?P<query>.*))?",
)
"""A second ``@`` is refused: it belongs to a password, whose rest would be in every message."""

_RULE: Final = (
    "an address of a database is postgresql://USER:PASSWORD@HOST:PORT/DATABASE or mysql://...; "
    "in a password write @ as %40, / as %2F, # as %23, ? as %3F and % as %25"
)
_LAST_PORT: Final = 65_535
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""As libpq names them."""

_SHOWN_OPTIONS: Final = frozenset({"db", "ssl", "sslmode", "user"})
"""Query parameters whose values are shown. Any other may be a secret, or a part of one."""

_PUBLIC_SCHEMES: Final = frozenset({"http", "https"})
"""An address of these without a user has no secret in it."""

_PASSWORD: Final = re.compile(r"(://[^:@/]*:).*(?=@)|([?&]password=)[^&#]*", re.IGNORECASE)

_WORD: Final = re.compile(r"[\w.~%+\-]*")
_PLACE: Final = re.compile(r"([\w.\-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?(/[^\s#]*)?")
"""A host, its port and a path."""


def database_id(url: str) -> str:
    """16 hex digits for a database; its password and options may change."""
    address, _, _ = _PASSWORD.sub(r"\1\2", url).partition("?")
    return sha256(address.encode()).hexdigest()[:16]


def database_fault(url: str) -> str | None:
    """Return why an address cannot be that of a log, without any part of it, or None."""
    found = _DATABASE.fullmatch(url)
    if found is None or not _is_host(found["host"]) or int(found["port"] or 1) > _LAST_PORT:
        return _RULE
    options = parse_qsl(found["query"] or "", keep_blank_values=True)
    is_postgresql = found["scheme"].startswith("postgres")
    option = "sslmode" if is_postgresql else "ssl"
    if [name for name, _ in options] not in ([], [option]):
        scheme = "postgresql" if is_postgresql else "mysql"
        return f"the only option of a {scheme}:// address is {option}; give it at most once"
    for _, value in options:
        if is_postgresql and value not in _SSL_MODES:
            return f"the option sslmode must be {', '.join(_SSL_MODES[:-1])} or {_SSL_MODES[-1]}"
        if not is_postgresql and value != "true":
            return "the option ssl must be true; leave it out for a connection without TLS"
    return None


def _is_host(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def mask_url(url: str) -> str:
    """Return the URL without its password; hide all of it if that is uncertain.

    A password may contain any character, also an ``@``, ``/`` or ``#`` that should have been
    percent-encoded. So it ends at the last ``@``.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _PUBLIC_SCHEMES and "@" not in rest and "password=" not in rest.lower():
        return url
    userinfo, at, rest = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    place, question, query = rest.partition("?")
    if not (_WORD.fullmatch(scheme) and _WORD.fullmatch(user) and _PLACE.fullmatch(place)):
        return HIDDEN
    options = "&".join(map(_masked_option, query.split("&"))) if question else ""
    return f"{scheme}://{user}{colon and f':{HIDDEN}'}{at}{place}{question}{options}"


def _masked_option(option: str) -> str:
    name, equals, value = option.partition("=")
    if name in _SHOWN_OPTIONS and _WORD.fullmatch(value):
        return option
    return f"{name}={HIDDEN}" if equals and name.lower() == "password" else HIDDEN
