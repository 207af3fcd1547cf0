"""The settings: their types, defaults and meanings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from eventapi.configuration.setting import PREFIX, Setting, describe, describe_fields
from eventapi.configuration.types import (
    ORIGINS_RULE,
    PROXIES_RULE,
    RATE_RULE,
    TIME_RULE,
    Count,
    Days,
    Dsn,
    Link,
    Minutes,
    Origin,
    Port,
    Positive,
    PublicUrl,
    Rate,
    Switch,
    Text,
    Workers,
    log_fault,
    origins_fault,
    proxies_fault,
    redis_fault,
    time_fault,
)
from eventapi.values.times import moment
from events.database.urls import mask_url

_PASSWORD_IN_URL = re.compile(r"(://[^:@/]*:).*(?=@)|([?&]password=)[^&#]*", re.IGNORECASE)


class Settings(msgspec.Struct, frozen=True, rename=str.upper, forbid_unknown_fields=True):
    """All settings; ``docs/settings.md`` is generated from these fields.

    Lists are separated by commas. Words such as those of ``log_level`` may have any case.
    ``public_url`` does not end with a slash.
    """

    host: Annotated[
        Text,
        describe(
            "Address that the server listens on. `0.0.0.0` is every IPv4 address of the machine, "
            "`::` every address. `serve --host` overrides it.",
            values="an address or a name of this machine",
            example="0.0.0.0",  # noqa: S104 - nothing listens on it here
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Port,
        describe(
            "Port that the server listens on; 0 chooses a free one. `serve --port` overrides it.",
            example="9000",
        ),
    ] = 8000
    workers: Annotated[
        Workers,
        describe(
            "Server processes. Each has all users, items and sessions in its memory. "
            "`serve --workers` overrides it.",
            unit="processes",
            example="4",
        ),
    ] = 1
    data: Annotated[
        Text,
        describe(
            "Data directory, with the log, the keys and all files beside them. "
            "`--data` overrides it.",
            values="a path",
            example="/var/lib/eventapi",
        ),
    ] = "./data"
    log: Annotated[
        Text | None,
        describe(
            "The log of events: a file, or a database, which several machines can share. "
            "`--log` overrides it.",
            values="a path, or an address postgresql://... or mysql://...",
            check=log_fault,
            default="events.jsonl in DATA",
            example="postgresql://eventapi:PASSWORD@db.example:5432/eventapi",
        ),
    ] = None
    resources: Annotated[
        tuple[str, ...],
        describe(
            "Python modules that declare resources. `--resources` overrides it.",
            values="names of modules, separated by commas",
            default="none; only items",
            example="shop,crm.models",
        ),
    ] = ()
    secret_key: Annotated[
        str | None,
        describe(
            "Key that signs access tokens. Instances that share a database need the same key. "
            "Several are separated by commas: the first signs, the others are still accepted.",
            values="32 bytes or more, not a known or repeated text",
            default="generated once, and stored in DATA as secret.key",
            example="the output of `openssl rand -hex 32`",
        ),
    ] = None
    access_token_minutes: Annotated[
        Minutes,
        describe("How long an access token is accepted.", unit="minutes", example="15"),
    ] = 30
    refresh_token_days: Annotated[
        Days,
        describe(
            "How long a session lasts after its last refresh.",
            unit="days",
            example="14",
        ),
    ] = 30
    session_days: Annotated[
        Days,
        describe(
            "How long a session lasts at most, in spite of refreshes.",
            unit="days",
            example="90",
        ),
    ] = 365
    public_url: Annotated[
        PublicUrl | None,
        describe(
            "Public URL of the server, used in links. "
            "Set it if a proxy changes the host, or serves the API under a path.",
            values="an http:// or https:// address, with a path or without, and no query",
            default="derived from each request",
            example="https://api.example/events",
        ),
    ] = None
    cors_origins: Annotated[
        tuple[Origin, ...],
        describe(
            "Origins of web pages that may call this API from a browser (CORS).",
            values=ORIGINS_RULE,
            check=origins_fault,
            default="none",
            example="https://app.example,http://localhost:3000",
        ),
    ] = ()
    cors_credentials: Annotated[
        Switch,
        describe(
            "Whether those pages may send credentials such as cookies. "
            "Access tokens in a header do not need it.",
            example="on",
        ),
    ] = "off"
    trusted_proxies: Annotated[
        tuple[str, ...],
        describe(
            "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted; `unix` means all "
            "clients of the Unix socket of `serve --uds`.",
            values=PROXIES_RULE,
            check=proxies_fault,
            default="none",
            example="127.0.0.1,10.0.0.0/8",
        ),
    ] = ()
    redis_url: Annotated[
        str | None,
        describe(
            "Redis or Valkey server that counts rate limits for all machines together.",
            values="an address redis://..., rediss://..., unix://..., valkey://... or valkeys://...",
            check=redis_fault,
            default="none; each machine counts separately",
            example="redis://:PASSWORD@cache.example:6379/0",
        ),
    ] = None
    rate_limit: Annotated[
        Rate,
        describe(
            "Limit of requests per caller: a user, or an IP address for requests without a token.",
            values=RATE_RULE,
            example="600/minute",
        ),
    ] = "6000/minute"
    rate_limit_login: Annotated[
        Rate,
        describe(
            "Limit of logins, registrations and refreshes per IP address. `off` also disables the "
            "delay after wrong passwords.",
            values=RATE_RULE,
            example="10/minute",
        ),
    ] = "60/minute"
    max_body_bytes: Annotated[
        Positive,
        describe(
            "Largest request body; a larger one is refused with 413.",
            unit="bytes",
            example="16384",
        ),
    ] = 65_536
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        describe(
            "Lowest level of the lines that the server logs. Above `info` there is no access log; "
            "`debug` adds the path of requests to unknown routes.",
            example="warning",
        ),
    ] = "info"
    log_format: Annotated[
        Literal["console", "json"],
        describe("Format of these lines: for people, or for programs.", example="json"),
    ] = "console"
    log_file: Annotated[
        str | None,
        describe(
            "File for these lines, in addition to stderr. It is not rotated; a program such as "
            "logrotate may rename it.",
            values="a path",
            default="none; only stderr",
            example="/var/log/eventapi/server.log",
        ),
    ] = None
    sentry_dsn: Annotated[
        Dsn | None,
        describe(
            "Sentry project that unexpected errors are reported to. Requires the extra `sentry`.",
            values="an address such as https://KEY@sentry.example/1",
            default="none",
            example="https://KEY@sentry.example/1",
        ),
    ] = None
    metrics: Annotated[
        Switch,
        describe("Whether `GET /metrics` returns metrics for Prometheus.", example="off"),
    ] = "on"
    snapshot_every: Annotated[
        Count,
        describe(
            "Number of new events after which a snapshot is taken, which makes the next start "
            "faster. 0 takes none.",
            unit="events",
            example="500000",
        ),
    ] = 100_000
    user_quota_bytes: Annotated[
        Count,
        describe(
            "Size of the log that the items of one user may use; beyond it writes are refused with "
            "409. 0 is no limit.",
            unit="bytes",
            example="100000000",
        ),
    ] = 0
    user_quota_items: Annotated[
        Count,
        describe(
            "Maximum number of items of one user. 0 is no limit.", unit="items", example="10000"
        ),
    ] = 0
    v1_deprecation: Annotated[
        str | None,
        describe(
            "Date of the deprecation of version 1 of the API; its responses announce it.",
            values=TIME_RULE,
            check=time_fault,
            default="not deprecated",
            example="2027-01-01",
        ),
    ] = None
    v1_sunset: Annotated[
        str | None,
        describe(
            "Date on which version 1 will end; its responses announce it, but the server does not "
            "end it.",
            values=TIME_RULE,
            check=time_fault,
            default="no end",
            example="2027-07-01T00:00:00Z",
        ),
    ] = None
    v1_link: Annotated[
        Link | None,
        describe(
            "Page about these two dates, for the `Link` header of the same responses.",
            values="the URL of a page, or its path on this server",
            default="none",
            example="https://api.example/changes",
        ),
    ] = None

    def __post_init__(self) -> None:
        for setting in setting_descriptions().values():
            value = getattr(self, setting.name.lower())
            if value is not None and (fault := setting.check(value)):
                raise ValueError(fault)
        if self.public_url:
            msgspec.structs.force_setattr(self, "public_url", self.public_url.rstrip("/"))
        times = [moment(text) for text in (self.v1_deprecation, self.v1_sunset) if text is not None]
        if times != sorted(times):
            raise ValueError(f"V1_SUNSET must not be before {PREFIX}V1_DEPRECATION")
        if self.log_file and Path(self.log_file).resolve() == self.log_path.resolve():
            raise ValueError("LOG_FILE must not be the log of events")
        if "*" in self.cors_origins and self.cors_credentials == "on":
            raise ValueError(
                f"CORS_CREDENTIALS must be off while {PREFIX}CORS_ORIGINS is *: browsers refuse "
                "both together; list the origins"
            )

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
        """The path of the JSON-lines log, which names the files beside it.

        If the log is in a database, the path itself does not exist, but files beside it do.
        """
        if self.log is not None and self.is_database:
            # Password and options may change while the database stays the same.
            address, _, _ = _PASSWORD_IN_URL.sub(r"\1\2", self.log).partition("?")
            return self.data_path / f"database-{sha256(address.encode()).hexdigest()[:16]}"
        return self.data_path / "events.jsonl" if self.log is None else Path(self.log)

    @property
    def log_name(self) -> str:
        """The name of the log in messages: its path, or its URL with the password masked."""
        return mask_url(self.log) if self.log and self.is_database else str(self.log_path)


@cache
def setting_descriptions() -> Mapping[str, Setting]:
    """The description of every setting, by its name without the prefix."""
    return describe_fields(Settings)
