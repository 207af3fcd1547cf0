"""Settings: typed, from the environment or a ``.env`` file, each with where it came from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from eventapi.env_file import read_env_file
from eventapi.kubernetes import service_link
from eventapi.times import moment
from events.errors import ConfigurationError
from events.urls import HIDDEN, mask_url

PREFIX = "EVENTAPI_"

_RATE = r"^(off|[1-9][0-9]*/(second|minute|hour|day))$"
_ORIGIN = (
    r"^(\*|[A-Za-z][A-Za-z0-9+.\-]*://([A-Za-z0-9._~\-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?)$"
)
_LINK = r"^(https?:/)?/[!#-;=?-~]+$"
_RULES = {
    _RATE: "must be N/second, N/minute, N/hour, N/day or off",
    _LINK: "must be the URL of a page, or its path on this server",
    _ORIGIN: "must be origins such as https://app.example:8443, separated by commas, or * alone",
}
"""What each pattern means to an operator."""

Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1)]
Minutes = Annotated[int, Meta(ge=1, le=525_600)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Rate = Annotated[str, Meta(pattern=_RATE)]
Origin = Annotated[str, Meta(pattern=_ORIGIN)]

Link = Annotated[str, Meta(pattern=_LINK)]

SECRET = frozenset({"SECRET_KEY"})
"""Shown as stars; of addresses only the password is."""

_PASSWORD_IN_URL = re.compile(r"(://[^:@/]*:).*(?=@)|([?&]password=)[^&#]*", re.IGNORECASE)


REDIS_SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")
REDIS_RULE = (
    f"must be an address that begins with {', '.join(f'{scheme}://' for scheme in REDIS_SCHEMES)},"
    " such as redis://:PASSWORD@HOST:6379/0; in a password write @ as %40, / as %2F, # as %23,"
    " ? as %3F and % as %25"
)


def _is_redis_url(url: str) -> bool:
    """Whether an address has a known scheme, a port that is one, and no part of a password behind."""
    with suppress(ValueError):
        parts = urlsplit(url)
        behind = f"{parts.path}{parts.query}{parts.fragment}"
        return parts.port != 0 and parts.scheme in REDIS_SCHEMES and "@" not in behind
    return False


class Settings(msgspec.Struct, frozen=True, rename=str.upper, forbid_unknown_fields=True):
    """Everything an operator may choose.

    ``log`` is a path or a database URL, by default ``events.jsonl`` in ``data``; ``rate_limit`` and
    ``rate_limit_login`` are ``N/second|minute|hour|day`` or ``off``; ``trusted_proxies`` are addresses or
    networks; lists are separated by commas;
    words such as those of ``log_level`` may stand in any case; ``v1_deprecation`` and ``v1_sunset``
    are RFC 3339 times or dates, which answers of version 1 tell, with a link to what it says there.
    ``user_quota_bytes`` limits what the items of one user take in
    the log, and ``user_quota_items`` how many there are; 0 is no limit.
    An access token lives for a year and a
    session for a century at most: ``refresh_token_days`` after its last refresh, and in any case
    ``session_days`` after its start.
    """

    data: Text = "./data"
    log: Text | None = None
    secret_key: str | None = None
    access_token_minutes: Minutes = 30
    refresh_token_days: Days = 30
    session_days: Days = 365
    cors_origins: tuple[Origin, ...] = ()
    cors_credentials: Literal["on", "off"] = "off"
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    redis_url: str | None = None
    rate_limit: Rate = "6000/minute"
    rate_limit_login: Rate = "60/minute"
    max_body_bytes: Positive = 65_536
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    log_format: Literal["console", "json"] = "console"
    log_file: str | None = None
    sentry_dsn: str | None = None
    metrics: Literal["on", "off"] = "on"
    snapshot_every: Annotated[int, Meta(ge=0)] = 100_000
    user_quota_bytes: Annotated[int, Meta(ge=0)] = 0
    user_quota_items: Annotated[int, Meta(ge=0)] = 0
    v1_deprecation: str | None = None
    v1_sunset: str | None = None
    v1_link: Link | None = None

    def __post_init__(self) -> None:
        if "*" in self.cors_origins and len(self.cors_origins) > 1:
            raise ValueError(_RULES[_ORIGIN])
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(f"must be addresses or networks: {error}") from None
        if self.redis_url and not _is_redis_url(self.redis_url):
            raise ValueError(REDIS_RULE)
        if self.log_file and Path(self.log_file).resolve() == self.log_path.resolve():
            raise ValueError("LOG_FILE must not be the log of events")
        times = [moment(text) for text in (self.v1_deprecation, self.v1_sunset) if text is not None]
        if times != sorted(times):
            raise ValueError(f"V1_SUNSET must not be before {PREFIX}V1_DEPRECATION")

    @property
    def data_path(self) -> Path:
        """The data directory."""
        return Path(self.data)

    @property
    def is_database(self) -> bool:
        """Whether the log is in a database."""
        return "://" in (self.log or "")

    @property
    def log_path(self) -> Path:
        """Where the JSON-lines log lies; what else is kept beside it has a name that begins so.

        Nothing lies there itself where the log is in a database.
        """
        if self.log is not None and self.is_database:
            # The password may change, and so may how the connection is made; the database is the same.
            address, _, _ = _PASSWORD_IN_URL.sub(r"\1\2", self.log).partition("?")
            return self.data_path / f"database-{sha256(address.encode()).hexdigest()[:16]}"
        return self.data_path / "events.jsonl" if self.log is None else Path(self.log)

    @property
    def log_name(self) -> str:
        """What the log is called where people read it: its path, or its address, passwords masked."""
        return _masked("LOG", self.log) if self.is_database else str(self.log_path)


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and for each name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def shown(self) -> list[tuple[str, str, str]]:
        """Every setting as (variable, value, origin), secrets masked."""
        values = msgspec.to_builtins(self.settings)
        return [
            (PREFIX + name, _masked(name, value), self.origins[name])
            for name, value in values.items()
        ]


def _masked(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in SECRET:
        return HIDDEN
    texts = value if isinstance(value, list | tuple) else [str(value)]
    return ",".join(mask_url(text) if "://" in text else text for text in texts)


def load(environ: Mapping[str, str], dotenv: Path = Path(".env")) -> Loaded:
    """The settings of an environment, which wins over the ``.env`` file.

    Raises `ConfigurationError` for an unknown ``EVENTAPI_`` name, for a bad value, and for a line of
    the file that cannot be read.
    """
    origins = dict.fromkeys(
        (field.encode_name for field in msgspec.structs.fields(Settings)), "default"
    )
    texts: dict[str, str] = {}
    file = read_env_file(dotenv, PREFIX)
    for origin, source in ((str(dotenv), file), ("environment", environ)):
        for variable, text in source.items():
            if not variable.startswith(PREFIX):
                continue
            name = variable.removeprefix(PREFIX)
            if service_link(name, text):
                raise ConfigurationError(
                    f"{variable} (from {origin}) is no setting: Kubernetes sets it for a Service named"
                    " eventapi; set enableServiceLinks: false in the Pod, or rename the Service"
                )
            if name not in origins:
                raise ConfigurationError(f"{variable} (from {origin}) is no setting of eventapi")
            texts[name] = text
            origins[name] = origin
    kinds = {name.upper(): get_origin(hint) for name, hint in get_type_hints(Settings).items()}
    values: dict[str, Any] = {}
    for name, text in texts.items():
        values[name] = _value(text, kinds[name])
        try:
            msgspec.convert({name: values[name]}, Settings, strict=False)
        except msgspec.ValidationError as error:
            reason = _reason(str(error))
            raise ConfigurationError(f"{PREFIX}{name} (from {origins[name]}): {reason}") from None
    try:
        return Loaded(msgspec.convert(values, Settings, strict=False), origins)
    except msgspec.ValidationError as error:
        # Each is right by itself.
        raise ConfigurationError(PREFIX + _reason(str(error))) from None


def _value(text: str, kind: Any) -> str | list[str]:
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text.lower() if kind is Literal else text


def _reason(message: str) -> str:
    """Msgspec's message, without the place and with a pattern in words."""
    reason = message.partition(" - at ")[0]
    # msgspec prints the pattern as Python's `repr` does.
    return next((rule for pattern, rule in _RULES.items() if repr(pattern) in reason), reason)
