"""The types of settings, and checks of what a type cannot express.

A check returns the fault of a value, as the end of a message to the operator, or an empty text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from eventapi.configuration.setting import PREFIX, describe
from eventapi.values.times import moment
from events.archive.places import bucket_fault, is_bucket
from events.database.urls import database_fault

_RATE = r"^(off|[1-9][0-9]*/(second|minute|hour|day))$"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"  # to 65535
_HOST = rf"([A-Za-z0-9._~\-]+|\[[0-9A-Fa-f:.]+\])(:{_PORT})?"
_ORIGIN = rf"^(\*|[A-Za-z][A-Za-z0-9+.\-]*://{_HOST}/?)$"
_LINK = r"^(https?:/)?/[!#-;=?-~]+$"
_PUBLIC = rf"^[Hh][Tt][Tt][Pp][Ss]?://{_HOST}(/[A-Za-z0-9._~%!$&'()*+,;=:@\-]+)*/?$"
_SENDER = r"^([^<>\x00-\x1f\x7f]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)$"
_DSN = rf"^https?://[^@/:\s]+(:[^@/\s]*)?@{_HOST}/([^\s?#]+/)?[0-9]+$"

_PASSWORD_IN_URL = re.compile(r"(://[^:@/]*:).*(?=@)|([?&]password=)[^&#]*", re.IGNORECASE)

_DATABASE_NUMBER = re.compile(r"(/[0-9]*)?/?")

MIN_SEGMENT_BYTES = 1 << 20

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
Sender = Annotated[str, Meta(pattern=_SENDER)]
Dsn = Annotated[str, Meta(pattern=_DSN)]


def path_fault(path: str) -> str:
    """Refuse a URL, which may have a password, as the path of a file."""
    return "must be a path, and not an address" if "://" in path else ""


CertificateFile = Annotated[
    Text | None,
    describe(
        "Certificate chain of the server, PEM; with it, the server serves HTTPS and not HTTP. "
        "`serve --ssl-certfile` overrides it.",
        values="a path",
        check=path_fault,
        default="HTTP",
        example="/etc/eventapi/cert.pem",
    ),
]
KeyFile = Annotated[
    Text | None,
    describe(
        "Private key of the certificate, PEM. `serve --ssl-keyfile` overrides it.",
        values="a path",
        check=path_fault,
        default="in the file of the certificate",
        example="/etc/eventapi/key.pem",
    ),
]
Switch = Literal["on", "off"]

RATE_RULE: Final = "N/second, N/minute, N/hour or N/day, where N is a number, or off"
ORIGINS_RULE: Final = "origins such as https://app.example:8443, separated by commas, or * alone"
PROXIES_RULE: Final = "IP addresses and networks, separated by commas, and unix"
TIME_RULE: Final = "a date, or an RFC 3339 time with its offset"

UNIX: Final = "unix"
"""The entry for the peers of a Unix socket, which have no address."""

_MAIL_SCHEMES: Final = ("smtp", "smtps")
_MAIL_SCHEME: Final = re.compile(r"smtps?:", re.IGNORECASE)
MAIL_RULE: Final = (
    "smtp://USER:PASSWORD@HOST:PORT, smtps://..., or the path of a directory; in passwords write @ as "
    "%40, / as %2F, # as %23, ? as %3F and % as %25"
)

_REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "valkey", "valkeys")
REDIS_RULE: Final = (
    f"must be an address that begins with {', '.join(f'{scheme}://' for scheme in _REDIS_SCHEMES)},"
    " such as redis://:PASSWORD@HOST:6379/0; in passwords write @ as %40, / as %2F, # as %23,"
    " ? as %3F and % as %25"
)


def database_file_name(url: str) -> str:
    """The beginning of the names of files beside a log in a database.

    The password and options of its URL may change while the database stays the same.
    """
    address, _, _ = _PASSWORD_IN_URL.sub(r"\1\2", url).partition("?")
    return f"database-{sha256(address.encode()).hexdigest()[:16]}"


def origins_fault(origins: Sequence[str]) -> str:
    """Refuse ``*`` beside other origins."""
    return f"must be {ORIGINS_RULE}" if "*" in origins and len(origins) > 1 else ""


def credentials_fault(origins: Sequence[str], credentials: str) -> str:
    """Refuse credentials from every origin."""
    if "*" not in origins or credentials != "on":
        return ""
    return (
        f"CORS_CREDENTIALS must be off while {PREFIX}CORS_ORIGINS is *: browsers refuse both together; "
        "list the origins"
    )


def dates_fault(deprecation: str | None, sunset: str | None) -> str:
    """Refuse an end of version 1 before its deprecation."""
    if deprecation is None or sunset is None or moment(deprecation) <= moment(sunset):
        return ""
    return f"V1_SUNSET must not be before {PREFIX}V1_DEPRECATION"


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


def segment_bytes_fault(value: int) -> str:
    """Refuse a size that would make thousands of tiny files, which slow down starts."""
    if value == 0 or value >= MIN_SEGMENT_BYTES:
        return ""
    return f"must be 0, or {MIN_SEGMENT_BYTES:,} bytes or more, not '{value}'"


def log_fault(log: str) -> str:
    """Refuse a URL that is not one of a supported database or of a bucket."""
    fault = bucket_fault if is_bucket(log) else database_fault
    return (fault(log) or "") if "://" in log else ""


def host_fault(host: str) -> str:
    """Refuse a URL, which may have a password; binding finds the other faults."""
    return "must be an address or a name of this machine" if "://" in host else ""


def modules_fault(names: Sequence[str]) -> str:
    """Refuse a URL as the name of a module; the import finds the other faults."""
    return "must be names of modules" if any("://" in name for name in names) else ""


def data_fault(path: str) -> str:
    """Refuse a URL, which may have a password, as the name of a directory."""
    return "must be a directory; EVENTAPI_LOG may be a database" if "://" in path else ""


def mail_fault(url: str) -> str:
    """Refuse a URL that is not one of a mail server; anything else is a directory."""
    if not _MAIL_SCHEME.match(url) and "://" not in url:
        return ""
    with suppress(ValueError):
        parts = urlsplit(url)
        is_server = parts.scheme in _MAIL_SCHEMES and parts.hostname and parts.port != 0
        has_login = (parts.username is None) == (not parts.password)
        behind = f"{parts.path.strip('/')}{parts.query}{parts.fragment}"
        if is_server and has_login and not behind and not _has_space(parts.hostname):
            return ""
    return f"must be {MAIL_RULE}"


def _has_space(host: str | None) -> bool:
    return any(character.isspace() for character in host or "")


def redis_fault(url: str) -> str:
    """Refuse a bad scheme, port or database, or a password that is not encoded."""
    with suppress(ValueError):
        parts = urlsplit(url)
        behind = f"{parts.path}{parts.query}{parts.fragment}"
        is_server = parts.port != 0 and parts.scheme in _REDIS_SCHEMES and "@" not in behind
        # The client ignores a database that is no number, and would count in number 0.
        has_place = (
            parts.path and not parts.hostname
            if parts.scheme == "unix"
            else parts.hostname and _DATABASE_NUMBER.fullmatch(parts.path)
        )
        if is_server and has_place and not _has_space(parts.hostname):
            return ""
    return REDIS_RULE


def time_fault(text: str) -> str:
    """Refuse a time that does not exist."""
    try:
        moment(text)
    except ValueError as error:
        return f"must be {TIME_RULE}: {error}"
    return ""
