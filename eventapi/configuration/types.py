"""The types of settings, and checks of what a type cannot express.

A check returns the fault of a value, as the end of a message to the operator, or an empty text.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from eventapi.values.times import moment
from events.database.urls import database_fault

_RATE = r"^(off|[1-9][0-9]*/(second|minute|hour|day))$"
_HOST = r"([A-Za-z0-9._~\-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_ORIGIN = rf"^(\*|[A-Za-z][A-Za-z0-9+.\-]*://{_HOST}/?)$"
_LINK = r"^(https?:/)?/[!#-;=?-~]+$"
_PUBLIC = rf"^[Hh][Tt][Tt][Pp][Ss]?://{_HOST}(/[A-Za-z0-9._~%!$&'()*+,;=:@\-]+)*/?$"
_DSN = rf"^https?://[^@/:\s]+(:[^@/\s]*)?@{_HOST}/([^\s?#]+/)?[0-9]+$"

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]
Workers = Annotated[int, Meta(ge=1, le=512)]
Count = Annotated[int, Meta(ge=0)]
Minutes = Annotated[int, Meta(ge=1, le=525_600)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Rate = Annotated[str, Meta(pattern=_RATE)]
Origin = Annotated[str, Meta(pattern=_ORIGIN)]
Link = Annotated[str, Meta(pattern=_LINK)]
PublicUrl = Annotated[str, Meta(pattern=_PUBLIC)]
Dsn = Annotated[str, Meta(pattern=_DSN)]
Switch = Literal["on", "off"]

RATE_RULE: Final = "N/second, N/minute, N/hour or N/day, where N is a number, or off"
ORIGINS_RULE: Final = "origins such as https://app.example:8443, separated by commas, or * alone"
PROXIES_RULE: Final = "IP addresses and networks, separated by commas, and unix"
TIME_RULE: Final = "a date, or an RFC 3339 time with its offset"

UNIX: Final = "unix"
"""The entry for the peers of a Unix socket, which have no address."""

_REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "valkey", "valkeys")
REDIS_RULE: Final = (
    f"must be an address that begins with {', '.join(f'{scheme}://' for scheme in _REDIS_SCHEMES)},"
    " such as redis://:PASSWORD@HOST:6379/0; in a password write @ as %40, / as %2F, # as %23,"
    " ? as %3F and % as %25"
)


def origins_fault(origins: Sequence[str]) -> str:
    """Refuse ``*`` beside other origins."""
    return f"must be {ORIGINS_RULE}" if "*" in origins and len(origins) > 1 else ""


def proxies_fault(proxies: Sequence[str]) -> str:
    """Refuse anything but IP addresses, networks and `UNIX`."""
    for proxy in proxies:
        if proxy == UNIX:
            continue
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            return f"must be {PROXIES_RULE}: {error}"
    return ""


def log_fault(log: str) -> str:
    """Refuse a URL that is not one of a supported database."""
    return (database_fault(log) or "") if "://" in log else ""


def redis_fault(url: str) -> str:
    """Refuse an unknown scheme, a bad port, or a password that is not encoded.

    An empty URL means that Redis is not used.
    """
    if not url:
        return ""
    with suppress(ValueError):
        parts = urlsplit(url)
        behind = f"{parts.path}{parts.query}{parts.fragment}"
        if parts.port != 0 and parts.scheme in _REDIS_SCHEMES and "@" not in behind:
            return ""
    return REDIS_RULE


def time_fault(text: str) -> str:
    """Refuse a time that does not exist."""
    try:
        moment(text)
    except ValueError as error:
        return f"must be {TIME_RULE}: {error}"
    return ""
