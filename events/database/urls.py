"""Addresses of databases: validate them, and mask the secrets in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

HIDDEN: Final = "********"

_HOST: Final = re.compile(r"(\[[^/?@\[\],]+\]|[^:/?@\[\],]*)(?::([0-9]{1,5}))?")
_HOSTS: Final = f"{_HOST.pattern}(?:,{_HOST.pattern})*"
_DATABASE: Final = re.compile(
    r"(?P<scheme>postgresql|postgres|mysql|mariadb)://"
    r"([^:/@]*(:[^@]*)?@)?"
    rf"(?P<hosts>{_HOSTS})"
    r"/[^?@]+(\?(?P<query>.*))?",
)
"""A second ``@`` is refused: it belongs to a password, whose rest would be in every message."""

_RULE: Final = (
    "an address of a database is postgresql://USER:PASSWORD@HOST:PORT/DATABASE or mysql://...; "
    "it may have several hosts: HOST:PORT,HOST:PORT; in a password write @ as %40, / as %2F, "
    "# as %23, ? as %3F and % as %25"
)
_LAST_PORT: Final = 65_535
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""As libpq names them."""

READ_WRITE: Final = "read-write"
"""The value of libpq's target_session_attrs that selects the primary."""

_SHOWN_OPTIONS: Final = frozenset({"db", "ssl", "sslmode", "target_session_attrs", "user"})
"""Query parameters whose values are shown. Any other may be a secret, or a part of one."""

_PUBLIC_SCHEMES: Final = frozenset({"http", "https"})
"""An address of these without a user has no secret in it."""

_PASSWORD: Final = re.compile(r"(://[^:@/]*:).*(?=@)|([?&]password=)[^&#]*", re.IGNORECASE)

_WORD: Final = re.compile(r"[\w.~%+\-]*")
_ONE_PLACE: Final = r"([\w.\-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?"
_PLACE: Final = re.compile(rf"{_ONE_PLACE}(,{_ONE_PLACE})*(/[^\s#]*)?")
"""Hosts with their ports, and a path."""

Host = tuple[str, int | None]
"""A name or an IP address without brackets, and a port."""


def split_hosts(url: str) -> tuple[str, list[Host]]:
    """Return an address with its first host alone, and all of its hosts."""
    found = _DATABASE.fullmatch(url)
    if found is None:
        return url, []
    places = found["hosts"].split(",")
    hosts = [_host_and_port(place) for place in places]
    return url[: found.start("hosts")] + places[0] + url[found.end("hosts") :], hosts


def _host_and_port(place: str) -> Host:
    found = _HOST.fullmatch(place)
    assert found is not None  # noqa: S101 - a part of an address that matches
    return found[1].strip("[]"), None if found[2] is None else int(found[2])


def database_fault(url: str) -> str | None:
    """Return why an address cannot be that of a log, without any part of it, or None."""
    found = _DATABASE.fullmatch(url)
    if found is None:
        return _RULE
    _, hosts = split_hosts(url)
    is_named = len(hosts) == 1 or all(host for host, _ in hosts)
    if not is_named or not all(
        _is_host(host) and (port or 1) <= _LAST_PORT for host, port in hosts
    ):
        return _RULE
    is_postgresql = found["scheme"].startswith("postgres")
    options = parse_qsl(found["query"] or "", keep_blank_values=True)
    return _postgresql_fault(options) if is_postgresql else _mysql_fault(options)


def _postgresql_fault(options: Sequence[tuple[str, str]]) -> str | None:
    given = dict(options)
    if len(given) < len(options) or not given.keys() <= {"sslmode", "target_session_attrs"}:
        return (
            "the only options of a postgresql:// address are sslmode and target_session_attrs; give "
            "each at most once"
        )
    if given.get("sslmode", "require") not in _SSL_MODES:
        return f"the option sslmode must be {', '.join(_SSL_MODES[:-1])} or {_SSL_MODES[-1]}"
    if given.get("target_session_attrs", READ_WRITE) != READ_WRITE:
        return f"the option target_session_attrs must be {READ_WRITE}, because a log is written"
    return None


def _mysql_fault(options: Sequence[tuple[str, str]]) -> str | None:
    if [name for name, _ in options] not in ([], ["ssl"]):
        return "the only option of a mysql:// address is ssl; give it at most once"
    if any(value != "true" for _, value in options):
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
